"""Days of two features, as their profiles, and what they are held to."""

import json

import numpy as np
import pyarrow as pa

from steadyrank.models.features import Task
from steadyrank.pipeline.config.contract import Contract
from steadyrank.pipeline.contract import profile
from steadyrank.pipeline.contract.judge import judge


# a day of two features, whose values are drawn a thousand times
def day(seed=0, *, swap=False, missing=0.0, times=1.0, without="", clicks=0.1) -> dict:
    draw, rows = np.random.default_rng(seed), 1000
    numbers = {
        "price": draw.lognormal(3, 1, rows).astype(np.float32) * np.float32(times),
        "age": draw.integers(18, 70, rows).astype(np.float32),
    }
    numbers["price"][draw.random(rows) < missing] = np.nan
    if swap:
        numbers = {"price": numbers["age"], "age": numbers["price"]}
    country = draw.choice(["de", "fr", "it"], rows, p=[0.6, 0.3, 0.1])
    country = pa.array(country[country != without])
    known = {name: country.to_pylist().count(name) for name in ("de", "fr", "it")}
    click = (draw.random(rows) < clicks).astype(np.float32)
    features = {name: profile.of_number(values) for name, values in numbers.items()}
    how = {"known": known, "unknown": 0, "split": "test"}
    features["country"] = profile.of_values(country, country, **how)
    labels = profile.of_labels({"click": click}, (Task("click"),))
    return {"rows": rows, "repeated": 0, "features": features, "tasks": labels}


COLUMNS = {"price": {"type": "double", "kind": "number"}}

BASE = {"columns": COLUMNS, "days": {f"2024-03-0{n}": day(n) for n in range(1, 6)}}


def held(profiles, columns=None, base=BASE, **settings) -> dict:
    return judge(profiles, base, Contract(**settings), columns or COLUMNS)


def statistics(examples) -> dict:
    return json.loads((examples / "statistics.json").read_text())
