"""What biased the log, such as an item's position: a tower that training alone reads."""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from steadyrank.components.layers.mlp import MLP
from steadyrank.models.features import Feature
from steadyrank.models.inputs import FeatureInputs

BIAS_UNITS = [16]  # a shallow tower: what biases is of few values
DEVIATION = 1.0  # of its tables at their start: as numbers, which are standardised
PACE = 10.0  # times: what is of few values shall not lag behind a net that knows its items
PREFIX = "bias_"  # of its tables' names


class BiasTower(tf.keras.layers.Layer):
    """Logits b(x) - b(r) of features x that are not served, r what they are taken to be.

    They are added to those of the net while it trains, so that the net gives the logit at
    r, and an export needs nothing of this tower.  A value of x that is missing has a
    logit of its own.  No position is dropped at random, as published, since r is stated:
    a dropped one would be learned as r.

    Old rankers put some items first, so a net that learns faster than this tower takes
    positions for merits of items, and forgets it late.  Hence the tower starts at 0 with
    vectors that are far apart, and its logits move ``PACE`` times as fast.

    Reference: Zhao et al. (RecSys 2019), section 4.2: a side tower whose logit is added.

    Args:
        features: Learned features with a ``reference``.
        tasks: Names, K of them.
        seed: Of tables and layers.

    Call arguments:
        batch: Feature name -> int32 or float32 ``[B]``; others are ignored.
        gathered: What ``locate``'s rows hold, table name -> ``[N, D]``; None: the tower
            reads its tables itself.

    Output shape:
        Task name -> ``[B]``.
    """

    def __init__(self, features: Iterable[Feature], tasks: Iterable[str], seed: int):
        super().__init__(name="bias")
        self.features, self.tasks = tuple(features), tuple(tasks)
        self.inputs_layer = FeatureInputs(
            self.features, seed, deviation=DEVIATION, name="bias_inputs"
        )
        self.net = MLP(BIAS_UNITS, final_activation="relu", seed=seed, name="bias_tower")
        self.last = tf.keras.layers.Dense(
            len(self.tasks), use_bias=False, kernel_initializer="zeros", name="bias_logits"
        )

    @property
    def tables(self) -> dict:
        """Table name -> its layer."""
        return {PREFIX + n: table for n, table in self.inputs_layer.tables.items()}

    @property
    def readers(self) -> dict:
        """Table name -> the features that read it."""
        return {PREFIX + n: read for n, read in self.inputs_layer.readers.items()}

    def locate(self, batch: Mapping) -> dict:
        """Rows that a batch reads of each table, and the reference's: name -> ``[N]``."""
        located = self.inputs_layer.locate(self._with_reference(batch))
        return {PREFIX + name: rows for name, rows in located.items()}

    def by_sample(self, batch: Mapping) -> dict:
        """See ``FeatureInputs.by_sample``.

        Args:
            batch: Feature name -> its ids or numbers, ``[B]``.
        """
        found = self.inputs_layer.by_sample(self._with_reference(batch))
        return {PREFIX + name: function for name, function in found.items()}

    def call(self, batch: Mapping, gathered: Mapping | None = None) -> dict:
        """Computes every task's difference of logits."""
        if gathered is not None:
            gathered = {n: gathered[PREFIX + n] for n in self.inputs_layer.tables}
        vectors = self.inputs_layer(self._with_reference(batch), gathered)
        logits = PACE * self.last(self.net(vectors))
        differences = tf.unstack(logits[:-1] - logits[-1:], len(self.tasks), axis=1)
        return dict(zip(self.tasks, differences, strict=True))

    def _with_reference(self, batch: Mapping) -> dict:
        """A batch whose last row is the reference."""
        columns = {f.name: (batch[f.name], f.reference) for f in self.features}
        return {
            name: tf.concat([values, tf.cast([reference], values.dtype)], axis=0)
            for name, (values, reference) in columns.items()
        }
