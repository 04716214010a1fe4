"""Networks of tasks stitched together layer by layer: cross-stitch and sluice.

Misra et al., "Cross-stitch Networks" (CVPR'16), equation 1; Ruder et al., "Latent
Multi-task Architecture Learning" (AAAI'19), sections 2 and 3.  K tasks, S subspaces.
"""

from collections.abc import Iterable

import tensorflow as tf

from steadyrank.components.layers.mlp import kernel_initializer
from steadyrank.components.layers.split_dense import Dense

OWN_SHARE = 0.9  # of a unit's own subspace at the start, as cross-stitch networks do well
TASK_SEEDS = 10_000


def stitch(alpha, states):
    """``x~_i = sum_j alpha_ij x_j``: every subspace mixed from those of all tasks.

    Args:
        alpha: ``[K * S, K * S]``.
        states: K * S tensors ``[B, d]``.

    Returns:
        K * S tensors ``[B, d]``.
    """
    mixed = tf.einsum("ij,bjd->bid", alpha, tf.stack(states, axis=1))
    return tf.unstack(mixed, axis=1)


def orthogonality(kernel, subspaces):
    """``sum_{i<j} ||G_i' G_j||_F^2`` of a layer whose outputs form subspaces (eq. 3).

    Args:
        kernel: ``[d, units]``.
        subspaces: S; divides ``units``.

    Returns:
        Scalar; 0 where no two subspaces read the same.
    """
    parts = tf.split(kernel, subspaces, axis=1)
    pairs = [(a, b) for i, a in enumerate(parts) for b in parts[i + 1 :]]
    squares = [tf.reduce_sum(tf.matmul(a, b, transpose_a=True) ** 2) for a, b in pairs]
    return tf.add_n(squares) if squares else tf.zeros([], kernel.dtype)


class Stitch(tf.keras.layers.Layer):
    """A network for each task; after each layer the tasks' states are mixed.

    One subspace and no skipping is a cross-stitch network.  A sluice network has several
    subspaces, a penalty that keeps them apart, and towers that read every layer's state,
    each scaled by a learned ``beta`` (layers differ in width, so they stand side by side
    where the paper adds them up).  The mixture is the same for all examples.

    Args:
        tasks: Task names.
        bottom_units: Widths of a network's layers, multiples of ``subspaces``.
        seed: Start of the layers' seeds; no two start alike.
        subspaces: S of each layer.
        skips: Whether a tower reads all layers.
        penalty: Weight of ``orthogonality`` in the loss.

    Input shape:
        ``[B, D]``.

    Output shape:
        Task name -> ``[B, bottom_units[-1]]``, with skips the sum of all.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        bottom_units: list[int],
        seed: int,
        *,
        subspaces: int = 1,
        skips: bool = False,
        penalty: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.subspaces, self.skips, self.penalty = subspaces, skips, penalty
        self.networks = [
            [self._dense(width, level, seed + TASK_SEEDS * k + level, k)
             for k in range(len(self.tasks))]
            for level, width in enumerate(bottom_units)
        ]  # fmt: skip
        size = len(self.tasks) * subspaces
        other = (1 - OWN_SHARE) / max(size - 1, 1)
        start = tf.eye(size) * (OWN_SHARE - other) + other
        self.alphas = [
            self.add_weight(
                f"alpha_{level}",
                [size, size],
                initializer=lambda shape, dtype=None, **_: tf.cast(start, dtype),
            )
            for level in range(len(bottom_units))
        ]
        if penalty:
            self.add_loss(self.regularization)
        self.betas = [
            self.add_weight(f"beta_{level}", [len(self.tasks)], initializer="ones")
            for level in range(len(bottom_units) if skips else 0)
        ]

    def _dense(self, width: int, level: int, seed: int, task: int) -> Dense:
        return Dense(
            width,
            activation="relu",
            kernel_initializer=kernel_initializer("relu", seed),
            name=f"{self.tasks[task]}_{level}",
        )

    def call(self, inputs):
        """Computes layer after layer of all networks."""
        states, layers = [inputs] * len(self.tasks), []
        for networks, alpha in zip(self.networks, self.alphas, strict=True):
            states = [dense(x) for dense, x in zip(networks, states, strict=True)]
            parts = [p for x in states for p in tf.split(x, self.subspaces, axis=1)]
            mixed, s = stitch(alpha, parts), self.subspaces
            states = [
                tf.concat(mixed[k * s : (k + 1) * s], axis=1)
                for k in range(len(self.tasks))
            ]
            layers.append(states)
        if self.skips:
            scaled = [
                [beta[k] * x for beta, x in zip(self.betas, column, strict=True)]
                for k, column in enumerate(zip(*layers, strict=True))
            ]
            states = [tf.concat(parts, axis=1) for parts in scaled]
        return dict(zip(self.tasks, states, strict=True))

    def regularization(self):
        """What the loss gains: the penalty times the overlap of the subspaces."""
        kernels = [dense.kernel for networks in self.networks for dense in networks]
        return self.penalty * tf.add_n(
            [orthogonality(kernel, self.subspaces) for kernel in kernels]
        )
