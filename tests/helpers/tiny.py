"""A log of a few hundred rows, in plain Python, and a config that reads it."""

import copy
import csv
import datetime
import random

import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.config import parse_config

START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
DAYS = 6  # four to train on, one to validate, one to test
HOUR = 3_600_000
DATES = [f"2024-03-0{day + 1}" for day in range(DAYS)]

CONFIG = {
    "data": {
        "input": ["log.parquet"],
        "join": [{"input": "users.parquet", "on": "user", "prefix": "user_"}],
        "time": "time_ms",
        "split": {"validation": "2024-03-05", "test": "2024-03-06"},
        "group": "user",
        "max_rejected": 0.2,
    },
    "features": [
        {"name": "user", "kind": "categorical"},
        {"name": "item", "kind": "categorical", "min_count": 3, "oov_buckets": 3},
        {
            "name": "tags",
            "kind": "categorical",
            "separator": "|",
            "max_values": 2,
        },
        {
            "name": "country",
            "column": "user_country",
            "kind": "categorical",
        },
        {"name": "price", "kind": "numeric", "transform": "log1p"},
        {"name": "age", "kind": "numeric", "buckets": 4},
    ],
    "tasks": [
        {"name": "click"},
        {"name": "like", "given": "click"},
        {
            "name": "watch",
            "kind": "regression",
            "given": "click",
            "transform": "log1p",
            "weight": 0.1,
        },
    ],
    "model": {
        "trunk": "ple",
        "embedding_dim": 4,
        "levels": 1,
        "shared_experts": 1,
        "expert_units": [8],
        "tower_units": [4],
    },
    "train": {
        "epochs": 1,
        "patience": None,
        "batch_size": 64,
        "shuffle_rows": 128,
        "dense": {"optimizer": "adagrad"},
        "embedding": {"learning_rate": 1e-3},
    },
}
LONG_ENOUGH = {  # to learn
    "train__epochs": 3,
    "train__dense": {"optimizer": "adagrad", "learning_rate": 0.5},
    "train__embedding": {"learning_rate": 0.02},
}
RECENT = {"name": "recent", "kind": "categorical", "max_values": 3}
COLUMNS = [
    "user",
    "item",
    "tags",
    "price",
    "age",
    "click",
    "like",
    "watch",
    "time_ms",
    "number",
]


def config_document(**changes) -> dict:
    """The config as a dictionary of its own; ``data__window="6h"`` changes a key."""
    document = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = document
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return document


def config_on(day: str, **changes):
    """The config of one day of a log that grows: it tests, what was before it trains."""
    split = {"validation": 0.3, "test": day}
    return parse_config(config_document(data__split=split, **changes), "tiny")


def make_rows(count=600, seed=1, unseen=True) -> list[dict]:
    """Rows as dictionaries, None where a value is missing; ``number`` tells them apart.

    What is dear is clicked and watched, so that there is something to learn.  With
    ``unseen``, the last two days hold items that training never sees.
    """
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        day = number * DAYS // count
        luck = draw.random()
        late = unseen and day >= DAYS - 2
        item = f"i{draw.randrange(60 if late else 40)}"
        tags = [f"t{draw.randrange(8)}" for _ in range(draw.randrange(4))]
        user = None if draw.random() < 0.05 else draw.randrange(25)
        item = None if draw.random() < 0.05 else item
        price = None if draw.random() < 0.1 else round(draw.uniform(-5, 100), 2)
        click = int(luck < (0.97 if (price or 0) > 50 else 0.03))
        watched = draw.uniform(0.5, 1.5) * max((price or 0) - 45, 0.5)
        rows.append(
            {
                "user": user,
                "item": item,
                "tags": "|".join(tags) or None,
                "price": price,
                "age": None if draw.random() < 0.1 else draw.randrange(18, 70),
                "click": click,
                "like": int(click and draw.random() < 0.3),
                "watch": None if draw.random() < 0.05 else round(watched, 3),
                "time_ms": int(START.timestamp() * 1000)
                + day * 24 * HOUR
                + draw.randrange(24 * HOUR),
                "number": number,
            }
        )
    return rows


def make_users() -> list[dict]:
    """A side table that knows most of the users."""
    return [{"user": user, "country": ["de", "fr", None][user % 3]} for user in range(20)]


def write_parquet(rows: list[dict], path, row_group=None) -> None:
    types = {"price": pa.float64(), "watch": pa.float64(), "number": pa.int64()}
    names = list(rows[0]) if rows else COLUMNS
    columns = {
        name: pa.array([row[name] for row in rows], types.get(name)) for name in names
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group or 100)


def write_csv(rows: list[dict], path, delimiter=",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_log(folder, rows=None) -> None:
    """Log and side table as Parquet, under the names that the config has."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(make_rows() if rows is None else rows, folder / "log.parquet")
    write_parquet(make_users(), folder / "users.parquet")
