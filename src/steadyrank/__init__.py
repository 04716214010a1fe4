"""Multitask ranking models that do not diverge, from raw log to release gate."""

__version__ = "0.1.0"
