"""What happens to the rows of a log before they are encoded: each is kept, dropped as
an exact duplicate, or rejected with a reason, and all of them are counted."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import raw_features
from steadyrank.pipeline.config.events import in_ms
from steadyrank.pipeline.config.ranking import DRAWN
from steadyrank.pipeline.config.tasks import beside
from steadyrank.pipeline.examples.records import NO_GROUP
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.raw_log.columns import (
    Notation,
    as_lists,
    convert,
    in_one_piece,
    is_number,
    is_text,
    pointed,
    rejoined,
    to_finite,
    to_integers,
    to_strings,
    to_vectors,
)
from steadyrank.pipeline.raw_log.findings import (
    Findings,
    as_integers,
    count_days,
    count_spellings,
    without_zeros,
)
from steadyrank.pipeline.raw_log.fingerprint import fingerprint, hash_values, mix
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.join import join_side, take_carried
from steadyrank.pipeline.raw_log.rejected import PLACE, places, with_reason
from steadyrank.pipeline.raw_log.split import (
    SPLITS,
    assign_split,
    assign_window,
    read_split,
    uniform,
    window_name,
)
from steadyrank.pipeline.raw_log.times import to_moments, to_ms

NOTHING = Findings()
DROPPED = "dropped"  # in the counts: negatives that the config leaves out
UNGROUPED = "ungrouped"  # in the counts: rows of the log that name no group
NO_POSITIVE = "not 1, and data.negatives is for a log of positives alone"
BEYOND = "infinite"  # in the counts: numbers that are taken as missing for it
NO_TIME = "not a time"
TOO_LARGE = "infinite, or beyond float32"
HIGH, LOW = "__fingerprint_high", "__fingerprint_low"


def key_rows(
    batch: Batch, path: str, plan: Plan
) -> tuple[dict[str, pa.Table], pa.Table | None, Counter]:
    """Fingerprint a batch and sort its rows by split, window and shard.

    Args:
        batch: Some rows of the raw log, with all its columns.
        path: The file they came from.
        plan: The plan.

    Returns:
        Tables by key ``split/window/shard``, the rows without a readable time, and what
        is counted before rows are final.
    """
    high, low = fingerprint(batch.table)
    table = batch.table.select(plan.carried)
    place = places(plan.log.files.index(path), batch.lines)
    table = table.append_column(PLACE, pa.array(place))
    data = plan.config.data
    ms, rejected, counts = None, None, count_spellings(table, plan.texts)
    if data.time:
        ms, bad = read_times(table[data.time], data)
        if bad.any():
            reason = f"{data.time}: no readable time"
            rejected = with_reason(table.filter(bad), reason, data.time, plan.log.files)
            table, ms = table.filter(~bad), ms[~bad]
            high, low = high[~bad], low[~bad]
        counts.update(count_days(ms))
    table = table.append_column(HIGH, pa.array(high)).append_column(LOW, pa.array(low))
    if data.split.column:
        split, unknown = _named_splits(table, plan)
        if unknown is not None:
            known = split >= 0
            others = [unknown] if rejected is None else [rejected, unknown]
            rejected = pa.concat_tables(others, promote_options="default")
            table, split, low = table.filter(known), split[known], low[known]
            ms = None if ms is None else ms[known]
    elif data.split.by == "group":
        groups = group_numbers(_one_spelling(in_one_piece(table[data.group])))
        split = assign_split(data, ms, mix(groups.to_numpy().view(np.uint64)))
    else:
        split = assign_split(data, ms, high, path in plan.held_out)
    window = assign_window(data, ms, len(table))
    shard = (low % np.uint64(plan.shards)).astype(np.int64)
    return _partition(table, split, window, shard, data=data), rejected, counts


def _named_splits(table: pa.Table, plan: Plan) -> tuple[np.ndarray, pa.Table | None]:
    """What the config's column says of each row, and the rows of which it says nothing."""
    name = plan.config.data.split.column
    split = read_split(in_one_piece(table[name]))
    if (split >= 0).all():
        return split, None
    reason = f"{name}: neither train, validation nor test"
    others = table.filter(pa.array(split < 0))
    return split, with_reason(others, reason, name, plan.log.files)


def _one_spelling(groups: pa.Array) -> pa.Array:
    """Groups of which 107 and 107.0, that may turn out to be one, are one."""
    return without_zeros(groups) if is_text(groups.type) else groups


def _partition(table, split, window, shard, *, data) -> dict[str, pa.Table]:
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


def _where(kept: np.ndarray, table: pa.Table) -> pa.Table:
    return table if kept.all() else table.filter(kept)


def _as_it_is(table: pa.Table) -> pa.Table:
    return table


