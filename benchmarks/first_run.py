"""Is a first run, with nothing set, as good as what one would have tried instead?

    pip install -r benchmarks/first-run-requirements.txt
    python -m benchmarks.first_run [--quick | --choose] [--data DIR]

Six logs of different kinds: three days of KuaiRand, Census-Income, MovieLens-small (is a
rating 4 or more?), and three that are generated: few users with many rows each, items that
are rarely seen, and labels of which one in a hundred is yes.  A config names columns and a
trunk; ``train`` stays as it is by default.

Its opponents get the very ids and numbers of the examples, and are tuned on the validation
split as well: LightGBM (31 or 127 leaves, rounds until the validation AUC stands still), a
net for each task; and a plain net (embeddings of 16, two layers of 128 and 64, Adam at 1e-3
or 3e-3, epochs likewise), all tasks at once.

``--choose`` tries ``CANDIDATES`` for the defaults instead, by the mean over logs of the
validation AUC less that of the first one.  The rule was written before: the highest mean
over two seeds is taken, of two within .001 the earlier in the list.

``--quick``: MovieLens-small and the rare labels.  The last line is a JSON object: per log
and task ``ours``, ``lightgbm`` and ``net`` (test AUC), ``difference`` to each with its
95 % interval (users drawn where there are some, rows where not), and over all
``worse_than_peer``, those whose interval lies below 0.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics import grouped
from steadyrank.pipeline.config import Config, load_config, parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.kinds import preprocess, train
from steadyrank.pipeline.kinds.ranking.model import best_model
from steadyrank.pipeline.metrics.predict import predict

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
ROWS = 8192
DAYS = 3  # of KuaiRand, to train on
QUICK = ("movielens", "rare_labels")
DRAWS = 200
UNTIL = {"epochs": 20, "patience": 2, "batch_size": 1024}  # of every candidate
CANDIDATES = {
    "adagrad .2, rows .001": {
        "dense": {"optimizer": "adagrad", "learning_rate": 0.2},
        "embedding": {"learning_rate": 1e-3},
    },
    "adam .001, rows .001": {
        "dense": {"optimizer": "adam", "learning_rate": 1e-3},
        "embedding": {"learning_rate": 1e-3},
    },
    "adam .001, rows .002": {
        "dense": {"optimizer": "adam", "learning_rate": 1e-3},
        "embedding": {"learning_rate": 2e-3},
    },
    "adam .001, rows .005": {
        "dense": {"optimizer": "adam", "learning_rate": 1e-3},
        "embedding": {"learning_rate": 5e-3},
    },
}


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


def with_train(config: Config, train_section: dict) -> Config:
    """A config with some keys of ``train`` set."""
    document = config.model_dump(mode="json", exclude_unset=True)
    return parse_config({**document, "train": train_section}, "first_run")


def ours(config: Config, examples: ExampleSet, folder: Path) -> dict:
    """Outputs of the best weights on both evaluation splits, and what training says."""
    summary = train(config, examples.path, folder)
    model = best_model(config, agree(config, examples.schema), folder)
    call = BatchFunction(model.head.predict_tasks)
    found = {
        split: predict(call, evaluation_dataset(examples, split, ROWS))[2]
        for split in ("validation", "test")
    }
    return {"outputs": found, "epochs": summary["epochs"], "steps": summary["steps"]}


def arrays(examples: ExampleSet, split: str) -> dict:
    """All rows of a split: ``ids`` and ``numbers`` by column, labels, masks, groups."""
    rows = list(
        evaluation_dataset(examples, split, ROWS, extra=bool(examples.schema.group))
    )
    features = {
        name: np.concatenate([batch[0][name].numpy() for batch in rows])
        for name in rows[0][0]
    }
    found = {"ids": {}, "numbers": {}}
    for feature in examples.schema.features:
        values = features[feature.name]
        if feature.kind == "numeric":
            found["numbers"][feature.name] = values
        else:
            found["ids"][feature.name] = values.reshape(len(values), -1)
    for place, name in ((1, "labels"), (2, "masks")):
        found[name] = {
            task: np.concatenate([batch[place][task].numpy() for batch in rows])
            for task in rows[0][place]
        }
    found["groups"] = None
    if examples.schema.group:
        found["groups"] = np.concatenate([batch[3]["group"].numpy() for batch in rows])
    return found


def lightgbm(splits: dict, tasks: list[str]) -> dict:
    """Task -> test outputs of the better of two sizes of trees."""
    import lightgbm as gbm

    def table(rows):
        ids = [x[:, :2] for x in rows["ids"].values()]
        numbers = [x[:, None] for x in rows["numbers"].values()]
        return np.concatenate([*ids, *numbers], axis=1).astype(np.float32)

    wide = sum(min(x.shape[1], 2) for x in splits["train"]["ids"].values())
    tables, found = {name: table(rows) for name, rows in splits.items()}, {}
    for task in tasks:
        inside = {name: rows["masks"][task] > 0 for name, rows in splits.items()}
        best = -1.0
        for leaves in (31, 127):
            model = gbm.LGBMClassifier(
                num_leaves=leaves,
                n_estimators=2000,
                learning_rate=0.05,
                n_jobs=2,
                verbose=-1,
            )
            held = inside["validation"]
            truth = splits["validation"]["labels"][task][held]
            model.fit(
                tables["train"][inside["train"]],
                splits["train"]["labels"][task][inside["train"]],
                eval_set=[(tables["validation"][held], truth)],
                eval_metric="auc",
                categorical_feature=list(range(wide)),
                callbacks=[gbm.early_stopping(50, verbose=False)],
            )
            area = grouped.auc(truth, model.predict_proba(tables["validation"][held])[:, 1])
            if area > best:
                best, found[task] = area, model.predict_proba(tables["test"])[:, 1]
    return found


def plain_net(splits: dict, tasks: list[str]) -> dict:
    """Task -> test outputs of the better of two rates; all tasks at once."""
    rows = splits["train"]
    moments = {n: (np.nanmean(x), np.nanstd(x) or 1.0) for n, x in rows["numbers"].items()}

    def inputs(split):
        found = {n: x.astype(np.int32) for n, x in split["ids"].items()}
        for name, x in split["numbers"].items():
            mean, std = moments[name]
            found[f"{name} "] = np.nan_to_num((x - mean) / std)[:, None].astype(np.float32)
        return found

    best, outputs = -1.0, {}
    for rate in (1e-3, 3e-3):
        tf.keras.utils.set_random_seed(1)
        given = {
            n: tf.keras.Input([x.shape[1]], dtype=x.dtype) for n, x in inputs(rows).items()
        }
        vectors = []
        for name, x in given.items():
            if name in rows["ids"]:
                size = int(max(s["ids"][name].max() for s in splits.values())) + 1
                embedded = tf.keras.layers.Embedding(size, 16)(x)
                vectors.append(tf.reduce_mean(embedded, axis=1))
            else:
                vectors.append(x)
        x = tf.concat(vectors, axis=1)
        for units in (128, 64):
            x = tf.keras.layers.Dense(units, "relu")(x)
        logits = {task: tf.keras.layers.Dense(1, name=task)(x)[:, 0] for task in tasks}
        model = tf.keras.Model(given, logits)
        optimizer, high, stale = tf.keras.optimizers.Adam(rate), -1.0, 0

        @tf.function
        def step(batch, labels, masks, model=model, optimizer=optimizer):
            with tf.GradientTape() as tape:
                outputs = model(batch, training=True)
                loss = 0.0
                for task in tasks:
                    each = tf.nn.sigmoid_cross_entropy_with_logits(
                        tf.where(masks[task] > 0, labels[task], 0.0), outputs[task]
                    )
                    total = tf.reduce_sum(each * masks[task])
                    loss += tf.math.divide_no_nan(total, tf.reduce_sum(masks[task]))
            weights = model.trainable_variables
            optimizer.apply_gradients(
                zip(tape.gradient(loss, weights), weights, strict=True)
            )

        dataset = (
            tf.data.Dataset.from_tensor_slices(
                (inputs(rows), rows["labels"], rows["masks"])
            )
            .shuffle(1 << 18, seed=1)
            .batch(512)
        )
        for _ in range(20):
            for batch in dataset:
                step(*batch)
            held = splits["validation"]
            area = mean_area(foretell(model, inputs(held)), held, tasks)
            stale = 0 if area > high else stale + 1
            high = max(high, area)
            if area > best:
                best, outputs = area, foretell(model, inputs(splits["test"]))
            if stale == 2:
                break
    return outputs


def foretell(model, inputs: dict) -> dict:
    """Logits of all rows."""
    dataset = tf.data.Dataset.from_tensor_slices(inputs).batch(ROWS)
    parts = [model(batch) for batch in dataset]
    return {
        task: np.concatenate([part[task].numpy() for part in parts]) for task in parts[0]
    }


def mean_area(outputs: dict, rows: dict, tasks: list[str]) -> float:
    """Mean AUC of the tasks, each over its sample space."""
    areas = []
    for task in tasks:
        inside = rows["masks"][task] > 0
        areas.append(grouped.auc(rows["labels"][task][inside], outputs[task][inside]))
    return float(np.nanmean(areas))


def difference(one, other, rows: dict, task: str) -> list[float]:
    """AUC of one less that of another on the same rows, with its 95 % interval."""
    inside = rows["masks"][task] > 0
    label, one, other = rows["labels"][task][inside], one[inside], other[inside]
    groups = np.arange(len(label)) if rows["groups"] is None else rows["groups"][inside]
    _, number = np.unique(groups, return_inverse=True)
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(number.max() + 2))
    random, found = np.random.default_rng(1), []
    for _ in range(DRAWS):
        drawn = random.integers(0, len(starts) - 1, len(starts) - 1)
        sizes = starts[drawn + 1] - starts[drawn]
        begun = np.repeat(np.cumsum(sizes) - sizes, sizes)
        at = order[np.arange(sizes.sum()) - begun + np.repeat(starts[drawn], sizes)]
        found.append(grouped.auc(label[at], one[at]) - grouped.auc(label[at], other[at]))
    low, high = np.nanquantile(found, [0.025, 0.975])
    mean = grouped.auc(label, one) - grouped.auc(label, other)
    return [round(float(x), 4) for x in (mean, low, high)]


def against(config: Config, examples: ExampleSet, folder: Path) -> dict:
    """A log's tasks: ours beside both opponents."""
    tasks = [task.name for task in examples.schema.tasks if task.kind == "binary"]
    splits = {name: arrays(examples, name) for name in ("train", "validation", "test")}
    mine = ours(config, examples, folder / "train")
    test, outputs = splits["test"], mine["outputs"]["test"]
    peers = {"lightgbm": lightgbm(splits, tasks), "net": plain_net(splits, tasks)}
    found = {"epochs": mine["epochs"], "steps": mine["steps"], "tasks": {}}
    for task in tasks:
        inside = test["masks"][task] > 0
        label = test["labels"][task][inside]
        areas = {"ours": outputs[task], **{n: each[task] for n, each in peers.items()}}
        areas = {
            n: round(float(grouped.auc(label, x[inside])), 4) for n, x in areas.items()
        }
        gained = {
            n: difference(outputs[task], x[task], test, task) for n, x in peers.items()
        }
        found["tasks"][task] = {**areas, "difference": gained}
    return found


