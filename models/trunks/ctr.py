"""The parts of CTR models: a wide side, whose logits are added, and cross networks.

    lr         linear
    fm         linear + FM                     Rendle, ICDM 2010
    wide_deep  linear + MLP                    Cheng et al., DLRS 2016
    deepfm     linear + FM + MLP               Guo et al., IJCAI 2017
    dcn        linear + vector crosses and MLP side by side     Wang et al., ADKDD 2017
    dcn_v2     linear + matrix crosses and MLP side by side     Wang et al., WWW 2021

The linear part stands in all of them, as in the code that CowClip's figures come from.
The MLP is ``SharedBottom``; with ``tower_units: []`` and one task they are the published
models, with more tasks each has its own linear weights and tower.
"""

from collections.abc import Iterable
from functools import partial

import tensorflow as tf

from steadyrank.components.layers.interactions import VectorCross, fm_pooling
from steadyrank.components.layers.mlp import MLP, kernel_initializer
from steadyrank.components.layers.split_dense import SplitInput
from steadyrank.models.cross import CROSS_SEEDS, crossed, make_crosses
from steadyrank.models.trunks.shared_bottom import SharedBottom


class Wide(tf.keras.layers.Layer):
    """Logits that join those of the towers: linear, and FM's.

    With one task FM's products are summed, as published.  With several each task weighs
    the D sums by products of its own, which start at 1.

    Args:
        tasks: Task names.
        product_dim: D, the width of the fields whose products count; 0: none do.

    Call arguments:
        linear: ``[B, K]``, what ``FeatureInputs.linear`` gave.
        fields: ``[B, F, D]``; read with ``product_dim``.

    Output shape:
        Task name -> ``[B]``.
    """

    def __init__(self, tasks: Iterable[str], product_dim: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.tasks, self.product_dim = tuple(tasks), product_dim
        self.product_weights = None
        if product_dim and len(self.tasks) > 1:
            shape = [product_dim, len(self.tasks)]
            self.product_weights = self.add_weight("products", shape, initializer="ones")

    def call(self, linear, fields=None):
        """Adds up."""
        logits = linear
        if self.product_dim:
            logits = logits + self._products(fm_pooling(fields))
        return dict(zip(self.tasks, tf.unstack(logits, axis=1), strict=True))

    def _products(self, pooled):
        if self.product_weights is None:
            return tf.reduce_sum(pooled, axis=1, keepdims=True)
        return tf.matmul(pooled, self.product_weights)


class CrossAndDeep(tf.keras.layers.Layer):
    """Crosses and an MLP on the same input, side by side: the trunk of DCN and DCN-v2.

    Args:
        tasks: Task names.
        deep_units: Widths of the MLP.
        seed: Start of the layers' seeds; no two start alike.
        cross_layers: How many times the input is crossed with itself.
        matrix: Whether crosses have a matrix (DCN-v2) or a vector (DCN).
        rank: Of the matrices, ``W = U V``; None: full.

    Input shape:
        ``[B, D]``.

    Output shape:
        Task name -> ``[B, D + deep_units[-1]]``.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        deep_units: list[int],
        seed: int,
        *,
        cross_layers: int = 3,
        matrix: bool = False,
        rank: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        if matrix:
            start = partial(kernel_initializer, None)
            self.crosses = make_crosses(cross_layers, seed, start, rank=rank)
        else:
            self.crosses = [
                VectorCross(seed + CROSS_SEEDS + i, name=f"cross_{i}")
                for i in range(cross_layers)
            ]
        self.deep = MLP(deep_units, final_activation="relu", seed=seed, name="deep")

    def call(self, inputs):
        """Computes both once, for all tasks."""
        deep = self.deep(inputs)
        x0 = inputs.joined() if isinstance(inputs, SplitInput) else inputs
        x = tf.concat([crossed(self.crosses, x0), deep], axis=1)
        return dict.fromkeys(self.tasks, x)


class Deep(SharedBottom):
    """An MLP for all tasks: the trunk of Wide & Deep, and of DeepFM.

    Args:
        tasks: Task names.
        deep_units: Widths of its layers.
        seed: Start of the layers' seeds; no two start alike.
    """

    def __init__(self, tasks: Iterable[str], deep_units: list[int], seed: int, **kwargs):
        super().__init__(tasks, deep_units, seed, **kwargs)
