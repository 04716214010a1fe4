"""A first config, proposed from what a log holds."""
