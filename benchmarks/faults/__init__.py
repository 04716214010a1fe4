"""A simulator of crashes: every operation on a disk or a store fails once, in each way."""
