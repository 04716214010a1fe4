"""Examples to trained weights."""
