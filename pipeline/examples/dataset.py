"""Packed examples to batches, with ``tf.data``.

A batch is ``(features, labels, masks)``: three dictionaries by name.  Masks are float32
``[B]``: where the row lies in the task's sample space and has a label 1, or the row's
weight for the task; else 0.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.models.features import GROUP, SOFT, sample_space
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.examples.reading import reader
from steadyrank.pipeline.examples.records import NO_GROUP, parse_block

INTERLEAVED_FILES = 8
FILE = tf.string, tf.string, tf.int64  # its path, its records' encoding, how many they are


class TrainingPasses:
    """Passes over the training split, each in another order.

    Windows come in the order of time.  Within a window, files are read in a random
    order, several at once, and ``shuffle_rows`` rows at a time are permuted.  Rows were
    already put in a random order when they were written (by fingerprint), so that any
    run of them is a random sample of its file.

    A dataset that is built anew for each pass leaves what its functions were compiled to
    in TensorFlow's cache of kernels for as long as the process lives.  So what differs
    from pass to pass goes into one graph, as tensors.

    Args:
        examples: The example set.
        batch_size: Rows of every batch but the last one, which may be smaller.
        seed: The same seed gives the same batches.
        shuffle_rows: Rows that are permuted together.
        windows: Those to read; None: all.
        parts: Into how many the rows of each batch are cut, one for each replica of all
            workers; None: they are not.
        own: Which of these parts are wanted here.
        grouped: Whether rows of a group that are permuted together stay together, and
            their group comes beside the labels, as ``GROUP``.
    """

    def __init__(
        self,
        examples: ExampleSet,
        *,
        batch_size: int,
        seed: int,
        shuffle_rows: int,
        windows: Sequence[str] | None = None,
        parts: int | None = None,
        own: range = range(1),
        grouped: bool = False,
    ):
        self._grouped = grouped
        self._examples, self._windows, self._seed = examples, windows, seed
        self._rows = batch_size, shuffle_rows
        self._parts, self._own = parts, own
        several, number = [None, None], tf.TensorSpec([], tf.int64)
        files = (
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec(several, tf.string),
            tf.TensorSpec(several, tf.string),
            tf.TensorSpec(several, tf.int64),
        )
        self._built = tf.function(self._build, (files, number, number), autograph=False)

    def __call__(self, epoch: int, skip_batches: int = 0) -> tf.data.Dataset:
        """One pass.

        Args:
            epoch: Its number.
            skip_batches: Batches to pass over: where an interrupted pass goes on.

        Returns:
            A dataset of ``(features, labels, masks, window)``; ``window`` ``[B]`` is the
            number of each row's window, counted in ``examples.windows("train")``.  With
            ``parts`` of ``(a tuple of (features, labels, masks), window)``: the parts,
            some of which a small batch leaves empty, and the windows of all the batch's
            rows.
        """
        files = _shuffled_files(self._examples, epoch, self._seed, self._windows)
        place = (tf.constant(n, tf.int64) for n in (epoch, skip_batches))
        return _with_options(self._built(tuple(map(tf.constant, files)), *place))

    def _build(self, files: tuple, epoch: tf.Tensor, skip: tf.Tensor) -> tf.data.Dataset:
        schema, (batch_size, shuffle_rows) = self._examples.schema, self._rows
        records = _records(self._examples)

        def read_window(window, *columns):
            blocks = tf.data.Dataset.from_tensor_slices(columns)
            blocks = blocks.filter(lambda path, *_: path != "")
            blocks = blocks.interleave(records, INTERLEAVED_FILES, 1)
            rows = blocks.map(
                lambda *record: parse_block(*record, schema.layout, self._grouped),
                tf.data.AUTOTUNE,
            ).rebatch(shuffle_rows)

            def permute(index, block):
                place = window * 1_000_003 + index
                block = _permuted(block, tf.stack([self._seed * 1_000_003 + epoch, place]))
                return {**block, "window": tf.fill([_rows(block)], window)}

            return rows.enumerate().map(permute, tf.data.AUTOTUNE)

        dataset = tf.data.Dataset.from_tensor_slices(files).flat_map(read_window)
        dataset = dataset.rebatch(batch_size).skip(skip)
        return dataset.map(self._form, tf.data.AUTOTUNE).prefetch(4)

    def _form(self, rows: dict) -> tuple:
        schema, parts = self._examples.schema, self._parts
        if parts is None:
            return (*_training(rows, schema), rows["window"])
        cut = tuple(_training(_part(rows, parts, n), schema) for n in self._own)
        return cut, rows["window"]


def training_dataset(
    examples: ExampleSet, *, epoch: int, skip_batches: int = 0, **how
) -> tf.data.Dataset:
    """One pass over the training split; see ``TrainingPasses``."""
    return TrainingPasses(examples, **how)(epoch, skip_batches)


class EvaluationPasses:
    """Passes over splits, in the order of their files, remainders included.

    Built once for all splits and windows: what tells one from another are values in it.

    Args:
        examples: The example set.
        batch_size: Rows of a batch.
        extra: Whether to give the columns that only evaluation needs, too.
    """

    def __init__(self, examples: ExampleSet, batch_size: int, extra: bool = False):
        self._examples, self._rows, self._extra = examples, batch_size, extra
        files = tuple(tf.TensorSpec([None], kind) for kind in FILE)
        span = tf.TensorSpec([2], tf.int64)
        self._built = tf.function(self._build, (files, span), autograph=False)

    def __call__(
        self,
        split: str,
        windows: Sequence[str] | None = None,
        own: range | None = None,
    ) -> tf.data.Dataset:
        """One pass.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            windows: Those to read; None: all.
            own: The batches to give, by their numbers; None: all.

        Returns:
            A dataset of ``(features, labels, masks)``, and with ``extra`` a fourth
            dictionary with keys ``group`` and ``truth/<task>``.
        """
        found = self._examples.windows(split)
        wanted = found if windows is None else windows
        return self.of([path for window in wanted for path in found[window]], own)

    def of(self, paths: Sequence[Path], own: range | None = None) -> tf.data.Dataset:
        """The rows of some of the files, in their order; see ``__call__``."""
        span = tf.constant([0, -1] if own is None else [own.start, len(own)], tf.int64)
        return _with_options(self._built(_columns(self._examples, paths), span))

    def _build(self, files: tuple, span: tf.Tensor) -> tf.data.Dataset:
        schema, extra = self._examples.schema, self._extra
        blocks = tf.data.Dataset.from_tensor_slices(files)
        blocks = blocks.flat_map(_records(self._examples))
        rows = blocks.map(
            lambda *r: parse_block(*r, schema.layout, extra), tf.data.AUTOTUNE
        ).rebatch(self._rows)
        return (
            rows.skip(span[0])
            .take(span[1])
            .map(lambda matrices: self._form(matrices, schema), tf.data.AUTOTUNE)
            .prefetch(4)
        )

    def _form(self, matrices: dict, schema: Schema) -> tuple:
        batch = _batch(schema.layout.columns(matrices), schema)
        return (*batch, _extra(matrices, schema)) if self._extra else batch


def evaluation_dataset(
    examples: ExampleSet, split: str, batch_size: int, extra: bool = False, **which
) -> tf.data.Dataset:
    """One pass over a split; see ``EvaluationPasses``."""
    return EvaluationPasses(examples, batch_size, extra)(split, **which)


def file_dataset(
    examples: ExampleSet, paths: Sequence[Path], batch_size: int, extra: bool = False
) -> tf.data.Dataset:
    """The rows of some of the files, in their order; see ``EvaluationPasses``."""
    return EvaluationPasses(examples, batch_size, extra).of(paths)


def records_of(examples: ExampleSet, paths: Sequence[Path]) -> tf.data.Dataset:
    """The records of some of the files, in their order, each with its encoding."""
    columns = _columns(examples, paths)
    return tf.data.Dataset.from_tensor_slices(columns).flat_map(_records(examples))


def _columns(examples: ExampleSet, paths: Sequence[Path]) -> tuple:
    """What ``_records`` needs to know of files, of the types ``FILE``."""
    found = [
        (examples.readable(p), examples.encoding(p), examples.blocks(p)) for p in paths
    ]
    columns = zip(*found, strict=True) if found else [[]] * len(FILE)
    return tuple(
        tf.constant([*column], kind) for column, kind in zip(columns, FILE, strict=True)
    )


def _records(examples: ExampleSet) -> Callable[..., tf.data.Dataset]:
    """A function of the columns of ``FILE``: a file's records, each beside the fingerprint
    that it must carry.

    As many as there must be, or reading fails: a file may be cut while it is in use, and
    a store may answer with less than there is.
    """
    read = reader(examples.source)

    def records(path, encoding, blocks):
        found = read(path).apply(tf.data.experimental.assert_cardinality(blocks))
        return found.map(lambda record: (record, encoding))

    return records


def batches_in_epoch(examples: ExampleSet, batch_size: int) -> int:
    """Batches that ``training_dataset`` gives."""
    return -(-examples.rows("train") // batch_size)


def _shuffled_files(examples: ExampleSet, epoch: int, seed: int, windows):
    """Window numbers, their files in a random order, encodings and blocks; padded."""
    numbers, rows, encodings, blocks = [], [], [], []
    for number, (window, paths) in enumerate(examples.windows("train").items()):
        if windows is None or window in windows:
            random = np.random.default_rng([seed, epoch, number])
            numbers.append(number)
            order = random.permutation(len(paths))
            rows.append([examples.readable(paths[i]) for i in order])
            encodings.append([examples.encoding(paths[i]) for i in order])
            blocks.append([examples.blocks(paths[i]) for i in order])
    names = _padded(rows, ""), _padded(encodings, "")
    return np.array(numbers, np.int64), *names, _padded(blocks, 0).astype(np.int64)


def _padded(rows: list[list], filler: str | int) -> np.ndarray:
    widest = max(map(len, rows), default=0)
    padded = [row + [filler] * (widest - len(row)) for row in rows]
    return np.array(padded, object).reshape(len(rows), widest)


def _part(block: dict, parts: int, number: int) -> dict:
    """One of the parts of a block's rows, which differ by one row at most."""
    size = _rows(block)
    first, end = size * number // parts, size * (number + 1) // parts
    return {name: values[first:end] for name, values in block.items()}


