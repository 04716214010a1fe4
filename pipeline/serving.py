"""What an export serves: raw features in, probabilities and the score out.

Vocabulary lookup, transforms and defaults are in the graph: serving cannot do them
otherwise than training did.
"""

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from models.features import MISSING_ID, MISSING_INTEGER, Feature
from models.ranker import RankingModel
from pipeline.example_set import Schema, vocab_path

TYPES = {"string": tf.string, "integer": tf.int64, "float": tf.float32}


class ServingModule(tf.Module):
    """A model with its vocabularies, ready to be saved.

    Signatures (all inputs and outputs by name, any number of rows B):

    ``serving_default``: raw features.  A string feature takes string ``[B]``, ``""``
    where the value is missing; an integer id int64 ``[B]``, -2**63 where missing; a
    number float32 ``[B]``, NaN where missing.  A feature of several values takes one
    string ``[B]``, split at its separator, or, where the log holds lists, ``[B, any]``,
    padded with missing values.

    ``encoded``: features as the examples hold them: int32 ids ``[B]`` or
    ``[B, max_values]``, float32 numbers ``[B]``.

    Both give each task's probability or value, and ``score``: float32 ``[B]``.

    Args:
        model: A built model with its weights.
        schema: The model's schema.
        vocab: Folder of the vocabulary files; they become assets of the export.
    """

    def __init__(self, model: RankingModel, schema: Schema, vocab: Path):
        super().__init__()
        self.model, self.schema = model, schema
        self.tables = {
            feature.name: _table(feature, vocab_path(vocab, feature.name))
            for feature in schema.features
            if feature.kind == "categorical" and feature.vocabulary_size
        }
        self.encoded = tf.function(
            model.predict_tasks, [_encoded_specs(schema)], autograph=False
        )
        self.raw = tf.function(self._from_raw, [_raw_specs(schema)], autograph=False)

    @property
    def signatures(self) -> dict:
        """Name -> concrete function, for ``tf.saved_model.save``."""
        return {
            "serving_default": self.raw.get_concrete_function(),
            "encoded": self.encoded.get_concrete_function(),
        }

    def _from_raw(self, raw: Mapping) -> dict:
        features = self.schema.features
        return self.model.predict_tasks(
            {f.name: self.encode(f, raw[f.name]) for f in features}
        )

    def encode(self, feature: Feature, values):
        """One raw feature as the examples hold it."""
        if feature.kind == "numeric":
            return values
        if not feature.max_values:
            return self._ids(feature, values)
        if feature.separator:
            values = tf.strings.split(values, feature.separator)
            values = tf.ragged.boolean_mask(values, values != "")
        else:
            values = tf.ragged.boolean_mask(values, values != _missing(feature))
        ids = tf.ragged.map_flat_values(lambda flat: self._ids(feature, flat), values)
        return ids.to_tensor(MISSING_ID, shape=[None, feature.max_values])

    def _ids(self, feature: Feature, values):
        """Flat raw values to ids: missing, out-of-vocabulary bucket, or known."""
        unknown = tf.ones_like(values, tf.int64)
        if feature.oov_buckets > 1:
            texts = values if feature.raw == "string" else tf.as_string(values)
            unknown += tf.strings.to_hash_bucket_fast(texts, feature.oov_buckets)
        ids = unknown
        if feature.name in self.tables:
            index = self.tables[feature.name].lookup(values)
            ids = tf.where(index < 0, unknown, index + 1 + feature.oov_buckets)
        missing = values == _missing(feature)
        return tf.cast(tf.where(missing, tf.cast(MISSING_ID, tf.int64), ids), tf.int32)


def _missing(feature: Feature):
    return "" if feature.raw == "string" else tf.constant(MISSING_INTEGER, tf.int64)


def _table(feature: Feature, path: Path) -> tf.lookup.StaticHashTable:
    """A vocabulary file as a table from value to line number; -1 where unknown."""
    text = feature.raw == "string"
    lines = tf.lookup.TextFileInitializer(
        str(path),
        TYPES[feature.raw],
        tf.lookup.TextFileIndex.WHOLE_LINE if text else 0,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    return tf.lookup.StaticHashTable(lines, -1)


def _raw_specs(schema: Schema) -> dict:
    specs = {}
    for feature in schema.features:
        listed = feature.max_values and not feature.separator
        kind = TYPES[feature.raw] if feature.kind == "categorical" else tf.float32
        shape = [None, None] if listed else [None]
        specs[feature.name] = tf.TensorSpec(shape, kind, feature.name)
    return specs


def _encoded_specs(schema: Schema) -> dict:
    specs = {}
    for feature in schema.features:
        shape = [None, feature.max_values] if feature.max_values else [None]
        kind = tf.int32 if feature.kind == "categorical" else tf.float32
        specs[feature.name] = tf.TensorSpec(shape, kind, feature.name)
    return specs
