"""The stages: each reads files, writes files, and has one public function."""

import components  # noqa: F401  (sets the TensorFlow environment)

__version__ = "0.1.0"