@dataclass(frozen=True)
class Settled:
    """The final rows of one shard, in the order of their fingerprints.

    Attributes:
        typed: As ``type_rows`` gives them.
        raw: The columns that were asked for, of the same rows: tables of several types,
            and which of the rows theirs are.
        rejected: Other rows, with their reasons.
        counts: ``duplicates``, ``dropped`` and ``unmatched/<column>: <side table>``.
    """

    typed: pa.Table
    raw: list[tuple[pa.Table, np.ndarray]]
    rejected: list[pa.Table]
    counts: Counter


def settle_rows(
    tables: list[pa.Table],
    sides: list[pa.Table | None],
    plan: Plan,
    columns: Sequence[str] = (),
    *,
    found: Findings = NOTHING,
    draw: Callable | None = None,
    made: Callable[[pa.Table], pa.Table] = _as_it_is,
    split: str = "train",
) -> Settled:
    """Make the rows of one shard final: in order, without duplicates, joined and typed.

    Args:
        tables: All that was keyed for the shard, in any order.
        sides: The side tables; None: its columns are beside the rows.
        plan: The plan.
        columns: Raw columns to keep beside the typed ones.
        found: What all rows together tell.
        draw: Called with rows and their places, it gives ``Drawn`` negatives.
        made: Gives rows with what was made for them that they only point at.
        split: Theirs.
    """
    typed, raw, places, rejected, counts = [], [], [], [], Counter()
    for table, place, strays in in_order(tables, plan, found, counts):
        rejected += strays
        own = table
        table, unmatched = _joined(made(table), sides, plan)
        counts.update(unmatched)
        converted, reasons, about, beyond = type_rows(table, plan)
        bad = reasons != ""
        sampled = _left_out(converted, plan) & ~bad
        counts[DROPPED] += int(sampled.sum())
        for name, where in beyond.items():
            counts[f"{BEYOND}/{name}"] += int((where & ~bad & ~sampled).sum())
        rejected += [
            with_reason(
                table.filter(reasons == reason), reason, about[reason], plan.log.files
            )
            for reason in np.unique(reasons[bad])
        ]
        kept = ~(bad | sampled)
        if plan.config.data.group:
            ungrouped = converted["group"].to_numpy() == NO_GROUP
            counts[UNGROUPED] += int((ungrouped & kept).sum())
        place = place[kept]
        if split == "train":
            converted = _as_known(converted, own, plan, found)
        typed.append(_where(kept, converted))
        if columns:
            raw.append(plainly_written(_where(kept, table.select(list(columns))), plan))
        places.append(place)
        for drawn in draw(_where(kept, own), place) if draw else ():
            table, _ = _joined(made(drawn.table), sides, plan)
            converted, reasons, *_ = type_rows(table, plan)
            kept = reasons == ""
            typed.append(_where(kept, drawn.labelled(converted, plan)))
            if columns:
                table = drawn.without_labels(table, plan).select(list(columns))
                raw.append(plainly_written(_where(kept, table), plan))
            places.append(drawn.places[kept])
            counts.update(drawn.counted(kept))
    together, done = np.concatenate(places), pa.concat_tables(typed)
    order = np.argsort(together, kind="stable")
    if (together[1:] < together[:-1]).any():
        done = done.take(pa.array(order))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    ends = np.cumsum([len(table) for table in raw])
    return Settled(
        done,
        list(zip(raw, np.split(numbers, ends[:-1]), strict=True)) if columns else [],
        rejected,
        counts,
    )


def in_order(
    tables: list[pa.Table], plan: Plan, found: Findings, counts: Counter
) -> Iterator[tuple[pa.Table, np.ndarray, list[pa.Table]]]:
    """Rows of one shard without duplicates and those out of time, ids written in one way.

    Args:
        tables: All that was keyed for the shard, in any order.
        plan: The plan.
        found: What all rows together tell.
        counts: Gets the ``duplicates``.

    Yields:
        Rows of the same types; their places in the order of the fingerprints; rows that
        are out of time, with the reason.
    """
    parts, start = alike(tables), 0
    order, counted = _order(parts, plan.config.data.drop_duplicates)
    counts.update(counted)
    for table in parts:
        place = np.flatnonzero((order >= start) & (order < start + len(table)))
        start, table = start + len(table), table.take(pa.array(order[place] - start))
        table, place, strays = _in_time(table, place, plan, found)
        yield as_integers(table, found.whole), place, strays


def _as_known(typed: pa.Table, own: pa.Table, plan: Plan, found: Findings) -> pa.Table:
    """Typed rows without labels that may still change, 0 or 1.

    A positive that is known counts as little as the 0 beside it: of young rows the early
    positives alone would be left, more of them than there are.
    """
    late = [task for task in plan.config.tasks if task.matures_after]
    if not late:
        return typed
    ms, _ = read_times(own[plan.config.data.time], plan.config.data)
    for task in late:
        young = pa.array(ms > found.newest - in_ms(task.matures_after))
        name = f"label/{task.name}"
        known = pc.if_else(young, pa.scalar(None, pa.float64()), typed[name])
        typed = typed.set_column(typed.column_names.index(name), name, known)
    return typed


