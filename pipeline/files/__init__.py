"""Files: published whole, locked, and on object storage."""
