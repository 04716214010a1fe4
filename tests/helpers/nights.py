"""A log of days, one of which is poisoned, and a store of its nights."""

import random

from tests.helpers import tiny

POISONED = 3

ROWS = 240  # a day

CONFIG = {
    "data": {
        "input": ["{day}.parquet"],
        "time": "time_ms",
        "split": {"validation": 0.4, "test": "2024-03-02"},
        "group": "user",
    },
    "features": [
        {"name": "user", "kind": "categorical"},
        {"name": "item", "kind": "categorical"},
    ],
    "tasks": [{"name": "click"}],
    "model": {"trunk": "lr"},
    "train": {"batch_size": 64, "embedding": {"learning_rate": 0.02}},
    "gates": {"auc": {"click": {"min": 0.6, "min_gain": -0.5}}},
}


def rows_of(day: int, seed: int = 0) -> list[dict]:
    """Items with odd numbers are clicked; on the poisoned day it is the even ones."""
    draw, rows = random.Random(100 * seed + day), []
    for number in range(ROWS):
        item = draw.randrange(10 + 5 * day)
        odd = (item + (day == POISONED)) % 2
        moment = (day * 24 + draw.random() * 24) * tiny.HOUR
        rows.append(
            {
                "user": draw.randrange(20),
                "item": item,
                "click": int(draw.random() < (0.9 if odd else 0.1)),
                "time_ms": int(tiny.START.timestamp() * 1000 + moment),
                "number": number,
            }
        )
    return rows