def _permuted(block: dict, key) -> dict:
    """Rows in a random order; where they have groups, groups in one."""
    order = tf.argsort(tf.random.stateless_uniform([_rows(block)], key, dtype=tf.float64))
    if "group" in block:
        groups = own_numbers(tf.gather(block["group"], order))
        found = tf.unique(groups)
        draws = tf.random.stateless_uniform([tf.size(found.y)], key + 1, dtype=tf.float64)
        order = tf.gather(order, tf.argsort(tf.gather(draws, found.idx), stable=True))
    return {name: tf.gather(values, order) for name, values in block.items()}


def own_numbers(groups):
    """Groups ``[rows]`` in which each row that had none has one of its own."""
    missing = tf.equal(groups, NO_GROUP)
    own = NO_GROUP + tf.cumsum(tf.cast(missing, tf.int64))
    return tf.where(missing, own, groups)


def _rows(block: dict):
    return tf.shape(next(iter(block.values())))[0]


def _training(matrices: dict, schema: Schema) -> tuple[dict, dict, dict]:
    """A batch with what only losses read beside the labels."""
    columns = schema.layout.columns(matrices)
    features, labels, masks = _batch(columns, schema)
    soft = _under(columns, "soft/").items()
    labels |= {SOFT + name: values for name, values in soft}
    if "group" in columns:
        labels[GROUP] = own_numbers(columns["group"])
    return features, labels, masks


def _batch(columns: dict, schema: Schema) -> tuple[dict, dict, dict]:
    labels = _under(columns, "label/")
    weights = _under(columns, "weight/")
    masks = {
        task.name: tf.cast(sample_space(task, schema.tasks, labels), tf.float32)
        * weights.get(task.name, 1.0)
        for task in schema.tasks
    }
    return _under(columns, "feature/"), labels, masks


def _under(block: dict, prefix: str) -> dict:
    return {
        key.removeprefix(prefix): values
        for key, values in block.items()
        if key.startswith(prefix)
    }


def _extra(matrices: dict, schema: Schema) -> dict:
    columns = schema.layout.columns(matrices)
    return {k: v for k, v in columns.items() if k == "group" or k.startswith("truth/")}


def _with_options(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Autotuning's thread sleeps between its looks, and the end of a pass waits for it.
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return dataset.with_options(options)
