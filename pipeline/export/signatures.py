"""What an export serves: raw features in, probabilities and the score out.

Vocabulary lookup, transforms and defaults are in the graph: serving cannot do them
otherwise than training did.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from steadyrank.models.build import empty_batch
from steadyrank.models.features import MISSING_INTEGER, Feature, raw_features
from steadyrank.models.ids import MISSING_ID
from steadyrank.models.ranker import RankingModel
from steadyrank.pipeline.examples.example_set import Schema, vocab_path
from steadyrank.pipeline.export.codes import code_tensor, cross_tensor
from steadyrank.pipeline.export.vocabulary_table import lines_of

TYPES = {"string": tf.string, "integer": tf.int64, "float": tf.float32}
MISSING = {"string": "", "integer": MISSING_INTEGER, "float": float("nan")}
RAW, TF_EXAMPLE, ENCODED = "serving_default", "tf_example", "encoded"
CANDIDATES, SERIALIZED = "candidates", "examples"


class ServingModule(tf.Module):
    """A model with its vocabularies, ready to be saved.

    Signatures (all inputs and outputs by name, any number of rows B):

    ``serving_default``: raw features.  A string feature takes string ``[B]``, ``""``
    where the value is missing; an integer id int64 ``[B]``, -2**63 where missing; a
    number float32 ``[B]``, NaN where missing; the moment of an hour or a weekday int64
    ``[B]``, milliseconds since 1970 in UTC, -2**63 where missing.  A feature of several
    values takes one string ``[B]``, split at its separator, or, where the log holds
    lists, ``[B, any]``, padded with missing values; a vector float32 ``[B, width]``,
    NaN where missing.  A cross takes nothing: it is of others.

    ``tf_example``: ``examples``, serialized ``tf.Example`` string ``[B]`` that hold the
    same raw features; a feature that an example leaves out is missing.

    ``candidates``, where ``shared`` names features: raw features of B items, and of the
    one user and moment that they share: ``[1]`` or ``[1, any]`` of each shared feature.

    ``encoded``: features as the examples hold them: int32 ids ``[B]``,
    ``[B, max_values]`` or ``[B, hashes]``, float32 numbers ``[B]``.

    All give each task's probability or value, and ``score``: float32 ``[B]``.

    Args:
        model: A built model with its weights.
        schema: The model's schema.
        vocab: Folder of the vocabulary files; they become assets of the export.
        shared: Names of the features that all candidates share, and with them the crosses
            of nothing else.
        embedding_dtype: In which the tables are stored; read rows become float32.
    """

    def __init__(
        self,
        model: RankingModel,
        schema: Schema,
        vocab: Path,
        shared: Collection[str] = (),
        *,
        embedding_dtype: str = "float32",
    ):
        super().__init__()
        # behind a function Keras is not seen: saving would trace each of its layers
        self._model = lambda: model
        self.schema = schema
        crosses = (f.name for f in schema.features if f.of and {*f.of} <= {*shared})
        self.shared = (*shared, *crosses)
        self.weights = [*_served(model), *_tables(model, embedding_dtype)]
        self.weights += model.smears.values()
        self.tables = {
            feature.name: lines_of(vocab_path(vocab, feature.name), TYPES[feature.raw])
            for feature in schema.features
            if feature.has_vocabulary and feature.vocabulary_size
        }
        self.functions = {
            RAW: self._function(self._from_raw, _raw_specs(schema.features)),
            TF_EXAMPLE: self._function(
                self._from_examples,
                {SERIALIZED: tf.TensorSpec([None], tf.string, SERIALIZED)},
            ),
            ENCODED: self._function(model.head.predict_tasks, _encoded_specs(schema)),
        }
        if self.shared:
            cuts = model.head.cut_kernels(empty_batch(schema.features), self.shared)
            self.weights += cuts.variables
            self.functions[CANDIDATES] = self._function(
                lambda raw: model.head.predict_candidates(
                    self.encode(raw), self.shared, cuts
                ),
                _raw_specs(schema.features, self.shared),
            )

    @property
    def signatures(self) -> dict:
        """Name -> concrete function, for ``tf.saved_model.save``."""
        return dict(self.functions)

    @staticmethod
    def _function(function, specs: dict):
        traced = tf.function(function, [specs], autograph=False)
        return traced.get_concrete_function()

    def _from_raw(self, raw: Mapping) -> dict:
        return self._model().head.predict_tasks(self.encode(raw))

    def _from_examples(self, inputs: Mapping) -> dict:
        features = raw_features(self.schema.features)
        specs = {f.name: _example_spec(f) for f in features}
        raw = tf.io.parse_example(inputs[SERIALIZED], specs)
        for feature in features:
            if is_listed(feature):
                filler = MISSING[feature.raw]
                raw[feature.name] = raw[feature.name].to_tensor(filler)
        return self._from_raw(raw)

    def encode(self, raw: Mapping) -> dict:
        """Raw features as the examples hold them.

        Features of one raw type and one value, whose values come in equal numbers, are
        told apart from missing ones together: what a small batch pays for is the number
        of operations.
        """
        encoded, together = {}, {}
        for feature in raw_features(self.schema.features):
            values = raw[feature.name]
            if feature.kind == "numeric":
                encoded[feature.name] = values
            elif not feature.has_vocabulary:
                encoded[feature.name] = code_tensor(feature, values)
            elif feature.max_values:
                encoded[feature.name] = self._several(feature, values)
            else:
                key = feature.raw, feature.name in self.shared
                together.setdefault(key, []).append(feature)
        for features in together.values():
            ids = self._ids(features, [raw[feature.name] for feature in features])
            encoded.update(zip((f.name for f in features), ids, strict=True))
        by_name = {feature.name: feature for feature in self.schema.features}
        for feature in filter(lambda f: f.of, self.schema.features):
            parts = ((by_name[name], raw[name]) for name in feature.of)
            encoded[feature.name] = cross_tensor(feature, parts)
        return encoded

    def _several(self, feature: Feature, values):
        """Several values of a row: those that are there, as many as are kept, padded."""
        if feature.separator:
            values = tf.strings.split(values, feature.separator)
        values = tf.ragged.boolean_mask(values, values != _missing(feature))
        if feature.kind == "sequence":
            values = values[:, -feature.max_values :]
        ids = tf.ragged.map_flat_values(lambda v: self._ids([feature], [v])[0], values)
        padded = ids.to_tensor(MISSING_ID, shape=[None, feature.max_values])
        if feature.kind == "sequence":  # the latest one to the end
            return tf.reverse(tf.reverse_sequence(padded, ids.row_lengths(), 1), [1])
        return padded

    def _ids(self, features: Sequence[Feature], values: Sequence) -> list:
        """Flat raw values of some features to ids: missing, unknown, or known."""
        places = zip(features, values, strict=True)
        ids = tf.stack([self._place(feature, value) for feature, value in places])
        # an unknown value is at -1, which with one bucket becomes that bucket's id
        firsts = [[f.ids.first_known if f.oov_buckets == 1 else 0] for f in features]
        ids += tf.constant(firsts, tf.int64)
        missing = tf.stack(values) == _missing(features[0])
        nothing = tf.constant(MISSING_ID, tf.int64)
        return tf.unstack(tf.cast(tf.where(missing, nothing, ids), tf.int32))

    def _place(self, feature: Feature, values):
        """Lines of the vocabulary, -1 where unknown; with several buckets, ids."""
        lines = tf.fill(tf.shape(values), tf.constant(-1, tf.int64))
        if feature.name in self.tables:
            lines = self.tables[feature.name].lookup(values)
        if feature.oov_buckets == 1:
            return lines
        texts = values if feature.raw == "string" else tf.as_string(values)
        bucket = tf.strings.to_hash_bucket_fast(texts, feature.oov_buckets)
        known = feature.ids.of_line(lines)
        return tf.where(lines < 0, feature.ids.of_bucket(bucket), known)


def _served(model: RankingModel) -> list[tf.Variable]:
    """The dense weights without those that training alone reads."""
    biases = {id(v) for v in (model.bias_tower.variables if model.bias_tower else ())}
    return [v for v in model.dense_variables if id(v) not in biases]


def _tables(model: RankingModel, dtype: str) -> list[tf.Variable]:
    """What stands for the embedding tables in the export."""
    if dtype == "float32":
        return list(model.inputs_layer.embedding_variables)
    tables = model.inputs_layer.tables.values()
    return [variable for table in tables for variable in table.compress(dtype)]


def _missing(feature: Feature):
    return tf.constant(MISSING[feature.raw], TYPES[feature.raw])


def is_listed(feature: Feature) -> bool:
    """Whether a row's values come as a list, not in one string."""
    return bool(feature.max_values) and not feature.separator


