"""A log with faults of every kind, and records that are read back."""

from tests.helpers import tiny

BAD = [
    {"click": 2},
    {"click": -1, "like": 5},
    {"like": 7},
    {"watch": -0.5},
    {"time_ms": None},
]


ODD = [
    {"price": float("nan")},
    {"price": float("inf")},
    {"price": -0.0, "age": None},
    {"item": ""},
    {"tags": "||t1||t2|t3"},
    {"tags": "|"},
    {"click": None, "like": None, "watch": None},
    {"user": None, "item": None, "tags": None},
]


def dirty_rows():
    """The tiny log with odd values, duplicates, and rows that must be rejected."""
    rows = tiny.make_rows()
    changed = [{**rows[50 * i], **odd} for i, odd in enumerate(ODD)]
    changed += [{**rows[40 * i + 7], **bad} for i, bad in enumerate(BAD)]
    return rows + changed + [rows[3], rows[300], rows[300], changed[0]]


def records(folder):
    paths = sorted(folder.glob("*/*.tfrecord"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
