"""Which rows a split holds and which labels they have, however they were encoded.

A row is known by a key: some columns of the log.  Of the rows of a split the sum of the
hashes of their keys is kept, and of a task the sum over its sample space of the hashes of
key and label.  Sums hang neither on the order of the rows nor on files and workers, and
rows of one key need no telling apart.

Every split has up to three keys: the whole row of the log, which any two runs on the same
log share; ``data.key``; and time and group, which are still there where two configs have
other features.  An identity is a plain document, as manifests and metrics hold it:
``rows``, how many, and ``keys``, each with its ``columns`` (null: the whole row), and the
sums as hexadecimal ``rows`` and, by task, ``labels``.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from steadyrank.pipeline.raw_log.fingerprint import mix

WHOLE_ROW = None  # as ``columns``
Keys = Mapping[tuple[str, ...] | None, np.ndarray]


def identify(keys: Keys, labels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict:
    """The identity of some rows.

    Args:
        keys: Columns, or ``WHOLE_ROW``, -> uint64 ``[rows]``, a hash of their values.
        labels: Task -> float32 labels ``[rows]``, and where its sample space is.

    Returns:
        A document.
    """
    found = [
        {
            "columns": columns and list(columns),
            "rows": _sum(mix(hashed)),
            "labels": {
                task: _sum(mix(hashed + mix(_bits(label)))[inside])
                for task, (label, inside) in labels.items()
            },
        }
        for columns, hashed in keys.items()
    ]
    return {"rows": len(next(iter(keys.values()))), "keys": found}


def union(identities: Iterable[dict]) -> dict:
    """The identity of the rows of several files together; they have the same keys."""
    first, *others = identities
    for other in others:
        pairs = zip(first["keys"], other["keys"], strict=True)
        first = {
            "rows": first["rows"] + other["rows"],
            "keys": [_added(a, b) for a, b in pairs],
        }
    return first


def _added(a: dict, b: dict) -> dict:
    labels = {task: _add(a["labels"][task], b["labels"][task]) for task in a["labels"]}
    rows = _add(a["rows"], b["rows"])
    return {"columns": a["columns"], "rows": rows, "labels": labels}


def same_rows(one: dict, other: dict) -> bool | None:
    """Whether two identities are of the same rows; None: they have no key in common."""
    if one["rows"] != other["rows"]:
        return False
    return _agree(one, other, lambda key: key["rows"])


def same_task(one: dict, other: dict, task: str) -> bool | None:
    """Whether a task has the same rows and labels; None where that cannot be told.

    Rows outside of its sample space do not count.
    """
    return _agree(one, other, lambda key: key["labels"].get(task))


def _agree(one: dict, other: dict, value: Callable) -> bool | None:
    """By whole rows, which vouch for all else; if they differ, by the widest common key."""
    pairs = [
        (value(a), value(b), a["columns"])
        for a in one["keys"]
        for b in other["keys"]
        if a["columns"] == b["columns"]
    ]
    pairs = [pair for pair in pairs if None not in pair[:2]]
    if any(a == b for a, b, columns in pairs if columns is WHOLE_ROW):
        return True
    keyed = [pair for pair in pairs if pair[2] is not WHOLE_ROW]
    if not keyed:
        return None
    a, b, _ = max(keyed, key=lambda pair: len(pair[2]))
    return a == b


def _bits(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.float64) + 0.0).view(np.uint64)  # -0 as 0


def _sum(hashed: np.ndarray) -> str:
    return f"{int(hashed.sum(dtype=np.uint64)):016x}"


def _add(a: str, b: str) -> str:
    return f"{(int(a, 16) + int(b, 16)) % 2**64:016x}"
