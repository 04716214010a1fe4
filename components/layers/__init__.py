"""Keras layers of ranking models."""
