"""Example sets: packed records, what describes them, and who may use them."""
