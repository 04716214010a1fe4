"""Trunks: features to one vector a task."""
