"""What happens to the rows of a log before they are encoded: each is kept, dropped as
an exact duplicate, or rejected with a reason, and all of them are counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.examples.records import NO_GROUP
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.raw_log.columns import (
    convert,
    in_one_piece,
    is_bytes,
    is_text,
    to_floats,
    to_integers,
    to_ms,
    to_strings,
)
from steadyrank.pipeline.raw_log.fingerprint import fingerprint, hash_values
from steadyrank.pipeline.raw_log.join import join_side
from steadyrank.pipeline.raw_log.one_type import in_one_type
from steadyrank.pipeline.raw_log.split import (
    SPLITS,
    assign_split,
    assign_window,
    window_name,
)

HIGH, LOW, SOURCE = "__fingerprint_high", "__fingerprint_low", "__source"


def key_rows(
    table: pa.Table, path: str, plan: Plan
) -> tuple[dict[str, pa.Table], pa.Table | None]:
    """Fingerprint a batch and sort its rows by split, window and shard.

    Args:
        table: A batch of the raw log, with all its columns.
        path: The file it came from.
        plan: The plan.

    Returns:
        Tables by key ``split/window/shard``, and the rows without a readable time.
    """
    high, low = fingerprint(table)
    table = table.select(plan.carried)
    source = np.full(len(table), plan.log.files.index(path), np.int32)
    table = table.append_column(SOURCE, pa.array(source))
    data = plan.config.data
    ms, rejected = None, None
    if data.time:
        ms, bad = to_ms(in_one_piece(table[data.time]), data.time_unit, data.timezone)
        if bad.any():
            rejected = with_reason(
                table.filter(bad), f"{data.time}: no readable time", plan
            )
            table, ms = table.filter(~bad), ms[~bad]
            high, low = high[~bad], low[~bad]
    table = table.append_column(HIGH, pa.array(high)).append_column(LOW, pa.array(low))
    split = assign_split(data, ms, high, path in plan.held_out)
    window = assign_window(data, ms, len(table))
    shard = (low % np.uint64(plan.shards)).astype(np.int64)
    return _partition(table, split, window, shard, data), rejected


def _partition(table, split, window, shard, data) -> dict[str, pa.Table]:
    """Cut a batch where (split, window, shard) changes, after sorting by them."""
    if not len(table):
        return {}
    order = np.lexsort((shard, window, split))
    split, window, shard = split[order], window[order], shard[order]
    change = (np.diff(split) != 0) | (np.diff(window) != 0) | (np.diff(shard) != 0)
    starts = [0, *(np.flatnonzero(change) + 1), len(order)]
    table = table.take(pa.array(order))
    return {
        f"{SPLITS[split[a]]}/{window_name(data, int(window[a]))}/{shard[a]:05d}": (
            table.slice(a, b - a)
        )
        for a, b in zip(starts, starts[1:], strict=False)
    }


@dataclass(frozen=True)
class Settled:
    """The final rows of one shard, in the order of their fingerprints.

    Attributes:
        typed: As ``type_rows`` gives them.
        raw: The columns that were asked for, of the same rows; None: none were.
        rejected: Other rows, with their reasons.
        counts: ``duplicates`` and ``unmatched/<column>: <side table>``.
    """

    typed: pa.Table
    raw: pa.Table | None
    rejected: list[pa.Table]
    counts: Counter


def settle_rows(
    tables: list[pa.Table],
    sides: list[pa.Table],
    plan: Plan,
    columns: Sequence[str] = (),
) -> Settled:
    """Make the rows of one shard final: in order, without duplicates, joined and typed.

    Args:
        tables: All that was keyed for the shard, in any order.
        sides: The side tables.
        plan: The plan.
        columns: Raw columns to keep beside the typed ones.
    """
    alike = _alike(tables)
    order, counts = _order(alike, plan.config.data.drop_duplicates)
    typed, raw, places, rejected, start = [], [], [], [], 0
    for table in alike:
        place = np.flatnonzero((order >= start) & (order < start + len(table)))
        start, table = start + len(table), table.take(pa.array(order[place] - start))
        for join, log, side in zip(plan.config.data.join, plan.sides, sides, strict=True):
            table, unmatched = join_side(table, side, join.on, join.prefix)
            counts[f"unmatched/{join.on}: {log.files[0]}"] += unmatched
        converted, reasons = type_rows(table, plan)
        bad = reasons != ""
        rejected += [
            with_reason(table.filter(reasons == reason), reason, plan)
            for reason in np.unique(reasons[bad])
        ]
        typed.append(converted.filter(~bad))
        raw.append(table.select(list(columns)).filter(~bad))
        places.append(place[~bad])
    together = pa.array(np.argsort(np.concatenate(places)))
    return Settled(
        pa.concat_tables(typed).take(together),
        in_one_type(raw).take(together) if columns else None,
        rejected,
        counts,
    )


def _alike(tables: list[pa.Table]) -> list[pa.Table]:
    """Tables of the same types together.

    Files may hold one column in several types.  Arrow would make whole numbers reals and
    lose large ids, or find no common type: each is converted from the type it has.
    """
    alike: dict = {}
    for table in tables:
        alike.setdefault(tuple(table.schema.types), []).append(table)
    return [pa.concat_tables(some) for some in alike.values()]


def _order(tables: list[pa.Table], unique: bool) -> tuple[np.ndarray, Counter]:
    """Places of the rows of some tables by fingerprint; of equal ones the first alone."""
    high, low = (
        np.concatenate([t[name].to_numpy() for t in tables]) for name in (HIGH, LOW)
    )
    order, counts = np.lexsort((low, high)), Counter()
    if unique:
        same = (np.diff(high[order]) == 0) & (np.diff(low[order]) == 0)
        order = order[np.concatenate([[True], ~same])]
        counts["duplicates"] = int(same.sum())
    return order, counts


def type_rows(table: pa.Table, plan: Plan) -> tuple[pa.Table, np.ndarray]:
    """Convert what the model will see.

    Returns:
        A table with columns ``feature/<name>`` (string, int64, float64 or lists of
        them), ``label/<task>``, ``truth/<task>`` and ``weight/<task>`` (float64),
        ``group`` (int64),
        null where missing, plus the fingerprints; and for each row the reason to
        reject it, or ``""``.
    """
    columns, reasons = {}, np.full(len(table), "", object)

    def blame(bad: np.ndarray, reason: str):
        reasons[bad & (reasons == "")] = reason

    for feature in plan.features:
        raw = in_one_piece(table[plan.columns[feature.name]])
        if pa.types.is_null(raw.type) and feature.max_values and not feature.separator:
            raw = pa.nulls(len(raw), pa.list_(pa.null()))
        values, bad = convert(raw, feature.raw, feature.separator)
        kind = "a whole number" if feature.raw == "integer" else "a number"
        blame(bad, f"feature {feature.name}: not {kind}")
        columns[f"feature/{feature.name}"] = values
    for task, item in zip(plan.tasks, plan.config.tasks, strict=True):
        values, bad = to_floats(in_one_piece(table[plan.columns[task.name]]))
        blame(bad, f"label {task.name}: not a number")
        if item.at_least is not None:
            values = pc.greater_equal(values, item.at_least).cast(pa.float64())
        blame(*_impossible(values, task))
        columns[f"label/{task.name}"] = values
        if item.truth:
            values, bad = to_floats(in_one_piece(table[item.truth]))
            blame(bad, f"truth of {task.name}: not a number")
            if task.kind == "binary":
                numbers = values.to_numpy(zero_copy_only=False)
                beyond = (numbers < 0) | (numbers > 1)
                blame(beyond, f"truth of {task.name}: not from 0 to 1")
            columns[f"truth/{task.name}"] = values
        if item.sample_weight:
            weights, bad = to_floats(in_one_piece(table[item.sample_weight]))
            numbers = weights.to_numpy(zero_copy_only=False)
            blame(bad | ~(numbers >= 0), f"sample weight of {task.name}: not 0 or more")
            columns[f"weight/{task.name}"] = weights
    if plan.config.data.group:
        columns["group"] = group_numbers(in_one_piece(table[plan.config.data.group]))
    columns[LOW] = in_one_piece(table[LOW])
    return pa.table(columns), reasons


def _impossible(values: pa.Array, task) -> tuple[np.ndarray, str]:
    """Where a label is none: but 0 and 1 for a binary task, below 0 for a logarithm."""
    numbers = values.to_numpy(zero_copy_only=False)
    if task.kind == "binary":
        return ~np.isnan(numbers) & (numbers != 0) & (numbers != 1), (
            f"label {task.name}: neither 0 nor 1"
        )
    lowest = 0.0 if task.transform == "log1p" else -np.inf
    return numbers < lowest, f"label {task.name}: below 0, which log1p does not take"


def group_numbers(values: pa.Array) -> pa.Array:
    """Groups as int64: whole numbers as they are, anything else by its hash.

    ``NO_GROUP`` where there is none.  A group is the same in files of other types.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text(values.type):
        values, _ = to_strings(values)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_integer(values.type):
        return pc.fill_null(values.cast(pa.int64(), safe=False), NO_GROUP)
    groups = _hashed(values)
    if pa.types.is_floating(values.type):
        whole, other = to_integers(values)
        groups = np.where(other, groups, pc.fill_null(whole, NO_GROUP).to_numpy())
    missing = pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
    return pa.array(np.where(missing, NO_GROUP, groups))


def _hashed(values: pa.Array) -> np.ndarray:
    return hash_values(values).view(np.int64)


def with_reason(table: pa.Table, reason: str, plan: Plan) -> pa.Table:
    """Rejected rows as they are stored: with the file they came from, and why.

    Values are text.  Columns that hold no plain values are left out, and those of the
    log that are called as one of ours get a ``_``.
    """
    ours = {
        "source": pa.array(plan.log.files).take(in_one_piece(table[SOURCE])),
        "reason": pa.array([reason] * len(table), pa.string()),
    }
    columns = {}
    for name in table.column_names:
        kind, stored = table.schema.field(name).type, name
        if name.startswith("__") or pa.types.is_nested(kind) or is_bytes(kind):
            continue
        while stored in ours or (stored != name and stored in table.column_names):
            stored += "_"
        columns[stored] = in_one_piece(table[name]).cast(pa.string())
    return pa.table(columns | ours)