def choose(config: Config, examples: ExampleSet, folder: Path) -> dict:
    """Validation AUC of each candidate, seed by seed."""
    tasks = [task.name for task in examples.schema.tasks if task.kind == "binary"]
    held, found = arrays(examples, "validation"), {}
    for name, section in CANDIDATES.items():
        for seed in (1, 2):
            tried = with_train(config, {**UNTIL, **section, "seed": seed})
            place = folder / f"{len(found)}-{seed}"
            mine = ours(tried, examples, place)
            area = mean_area(mine["outputs"]["validation"], held, tasks)
            found.setdefault(name, []).append(round(area, 4))
        print(f"  {name}: {found[name]}", flush=True)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options = parse(arguments)
    names = QUICK if options.quick else options.logs or LOGS
    began, found = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as scratch:
        for name in names:
            print(f"{name}:", flush=True)
            folder = Path(scratch) / name
            config = config_of(name, options.data, folder / "log")
            preprocess(config, folder / "log", folder / "examples")
            examples = ExampleSet.open(folder / "examples")
            study = choose if options.choose else against
            found[name] = study(config, examples, folder)
            print(json.dumps(found[name]), flush=True)
    seconds = round(time.monotonic() - began)
    print(json.dumps({**(chosen if options.choose else judged)(found), "seconds": seconds}))


