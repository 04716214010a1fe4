"""Typed rows become the records of a file, a block at a time."""

from collections import Counter
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import CLOCKS, Feature, sample_space
from steadyrank.models.ids import MISSING_ID
from steadyrank.pipeline.contract import profile
from steadyrank.pipeline.examples.records import encode_blocks, write_records
from steadyrank.pipeline.preprocess import vocabulary as vocab
from steadyrank.pipeline.preprocess.codes import code_ids, cross_ids
from steadyrank.pipeline.preprocess.files import create_checked
from steadyrank.pipeline.preprocess.memory import give_back_memory, trim
from steadyrank.pipeline.preprocess.placed import spans
from steadyrank.pipeline.preprocess.settle import file_name
from steadyrank.pipeline.raw_log.columns import as_matrix, is_list
from steadyrank.pipeline.raw_log.split import DAY


class Encode(beam.DoFn):
    """A shard's typed rows to its TFRecord file; yields what the manifest says of it.

    Args:
        output: The folder of the job's output.
        profiled: The first day of which the contract wants a profile.
        derived: Features that the contract does not hold: they are made of what it holds.
    """

    def __init__(self, output: str, profiled: str = "", derived: tuple[str, ...] = ()):
        self.output, self.profiled, self.derived = output, profiled, derived

    def setup(self):
        give_back_memory()

    def process(self, item, learned: vocab.Learned):
        if learned.overflows:  # the job will be refused for it
            return
        key, rows = item
        split, window, _ = key.split("/")
        path, encoding = f"{file_name(key)}.tfrecord", learned.schema.fingerprint
        tasks, unknown, amounts = [], [], {}
        with create_checked(f"{self.output}/{path}") as file:
            for table in rows.blocks():
                arrays, strangers = encode_rows(table, learned)
                matrices = learned.schema.layout.matrices(arrays)
                write_records(file, encode_blocks(matrices, encoding))
                tasks.append(count_labels(arrays, learned.tasks))
                unknown.append(strangers)
                if window[:DAY] >= self.profiled:
                    how = {"split": split, "derived": self.derived}
                    some = profile_rows(table, arrays, strangers, learned, **how)
                    amounts = profile.total([amounts, some])
        trim()
        yield {
            "path": path,
            "split": split,
            "window": window,
            "rows": len(rows),
            "bytes": file.bytes,
            "checksum": file.checksum,
            "encoding": encoding,
            "tasks": add_by_name(tasks),
            "unknown": add_by_name(unknown),
            "profile": amounts,
        }


def encode_rows(table: pa.Table, learned: vocab.Learned):
    """Typed rows as the arrays of the byte contract.

    Returns:
        Key -> array, and how many values of each feature were out of vocabulary or, of
        a multi-valued one, beyond ``max_values``.
    """
    arrays, unknown = {}, {}
    by_name = {feature.name: feature for feature in learned.features}
    for feature in learned.features:
        key = f"feature/{feature.name}"
        if feature.of:
            parts = (
                (by_name[n], table[f"feature/{n}"].combine_chunks()) for n in feature.of
            )
            arrays[key] = cross_ids(parts, feature)
            continue
        values = table[key].combine_chunks()
        if feature.kind == "numeric":
            arrays[key] = as_matrix(values) if feature.width else vocab.as_float32(values)
            continue
        if not feature.has_vocabulary:
            arrays[key] = code_ids(values, feature)
            continue
        vocabulary = learned.vocabularies[feature.name]
        flat = values.flatten() if is_list(values.type) else values
        ids = vocab.look_up(flat, vocabulary, feature)
        counts = {"out_of_vocabulary": int(feature.ids.is_unknown(ids).sum())}
        if is_list(values.type):
            latest = feature.kind == "sequence"
            ids, counts["beyond_max_values"] = pad_lists(
                values, ids, feature.max_values, latest
            )
        arrays[key], unknown[feature.name] = ids, counts
    for name in table.column_names:
        if name.startswith(("label/", "truth/", "weight/", "soft/")):
            arrays[name] = vocab.as_float32(table[name].combine_chunks())
        elif name == "group":
            arrays[name] = table[name].to_numpy()
    return arrays, unknown


