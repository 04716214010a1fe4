"""Files as the reader sees them."""

from hypothesis import settings

few = settings(max_examples=40, deadline=None)
