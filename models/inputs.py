"""From a batch of encoded features to one vector per row."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from itertools import accumulate

import tensorflow as tf

from steadyrank.components.layers.embeddings import FusedEmbedding
from steadyrank.components.layers.split_dense import SplitInput
from steadyrank.models.features import Feature, plain_numbers
from steadyrank.models.ids import MISSING_ID

LINEAR = "linear"  # the table of linear weights; the others are named by their width
EMBEDDING_STDDEV = 0.01  # that of CowClip's published runs
OUTLIER = 10.0  # standard deviations; what lies beyond is taken for so much


class FeatureInputs(tf.keras.layers.Layer):
    """Embeds, transforms and concatenates the features of a batch.

    Categorical and bucketized features of one width share a fused table, hence one
    gather.  A plain number becomes two inputs: its standardised value, kept within
    ``OUTLIER`` so that no input is unscaled (0, the mean, where it is missing), and 1
    where it is missing.

    Args:
        features: Learned features, at least one.
        seed: Start of the tables' seeds.
        linear_units: K; above 0 every value of every feature has K linear weights, too,
            which start at 0: see ``linear``.
        vectors: Whether features are embedded: a linear model reads no vectors.
        encoders: Sequence's name -> the layer that makes its events one vector; see
            ``components/layers/history.py``.
        deviation: Of the tables' values at their start.

    Attributes:
        tables: Table name -> its layer.
        readers: Table name -> the features that read it.

    Call arguments:
        batch: Feature name -> int32 ``[B]``, int32 ``[B, max_values]``, float32 ``[B]`` or
            float32 ``[B, width]``; keys that are no feature are ignored.
        gathered: What ``locate``'s rows hold, table name -> ``[N, D]``; None: the layer
            reads its tables itself.

    Output shape:
        ``[B, D]``, features in their order; None without ``vectors``.
    """

    def __init__(
        self,
        features: Iterable[Feature],
        seed: int,
        linear_units: int = 0,
        vectors: bool = True,
        *,
        encoders: Mapping | None = None,
        deviation: float = EMBEDDING_STDDEV,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.features = tuple(features)
        self.encoders = dict(encoders or {})
        self.embedded = tuple(f for f in self.features if f.rows)
        self.linear_units, self.vectors = linear_units, vectors
        self.groups = {
            str(dim): tuple(f for f in self.embedded if f.dim == dim)
            for dim in sorted({feature.dim for feature in self.embedded})
            if vectors
        }
        self.tables = {
            dim: _fused(
                group, int(dim), _normal(seed + int(dim), deviation), f"embedding_{dim}"
            )
            for dim, group in self.groups.items()
        }
        self.readers = dict(self.groups)
        self.linear_kernel = None
        if not linear_units:
            return
        if self.embedded:
            self.readers[LINEAR] = self.embedded
            # each value of a list has its weight: they add up
            self.tables[LINEAR] = _fused(
                self.embedded,
                linear_units,
                tf.keras.initializers.Zeros(),
                LINEAR,
                pooling="sum",
            )

    def build(self, input_shape):
        """Builds the tables: a step reads them without calling their layers."""
        for table in self.tables.values():
            with tf.name_scope(table.name):
                table.build(None)
        numbers = sum(f.inputs for f in self.features if not f.rows)
        if numbers and self.linear_units:
            self.linear_kernel = self.add_weight(
                "linear_kernel", [numbers, self.linear_units], initializer="zeros"
            )
        super().build(input_shape)

    def call(self, batch: Mapping, gathered: Mapping | None = None):
        """Computes the vector of each row."""
        if not self.vectors:
            return None
        pieces = self._pieces(batch, gathered, self._neighbours(batch))
        embedded = {names[0]: vectors for names, vectors in pieces}
        parts = [
            embedded.get(f.name) if f.rows else standardise(f, batch[f.name])
            for f in self.features
        ]
        return tf.concat([part for part in parts if part is not None], axis=1)

    def _neighbours(self, batch: Mapping) -> dict:
        """Name -> a label that features share which follow one another and are alike."""
        labels, label, last = {}, 0, None
        for feature in self.features:
            ids = batch[feature.name]
            kind = feature.dim, _pooling(feature), ids.dtype, str(ids.shape)
            label += kind != last or not feature.rows
            labels[feature.name], last = label, kind if feature.rows else None
        return labels

    def parts(self, batch: Mapping) -> dict:
        """Every feature's share of the vector.

        Args:
            batch: As for ``call``.

        Returns:
            Name -> float32 ``[B, d]``, in order.
        """
        embedded = self._embedded(batch, None)
        return {
            f.name: embedded[f.name] if f.rows else standardise(f, batch[f.name])
            for f in self.features
        }

    def split(
        self, batch: Mapping, shared: Collection[str], cuts=None
    ) -> SplitInput | None:
        """The vectors of rows that have some features in common.

        Args:
            batch: As for ``call``, but the shared features have one row.
            shared: Names of the shared features: at least one, and not all.
            cuts: As in ``SplitInput``.

        Returns:
            What a trunk takes in place of the vectors: each shared feature was embedded
            once.  A shared history that is seen from each item differs from row to row.
            None without ``vectors``.
        """
        if not self.vectors:
            return None
        constant = self._constant(shared)
        if not constant:
            return tf.concat(list(self.parts(batch).values()), axis=1)
        pieces = self._pieces(
            batch, None, {f.name: f.name in constant for f in self.features}
        )
        pieces += [
            ((f.name,), standardise(f, batch[f.name])) for f in self.features if not f.rows
        ]
        places = self._columns()
        parts: dict[bool, list] = {True: [], False: []}
        columns: dict[bool, list] = {True: [], False: []}
        for names, part in pieces:
            parts[names[0] in constant].append(part)
            columns[names[0] in constant] += [c for name in names for c in places[name]]
        return SplitInput(
            tf.concat(parts[True], axis=1),
            tf.concat(parts[False], axis=1),
            tuple(columns[True]),
            tuple(columns[False]),
            cuts=cuts,
        )

    def _columns(self) -> dict:
        """Name -> where its share of the vector is."""
        places, start = {}, 0
        for feature in self.features:
            places[feature.name] = range(
                start, start + (feature.dim if feature.rows else feature.inputs)
            )
            start = places[feature.name].stop
        return places

    def _constant(self, shared: Collection[str]) -> set[str]:
        """The shared features whose vector is the same in every row."""
        seen_from = {
            f.name: f.table
            for f in self.features
            if f.name in self.encoders and self.encoders[f.name].reads_target
        }
        return {name for name in shared if seen_from.get(name, name) in shared}

    def fields(
        self,
        batch: Mapping,
        gathered: Mapping | None = None,
        shared: Collection[str] = (),
    ) -> tf.Tensor:
        """The embeddings of a row one by one, which must be of one width.

        Args:
            batch: As for ``call``.
            gathered: Likewise.
            shared: Names of features of which the batch has one row.

        Returns:
            ``[B, F, d]``.
        """
        ((dim, group),) = self.groups.items()
        if not (shared or self.encoders):
            table, ids = self.tables[dim], _ids(group, batch)
            rows = gathered[dim] if gathered else table.gather(table.locate(ids))
            return tf.reshape(table.joined(ids, rows), [-1, len(group), int(dim)])
        vectors = list(self._embedded(batch, gathered).values())
        count = tf.reduce_max([tf.shape(vector)[0] for vector in vectors])
        return tf.stack([tf.broadcast_to(v, [count, int(dim)]) for v in vectors], axis=1)

    def locate(self, batch: Mapping) -> dict:
        """Rows that a batch reads of each table, repeated ones too.

        Tables that read the same features in the same order read the same rows: one tensor
        stands for both.

        Args:
            batch: As for ``call``.

        Returns:
            Table name -> int ``[N]``.
        """
        located = {
            dim: self.tables[dim].locate(_ids(group, batch))
            for dim, group in self.groups.items()
        }
        if LINEAR in self.tables:  # over all that is embedded
            linear, ids = self.tables[LINEAR], _ids(self.embedded, batch)
            first = next(iter(located), "")
            same = len(located) == 1 and linear.reads_like(self.tables[first], ids)
            located[LINEAR] = located[first] if same else linear.locate(ids)
        return located

    def by_sample(self, batch: Mapping) -> dict:
        """How readings of ``locate`` lie by sample: see ``FusedEmbedding.by_sample``.

        Args:
            batch: As for ``call``.

        Returns:
            Table name -> a function of ``[N]``.
        """
        return {
            name: partial(table.by_sample, _ids(self.readers[name], batch))
            for name, table in self.tables.items()
        }

    def _embedded(self, batch: Mapping, gathered) -> dict:
        """Name -> ``[B, dim]``."""
        pieces = self._pieces(batch, gathered, {f.name: f.name for f in self.features})
        return {names[0]: vectors for names, vectors in pieces}

    def _pieces(self, batch: Mapping, gathered, runs: Mapping) -> list:
        """Pairs of features' names and their ``[B, names * dim]``.

        Args:
            batch: As for ``call``.
            gathered: Likewise.
            runs: Name -> a label; those of one label may stay side by side.
        """
        pieces, targets = [], {f.table for f in self.features if f.name in self.encoders}
        for dim, group in self.groups.items():
            table, ids = self.tables[dim], _ids(group, batch)
            rows = gathered[dim] if gathered else table.gather(table.locate(ids))
            names = [f.name for f in group]
            labels = [name if name in targets else (runs[name],) for name in names]
            found = table.pieces(ids, rows, labels)
            pieces += [(tuple(names[i] for i in run), vectors) for run, vectors in found]
        embedded = {names[0]: vectors for names, vectors in pieces}
        return [(names, self._encoded(names[0], batch, embedded)) for names, _ in pieces]

    def _encoded(self, name: str, batch: Mapping, embedded: Mapping):
        """A sequence's events as one vector; anything else as it is."""
        if name not in self.encoders:
            return embedded[name]
        target = next(f.table for f in self.features if f.name == name)
        return self.encoders[name](embedded[name], batch[name], embedded[target])

    def linear(
        self,
        batch: Mapping,
        gathered: Mapping | None = None,
        shared: Collection[str] = (),
    ):
        """Sum of the linear weights of all that a row holds: ``[B, K]``.

        Args:
            batch: As for ``call``.
            gathered: Likewise.
            shared: Names of features of which the batch has one row.

        Returns:
            ``[B, K]``; None without ``linear_units``.
        """
        if not self.linear_units:
            return None
        total = tf.zeros([1, self.linear_units])
        if LINEAR in self.tables:
            table, ids = self.tables[LINEAR], _ids(self.embedded, batch)
            rows = gathered[LINEAR] if gathered else table.gather(table.locate(ids))
            total += self._sum_of_weights(table, ids, rows, bool(shared))
        numbers = [f for f in self.features if not f.rows]
        for together in (True, False):
            some = [i for i, f in enumerate(numbers) if (f.name in shared) == together]
            if some:
                values = [standardise(numbers[i], batch[numbers[i].name]) for i in some]
                starts = list(accumulate((f.inputs for f in numbers), initial=0))
                columns = [c for i in some for c in range(starts[i], starts[i + 1])]
                kernel = tf.gather(self.linear_kernel, columns)
                total += tf.matmul(tf.concat(values, axis=1), kernel)
        return total

    def _sum_of_weights(self, table, ids, rows, mixed: bool):
        if mixed:  # one row of some, B of others
            return sum(table.assemble(ids, rows))
        joined = table.joined(ids, rows)
        shape = [-1, len(self.embedded), self.linear_units]
        return tf.reduce_sum(tf.reshape(joined, shape), axis=1)

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The fused tables."""
        return [variable for table in self.tables.values() for variable in table.weights]


def _fused(
    features, dim: int, initializer, name: str, *, pooling: str = ""
) -> FusedEmbedding:
    """One table for features of one width; some may share another's rows."""
    own = [f for f in features if not f.table]
    places = {f.name: i for i, f in enumerate(own)}
    return FusedEmbedding(
        [feature.rows for feature in own],
        dim,
        [pooling or _pooling(f) if f.ids_per_row else None for f in features],
        [places[f.table or f.name] for f in features],
        initializer=initializer,
        name=name,
    )


