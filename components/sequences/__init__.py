"""Blocks and encoders of next-item models."""
