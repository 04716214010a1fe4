"""DCN-v2's crosses: ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``.

Wang et al., WWW'21, equation 1.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow_recommenders.layers.feature_interaction.dcn import Cross

CROSS_SEEDS = 10_000


def make_crosses(
    count: int, seed: int, initializer: Callable, *, rank: int | None = None
) -> list[Cross]:
    """Cross layers; no two start alike.

    Args:
        count: How many.
        seed: Start of their seeds.
        initializer: Seed -> that of a kernel.
        rank: Of the matrices, ``W = U V``; None: full.

    Returns:
        The layers, not built.
    """
    return [
        Cross(
            projection_dim=rank,
            kernel_initializer=initializer(seed + CROSS_SEEDS + i),
            name=f"cross_{i}",
        )
        for i in range(count)
    ]


def crossed(layers: Sequence[tf.keras.layers.Layer], x0):
    """An input after all cross layers.

    Args:
        layers: Matrices' or vectors' crosses, each called as ``(x0, x)``.
        x0: ``[B, D]``.

    Returns:
        ``[B, D]``.
    """
    x = x0
    for layer in layers:
        x = layer(x0, x)
    return x
