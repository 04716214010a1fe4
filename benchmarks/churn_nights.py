"""Sixty nights of items that come and go: does a vocabulary that lives stay small and good?

    python -m benchmarks.churn_nights [--quick] [--back 0.1] [--folder DIR]

A planted log: each day new items come and old ones go for good; with ``--back`` a share of
them comes back when it has long expired.  Users click by their taste.  Two stores, night by
night in one process, each night by ``nightly`` (a day is added, a warm start on it, judged
on the next): one whose items have ``expire_after`` and ``max_size``, and one without.  All
else is equal: rows, seeds, days.

The last line is a JSON object: ``rows`` of the items' table by night, of either; ``auc``
by night; and ``gain``, what living adds to the AUC of the last half of the nights: mean
and Student's 95 % interval over blocks of nights, as one night is like the next.
``--quick``: one seed, else three.  ``--folder`` keeps the stores: the same command goes on
where it stopped.
"""

import argparse
import functools
import json
import tempfile
import time
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.multitask_ledger import Ledger
from benchmarks.pages.form import student
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.nightly import nightly

FIRST, NIGHTS, DAY_MS = datetime.date(2024, 3, 1), 60, 86_400_000
BEFORE = 2  # days of log before the first night
USERS, NEW, LIFE, WIDTH = 400, 20, 6, 4  # items a day; days that one lives, on average
AWAY = 15  # days after which some items come back, for as long again
ROWS = 10_000  # a day
LIVING = {"expire_after": "7d", "max_size": 500}
BLOCK = 5  # nights


def day_of(number: int) -> str:
    """The day of a night, the first of which is 1."""
    return (FIRST + datetime.timedelta(BEFORE + number - 1)).isoformat()


class World:
    """Users, and items with the days on which they are there.

    Args:
        seed: Of all that is drawn.
        days: How many there are.
        back: The share of items that comes back.
    """

    def __init__(self, seed: int, days: int, back: float = 0.0):
        random = np.random.default_rng([seed, 0])
        self.seed = seed
        born = np.repeat(np.arange(-4 * LIFE, days), NEW)  # the first day is like the last
        lives = random.geometric(1 / LIFE, len(born))
        again = np.where(random.random(len(born)) < back, born + lives + AWAY, days)
        self.spans = [(born, born + lives), (again, again + lives)]
        self.taste = random.normal(size=(USERS, WIDTH)) / np.sqrt(WIDTH)
        self.kind = random.normal(size=(len(born), WIDTH))
        self.liked = random.normal(size=len(born)) - 1.0

    def there(self, day: int) -> np.ndarray:
        """The items of a day."""
        found = [(start <= day) & (day < end) for start, end in self.spans]
        return np.flatnonzero(np.logical_or(*found))

    def log_of(self, day: int, rows: int) -> pa.Table:
        """The log of a day; the first is 0."""
        random = np.random.default_rng([self.seed, 1, day])
        user = random.integers(0, USERS, rows)
        item = random.choice(self.there(day), rows)
        near = np.einsum("nd,nd->n", self.taste[user], self.kind[item])
        chance = 1 / (1 + np.exp(-self.liked[item] - 1.5 * near))
        start = np.datetime64(FIRST, "ms").astype(np.int64) + day * DAY_MS
        return pa.table(
            {
                "user": user,
                "item": item,
                "click": (random.random(rows) < chance).astype(np.int8),
                "time_ms": start + np.sort(random.integers(0, DAY_MS, rows)),
            }
        )


def config(lives: bool, seed: int) -> dict:
    """Of either store."""
    item = {"name": "item", "kind": "categorical", **(LIVING if lives else {})}
    return {
        "data": {
            "input": ["{day}.parquet"],
            "time": "time_ms",
            "split": {"validation": 0.1, "test": day_of(1)},
            "group": "user",
        },
        "features": [{"name": "user", "kind": "categorical"}, item],
        "tasks": [{"name": "click"}],
        "model": {
            "trunk": "deepfm",
            "embedding_dim": 8,
            "deep_units": [32],
            "tower_units": [16],
        },
        "train": {
            "seed": seed,
            "batch_size": 128,
            "epochs": 2,
            "dense": {"optimizer": "adam", "learning_rate": 2e-3},
            "embedding": {"learning_rate": 0.02},
        },
        "importance": {"rows": 0},
        "gates": {"auc": {"click": {"min": 0.55}}},
        "nightly": {"keep": {"nights": 3, "releases": 2}},
    }


