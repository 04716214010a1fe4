"""Identities of rows and labels against multisets of plain tuples."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.examples.identity import identify, same_rows, same_task, union
from steadyrank.pipeline.raw_log.fingerprint import hash_together, mix

# time, user, item, label or none, and whether the row is in the sample space
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 1),
        st.integers(0, 1),
        st.sampled_from([0.0, 1.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
TIME, USER, ITEM, LABEL, INSIDE = range(5)
NAMES = {"time": TIME, "user": USER, "item": ITEM}


def hashed(rows, names):
    columns = [np.array([row[NAMES[n]] for row in rows], np.uint64) for n in names]
    return hash_together(mix(column) for column in columns)


def identity(rows, keys=(("item", "time", "user"), ("time", "user")), whole=0):
    label = np.array([row[LABEL] for row in rows], np.float32)
    inside = np.array([row[INSIDE] for row in rows])
    found = {key: hashed(rows, key) for key in keys}
    both = mix(hashed(rows, ("time", "user", "item")) + label.astype(np.uint64))
    return identify({None: both + np.uint64(whole), **found}, {"y": (label, inside)})


def multiset(rows, *columns):
    return Counter(tuple(row[c] for c in columns) for row in rows)


@settings(deadline=None)
@given(ROWS, ROWS, st.randoms())
def test_identities_agree_where_the_multisets_do(one, other, random):
    for rows in (other, random.sample(one, len(one)), one[:-1] + other[-1:]):
        # another log writes the rest of its rows otherwise: keys alone decide
        a, b = identity(one), identity(rows, whole=1)
        keys = (multiset(r, TIME, USER, ITEM) for r in (one, rows))
        assert same_rows(a, b) == (next(keys) == next(keys))
        judged = ([row for row in r if row[INSIDE]] for r in (one, rows))
        labels = (multiset(r, TIME, USER, ITEM, LABEL) for r in judged)
        assert same_task(a, b, "y") == (next(labels) == next(labels))


@settings(deadline=None)
@given(ROWS, st.data())
def test_one_other_label_is_another_task_on_the_same_rows(rows, data):
    place = data.draw(st.integers(0, len(rows) - 1))
    changed = list(rows)
    changed[place] = (*rows[place][:LABEL], 1 - rows[place][LABEL], True)
    rows[place] = (*rows[place][:INSIDE], True)
    a, b = identity(rows), identity(changed)
    assert same_rows(a, b) and not same_task(a, b, "y")


def test_labels_that_change_places_are_other_labels():
    rows = [(0, 0, 0, 1.0, True), (1, 0, 1, 0.0, True)]
    swapped = [(0, 0, 0, 0.0, True), (1, 0, 1, 1.0, True)]
    a, b = identity(rows), identity(swapped, whole=1)
    assert same_rows(a, b) and not same_task(a, b, "y")


@settings(deadline=None)
@given(ROWS, ROWS)
def test_the_identity_of_files_together_is_that_of_their_rows(one, other):
    assert union([identity(one), identity(other)]) == identity(one + other)


def test_other_features_leave_the_widest_common_key_to_decide():
    rows = [(0, 0, 0, 1.0, True), (1, 0, 1, 0.0, True)]
    swapped = [(0, 0, 1, 1.0, True), (1, 0, 0, 0.0, True)]
    a = identity(rows)
    b = identity(swapped, [("time", "user")], whole=1)
    assert same_rows(a, b) and same_task(a, b, "y")
    assert not same_rows(a, identity(swapped, whole=1))


def test_whole_rows_of_one_log_vouch_where_no_key_is_common():
    rows = [(0, 0, 0, 1.0, True), (1, 0, 1, 0.0, True)]
    a, b = identity(rows, [("item",)]), identity(rows, [("user",)])
    assert same_rows(a, b) and same_task(a, b, "y")
    other = identity(rows, [("user",)], whole=1)
    assert same_rows(a, other) is None and same_task(a, other, "y") is None
    assert same_task(a, b, "another") is None
