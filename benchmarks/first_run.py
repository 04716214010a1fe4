"""Is a first run, with nothing set, as good as what one would have tried instead?

    pip install -r benchmarks/first-run-requirements.txt
    python -m benchmarks.first_run [--quick] [--choose] [--only KIND] [--data DIR]

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

Next-item models stand beside counted transitions and a net of their own on two logs: see
``benchmarks.first_run_sequences``.

``--quick``: MovieLens-small and the rare labels, and both logs of sequences.  The last
line is a JSON object: per log and task ``ours``, ``lightgbm`` and ``net`` (test AUC),
``difference`` to each with its 95 % interval (users drawn where there are some, rows where
not), and over all ``worse_than_peer``, those whose interval lies below 0;
``sequences`` likewise, with ``above_transitions``, those whose NDCG@10 is above that of
counted transitions by an interval.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import numpy as np

from benchmarks import first_run_sequences as next_item
from benchmarks.first_run_logs import LOGS, config_of
from benchmarks.first_run_peers import ROWS, lightgbm, mean_area, plain_net
from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics import grouped
from steadyrank.pipeline.config import Config, parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.kinds import preprocess, train
from steadyrank.pipeline.kinds.ranking.model import best_model
from steadyrank.pipeline.metrics.predict import predict

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
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
    began, found = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as scratch:
        for kind, study in STUDIES.items():
            if options.only in (None, kind):
                folder = Path(scratch) / kind
                found[kind] = dict(study(options, folder))
    seconds = round(time.monotonic() - began)
    told = chosen if options.choose else judged
    print(json.dumps({**told(found), "seconds": seconds}))


def ranking_logs(options, scratch: Path) -> Iterator[tuple[str, dict]]:
    """What was found of each log of a ranking model."""
    study = choose if options.choose else against
    for name in options.logs or (QUICK if options.quick else LOGS):
        print(f"{name}:", flush=True)
        folder = scratch / name
        config = config_of(name, options.data, folder / "log")
        preprocess(config, folder / "log", folder / "examples")
        found = study(config, ExampleSet.open(folder / "examples"), folder)
        print(json.dumps(found), flush=True)
        yield name, found


def sequence_logs(options, scratch: Path) -> Iterator[tuple[str, dict]]:
    """What was found of each log of a next-item model."""
    study = next_item.choose if options.choose else next_item.against
    for name in next_item.LOGS:
        print(f"{name}, what comes next:", flush=True)
        found = study(name, options.data, scratch / name)
        print(json.dumps(found), flush=True)
        yield name, found


STUDIES = {"ranking": ranking_logs, "next_item": sequence_logs}


def chosen(found: dict) -> dict:
    """Of each kind ``validation``, ``gains`` over the first candidate, their ``mean``."""
    return {kind: {"validation": logs, **gains_of(logs)} for kind, logs in found.items()}


def gains_of(logs: dict) -> dict:
    """Gains over the first candidate, a log at a time, and their mean.

    Args:
        logs: Log -> candidate -> values, seed by seed.  ``sasrec: batch 64`` is a candidate
            of ``sasrec``, whose first one it is compared with.
    """
    base, gains = {}, {}
    for log, candidates in logs.items():
        for name, values in candidates.items():
            of_block = name.partition(": ")[0] if ": " in name else ""
            value = float(np.mean(values))
            first = base.setdefault((log, of_block), value)
            gains.setdefault(name, {})[log] = round(value - first, 4)
    mean = {
        name: round(float(np.mean([*each.values()])), 4) for name, each in gains.items()
    }
    return {"gains": gains, "mean": mean}


def judged(found: dict) -> dict:
    """All logs, and how often a peer was told to be better."""
    logs, sequences = found.get("ranking", {}), found.get("next_item", {})
    pairs = [
        gained
        for log in logs.values()
        for task in log["tasks"].values()
        for gained in task["difference"].values()
    ]
    models = [model for log in sequences.values() for model in log["models"].values()]
    over = {
        peer: [model["difference"][peer][next_item.MAIN] for model in models]
        for peer in ("transitions", "net")
    }
    every = [*pairs, *over["net"]]
    return {
        "logs": logs,
        "sequences": sequences,
        "compared": len(every),
        "worse_than_peer": sum(high < 0 for _, _, high in every),
        "better_than_peer": sum(low > 0 for _, low, _ in every),
        "compared_with_transitions": len(models),
        "above_transitions": sum(low > 0 for _, low, _ in over["transitions"]),
        "below_transitions": sum(high < 0 for _, _, high in over["transitions"]),
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.first_run", description="Defaults against LightGBM and a plain net."
    )
    parser.add_argument("--quick", action="store_true", help="two logs")
    parser.add_argument("--choose", action="store_true", help="candidates for defaults")
    parser.add_argument("--only", choices=STUDIES, help="models of this kind alone")
    parser.add_argument("--logs", nargs="+", choices=LOGS, help="of ranking models")
    parser.add_argument("--data", type=Path, default=Path(beside))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
