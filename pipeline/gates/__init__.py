"""Release gates: pure functions of measured numbers. No datasets, no TensorFlow."""
