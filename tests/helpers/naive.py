"""Preprocessing once more, a row at a time in plain Python, and a plain reader."""

import datetime
import json
import math
from collections import Counter

import numpy as np
import tensorflow as tf

NAN = float("nan")


def same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def number(value) -> float:
    """As float32, NaN where missing or not finite."""
    if value is None or not math.isfinite(float(value)):
        return NAN
    return float(np.float32(value))


def day_of(row) -> str:
    moment = datetime.datetime.fromtimestamp(row["time_ms"] / 1000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d")


def split_of(day: str) -> str:
    return "train" if day < "2024-03-05" else "validation" if day < "2024-03-06" else "test"


def reason(row) -> str:
    if row["time_ms"] is None:
        return "time_ms: no readable time"
    for task in ("click", "like"):
        if row[task] not in (0, 1, None):
            return f"label {task}: neither 0 nor 1"
    if row["watch"] is not None and row["watch"] < 0:
        return "label watch: below 0, which log1p does not take"
    return ""


def values_of(row, users) -> dict:
    tags = [tag for tag in (row["tags"] or "").split("|") if tag]
    return {
        "user": [] if row["user"] is None else [row["user"]],
        "item": [row["item"]] if row["item"] else [],
        "tags": tags,
        "country": [users[row["user"]]] if users.get(row["user"]) else [],
    }


MIN_COUNT = {"item": 3}
OOV = {"item": 3}
WIDTH = {"tags": 2}


def preprocess(rows: list[dict], side: list[dict]):
    """Kept rows as hashable tuples, reasons, number of duplicates, vocabularies."""
    users = {row["user"]: row["country"] for row in side}
    reasons, kept, seen, duplicates = Counter(), [], set(), 0
    for row in rows:
        why = reason(row)
        key = tuple(row.values())
        if why.startswith("time"):
            reasons[why] += 1
        elif key in seen:
            duplicates += 1
        else:
            seen.add(key)
            if why:
                reasons[why] += 1
            else:
                kept.append(row)
    counts = {name: Counter() for name in ("user", "item", "tags", "country")}
    for row in kept:
        if split_of(day_of(row)) == "train":
            for name, values in values_of(row, users).items():
                counts[name].update(values)
    vocabularies = {}
    for name, counter in counts.items():
        order = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
        least = MIN_COUNT.get(name, 1)
        vocabularies[name] = [value for value, count in order if count >= least]
    encoded = Counter(encode(row, users, vocabularies) for row in kept)
    return encoded, reasons, duplicates, vocabularies


def encode(row, users, vocabularies) -> tuple:
    parts = [split_of(day_of(row)), day_of(row)]
    for name, values in values_of(row, users).items():
        ids = [identify(value, vocabularies[name], OOV.get(name, 1)) for value in values]
        width = WIDTH.get(name, 1)
        parts.append(tuple((ids + [0] * width)[:width]))
    numbers = [number(row[key]) for key in ("price", "age", "click", "like", "watch")]
    parts += [str(value) for value in numbers]
    parts.append(-(2**63) if row["user"] is None else row["user"])
    return tuple(parts)


def identify(value, vocabulary, buckets) -> int:
    if value in vocabulary:
        return 1 + buckets + vocabulary.index(value)
    if buckets == 1:
        return 1
    return 1 + int(tf.strings.to_hash_bucket_fast(str(value), buckets))


def read(folder) -> Counter:
    """The rows of an example set in the form of ``encode``, by TensorFlow alone."""
    rows = Counter()
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        for record in tf.data.TFRecordDataset([str(folder / file["path"])]):
            example = tf.train.Example.FromString(record.numpy())
            raw = {k: f.bytes_list.value[0] for k, f in example.features.feature.items()}
            ids = np.frombuffer(raw["ids"], "<i4").reshape(-1, 5)
            numbers = np.frombuffer(raw["numbers"], "<f4").reshape(-1, 5)
            group = np.frombuffer(raw["group"], "<i8")
            for i, x, g in zip(ids.tolist(), numbers.tolist(), group, strict=True):
                key = (file["split"], file["window"], (i[0],), (i[1],), (i[2], i[3]))
                rows[(*key, (i[4],), *map(str, x), int(g))] += 1
    return rows
