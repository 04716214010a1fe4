"""Studies of many runs: stability, comparison, sweeps."""
