"""Embedding tables of one width, fused into a single variable and read in one gather.

B batch, L values of a multi-valued input, D width.
"""

from collections import Counter
from itertools import groupby

import numpy as np
import tensorflow as tf

PADDING_ID = 0  # also "missing"
OUT_OF_VOCABULARY_ID = 1
POOLINGS = (None, "mean", "sum")
INITIAL_ROWS = 1 << 20  # drawn at once: a table shall not stand in memory twice
PART_SEEDS = 7_919


@tf.keras.utils.register_keras_serializable("steadyrank")
class FusedEmbedding(tf.keras.layers.Layer):
    """Looks up several id inputs in several tables, stacked into one variable.

    One variable means one gather, one sparse gradient and one optimizer update for all
    inputs, however many there are.  Its gradient is ``tf.IndexedSlices``: nothing here
    costs time in proportion to the tables.

    Id 0 is missing or padding and has a row of its own.  Pooling ignores padding, and
    a row of nothing but padding pools to the embedding of id 0.  An id outside of its
    table reads row 1, out-of-vocabulary: a CPU would raise, a GPU would return zeros.
    Padding is gathered with the rest (its gradient is zero), so row 0 of a table with a
    pooled input counts as touched in nearly every batch.

    Args:
        rows: Number of rows of each table.
        dim: D, the width shared by the tables.
        poolings: For each input ``"mean"``, ``"sum"`` or None (an embedding per id);
            None for all by default.
        tables: For each input the index of its table; by default input i reads table i.
        initializer: Of all tables. By default normal with standard deviation 0.01: it
            is what CowClip's published runs need (at 1e-4 its bound, in proportion to
            the norm, clips 18 % of all rows), and large batches do worse with less.

    Call arguments:
        inputs: List of int tensors, ``[B]`` or ``[B, L]``; pooled ones ``[B, L]``.

    Output shape:
        List in the order of the inputs: ``[B, D]`` each, and ``[B, L, D]`` for an input
        ``[B, L]`` without pooling.

    Example:

    >>> layer = FusedEmbedding(rows=[10, 5], dim=4, poolings=[None, "mean"])
    >>> user, tags = layer([tf.constant([7, 3]), tf.constant([[1, 2, 0], [0, 0, 0]])])
    >>> user.shape, tags.shape
    (TensorShape([2, 4]), TensorShape([2, 4]))
    """

    def __init__(
        self, rows, dim, poolings=None, tables=None, *, initializer=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.rows = list(rows)
        self.dim = dim
        self.tables = list(range(len(self.rows)) if tables is None else tables)
        self.poolings = list(poolings or [None] * len(self.tables))
        default = tf.keras.initializers.RandomNormal(stddev=0.01)
        self.initializer = tf.keras.initializers.get(initializer or default)
        self._check()
        self._compressed = self._scale = None
        self._offsets = [self.starts[table] for table in self.tables]

    def _check(self):
        if not self.rows or min(self.rows) < 1:
            raise ValueError(
                "rows must hold at least one table of at least one row. "
                f"Received: rows={list(self.rows)}. Leave empty tables out."
            )
        for table in self.tables:
            if not 0 <= table < len(self.rows):
                raise ValueError(
                    f"tables must hold indices below {len(self.rows)}, the number of "
                    f"tables. Received: tables={list(self.tables)}. Count from 0."
                )
        if len(self.poolings) != len(self.tables):
            raise ValueError(
                f"poolings must hold {len(self.tables)} entries, one for each input. "
                f"Received: poolings={list(self.poolings)}. Use None for no pooling."
            )
        for pooling in self.poolings:
            if pooling not in POOLINGS:
                raise ValueError(
                    f"poolings must hold only {POOLINGS}. "
                    f"Received: poolings={list(self.poolings)}. Change {pooling!r}."
                )

    @property
    def starts(self):
        """The first row of each table in the one variable."""
        return [sum(self.rows[:table]) for table in range(len(self.rows))]

    def build(self, input_shape):
        """Creates the one variable of all tables."""
        rows = sum(self.rows)
        whole = rows <= INITIAL_ROWS
        self.embeddings = self.add_weight(
            "embeddings",
            [rows, self.dim],
            initializer=self.initializer if whole else "zeros",
        )
        for part in range(0 if whole else -(-rows // INITIAL_ROWS)):
            first = part * INITIAL_ROWS
            self._start(part, range(first, min(first + INITIAL_ROWS, rows)))
        super().build(input_shape)

    def _start(self, part, rows):
        """Draws some rows of a table too large to be drawn at once beside itself."""
        config = self.initializer.get_config()
        if config.get("seed") is not None:
            config["seed"] += part * PART_SEEDS
        values = type(self.initializer).from_config(config)([len(rows), self.dim])
        indices = tf.range(rows.start, rows.stop)
        tf.distribute.get_strategy().extended.update(
            self.embeddings,
            lambda table, values, indices: table.scatter_update(
                tf.IndexedSlices(values, indices)
            ),
            args=(values, indices),
            group=False,
        )

    def call(self, inputs):
        """Reads all tables in one gather, then pools."""
        return self.assemble(inputs, self.gather(self.locate(inputs)))

    def locate(self, inputs):
        """Rows of the one variable that the inputs read.

        Args:
            inputs: As for ``call``.

        Returns:
            int ``[N]``, in the order in which ``assemble`` takes their embeddings.
        """
        if len(inputs) != len(self.tables):
            raise ValueError(
                f"inputs must hold {len(self.tables)} tensors. "
                f"Received: {len(inputs)} inputs. Pass one for each entry of tables."
            )
        groups = self._alike(inputs)
        stacks = [tf.stack([inputs[i] for i in group], axis=1) for group in groups]
        rows = [self._row_ids(*pair) for pair in zip(groups, stacks, strict=True)]
        flat = [tf.reshape(ids, [-1]) for ids in rows]
        return flat[0] if len(flat) == 1 else tf.concat(flat, 0)

    def gather(self, rows):
        """Embeddings ``[N, D]`` of rows ``[N]``."""
        if self._compressed is None:
            return tf.gather(self.embeddings, rows)
        gathered = tf.cast(tf.gather(self._compressed, rows), tf.float32)
        if self._scale is None:
            return gathered
        return gathered * tf.gather(self._scale, rows)

    def assemble(self, inputs, gathered):
        """Embeddings by input: what ``call`` returns, from gathered rows.

        Args:
            inputs: As for ``call``.
            gathered: ``[N, D]``, the embeddings of ``locate(inputs)``.
        """
        pieces = self.pieces(inputs, gathered, range(len(inputs)))
        by_input = {first: vectors for (first, *_), vectors in pieces}
        return [by_input[i] for i in range(len(inputs))]

    def pieces(self, inputs, gathered, runs):
        """The same, but inputs of one run stay side by side where they were gathered so.

        To take apart what is then put together again costs copies, and in a training step
        copies of gradients, too.

        Args:
            inputs: As for ``call``.
            gathered: As for ``assemble``.
            runs: A label for each input; equal ones make a run.

        Returns:
            Pairs ``(indices of inputs, [B, indices * D])``, the inputs in this order; for
            an input ``[B, L]`` without pooling ``((index,), [B, L, D])``.
        """
        pieces = []
        for group, block in self._blocks(inputs, gathered):
            pooling = self.poolings[group[0]]
            if pooling is not None:
                ids = tf.stack([inputs[i] for i in group], axis=1)
                block = pool(ids, block, pooling)
            if block.shape.rank == 4:
                alone = tf.unstack(block, axis=1)
                pieces += [((i,), x) for i, x in zip(group, alone, strict=True)]
                continue
            parts = [tuple(run) for _, run in groupby(group, key=lambda i: runs[i])]
            flat = tf.reshape(block, [-1, len(group) * self.dim])
            sizes = [len(part) * self.dim for part in parts]
            cut = tf.split(flat, sizes, axis=1) if len(parts) > 1 else [flat]
            pieces += zip(parts, cut, strict=True)
        return pieces

    def joined(self, inputs, gathered):
        """The embeddings of all inputs side by side, ``[B, inputs * D]``.

        A reshape where the inputs are alike: what was gathered lies in this order.
        """
        pieces = self.pieces(inputs, gathered, [0] * len(inputs))
        if len(pieces) == 1:
            return pieces[0][1]
        return tf.concat(self.assemble(inputs, gathered), axis=1)

    def by_sample(self, inputs, readings):
        """What there is of each reading, by sample, of tables that one may read twice.

        Args:
            inputs: As for ``call``.
            readings: ``[N]``, in the order of ``locate``.

        Returns:
            ``[B, M]``, of the inputs that are lists or share a table; None: none does.
        """
        found, readers = [], Counter(self.tables)
        for group, block in self._blocks(inputs, readings):
            twice = [
                place
                for place, i in enumerate(group)
                if inputs[i].shape.rank > 1 or readers[self.tables[i]] > 1
            ]
            if twice:
                block = tf.gather(block, twice, axis=1)
                found.append(tf.reshape(block, [tf.shape(block)[0], -1]))
        return tf.concat(found, axis=1) if found else None

    def _blocks(self, inputs, gathered):
        """Groups of like inputs, each with its ``[B, inputs of the group, ..., D]``.

        Of what is no vector, without D.
        """
        vector = [self.dim] if gathered.shape.rank > 1 else []
        groups = self._alike(inputs)
        shapes = [
            tf.concat([tf.shape(ids)[:1], [len(group)], tf.shape(ids)[1:]], 0)
            for group in groups
            for ids in [inputs[group[0]]]
        ]
        sizes = [tf.reduce_prod(shape) for shape in shapes]
        parts = tf.split(gathered, sizes, num=len(sizes)) if len(sizes) > 1 else [gathered]
        for group, shape, part in zip(groups, shapes, parts, strict=True):
            known = inputs[group[0]].shape
            block = tf.reshape(part, tf.concat([shape, vector], 0) if vector else shape)
            block.set_shape([known[0], len(group), *known[1:], *vector])
            yield group, block

    def reads_like(self, other, inputs):
        """Whether another table over the same rows would locate inputs in this order.

        Args:
            other: A ``FusedEmbedding`` of as many inputs.
            inputs: As for ``call``.
        """
        return self._alike(inputs) == other._alike(inputs)

    def _alike(self, inputs):
        """Inputs of one shape, type and pooling: what is done to one is done to all.

        An unknown number of rows is B in all of them; lists of unknown length may differ.
        """
        groups: dict[tuple, list[int]] = {}
        for i, ids in enumerate(inputs):
            unknown = None in ids.shape.as_list()[1:]
            key = ids.dtype, str(ids.shape), self.poolings[i], i if unknown else None
            groups.setdefault(key, []).append(i)
        return list(groups.values())

    def compress(self, dtype):
        """Reads a smaller copy of the table from now on; for serving, not for training.

        Args:
            dtype: ``"float16"``, ``"bfloat16"``, or ``"int8"`` with one scale for each row,
                the largest magnitude being 127.

        Returns:
            The variables read in place of ``embeddings``.
        """
        table = tf.convert_to_tensor(self.embeddings)
        if dtype == "int8":
            scale = tf.reduce_max(tf.abs(table), axis=1, keepdims=True) / 127
            table = tf.round(tf.math.divide_no_nan(table, scale))
            self._scale = tf.Variable(scale, trainable=False, name="scale")
        name = f"embeddings_{dtype}"
        self._compressed = tf.Variable(tf.cast(table, dtype), trainable=False, name=name)
        return [v for v in (self._compressed, self._scale) if v is not None]

    def _row_ids(self, group, ids):
        """Rows of the one variable for ids ``[B, inputs of the group, ...]``."""
        rows = [self.rows[self.tables[i]] for i in group]
        last = [min(OUT_OF_VOCABULARY_ID, size - 1) for size in rows]
        shape = [1, len(group)] + [1] * (ids.shape.rank - 2)
        limit, unknown, offset = (
            np.reshape(numbers, shape)
            for numbers in (rows, last, [self._offsets[i] for i in group])
        )
        inside = tf.logical_and(ids >= 0, ids < tf.constant(limit, ids.dtype))
        ids = tf.where(inside, ids, tf.constant(unknown, ids.dtype))
        # int64 on the way in would be concatenated with int32: choose by size, once.
        dtype = tf.int32 if sum(self.rows) < 2**31 else tf.int64
        return tf.cast(ids, dtype) + tf.constant(offset, dtype)

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            **super().get_config(),
            "rows": self.rows,
            "dim": self.dim,
            "poolings": self.poolings,
            "tables": self.tables,
            "initializer": tf.keras.initializers.serialize(self.initializer),
        }


def pool(ids, embedded, pooling):
    """Pools ``[..., L, D]`` over L, leaving padding out.

    Args:
        ids: int ``[..., L]``, 0 where there is no value.
        embedded: ``[..., L, D]``, the embeddings of these ids.
        pooling: ``"mean"`` or ``"sum"``.

    Returns:
        ``[..., D]``; where all ids are 0 the embedding of id 0, once.
    """
    weights = present(ids, embedded.dtype)
    if pooling == "mean":
        weights /= tf.reduce_sum(weights, axis=-1, keepdims=True)
    return tf.linalg.matvec(embedded, weights, transpose_a=True)


def present(ids, dtype=tf.float32):
    """Where there is a value: the places that pooling and attention count.

    Args:
        ids: int ``[..., L]``, 0 where there is no value.
        dtype: Of the answer.

    Returns:
        ``[..., L]`` of 1 and 0, or of booleans; where all ids are 0, the last place counts.
    """
    found = ids != PADDING_ID
    last = tf.range(tf.shape(ids)[-1]) == tf.shape(ids)[-1] - 1
    nothing = tf.logical_not(tf.reduce_any(found, axis=-1, keepdims=True))
    return tf.cast(tf.logical_or(found, tf.logical_and(nothing, last)), dtype)
