"""Events in order become sequences: whole histories are cut, and split. NumPy alone.

E events, in the order of user and time; U users; N sequences.
"""

from dataclasses import dataclass

import numpy as np

from steadyrank.pipeline.config.next_item import SequenceData
from steadyrank.pipeline.raw_log.fingerprint import mix
from steadyrank.pipeline.raw_log.split import uniform

TRAIN, VALIDATION, TEST = range(3)  # as in steadyrank.pipeline.raw_log.split.SPLITS


@dataclass(frozen=True)
class Cut:
    """Sequences as stretches of the events.

    Attributes:
        first, last: int64 ``[N]``: a sequence is the events from first up to before last.
        split: int8 ``[N]``.
        own: int64 ``[N]``: how many of the events are counted here.  In training and by
            fractions all of them are; an event that is to be foretold from earlier ones,
            which are counted elsewhere, is one.
    """

    first: np.ndarray
    last: np.ndarray
    split: np.ndarray
    own: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """Items of each sequence."""
        return self.last - self.first

    def only(self, kept: np.ndarray) -> "Cut":
        """Some of the sequences."""
        parts = (self.first, self.last, self.split, self.own)
        return Cut(*(part[kept] for part in parts))


def cut_histories(
    starts: np.ndarray,
    hashes: np.ndarray,
    ms: np.ndarray,
    data: SequenceData,
    *,
    old: np.ndarray | int = 0,
) -> tuple[Cut, np.ndarray]:
    """Cut every history into sequences; each event is one sequence's own.

    Training histories are cut from their end into pieces of ``length`` items that do not
    overlap, so that the oldest piece is the short one.  It goes on backwards into old
    events, which were trained on before.  What is to be foretold has up to ``length - 1``
    earlier events of its user before it, whichever split those are in.

    Args:
        starts: int64 ``[U]``, where each user's events begin.
        hashes: uint64 ``[U]``, of the users, from which fractions are drawn.
        ms: int64 ``[E]``, times, rising within a user.
        data: The config's section.
        old: int64 ``[U]``, how many of each user's first events are a base's.

    Returns:
        The sequences, also those that are too short; and int8 ``[E]``, the split of each
        event, where the split is one of events.
    """
    length, split = data.sequences.length, data.split
    ends = np.append(starts[1:], len(ms))[: len(starts)]
    if split.by_fraction:
        first, last, owner, number = _pieces(starts, ends, length)
        drawn = uniform(mix(hashes[owner] + number.astype(np.uint64)))
        bounds = [1 - split.validation - split.test, 1 - split.test]
        which = np.searchsorted(bounds, drawn, side="right").astype(np.int8)
        return Cut(first, last, which, last - first), np.full(len(ms), -1, np.int8)
    of_event = _splits_of_events(starts, ends, hashes, ms, data=data)
    held_out = np.flatnonzero(of_event != TRAIN)
    owner = np.searchsorted(starts, held_out, side="right") - 1
    before = np.maximum(starts[owner], held_out + 1 - length)
    trained = np.concatenate([[0], np.cumsum(of_event == TRAIN)])
    counts = trained[ends] - trained[starts]
    first, last, owner, _ = _pieces(starts + old, starts + counts, length)
    whole = np.maximum(starts[owner], last - length)
    cut = Cut(
        np.concatenate([whole, before]),
        np.concatenate([last, held_out + 1]),
        np.concatenate([np.full(len(first), TRAIN, np.int8), of_event[held_out]]),
        np.concatenate([last - first, np.ones(len(held_out), np.int64)]),
    )
    return cut, of_event


def last_of_each(starts: np.ndarray, wanted: np.ndarray, most: int) -> np.ndarray:
    """Places of the last wanted events of each user, rising.

    Args:
        starts: int64 ``[U]``, where each user's events begin.
        wanted: bool ``[E]``.
        most: Of each user.
    """
    place = np.flatnonzero(wanted)
    owner = np.searchsorted(starts, place, side="right")
    ends = np.searchsorted(owner, owner, side="right")
    return place[ends - np.arange(len(place)) <= most]


def _splits_of_events(starts, ends, hashes, ms, *, data: SequenceData) -> np.ndarray:
    """int8 ``[E]``; within a user training comes first, and testing last."""
    split = data.split
    if split.within_test:
        late = np.where(uniform(hashes) < split.validation, VALIDATION, TEST)
        late = np.repeat(late, ends - starts).astype(np.int8)
        return np.where(ms < data.moment_ms(split.test), np.int8(TRAIN), late)
    if not split.leave_last_out:
        bounds = [data.moment_ms(split.validation), data.moment_ms(split.test)]
        return np.searchsorted(bounds, ms, side="right").astype(np.int8)
    found = np.full(len(ms), TRAIN, np.int8)
    found[(ends - 2)[ends - starts >= 2]] = VALIDATION
    found[ends - 1] = TEST
    return found


def _pieces(starts, ends, length):
    """Stretches cut into pieces from their end: first, last, whose, and which, from 0."""
    counts = -(-(ends - starts) // length)
    owner = np.repeat(np.arange(len(starts)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    last = ends[owner] - number * length
    return np.maximum(starts[owner], last - length), last, owner, number


def positions(cut: Cut) -> np.ndarray:
    """The events of all sequences, one sequence after the other."""
    size = cut.size
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    return np.repeat(cut.first, size) + within