def raw_type(feature: Feature) -> tf.DType:
    """The type in which a feature is sent."""
    return tf.float32 if feature.kind == "numeric" else TYPES[feature.raw]


def _raw_specs(features: Sequence[Feature], shared: Collection[str] = ()) -> dict:
    specs = {}
    for feature in raw_features(features):
        rows = 1 if feature.name in shared else None
        shape = [rows, None] if is_listed(feature) else [rows]
        shape = [rows, feature.width] if feature.width else shape
        specs[feature.name] = tf.TensorSpec(shape, raw_type(feature), feature.name)
    return specs


def _example_spec(feature: Feature):
    kind = raw_type(feature)
    if is_listed(feature):
        return tf.io.RaggedFeature(kind)
    if feature.width:
        nothing = [float("nan")] * feature.width
        return tf.io.FixedLenFeature([feature.width], kind, nothing)
    missing = float("nan") if kind == tf.float32 else MISSING[feature.raw]
    return tf.io.FixedLenFeature([], kind, missing)


def _encoded_specs(schema: Schema) -> dict:
    specs = {}
    for feature in schema.features:
        several = feature.ids_per_row or feature.width
        shape = [None, several] if several else [None]
        kind = tf.float32 if feature.kind == "numeric" else tf.int32
        specs[feature.name] = tf.TensorSpec(shape, kind, feature.name)
    return specs
