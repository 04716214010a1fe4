"""What happens to the rows of a log before they are events in sequences: each is kept,
left out or rejected with a reason, and all of them are counted."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.kinds.next_item.histories import Cut, cut_histories, positions
from steadyrank.pipeline.kinds.next_item.plan import SequencePlan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, SOURCE, with_reason
from steadyrank.pipeline.raw_log.columns import convert, to_floats, to_ms
from steadyrank.pipeline.raw_log.fingerprint import fingerprint, hash_values
from steadyrank.pipeline.raw_log.split import SPLITS

TOO_SHORT = "in sequences shorter than min_length"


def key_events(
    table: pa.Table, path: str, first_place: int, plan: SequencePlan
) -> tuple[dict[int, pa.Table], list[pa.Table], Counter]:
    """Type a batch of the log and part it by its users' shards.

    Args:
        table: A batch of the raw log, with all its columns.
        path: The file it came from.
        first_place: The place of the first row in the log: events of one moment stay in
            the order of their places.
        plan: The plan.

    Returns:
        Tables by shard (``user``, ``item``, ``ms``, ``place``, fingerprints); rejected
        rows with their reasons; and counts of what was left out.
    """
    named, raw = plan.config.data.sequences, table.select(plan.carried)
    high, low = fingerprint(table)
    raw = raw.append_column(
        SOURCE, pa.array(np.full(len(raw), plan.log.files.index(path), np.int32))
    )
    user, user_reasons = _known(raw[named.user], plan.user, "user")
    item, item_reasons = _known(raw[named.item], plan.item, "item")
    ms, bad_time = to_ms(
        raw[named.time].combine_chunks(),
        plan.config.data.time_unit,
        plan.config.data.timezone,
    )
    reasons = np.where(bad_time, f"{named.time}: no readable time", item_reasons)
    reasons = np.where(user_reasons != "", user_reasons, reasons)
    left_out, bad_number = _left_out(raw, named.keep)
    reasons = np.where((reasons == "") & bad_number, "keep: not a number", reasons)
    left_out &= reasons == ""
    rejected = [
        with_reason(raw.filter(reasons == reason), reason, plan)
        for reason in np.unique(reasons[reasons != ""])
    ]
    counts: Counter = Counter()
    if left_out.any():
        counts[f"dropped/below keep.at_least of {named.keep.column}"] = int(left_out.sum())
    events = pa.table(
        {
            "user": user,
            "item": item,
            "ms": ms,
            "place": first_place + np.arange(len(raw)),
            HIGH: high,
            LOW: low,
        }
    ).filter((reasons == "") & ~left_out)
    return _by_shard(events, plan.shards), rejected, counts


def _known(column: pa.ChunkedArray, raw: str, what: str):
    """Typed values, and the reason where there is none."""
    values, bad = convert(column.combine_chunks(), raw, "")
    missing = values.is_null().to_numpy(zero_copy_only=False)
    reasons = np.where(missing, f"{what}: missing", "").astype(object)
    reasons[bad] = f"{what}: not a whole number"
    return values, reasons


def _left_out(table: pa.Table, keep) -> tuple[np.ndarray, np.ndarray]:
    """Where an event does not count, and where that cannot be told."""
    if keep is None:
        return np.zeros(len(table), bool), np.zeros(len(table), bool)
    values, bad = to_floats(table[keep.column].combine_chunks())
    numbers = values.to_numpy(zero_copy_only=False)
    bad = bad | np.isnan(numbers)
    return ~bad & (numbers < keep.at_least), bad


def _by_shard(events: pa.Table, shards: int) -> dict[int, pa.Table]:
    shard = hash_values(events["user"].combine_chunks()) % np.uint64(shards)
    return {
        int(number): events.filter(pa.array(shard == number)) for number in np.unique(shard)
    }


def settle_events(
    tables: list[pa.Table], plan: SequencePlan
) -> tuple[dict[str, pa.Table], Counter]:
    """All events of some users to their sequences.

    Args:
        tables: All that was keyed for the shard, in any order.
        plan: The plan.

    Returns:
        Split -> table of ``items`` (raw, oldest first), ``group`` (int64) and ``own``
        (events counted here); and counts: ``duplicates``, and what was left out.
    """
    data, counts = plan.config.data, Counter()
    events = pa.concat_tables(tables).combine_chunks()
    if data.drop_duplicates:
        kept = _first_of_equals(events)
        counts["duplicates"] = len(events) - len(kept)
        events = events.take(pa.array(kept))
    hashes = hash_values(events["user"].combine_chunks())
    ms, place = events["ms"].to_numpy(), events["place"].to_numpy()
    order = np.lexsort((place, ms, hashes))
    hashes, ms = hashes[order], ms[order]
    starts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    cut = cut_histories(starts, hashes[starts], ms, data)
    short = cut.size < data.sequences.min_length
    counts[f"dropped/{TOO_SHORT}"] = int(cut.own[short].sum())
    cut, items = cut.only(~short), events["item"].combine_chunks().take(pa.array(order))
    groups = hashes.view(np.int64)
    return {
        split: _sequences(cut.only(cut.split == number), items, groups)
        for number, split in enumerate(SPLITS)
        if (cut.split == number).any()
    }, counts


def _first_of_equals(events: pa.Table) -> np.ndarray:
    """Places of the rows that are not exact duplicates of an earlier one."""
    high, low = events[HIGH].to_numpy(), events[LOW].to_numpy()
    order = np.lexsort((events["place"].to_numpy(), low, high))
    same = (np.diff(high[order]) == 0) & (np.diff(low[order]) == 0)
    return order[np.concatenate([[True], ~same])]


def _sequences(cut: Cut, items: pa.Array, groups: np.ndarray) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum(cut.size)]).astype(np.int32)
    flat = pc.take(items, pa.array(positions(cut)))
    return pa.table(
        {
            "items": pa.ListArray.from_arrays(pa.array(offsets), flat),
            "group": groups[cut.first],
            "own": cut.own,
        }
    )
