"""Writes an engagement log with known truth: the embedded default input.

Output, a folder that stands whole or not at all:

- ``log.parquet``: one row an exposure, in time order over 14 days from 2024-01-01 UTC,
  with about 0.1 % exact duplicates and missing values;
- ``users.parquet``, ``items.parquet``: side tables for ``user_id`` and ``item_id``;
- ``truth.parquet``: the true probability of every binary label of every exposure, each
  in its own sample space (``p_is_like`` is P(like | click)), and the expected
  ``watch_time_ms`` given a click, keyed by ``exposure_id``.

Command: ``steadyrank synthesize --rows 200000 --seed 1 --output runs/demo/log``.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import publish
from steadyrank.pipeline.synthetic.log import log_and_truth
from steadyrank.pipeline.synthetic.tables import item_table, user_table
from steadyrank.pipeline.synthetic.world import create_world

DUPLICATED = 0.001  # of the rows
ROW_GROUP = 65_536


def synthesize(
    rows: int,
    seed: int,
    output: Path,
    *,
    users: int | None = None,
    items: int | None = None,
    overwrite: bool = False,
    progress: Callable[[float, str], None] = lambda done, what: None,
) -> None:
    """Write a log of ``rows`` rows; the same arguments give the same bytes.

    (On one kind of machine and with the same package versions.)

    Args:
        rows: Rows of ``log.parquet``, duplicates included; about 600 bytes of memory
            each.
        seed: Of all that is random.
        output: The folder to write.
        users: Number of users; by default one for 60 rows, so that an average user
            is seen often enough to be learnt.
        items: Number of items; by default one for 100 rows.
        overwrite: Whether ``output`` may be replaced.
        progress: Called with the share that is done, and what is being done.

    Raises:
        InputError: An argument is out of range, or ``output`` exists.
    """
    check(rows=rows)
    users = max(1, rows // 60) if users is None else users
    items = max(1, rows // 100) if items is None else items
    check(users=users, items=items)
    if seed < 0:
        raise InputError(f"seed must be 0 or more. Received: seed={seed}. Try 1.")
    rng = np.random.default_rng(seed)
    with publish(output, overwrite) as folder:
        progress(0.0, "users and items")
        world = create_world(rng, users, items)
        write(user_table(rng, world), folder / "users.parquet")
        write(item_table(rng, world), folder / "items.parquet")
        progress(0.05, "exposures")
        log, truth = log_and_truth(rng, world, rows - round(rows * DUPLICATED))
        progress(0.6, "writing")
        write(duplicate(rng, log, rows), folder / "log.parquet")
        write(truth, folder / "truth.parquet")
        progress(1.0, "done")


def check(**counts: int) -> None:
    """Raise an InputError for the first count that is not 1 or more."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(
                f"{name} must be a whole number from 1. Received: {name}={count!r}. "
                "Give about 200000 for a demo."
            )


def duplicate(rng: np.random.Generator, log: pa.Table, rows: int) -> pa.Table:
    """Repeat rows of ``log``, each behind itself, until there are ``rows``."""
    repeats = np.ones(len(log), np.int64)
    repeats[rng.choice(len(log), rows - len(log), replace=False)] = 2
    return log.take(np.repeat(np.arange(len(log)), repeats))


def write(table: pa.Table, path: Path) -> None:
    """Write Parquet; equal tables give equal bytes."""
    pq.write_table(table, path, row_group_size=ROW_GROUP, compression="zstd")