def _joined(table: pa.Table, sides, plan: Plan) -> tuple[pa.Table, Counter]:
    """Rows with the columns of side tables, and how many found no partner in which."""
    counts: Counter = Counter()
    joins = zip(plan.config.data.join, plan.sides, sides, strict=True)
    for number, (join, log, side) in enumerate(joins):
        if side is None:
            table, unmatched = take_carried(table, number, join.prefix)
        else:
            table, unmatched = join_side(table, side, join.on, join.prefix)
        counts[f"unmatched/{join.on}: {log.files[0]}"] += unmatched
    return table, counts


def _left_out(typed: pa.Table, plan: Plan) -> np.ndarray:
    """Where ``data.downsample`` leaves a row out, by its fingerprint and nothing else."""
    asked = plan.config.data.downsample
    if asked is None:
        return np.zeros(len(typed), bool)
    label = typed[f"label/{asked.task}"].to_numpy()
    drawn = uniform(mix(typed[LOW].to_numpy()))
    return (label == 0) & (drawn >= asked.keep)


def _in_time(table: pa.Table, place: np.ndarray, plan: Plan, found: Findings):
    """The rows that are not out of time, their places, and the others with a reason."""
    if found.all_in_time:
        return table, place, []
    name = plan.config.data.time
    ms, _ = read_times(table[name], plan.config.data)
    reasons = found.out_of_time(ms)
    strays = [
        with_reason(table.filter(reasons == reason), reason, name, plan.log.files)
        for reason in np.unique(reasons[reasons != ""])
    ]
    kept = reasons == ""
    return table.filter(kept), place[kept], strays


def plainly_written(table: pa.Table, plan: Plan) -> pa.Table:
    """Raw rows whose texts are to be read without the config: numbers, and lists."""
    notation, data = Notation.of(plan.config.data), plan.config.data
    names = [plan.columns[f.name] for f in plan.features if f.kind == "numeric"]
    names += [plan.columns[task.name] for task in plan.tasks]
    names += [name for task in plan.config.tasks for name in beside(task).values()]
    marks = {plan.columns[f.name]: f.separator for f in plan.features if f.separator}
    for place, name in enumerate(table.column_names):
        if not is_text(table.schema.field(name).type):
            continue
        values = in_one_piece(table[name])
        if name in names and (data.decimal, data.thousands) != (".", ""):
            table = table.set_column(place, name, pointed(values, notation))
        elif name in marks:
            table = table.set_column(place, name, rejoined(values, marks[name], notation))
    return table


def alike(tables: list[pa.Table]) -> list[pa.Table]:
    """Tables of the same types together.

    Files may hold one column in several types.  Arrow would make whole numbers reals and
    lose large ids, or find no common type: each is converted from the type it has.
    """
    found: dict = {}
    for table in tables:
        found.setdefault(tuple(table.schema.types), []).append(table)
    return [pa.concat_tables(some) for some in found.values()]


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


def read_times(column: pa.ChunkedArray, data) -> tuple[np.ndarray, np.ndarray]:
    """A column of times as a config's ``data`` says; see ``to_ms``."""
    return to_ms(in_one_piece(column), data.time_unit, data.timezone, data.time_format)


def unreadable(raw: str, kind: pa.DataType) -> str:
    """Why a value of a column could not be held in a raw type."""
    if raw == "integer":
        return "not a whole number"
    if raw == "string":
        return "not a whole number" if is_number(kind) else "not UTF-8"
    return "not a number"


def not_vector(width: int) -> str:
    """Why a list is no vector of so many numbers."""
    return f"not a list of {width} numbers"


