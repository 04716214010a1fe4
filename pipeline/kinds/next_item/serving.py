"""What an export of a next-item model serves: a history in, the next items out."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.models.next_item import NextItemModel
from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.export.signatures import ENCODED, MISSING, RAW, TYPES
from steadyrank.pipeline.export.vocabulary_table import lines_of, values_of
from steadyrank.pipeline.kinds.next_item.example_set import ITEM, SequenceSchema

HISTORY, ITEMS, SCORES = "history", "items", "scores"


class NextItemModule(tf.Module):
    """A model with its vocabulary, ready to be saved.

    Signatures (any number of rows B):

    ``serving_default``: ``history``, raw items ``[B, any]``, oldest first: strings, or
    int64.  ``""``, or -2**63, is no item, wherever it stands: histories of several
    lengths are padded with it.  Gives ``items`` ``[B, k]`` (as in the log) and ``scores``
    float32 ``[B, k]``, the best first.

    ``encoded``: ``history``, ids int32 ``[B, length - 1]``, padded with 0 on the left.
    Gives ``scores`` float32 ``[B, V]`` of all known items, in the order of the vocabulary.

    An unknown item is never an answer.

    Args:
        model: A built model with its weights.
        schema: Its schema.
        vocab: Folder of the vocabulary file; it becomes an asset of the export.
        k: Length of an answer.
        exclude_seen: Whether items of the history score -infinity.
    """

    def __init__(
        self,
        model: NextItemModel,
        schema: SequenceSchema,
        vocab: Path,
        *,
        k: int,
        exclude_seen: bool,
    ):
        super().__init__()
        # behind a function Keras is not seen: saving would trace each of its layers
        self._model = lambda: model
        self.schema, self.k = schema, min(k, schema.items)
        self.exclude_seen = exclude_seen
        self.weights = [*model.dense_variables, *model.embedding_variables]
        path, kind = vocab_path(vocab, ITEM), TYPES[schema.raw]
        self.lines = lines_of(path, kind)
        self.values = values_of(path, kind, MISSING[schema.raw])
        raw = tf.TensorSpec([None, None], kind, HISTORY)
        ids = tf.TensorSpec([None, schema.history], tf.int32, HISTORY)
        self.functions = {
            RAW: _function(self._answer, raw),
            ENCODED: _function(self._score, ids),
        }

    @property
    def signatures(self) -> dict:
        """Name -> concrete function, for ``tf.saved_model.save``."""
        return dict(self.functions)

    def _answer(self, inputs: dict) -> dict:
        ids = self.encode(inputs[HISTORY])
        scores, places = tf.math.top_k(self._scores(ids), self.k)
        return {ITEMS: self.values.lookup(tf.cast(places, tf.int64)), SCORES: scores}

    def _score(self, inputs: dict) -> dict:
        return {SCORES: self._scores(inputs[HISTORY])}

    def encode(self, raw):
        """Raw items ``[B, any]`` to ids, padded on the left: int32 ``[B, any]``."""
        missing = tf.constant(MISSING[self.schema.raw], TYPES[self.schema.raw])
        lines = tf.cast(self.lines.lookup(raw), tf.int32)
        ids = tf.where(lines < 0, self.schema.unknown, lines + 1)
        ids = tf.ragged.boolean_mask(ids, raw != missing)
        padded = ids.to_tensor(0)
        return tf.reverse(tf.reverse_sequence(padded, ids.row_lengths(), 1), [1])

    def _scores(self, ids):
        """Scores of the known items; of a long history the last items are read."""
        width = self.schema.history
        read = tf.pad(ids, [[0, 0], [width, 0]])[:, -width:]
        scores = self._model().scores({ITEMS: read})
        return visible(scores, ids if self.exclude_seen else None)


def plausible_history(schema: SequenceSchema, vocab: Path, rows: int) -> dict[str, dict]:
    """A request of the most frequent items, as a user who has seen them all."""
    text = vocab_path(vocab, ITEM).read_text(encoding="utf-8")
    known = text.split("\n")[: min(schema.items, schema.history)]
    kind = np.int64 if schema.raw == "integer" else object
    return {RAW: {HISTORY: np.tile(np.array(known).astype(kind), [rows, 1])}}


def visible(scores, seen=None):
    """Scores of the known items, -infinity for those of the history.

    Args:
        scores: float ``[B, V + 1]``, the last of the unknown item.
        seen: int ``[B, any]`` ids, 0 for none; None: all items stay.

    Returns:
        float ``[B, V]``.
    """
    if seen is not None:
        unknown = tf.shape(scores)[1] - 1
        place = tf.where(seen > 0, seen - 1, unknown)
        rows = tf.repeat(tf.range(tf.shape(seen)[0]), tf.shape(seen)[1])
        where = tf.stack([rows, tf.reshape(place, [-1])], axis=1)
        nothing = tf.fill(tf.shape(rows), tf.constant(float("-inf"), scores.dtype))
        scores = tf.tensor_scatter_nd_update(scores, where, nothing)
    return scores[:, :-1]


def _function(function, spec: tf.TensorSpec):
    traced = tf.function(function, [{spec.name: spec}], autograph=False)
    return traced.get_concrete_function()
