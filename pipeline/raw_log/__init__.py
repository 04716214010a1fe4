"""Raw logs: files, columns, fingerprints of rows, and which split a row is in."""
