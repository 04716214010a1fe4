"""What soft labels of an earlier release are worth to a model that sees fewer days.

    python -m benchmarks.distillation [--quick]

A planted log of clicks whose true probabilities are known row by row and shown to no model.
The teacher was trained on the first six days; since then items' appeal has moved.  The
students see the two days after them alone, as where old days are no longer kept: by the
labels (``labels``), or beside them by what the teacher foretells, scored as users would
(``score --keep '*' --prefix teacher_``), in shares of the loss.  One config, the same rows
and seeds; what is served is held against the truth on a day that no model saw, two days
later.

``order``, ``calibration`` and ``decile`` are those of ``benchmarks.objectives``.  The last
line is a JSON object: choice -> figure -> mean over seeds with Student's 95 % interval, and
``gain`` of ``order`` and ``nearer``, as there, over ``labels``.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import steadyrank
from benchmarks.objectives import DAYS, HOURS, SEEDS, START, config, summary, tried

USERS, ITEMS, TASTES = 1000, 300, 2
TAUGHT = 6  # days, of which the teacher learned; students do of the two that follow
MOVED = 0.4  # deviation of what an item's log odds change by after them
SHARES = {"labels": None, "beside, .3": 0.3, "beside, .7": 0.7, "soft alone": 1.0}
DAY = HOURS * 3600


def click_log(rows: int, seed: int) -> pa.Table:
    """Clicks by taste for items, and their true probabilities."""
    random = np.random.default_rng(seed)
    user = random.integers(0, USERS, rows)
    shares = np.arange(1, ITEMS + 1) ** -0.5
    item = random.choice(ITEMS, rows, p=shares / shares.sum())
    level = random.normal(-1.0, 0.7, USERS)[user] + random.normal(0, 0.8, ITEMS)[item]
    of_users, of_items = random.normal(0, 0.8, (2, max(USERS, ITEMS), TASTES))
    level += (of_users[user] * of_items[item]).sum(axis=1)
    at = START + np.sort(random.integers(0, DAYS * DAY, rows))
    level += np.where(is_taught(at), 0.0, random.normal(0, MOVED, ITEMS)[item])
    truth = 1 / (1 + np.exp(-level))
    click = (random.random(rows) < truth).astype(int)
    return pa.table({"user": user, "item": item, "at": at, "click": click, "truth": truth})


def is_taught(at):
    """Of which rows the teacher learned."""
    return at < START + TAUGHT * DAY


def put(table: pa.Table, folder: Path) -> None:
    """Write the log's last day and the rest."""
    folder.mkdir()
    last = pc.greater_equal(table["at"], START + (DAYS - 1) * DAY)
    pq.write_table(table.filter(last), folder / "test.parquet")
    pq.write_table(table.filter(pc.invert(last)), folder / "log.parquet")


def study(rows: int, seed: int, shares: dict[str, float | None]) -> dict[str, dict]:
    """The teacher, and each student."""
    document = config([{"name": "click"}], "click")
    found = {}
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as place:
        folder = Path(place)
        table = click_log(rows, seed)
        taught = is_taught(table["at"].to_numpy())
        judged = table["at"].to_numpy() >= START + (DAYS - 2) * DAY
        put(table.filter(pa.array(taught | judged)), folder / "teacher")
        teacher = tried(document, folder / "teacher", seed, "click", seen="click")
        pq.write_table(table.filter(pa.array(~taught)), folder / "recent.parquet")
        steadyrank.score(
            model=folder / "teacher" / "export",
            input=str(folder / "recent.parquet"),
            output=folder / "scored",
            keep="*",
            prefix="teacher_",
        )
        scored = ds.dataset([*map(str, (folder / "scored").rglob("part-*"))]).to_table()
        for number, (choice, share) in enumerate(shares.items()):
            task = {"name": "click"}
            if share is not None:
                task |= {"soft_label": "teacher_click", "soft_weight": share}
            student = folder / f"student-{number}"
            put(scored, student)
            own = config([task], "click")
            found[choice] = tried(own, student, seed, "click", seen="click")
    found["teacher"] = teacher
    for choice, figured in found.items():
        told = ", ".join(f"{n} {v:.4f}" for n, v in figured.items())
        print(f"seed {seed}, {choice}: {told}", flush=True)
    return found


def main(arguments: list[str] | None = None) -> None:
    """All seeds."""
    parser = argparse.ArgumentParser("benchmarks.distillation")
    parser.add_argument("--quick", action="store_true", help="3 seeds, not 5")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, nargs="+")
    options = parser.parse_args(arguments)
    seeds = options.seeds or (SEEDS[:3] if options.quick else SEEDS)
    begun = time.monotonic()
    runs = [study(options.rows, seed, SHARES) for seed in seeds]
    found = summary({choice: [run[choice] for run in runs] for choice in runs[0]})
    minutes = round((time.monotonic() - begun) / 60, 1)
    print(
        json.dumps({"rows": options.rows, "seeds": len(seeds), **found, "minutes": minutes})
    )


if __name__ == "__main__":
    main()
