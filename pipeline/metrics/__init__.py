"""What is measured of a scored split, task by task."""
