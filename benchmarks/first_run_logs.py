"""The six logs of ``benchmarks.first_run``, and configs that leave training as it is."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from steadyrank.pipeline.config import Config, load_config, parse_config

ROOT = Path(__file__).resolve().parent.parent
DAYS = 3  # of KuaiRand, to train on


def day(number: int) -> int:
    """Milliseconds of a day of March 2024."""
    return int(np.datetime64("2024-03-01", "ms").astype(int)) + number * 86_400_000


def generated(rows: int, users: int, items: int, rate: float, seed: int) -> pa.Table:
    """Rows whose label is drawn by user, item, their taste, and two numbers."""
    random = np.random.default_rng(seed)
    user = random.integers(0, users, rows)
    item = np.minimum(random.zipf(1.2, rows) - 1, items - 1)
    taste, kind = random.normal(size=[users, 4]), random.normal(size=[items, 4])
    age, price = random.normal(size=rows), random.lognormal(size=rows)
    logit = random.normal(0, 0.7, users)[user] + random.normal(0, 0.7, items)[item]
    logit += 0.5 * (taste[user] * kind[item]).sum(1)
    logit += 0.5 * np.sin(2 * age) + 0.3 * np.log(price)
    shift = np.quantile(logit + random.logistic(size=rows), 1 - rate)
    label = (logit + random.logistic(size=rows) > shift).astype(np.int8)
    return pa.table(
        {
            "user": user,
            "item": item,
            "category": kind[item].argmax(1),
            "age": age,
            "price": price,
            "label": label,
            "time_ms": np.sort(random.integers(day(0), day(10), rows)),
        }
    )


GENERATED = {
    "dense_users": {"rows": 100_000, "users": 200, "items": 500, "rate": 0.3, "seed": 1},
    "sparse_items": {
        "rows": 100_000, "users": 10_000, "items": 30_000, "rate": 0.2, "seed": 2,
    },
    "rare_labels": {
        "rows": 200_000, "users": 5_000, "items": 2_000, "rate": 0.01, "seed": 3,
    },
}  # fmt: skip
OF_GENERATED = {
    "data": {
        "input": ["log.parquet"],
        "time": "time_ms",
        "split": {"validation": "2024-03-09", "test": "2024-03-10"},
        "group": "user",
    },
    "features": [
        {"name": "user", "kind": "categorical"},
        {"name": "item", "kind": "categorical"},
        {"name": "category", "kind": "categorical"},
        {"name": "age", "kind": "numeric", "buckets": 20},
        {"name": "price", "kind": "numeric", "transform": "log1p"},
    ],
    "tasks": [{"name": "label"}],
    "model": {"trunk": "dcn_v2"},
}


def movielens(data: Path, folder: Path) -> dict:
    """Ratings beside the genres of their movies, the last fifth in time held out."""
    folder.mkdir(parents=True)
    ratings = pyarrow.csv.read_csv(data / "movielens_small" / "ratings.csv")
    pq.write_table(ratings, folder / "log.parquet")
    movies = pyarrow.csv.read_csv(data / "movielens_small" / "movies.csv")
    pq.write_table(movies, folder / "movies.parquet")
    times = np.sort(ratings["timestamp"].to_numpy())
    moments = [
        np.datetime64(int(times[int(share * len(times))]), "s").item().isoformat()
        for share in (0.8, 0.9)
    ]
    return {
        "data": {
            "input": ["log.parquet"],
            "join": [{"input": "movies.parquet", "on": "movieId"}],
            "time": "timestamp",
            "time_unit": "s",
            "window": "180d",
            "split": {"validation": moments[0], "test": moments[1]},
            "group": "userId",
        },
        "features": [
            {"name": "userId", "kind": "categorical"},
            {"name": "movieId", "kind": "categorical"},
            {"name": "genres", "kind": "categorical", "separator": "|", "max_values": 6},
        ],
        "tasks": [{"name": "liked", "column": "rating", "at_least": 4.0}],
        "model": {"trunk": "dcn_v2"},
    }


def kuairand(data: Path, folder: Path) -> dict:
    """The last days before those that are held out, as configs/kuairand.yaml reads them."""
    folder.mkdir(parents=True)
    document = load_config(ROOT / "configs" / "kuairand.yaml").model_dump(mode="json")
    for name in ("users.parquet", "videos.parquet", "history.parquet"):
        if (data / "kuairand" / name).exists():
            (folder / name).symlink_to((data / "kuairand" / name).resolve())
    log = pq.read_table(data / "kuairand" / "log.parquet")
    first = np.datetime64(document["data"]["split"]["validation"]) - np.timedelta64(
        DAYS, "D"
    )
    zone = np.timedelta64(8, "h")
    begin = int((first.astype("datetime64[ms]") - zone).astype(int))
    pq.write_table(
        log.filter(pc.greater_equal(log["time_ms"], begin)), folder / "log.parquet"
    )
    return document


def census(data: Path, folder: Path) -> dict:
    """As configs/census.yaml reads it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to((data / "census_income").resolve())
    return load_config(ROOT / "configs" / "census.yaml").model_dump(mode="json")


def config_of(name: str, data: Path, folder: Path) -> Config:
    """A log in its folder, and a config that leaves training as it is by default."""
    if name in GENERATED:
        folder.mkdir(parents=True)
        pq.write_table(generated(**GENERATED[name]), folder / "log.parquet")
        document = dict(OF_GENERATED)
    else:
        document = {"movielens": movielens, "kuairand": kuairand, "census": census}[name](
            data, folder
        )
    kept = ("data", "features", "tasks", "model")
    return parse_config({key: document[key] for key in kept}, name)


LOGS = ("kuairand", "census", "movielens", *GENERATED)
