"""From a batch of encoded features to one vector per row."""

from collections.abc import Collection, Iterable, Mapping

import tensorflow as tf

from components.embeddings import FusedEmbedding
from components.split_dense import SplitInput
from models.features import MISSING_ID, Feature, transform_numbers

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

    Call arguments:
        batch: Feature name -> int32 ``[B]``, int32 ``[B, max_values]`` or float32
            ``[B]``; keys that are no feature are ignored.

    Output shape:
        ``[B, D]``, features in their order.
    """

    def __init__(self, features: Iterable[Feature], seed: int, **kwargs):
        super().__init__(**kwargs)
        self.features = tuple(features)
        embedded = [feature for feature in self.features if feature.rows]
        self.groups = tuple(
            (str(dim), tuple(f for f in embedded if f.dim == dim))
            for dim in sorted({feature.dim for feature in embedded})
        )
        self.tables = {
            dim: FusedEmbedding(
                [feature.rows for feature in group],
                int(dim),
                [feature.pooling if feature.max_values else None for feature in group],
                initializer=tf.keras.initializers.RandomNormal(
                    stddev=EMBEDDING_STDDEV, seed=seed + int(dim)
                ),
                name=f"embedding_{dim}",
            )
            for dim, group in self.groups
        }

    def call(self, batch: Mapping):
        """Computes the vector of each row."""
        return tf.concat(list(self.parts(batch).values()), axis=1)

    def parts(self, batch: Mapping) -> dict:
        """Every feature's share of the vector: name -> float32 ``[B, d]``, in order."""
        embedded = self.embed(batch)
        return {
            f.name: embedded[f.name] if f.rows else standardise(f, batch[f.name])
            for f in self.features
        }

    def split(self, batch: Mapping, shared: Collection[str], cuts=None) -> SplitInput:
        """The vectors of rows that have some features in common.

        Args:
            batch: As for ``call``, but the shared features have one row.
            shared: Names of the shared features: at least one, and not all.
            cuts: As in ``SplitInput``.

        Returns:
            What a trunk takes in place of the vectors: each shared feature was embedded
            once.
        """
        parts, columns, start = self.parts(batch), {True: [], False: []}, 0
        for name, part in parts.items():
            end = start + part.shape[1]
            columns[name in shared].extend(range(start, end))
            start = end
        return SplitInput(
            tf.concat([p for name, p in parts.items() if name in shared], axis=1),
            tf.concat([p for name, p in parts.items() if name not in shared], axis=1),
            tuple(columns[True]),
            tuple(columns[False]),
            cuts,
        )

    def embed(self, batch: Mapping) -> dict:
        """Embedding of every feature that has one: name -> float32 ``[B, dim]``."""
        embedded = {}
        for dim, group in self.groups:
            ids = [row_ids(feature, batch[feature.name]) for feature in group]
            vectors = self.tables[dim](ids)
            embedded.update(zip((f.name for f in group), vectors, strict=True))
        return embedded

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The fused tables."""
        return [variable for table in self.tables.values() for variable in table.weights]


def row_ids(feature: Feature, values):
    """Rows of a feature's table: ids as they are, numbers by their bucket (0: missing)."""
    if feature.kind == "categorical":
        return values
    known = tf.where(tf.math.is_finite(values), values, 0.0)
    boundaries = tf.constant(feature.boundaries, tf.float32)
    bucket = 1 + tf.searchsorted(boundaries, known, side="right")
    return tf.where(tf.math.is_finite(values), bucket, MISSING_ID)


def standardise(feature: Feature, values):
    """A plain number as two inputs: float32 ``[B]`` to ``[B, 2]``.

    The first is 0 at ``feature.mean`` and moves by 1 with each ``feature.std``: with
    min-max scaling it goes from 0 to 1.  Where the number is missing, it is 0.
    """
    known = tf.math.is_finite(values)
    values = transform_numbers(feature.transform, tf.where(known, values, 0.0), tf.math)
    scaled = tf.clip_by_value((values - feature.mean) / feature.std, -OUTLIER, OUTLIER)
    missing = tf.cast(tf.logical_not(known), tf.float32)
    return tf.stack([tf.where(known, scaled, 0.0), missing], axis=1)