def profile_rows(
    table: pa.Table,
    arrays,
    unknown,
    learned: vocab.Learned,
    *,
    split: str,
    derived: tuple[str, ...] = (),
) -> dict:
    """What some typed rows amount to, for the contract.

    Args:
        table: The rows.
        arrays: As ``encode_rows`` gave them.
        unknown: As it did.
        learned: What they were encoded with.
        split: Whose rows they are.
        derived: Features that are left out.
    """
    features = {}
    for feature in learned.features:
        if feature.name in derived:
            continue
        key = f"feature/{feature.name}"
        if feature.kind == "numeric":
            features[feature.name] = profile.of_number(arrays[key].ravel())
            continue
        column = table[key].combine_chunks()
        if not feature.has_vocabulary:
            features[feature.name] = _profile_codes(feature, column, arrays[key], split)
            continue
        flat = column.flatten() if is_list(column.type) else column
        names = learned.vocabularies[feature.name].first(profile.NAMED)
        if is_list(column.type):  # of which the arrays hold some values alone
            wanted = pa.array(names, pa.string()).cast(flat.type)
            lines = pc.fill_null(pc.index_in(flat, value_set=wanted), -1).to_numpy()
        else:
            lines = feature.ids.line_of(arrays[key])
        counts = np.bincount(lines[(lines >= 0) & (lines < len(names))], None, len(names))
        known = dict(zip(names, counts.tolist(), strict=True))
        how = {"known": known, "unknown": unknown[feature.name]["out_of_vocabulary"]}
        features[feature.name] = profile.of_values(column, flat, split=split, **how)
    labels = {task.name: arrays[f"label/{task.name}"] for task in learned.tasks}
    of_labels = profile.of_labels(labels, learned.tasks)
    return {"rows": len(table), "features": features, "tasks": of_labels}


def _profile_codes(feature: Feature, column: pa.Array, ids, split: str) -> dict:
    """What a feature without a vocabulary amounts to: there is no unknown value."""
    known: dict = {}
    if feature.kind in CLOCKS:
        names = [str(code) for code in range(CLOCKS[feature.kind])]
        counts = np.bincount(ids, minlength=len(names) + 1)[1:].tolist()
        known = dict(zip(names, counts, strict=True))
        column = pa.array(feature.ids.line_of(ids), mask=ids == MISSING_ID)
    return profile.of_values(column, column, known=known, unknown=None, split=split)


def pad_lists(
    lists: pa.Array, ids: np.ndarray, width: int, latest: bool = False
) -> tuple[np.ndarray, int]:
    """The first ``width`` ids of each list as a matrix, 0 after the last.

    Args:
        lists: Whose lengths say which ids are in which list.
        ids: Of all lists' values.
        width: Of the matrix.
        latest: Whether it is the last ids of a list that are kept, 0 before the first.

    Returns:
        int32 ``[rows, width]``, and how many ids were cut off.
    """
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    matrix, begins = np.zeros((len(lists), width), np.int32), np.cumsum(lengths) - lengths
    cut = np.maximum(lengths - width, 0)
    lengths = lengths - cut
    if cut.any():
        ids = ids[spans(begins + latest * cut, lengths)]
    at = np.arange(len(lists)) * width + latest * (width - lengths)
    matrix.ravel()[spans(at, lengths)] = ids
    return matrix, int(cut.sum())


def count_labels(arrays: dict[str, np.ndarray], tasks) -> dict[str, dict[str, int]]:
    """Task -> rows in its sample space, positives, and labels set though not given."""
    labels = {task.name: arrays[f"label/{task.name}"] for task in tasks}
    counts = {}
    for task in tasks:
        inside = sample_space(task, tasks, labels)
        positive = labels[task.name] > 0
        counts[task.name] = {
            "rows": int(inside.sum()),
            "positives": int((positive & inside).sum()),
            "given_violations": int((positive & ~inside).sum()),
        }
    return counts


def add_by_name(parts: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Name -> its counts over all parts."""
    totals: dict[str, Counter] = {}
    for part in parts:
        for name, counts in part.items():
            totals.setdefault(name, Counter()).update(counts)
    return {name: dict(counts) for name, counts in totals.items()}