def chosen(found: dict) -> dict:
    """Gains over the first candidate, a log at a time, and their mean."""
    first = next(iter(CANDIDATES))
    base = {log: float(np.mean(each[first])) for log, each in found.items()}
    gains = {
        name: {log: round(float(np.mean(each[name])) - base[log], 4)
               for log, each in found.items()}
        for name in CANDIDATES
    }  # fmt: skip
    mean = {
        name: round(float(np.mean([*each.values()])), 4) for name, each in gains.items()
    }
    return {"validation": found, "gains": gains, "mean": mean}


def judged(found: dict) -> dict:
    """All logs, and how often a peer was told to be better."""
    pairs = [
        gained
        for log in found.values()
        for task in log["tasks"].values()
        for gained in task["difference"].values()
    ]
    return {
        "logs": found,
        "compared": len(pairs),
        "worse_than_peer": sum(high < 0 for _, _, high in pairs),
        "better_than_peer": sum(low > 0 for _, low, _ in pairs),
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.first_run", description="Defaults against LightGBM and a plain net."
    )
    parser.add_argument("--quick", action="store_true", help="two logs")
    parser.add_argument("--choose", action="store_true", help="candidates for defaults")
    parser.add_argument("--logs", nargs="+", choices=LOGS, help="these alone")
    parser.add_argument("--data", type=Path, default=Path(beside))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