def type_rows(
    table: pa.Table, plan: Plan
) -> tuple[pa.Table, np.ndarray, dict[str, str], dict[str, np.ndarray]]:
    """Convert what the model will see.

    Returns:
        A table with columns ``feature/<name>`` (string, int64, float64 or lists of
        them), ``label/<task>``, ``truth/<task>``, ``soft/<task>`` and
        ``weight/<task>`` (float64), ``group`` (int64),
        null where missing, plus the fingerprints; for each row the reason to reject
        it, or ``""``; reason -> the column that it is about; and number -> where it is
        infinite or beyond float32, and therefore taken as missing.
    """
    columns, reasons, about = {}, np.full(len(table), "", object), {}
    infinite: dict[str, np.ndarray] = {}
    notation = Notation.of(plan.config.data)

    def blame(bad: np.ndarray, reason: str, column: str):
        if bad.any():
            reasons[bad & (reasons == "")] = reason
            about[reason] = column

    for feature in raw_features(plan.features):
        raw = _values_of(feature.name, table, plan)
        if pa.types.is_null(raw.type) and feature.max_values and not feature.separator:
            raw = pa.nulls(len(raw), pa.list_(pa.null()))
        wrong = unreadable(feature.raw, raw.type)
        if feature.width:
            matrix, bad = to_vectors(raw, feature.width)
            values, wrong = as_lists(matrix), not_vector(feature.width)
        elif feature.moments:
            values, bad = to_moments(raw, *feature.moments)
            wrong = NO_TIME
        elif feature.kind == "numeric":
            values, bad, beyond = to_finite(raw, notation)
            if beyond.any():
                infinite[feature.name] = beyond
        else:
            values, bad = convert(raw, feature.raw, feature.separator, notation)
        blame(bad, f"feature {feature.name}: {wrong}", plan.columns[feature.name])
        columns[f"feature/{feature.name}"] = values
    drawn = plan.config.drawn_task
    for task, item in zip(plan.tasks, plan.config.tasks, strict=True):
        name = plan.columns[task.name]
        stated = plan.config.is_stated(item) and name not in table.column_names
        raw = pa.array(np.ones(len(table))) if stated else in_one_piece(table[name])
        values, bad, beyond = to_finite(raw, notation)
        blame(bad, f"label {task.name}: not a number", name)
        blame(beyond, f"label {task.name}: {TOO_LARGE}", name)
        if item.at_least is not None:
            values = pc.greater_equal(values, item.at_least).cast(pa.float64())
        blame(*_impossible(values, task, item.loss, f"label {task.name}"), name)
        if task.name == drawn:
            other = values.to_numpy(zero_copy_only=False) != 1
            blame(other, f"label {task.name}: {NO_POSITIVE}", name)
        columns[f"label/{task.name}"] = values
        if task.sample_weight == DRAWN:
            columns[f"weight/{task.name}"] = pa.array(np.ones(len(table)))
        for key, word in (("truth", "truth"), ("soft_label", "soft label")):
            if not (column := getattr(item, key)):
                continue
            what = f"{word} of {task.name}"
            values, bad, beyond = to_finite(in_one_piece(table[column]), notation)
            blame(bad, f"{what}: not a number", column)
            blame(beyond, f"{what}: {TOO_LARGE}", column)
            if task.kind == "binary":
                numbers = values.to_numpy(zero_copy_only=False)
                blame((numbers < 0) | (numbers > 1), f"{what}: not from 0 to 1", column)
            elif key == "soft_label":
                blame(*_impossible(values, task, item.loss, what), column)
            columns[f"{key.removesuffix('_label')}/{task.name}"] = values
        if item.sample_weight:
            found = in_one_piece(table[item.sample_weight])
            weights, bad, beyond = to_finite(found, notation)
            reason = f"sample weight of {task.name}: {TOO_LARGE}"
            blame(beyond, reason, item.sample_weight)
            numbers = weights.to_numpy(zero_copy_only=False)
            reason = f"sample weight of {task.name}: not 0 or more"
            blame(bad | ~(numbers >= 0), reason, item.sample_weight)
            columns[f"weight/{task.name}"] = weights
    if plan.config.data.group:
        columns["group"] = group_numbers(in_one_piece(table[plan.config.data.group]))
    columns[LOW] = in_one_piece(table[LOW])
    return pa.table(columns), reasons, about, infinite


def _values_of(name: str, table: pa.Table, plan: Plan) -> pa.Array:
    """A feature's column; null where a part of a log cannot tell what came before."""
    if name in plan.past_names and name not in table.column_names:
        return pa.nulls(len(table))
    return in_one_piece(table[plan.columns[name]])


def _impossible(values: pa.Array, task, loss: str, what: str) -> tuple[np.ndarray, str]:
    """Where a label is none: but 0 and 1 for a binary task, below 0 for a logarithm."""
    numbers = values.to_numpy(zero_copy_only=False)
    if task.kind == "binary":
        bad = ~np.isnan(numbers) & (numbers != 0) & (numbers != 1)
        return bad, f"{what}: neither 0 nor 1"
    taker = "log1p" if task.transform == "log1p" else f"loss {loss}"
    free = task.transform == "identity" and loss == "squared"
    lowest = -np.inf if free else 0.0
    return numbers < lowest, f"{what}: below 0, which {taker} does not take"


def group_numbers(values: pa.Array) -> pa.Array:
    """Groups as int64: whole numbers as they are, anything else by its hash.

    ``NO_GROUP`` where there is none.  A group is the same in files of other types.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text(values.type):
        values, _ = to_strings(values)
    if pa.types.is_decimal(values.type):
        whole, other = to_integers(values)
        values = to_strings(values)[0] if other.any() else whole
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
