"""Next-item models: what differs from ranking."""