def night(folder: Path, number: int, lives: bool, seed: int) -> dict:
    """One night of one store: rows of the items' table, AUC, and seconds."""
    store, begun = folder / ("living" if lives else "growing"), time.monotonic()
    settings = parse_config(config(lives, seed), "churn")
    record = nightly(settings, folder, day_of(number), store)
    schema = ExampleSet.read_schema(store / "nights" / day_of(number) / "examples")
    (rows,) = (feature.rows for feature in schema.features if feature.name == "item")
    return {
        "rows": rows,
        "auc": record["tasks"]["click"]["value"],
        "verdict": record["verdict"],
        "seconds": round(time.monotonic() - begun, 2),
    }


def nights(folder: Path, count: int, seed: int, back: float) -> dict[bool, list[dict]]:
    """All nights of both stores; those that were done are not done again."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(seed, count + BEFORE, back)
    ledger = Ledger(folder / "nights.json", resume=True)
    found: dict[bool, list[dict]] = {True: [], False: []}
    for number in range(1 - BEFORE, count + 1):
        path = folder / f"{day_of(number)}.parquet"
        if not path.exists():
            pq.write_table(world.log_of(number + BEFORE - 1, ROWS), path)
        if number < 1:
            continue
        for lives, done in found.items():
            settings = {"night": number, "config": config(lives, seed), "rows": ROWS}
            make = functools.partial(night, folder, number, lives, seed)
            done.append(ledger.run(settings, make))
        print(day_of(number), found[True][-1], found[False][-1], flush=True)
    return found


def summary(runs: list[dict[bool, list[dict]]]) -> dict:
    """The last line, of the runs of all seeds."""
    count = len(runs[0][True])
    last = range(count // 2, count)
    blocks = [last[start : start + BLOCK] for start in range(0, len(last), BLOCK)]
    gains = [
        float(np.mean([run[True][n]["auc"] - run[False][n]["auc"] for n in block]))
        for run in runs
        for block in blocks
    ]
    result: dict = {"nights": count, "seeds": len(runs), "living": LIVING}
    for lives, name in ((True, "living"), (False, "growing")):
        nights_of = [run[lives] for run in runs]
        result[f"{name}_rows"] = [night["rows"] for night in nights_of[0]]
        result[f"{name}_auc"] = round(
            float(np.mean([run[n]["auc"] for run in nights_of for n in last])), 5
        )
        result[f"{name}_passed"] = sum(
            night["verdict"] == "PASS" for run in nights_of for night in run
        )
        result[f"{name}_seconds"] = round(
            float(np.median([night["seconds"] for run in nights_of for night in run])), 1
        )
    mean, *bounds = student(gains)
    blocked = {"mean": mean, "interval": bounds, "values": gains}
    return result | {"last": len(last), "gain": blocked}


def main(arguments: list[str] | None = None) -> None:
    """Both stores, over seeds."""
    parser = argparse.ArgumentParser("benchmarks.churn_nights")
    parser.add_argument("--quick", action="store_true", help="one seed, not three")
    parser.add_argument("--nights", type=int, default=NIGHTS)
    parser.add_argument("--back", type=float, default=0.0, help="share that comes back")
    parser.add_argument("--folder", type=Path, help="where the stores stay")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as place:
        folder = options.folder or Path(place)
        seeds = [1] if options.quick else [1, 2, 3]
        runs = [
            nights(folder / f"{options.back}-{seed}", options.nights, seed, options.back)
            for seed in seeds
        ]
    print(json.dumps({"back": options.back, **summary(runs)}))


if __name__ == "__main__":
    main()
