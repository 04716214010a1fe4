"""What happens to the rows of a log before they are events in sequences: each is kept,
left out or rejected with a reason, and all of them are counted."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.kinds.next_item.histories import (
    TRAIN,
    Cut,
    cut_histories,
    last_of_each,
    positions,
)
from steadyrank.pipeline.kinds.next_item.plan import SequencePlan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, read_times, unreadable
from steadyrank.pipeline.raw_log.columns import Notation, convert, is_text, to_floats
from steadyrank.pipeline.raw_log.findings import (
    Findings,
    as_integers,
    count_days,
    count_spellings,
    without_zeros,
)
from steadyrank.pipeline.raw_log.fingerprint import fingerprint, hash_values
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.rejected import PLACE, places, with_reason
from steadyrank.pipeline.raw_log.split import SPLITS, assign_window, window_name

OLD = "__old"  # whether a base had the event
TOO_SHORT = "in sequences shorter than min_length"
ALONE = "alone in a sequence"  # nothing to foretell it from, or by it


def key_events(
    batch: Batch, path: str, plan: SequencePlan
) -> tuple[dict[int, pa.Table], list[pa.Table], Counter]:
    """Type a batch of the log and part it by its users' shards.

    Args:
        batch: Some rows of the raw log, with all its columns.
        path: The file they came from.
        plan: The plan.

    Returns:
        Tables by shard (``user``, ``item``, ``ms``, ``PLACE``, fingerprints, ``OLD``):
        events of one moment stay in the order of their places; rejected rows with their
        reasons; and counts of what was left out.
    """
    if path in plan.histories:
        old = batch.table.append_column(OLD, pa.array(np.ones(len(batch.table), bool)))
        return _by_shard(old, plan.shards), [], Counter(read=-len(old))
    named, raw = plan.config.data.sequences, batch.table.select(plan.carried)
    high, low = fingerprint(batch.table)
    place = pa.array(places(plan.log.files.index(path), batch.lines))
    raw, reasons, about = raw.append_column(PLACE, place), np.full(len(raw), "", object), {}

    def blame(bad: np.ndarray, reason: str, column: str):
        if bad.any():
            reasons[bad & (reasons == "")] = reason
            about[reason] = column

    user = _known(raw[named.user], plan.user, "user", named.user, blame=blame)
    item = _known(raw[named.item], plan.item, "item", named.item, blame=blame)
    ms, bad_time = read_times(raw[named.time], plan.config.data)
    blame(bad_time, f"{named.time}: no readable time", named.time)
    left_out = np.zeros(len(raw), bool)
    if named.keep:
        left_out, bad = _left_out(raw, named.keep, Notation.of(plan.config.data))
        blame(bad, "keep: not a number", named.keep.column)
    left_out &= reasons == ""
    outside = (reasons == "") & ~_taken(ms, plan)
    left_out &= ~outside
    rejected = [
        with_reason(raw.filter(reasons == reason), reason, about[reason], plan.log.files)
        for reason in np.unique(reasons[reasons != ""])
    ]
    texts = [name for name in (named.user, named.item) if is_text(raw[name].type)]
    counts = count_spellings(raw, texts) + Counter(count_days(ms[~bad_time]))
    if left_out.any():
        counts[f"dropped/below keep.at_least of {named.keep.column}"] = int(left_out.sum())
    if outside.any():
        counts.update(read=-int(outside.sum()), outside=int(outside.sum()))
    columns = {"user": user, "item": item, "ms": ms, PLACE: place, HIGH: high, LOW: low}
    events = pa.table({**columns, OLD: np.zeros(len(raw), bool)})
    kept = pa.array((reasons == "") & ~left_out & ~outside)
    return _by_shard(events.filter(kept), plan.shards), rejected, counts


def _taken(ms: np.ndarray, plan: SequencePlan) -> np.ndarray:
    """Whether events are of windows that are read."""
    windows, which = np.unique(
        assign_window(plan.config.data, ms, len(ms)), return_inverse=True
    )
    names = [window_name(plan.config.data, int(window)) for window in windows]
    return np.array([plan.addition.takes(n, plan.after) for n in names], bool)[which]


def _known(column: pa.ChunkedArray, raw: str, what: str, name: str, *, blame) -> pa.Array:
    """Typed values; the rows that have none are blamed."""
    values, bad = convert(column.combine_chunks(), raw, "")
    blame(bad, f"{what}: {unreadable(raw, column.type)}", name)
    blame(values.is_null().to_numpy(zero_copy_only=False), f"{what}: missing", name)
    return values


def _left_out(table: pa.Table, keep, notation: Notation) -> tuple[np.ndarray, np.ndarray]:
    """Where an event does not count, and where that cannot be told."""
    values, bad = to_floats(table[keep.column].combine_chunks(), notation)
    numbers = values.to_numpy(zero_copy_only=False)
    bad = bad | np.isnan(numbers)
    return ~bad & (numbers < keep.at_least), bad


def _by_shard(events: pa.Table, shards: int) -> dict[int, pa.Table]:
    users = events["user"].combine_chunks()
    if is_text(users.type):  # 107 and 107.0 may turn out to be one
        users = without_zeros(users)
    shard = hash_values(users) % np.uint64(shards)
    return {
        int(number): events.filter(pa.array(shard == number)) for number in np.unique(shard)
    }


@dataclass
class Settled:
    """Some users' events as they are final.

    Attributes:
        sequences: ``<split>/<window>`` -> table of ``items`` (raw, oldest first), ``group``
            (int64), ``own`` (events counted here) and ``ms`` (of the last one).
        rejected: Events.
        counts: ``duplicates``, and what was left out.
        histories: The last training events of each user, as ``key_events`` gives events.
    """

    sequences: dict[str, pa.Table]
    rejected: list[pa.Table]
    counts: Counter
    histories: pa.Table


def settle_events(
    tables: list[pa.Table], plan: SequencePlan, known: dict | None = None
) -> Settled:
    """All events of some users to their sequences.

    Args:
        tables: All that was keyed for the shard, in any order.
        plan: The plan.
        known: The counts of all files.
    """
    data, counts = plan.config.data, Counter()
    named = data.sequences
    found = Findings.of(known or {}, data, named.time, plan.spelled)
    events = pa.concat_tables(tables).combine_chunks()
    both = {named.user: "user", named.item: "item"}
    events = as_integers(events, [both[name] for name in found.whole if name in both])
    reasons = found.out_of_time(events["ms"].to_numpy())
    reasons[events[OLD].to_numpy(zero_copy_only=False)] = ""
    rejected = [
        with_reason(events.filter(reasons == reason), reason, "ms", plan.log.files)
        for reason in np.unique(reasons[reasons != ""])
    ]
    events = events.filter(reasons == "").combine_chunks()
    if data.drop_duplicates:
        kept = _first_of_equals(events)
        counts["duplicates"] = len(events) - len(kept)
        events = events.take(pa.array(kept))
    hashes = hash_values(events["user"].combine_chunks())
    ms, place = events["ms"].to_numpy(), events[PLACE].to_numpy()
    order = np.lexsort((place, ms, hashes))
    hashes, ms = hashes[order], ms[order]
    events = events.take(pa.array(order))
    begins = np.concatenate([[True], hashes[1:] != hashes[:-1]])[: len(hashes)]
    starts = np.flatnonzero(begins)
    old = np.add.reduceat(events[OLD].to_numpy(zero_copy_only=False), starts, dtype=int)
    cut, of_event = cut_histories(starts, hashes[starts], ms, data, old=old)
    short = _too_short(cut, np.append(starts, len(ms)), data)
    alone = ~short & (cut.size < 2)
    counts[f"dropped/{TOO_SHORT}"] = int(cut.own[short].sum())
    counts[f"dropped/{ALONE}"] = int(cut.own[alone].sum())
    cut, sequences = cut.only(~short & ~alone), {}
    windows = assign_window(data, ms[cut.last - 1], len(cut.last))
    for number, window in np.unique(np.stack([cut.split, windows], axis=1), axis=0):
        own = cut.only((cut.split == number) & (windows == window))
        key = f"{SPLITS[number]}/{window_name(data, int(window))}"
        sequences[key] = _sequences(own, events, hashes.view(np.int64))
    last = last_of_each(starts, of_event == TRAIN, data.sequences.length - 1)
    histories = events.take(pa.array(last)).drop_columns([OLD])
    return Settled(sequences, rejected, counts, histories)


def _too_short(cut: Cut, bounds: np.ndarray, data) -> np.ndarray:
    """Sequences of too few events: of whole histories, before anything is held out of them;
    of pieces, where these are drawn.

    Args:
        cut: The sequences.
        bounds: Where each user's events begin, and the end of all.
        data: The config's section.
    """
    if data.split.by_fraction:
        return cut.size < data.sequences.min_length
    owner = np.searchsorted(bounds, cut.first, side="right") - 1
    return np.diff(bounds)[owner] < data.sequences.min_length


def _first_of_equals(events: pa.Table) -> np.ndarray:
    """Places of the rows that are not exact duplicates of an earlier one."""
    high, low = events[HIGH].to_numpy(), events[LOW].to_numpy()
    order = np.lexsort((events[PLACE].to_numpy(), low, high))
    same = (np.diff(high[order]) == 0) & (np.diff(low[order]) == 0)
    return order[np.concatenate([[True], ~same])]


def _sequences(cut: Cut, events: pa.Table, groups: np.ndarray) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum(cut.size)]).astype(np.int32)
    flat = pc.take(events["item"].combine_chunks(), pa.array(positions(cut)))
    return pa.table(
        {
            "items": pa.ListArray.from_arrays(pa.array(offsets), flat),
            "group": groups[cut.first],
            "own": cut.own,
            "ms": events["ms"].to_numpy()[cut.last - 1],
        }
    )
