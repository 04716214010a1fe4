"""The stages: each reads files, writes files, and has one public function."""

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment)
