"""Ranking models: what differs from other kinds."""