def _pooling(feature: Feature) -> str | None:
    return None if feature.kind == "sequence" else feature.pooling


def _normal(seed: int, deviation: float):
    return tf.keras.initializers.RandomNormal(stddev=deviation, seed=seed)


def _ids(features, batch: Mapping) -> list:
    return [row_ids(feature, batch[feature.name]) for feature in features]


def row_ids(feature: Feature, values):
    """Rows of a feature's table: ids as they are, numbers by their bucket.

    Args:
        feature: An embedded one.
        values: int ids of any shape; of a number float ``[B]``, in raw units.

    Returns:
        int of that shape; 0 where a number is missing.
    """
    if feature.kind != "numeric":
        return values
    known = tf.where(tf.math.is_finite(values), values, 0.0)
    boundaries = tf.constant(feature.boundaries, tf.float32)
    bucket = 1 + tf.searchsorted(boundaries, known, side="right")
    return tf.where(tf.math.is_finite(values), bucket, MISSING_ID)


def standardise(feature: Feature, values):
    """A plain number as two inputs, a vector as one more than it has.

    The first is 0 at ``feature.mean`` and moves by 1 with each ``feature.std``: with
    min-max scaling it goes from 0 to 1.  Where the number is missing, it is 0.  A vector
    without one of its numbers misses all.

    Args:
        feature: A plain number, or a vector of them.
        values: float32 ``[B]``, or ``[B, W]``, in raw units, not finite where missing.

    Returns:
        float32 ``[B, 2]``, or ``[B, W + 1]``; the last column is 1 where it is missing.
    """
    if feature.width:
        return _standardised_vector(feature, values)
    known = tf.math.is_finite(values)
    values = plain_numbers(feature, tf.where(known, values, 0.0), tf.math)
    if feature.quantiles:
        values = share_below(feature, values)
    scaled = tf.clip_by_value((values - feature.mean) / feature.std, -OUTLIER, OUTLIER)
    missing = tf.cast(tf.logical_not(known), tf.float32)
    return tf.stack([tf.where(known, scaled, 0.0), missing], axis=1)


