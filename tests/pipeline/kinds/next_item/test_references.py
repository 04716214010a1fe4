"""Rankings by counts, against plain loops."""

from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.kinds.next_item import references
from steadyrank.pipeline.kinds.next_item.references import Popularity, Transitions

V, UNKNOWN = 5, 6
ROWS = st.lists(
    st.lists(st.integers(1, UNKNOWN), min_size=1, max_size=4), min_size=0, max_size=12
)


def padded(sequences, width=4):
    rows = np.zeros((len(sequences), width), np.int32)
    for row, sequence in zip(rows, sequences, strict=True):
        row[width - len(sequence) :] = sequence
    return rows


@settings(deadline=None, max_examples=80)
@given(ROWS, st.lists(st.integers(0, 9), min_size=V, max_size=V), ROWS)
def test_transitions_rank_by_count_and_then_by_popularity(sequences, counts, histories):
    times = {}
    for sequence in sequences:
        for a, b in zip(sequence, sequence[1:], strict=False):
            times[a, b] = times.get((a, b), 0) + 1
    scores = Transitions([padded(sequences)], np.array(counts))(padded(histories))
    assert scores.shape == (len(histories), V + 1)
    for history, found in zip(histories, scores, strict=True):
        newest = history[-1]
        wanted = [
            (times.get((newest, item), 0) * (newest <= V), counts[item - 1])
            for item in range(1, V + 1)
        ]
        for one in range(V):
            for other in range(V):
                assert (found[one] > found[other]) == (wanted[one] > wanted[other])


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, max_size=4), st.integers(0, 6))
def test_parts_are_counted_as_the_whole(parts, pending):
    counts, every = np.ones(V), padded(sum(parts, []))
    with mock.patch.object(references, "PENDING", pending):
        found = Transitions(map(padded, parts), counts)
    np.testing.assert_array_equal(found(every), Transitions([every], counts)(every))


def test_without_history_or_training_what_is_popular_comes_first():
    counts = np.array([3, 0, 7, 1, 2])
    empty = np.zeros((2, 4), np.int32)
    for score in (Popularity(counts), Transitions([], counts)):
        scores = score(empty)
        np.testing.assert_array_equal(
            np.argsort(-scores[0][:V], kind="stable"), [2, 0, 4, 3, 1]
        )
