"""Metrics as sums that replicas and batches add to, and how far they scatter."""
