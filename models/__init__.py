"""What is trained: ranking models over named features and tasks. No files, no config."""

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment)