def share_below(feature: Feature, values):
    """The share of the training split below each number: between quantiles on a line.

    Args:
        feature: One with quantiles.
        values: float32 ``[B]``, finite.

    Returns:
        float32 ``[B]``, from 0 to 1, never falling as ``values`` rise.
    """
    quantiles = tf.constant(feature.quantiles, tf.float32)
    levels = tf.constant(feature.levels, tf.float32)
    values = tf.clip_by_value(values, quantiles[0], quantiles[-1])
    right = tf.searchsorted(quantiles[1:-1], values, side="right") + 1
    low, high = tf.gather(quantiles, right - 1), tf.gather(quantiles, right)
    # by halves: the range of float32 is beyond it; no step where one is below it
    part = tf.math.divide_no_nan(values / 2 - low / 2, high / 2 - low / 2)
    part = tf.clip_by_value(part, 0.0, 1.0)
    begin, end = tf.gather(levels, right - 1), tf.gather(levels, right)
    return tf.minimum(begin + part * (end - begin), end)


def _standardised_vector(feature: Feature, values):
    known = tf.reduce_all(tf.math.is_finite(values), axis=1, keepdims=True)
    values = (tf.where(known, values, 0.0) - feature.mean) / feature.std
    scaled = tf.clip_by_value(values, -OUTLIER, OUTLIER)
    missing = tf.cast(tf.logical_not(known), tf.float32)
    return tf.concat([tf.where(known, scaled, 0.0), missing], axis=1)
