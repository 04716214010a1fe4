"""Tensors in, tensors out: clipping, row optimizers, experts, losses, metrics.

Nothing here knows files, flags, feature names or configuration objects.
"""

from steadyrank.components.environment import configure

configure()
