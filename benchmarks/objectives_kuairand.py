"""What other losses are worth on KuaiRand: watch time, and the order of a user's videos.

    python -m benchmarks.objectives_kuairand [--quick] [--only watch] [--resume]

The shipped config, split by day, with another loss of one task and nothing else.

- ``watch``: ``play_time_ms`` as a seventh task.  The logarithm (smeared on the validation
  day, as served), ``tweedie`` and ``weighted_logistic``; and the share
  of its duration that was watched, by two losses, served times the duration.  Each as it
  is served, and with a factor by its level: ``models.smearing.level_curve``, of the
  validation day as well.  Rows without a duration (1.6 %) are left out.
- ``ranking``: ``is_click`` with ``ranking: pairwise``, ``listwise`` or ``jrc``, a user's
  rows together in a batch; over cross entropy alone.  A user whose rows come together has
  fewer steps an epoch, so the tables' rate is higher; where there are several settings,
  the first seed's validation day chooses.

Each run's epoch is the one with the best mean AUC on the validation day; test rows are
looked at once.  Gains are paired by seed, intervals Student's at 95 %.

``xauc`` is the share of pairs of rows that stand in the order of their watch times.
``deciles`` are predicted over observed time in tenths of the rows by prediction, those
that hold less than 1 % of the time left out; ``durations`` the same by duration; ``noise``
is half of the 95 % interval that such a figure has by the luck of its rows alone.
``days`` has the mean time of the test days over that of the validation day.

``--quick``: 3 seeds, not 5.  The last line is a JSON object.
"""

import argparse
import functools
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import steadyrank.models  # noqa: F401  (sets the TensorFlow environment)
from benchmarks.multitask_ledger import Ledger
from benchmarks.multitask_trials import Columns, Trial, mean_auc
from benchmarks.objectives_figures import rounded, watched, watched_by_seed
from steadyrank.models.features import GROUP
from steadyrank.models.smearing import along, level_curve
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.metrics.tasks import measure

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
TIME, SHARE, DURATION = "play_time_ms", "share", "duration_ms"
VALUE = {"kind": "regression", "column": TIME}
# choice -> what of the task differs; those of the share are served times the duration
WATCH = {
    "logarithm": {"transform": "log1p", **VALUE},
    "tweedie": {"loss": "tweedie", **VALUE},
    "weighted_logistic": {"loss": "weighted_logistic", **VALUE},
    "share, tweedie": {"loss": "tweedie", "kind": "regression", "column": SHARE},
    "share, weighted_logistic": {
        "loss": "weighted_logistic",
        "kind": "regression",
        "column": SHARE,
    },
}
# tasks of the examples, by what the log's column becomes
TASKS = {(TIME, "log1p"): "time_log", (TIME, ""): "time", (SHARE, ""): "time_share"}
# choice -> weights of the loss and rates of the tables to choose from
RATE, HIGHER = 2e-3, 6e-3
RANKINGS = {
    "none": [(1.0, RATE), (1.0, HIGHER)],
    "pairwise": [(1.0, RATE), (10.0, HIGHER)],
    "listwise": [(1.0, HIGHER)],
    "jrc": [(1.0, HIGHER), (3.0, HIGHER)],
}
EVALUATION_ROWS = 16_384
JUDGED = ("validation", "test")


def log_with_shares(data: Path, folder: Path) -> None:
    """KuaiRand with the share watched; rows without a duration have none."""
    folder.mkdir()
    for path in data.glob("*.parquet"):
        (folder / path.name).symlink_to(path.resolve())
    log = pq.read_table(data / "log.parquet")
    duration = log[DURATION].cast(pa.float64())
    known = pc.if_else(pc.greater(duration, 0), duration, pa.scalar(None, pa.float64()))
    shares = pc.divide(log[TIME].cast(pa.float64()), known)
    (folder / "log.parquet").unlink()
    pq.write_table(log.append_column(SHARE, shares), folder / "log.parquet")


def named(task: Mapping) -> str:
    """The examples' task of a choice."""
    return TASKS[task["column"], task.get("transform", "")]


def everything(config: Config) -> Config:
    """The config with all tasks that any run trains."""
    document = config.model_dump(mode="json") | {"gates": {}}
    for (column, transform), name in TASKS.items():
        task = {"name": name, "kind": "regression", "column": column}
        task |= {"transform": transform} if transform else {}
        document["tasks"] = [*document["tasks"], task]
    return Config.model_validate(document)


def variant(
    config: Config, seed: int, task: Mapping | None = None, rate: float = RATE, **click
) -> Config:
    """The shipped config with one more task, or with other keys of ``is_click``."""
    document = config.model_dump(mode="json") | {"gates": {}}
    document["tasks"][0] |= click
    if task is not None:
        document["tasks"] = [*document["tasks"], {"name": named(task), **task}]
    document["train"] |= {"seed": seed, "monitor": "mean_auc"}
    document["train"]["embedding"]["learning_rate"] = rate
    return Config.model_validate(document)


class Rows:
    """What the runs read: splits in memory, users and raw durations.

    Attributes:
        columns: Split -> its ``Columns``.
        users, durations: Split -> ``[rows]``.
    """

    def __init__(self, examples: ExampleSet):
        self.schema, self.columns = examples.schema, {}
        self.users, self.durations = {}, {}
        for split in ("train", "validation", "test"):
            self.columns[split] = Columns.read(examples, split)
            passes = evaluation_dataset(examples, split, EVALUATION_ROWS, extra=True)
            groups = [extra["group"].numpy() for *_, extra in passes]
            self.users[split] = np.concatenate(groups)
            share = self.columns[split].labels[TASKS[SHARE, ""]].numpy()
            found = self.columns[split].features[DURATION].numpy().astype(float)
            self.durations[split] = np.where(share == share, found, np.nan)


class Judged(Trial):
    """A trial whose watch times are smeared on the validation day, as they are served.

    Args:
        config: As of a ``Trial``.
        rows: What it reads.
        grouped: Whether a user's rows come together.
    """

    def __init__(self, config: Config, rows: Rows, grouped: bool):
        super().__init__(config, agree(config, rows.schema), rows.columns)
        self._rows, self._grouped = rows, grouped
        if grouped:
            users = np.unique(rows.users["train"], return_inverse=True)[1]
            self._user = users
            self.columns["train"][1][GROUP] = users.astype(np.int64)

    def order(self, random):
        order = super().order(random)
        if not self._grouped:
            return order
        draws = random.random(self._user.max() + 1)[self._user[order]]
        return order[np.argsort(draws, kind="stable")]

    def measure(self, split: str) -> dict:
        _, labels, masks = self.columns[split]
        own = [task.name for task in self.schema.tasks]
        labels, masks = ({k: part[k].numpy() for k in own} for part in (labels, masks))
        outputs = self.outputs(split)
        if split == "validation":
            outputs = self.model.smear(labels, masks, outputs)
        groups = self._rows.users[split]
        found = measure(self.schema.tasks, labels, masks, outputs, groups=groups)
        for task in self.schema.tasks:
            if task.kind == "regression":
                found["watch"] = self._watched(split, task.name, outputs[task.name])
        return found

    def _watched(self, split: str, name: str, foretold: np.ndarray) -> dict:
        duration = self._rows.durations[split]
        time = self._rows.columns[split].labels[TASKS[TIME, ""]].numpy()
        known = duration == duration
        if name == TASKS[SHARE, ""]:
            foretold = foretold * duration
        foretold, time = foretold[known].astype(float), time[known].astype(float)
        if split == "validation":
            self._curve = level_curve(time, foretold)
        duration, curved = duration[known], along(self._curve, foretold)
        return {
            "as served": watched(foretold, time, duration),
            "by level": watched(curved, time, duration),
        }


def best_epoch(trial: Judged, said: str) -> dict:
    """A run at the epoch that validation chose."""
    lines = list(trial.epochs())
    best = max(lines, key=lambda line: mean_auc(_areas(line["validation"])))
    found = {"epoch": best["epoch"], "seconds": lines[-1]["seconds"]}
    for split in JUDGED:
        click = best[split]["is_click"]
        found[split] = {key: click[key] for key in ("auc", "gauc", "calibration")}
        found[split] |= {"watch": best[split]["watch"]} if "watch" in best[split] else {}
    print(said, json.dumps(found["validation"]), f"({found['seconds']} s)", flush=True)
    return found


def _areas(found: Mapping) -> dict[str, float]:
    return {task: one["auc"] for task, one in found.items() if "auc" in one}


def runs(
    config: Config, rows: Rows, seeds: Sequence[int], ledger: Ledger, **how
) -> list[dict]:
    """A choice's runs, one a seed, by the same graphs; ``how`` as ``variant`` has it."""
    trials: list[Judged] = []

    def run(seed: int) -> dict:
        if not trials:
            grouped = "ranking" in how
            trials.append(Judged(variant(config, seed, **how), rows, grouped))
        trials[0].begin_again(seed)
        return best_epoch(trials[0], f"{how}, seed {seed}:")

    return [
        ledger.run({"seed": seed, **how}, functools.partial(run, seed)) for seed in seeds
    ]


def watch_part(config: Config, rows: Rows, seeds: Sequence[int], ledger: Ledger) -> dict:
    """Each choice of the watch time's loss, on the test days and on the validation day."""
    found = {
        choice: runs(config, rows, seeds, ledger, task=task)
        for choice, task in WATCH.items()
    }
    first = found["logarithm"]
    before = [run["test"]["watch"]["as served"]["xauc"] for run in first]
    rows = {}
    for choice, done in found.items():
        for how in ("as served", "by level"):
            of = {s: [run[s]["watch"][how] for run in done] for s in JUDGED}
            rows[f"{choice}, {how}"] = {
                **{split: watched_by_seed(runs) for split, runs in of.items()},
                "gain": rounded(
                    [a["xauc"] - b for a, b in zip(of["test"], before, strict=True)]
                ),
                "is_click": rounded([run["test"]["auc"] for run in done]),
            }
    means = {s: first[0][s]["watch"]["as served"]["mean"] for s in JUDGED}
    days = {split: round(mean / means["validation"], 4) for split, mean in means.items()}
    return {"choices": rows, "days": days}


def ranking_part(config: Config, rows: Rows, seeds: Sequence[int], ledger: Ledger) -> dict:
    """Each ranking loss in the weight that validation chose, over cross entropy alone."""
    found: dict = {}
    for choice, settings in RANKINGS.items():
        keys = {} if choice == "none" else {"ranking": choice}

        def ranked(setting: tuple, seeds: Sequence[int], keys=keys) -> list[dict]:
            how = {**keys, "ranking_weight": setting[0]} if keys else {}
            return runs(config, rows, seeds, ledger, rate=setting[1], **how)

        tried = {setting: ranked(setting, seeds[:1])[0] for setting in settings}
        best = max(tried, key=lambda setting: tried[setting]["validation"]["gauc"])
        found[choice] = best, ranked(best, seeds)
    first = found["none"][1]
    return {
        choice: {"weight": setting[0], "rate": setting[1]}
        | {
            split: {
                name: rounded([run[split][name] for run in done])
                for name in ("auc", "gauc", "calibration")
            }
            | {
                f"gain_{name}": rounded(
                    [
                        a[split][name] - b[split][name]
                        for a, b in zip(done, first, strict=True)
                    ]
                )
                for name in ("auc", "gauc")
            }
            for split in JUDGED
        }
        for choice, (setting, done) in found.items()
    }


PARTS = {"watch": watch_part, "ranking": ranking_part}


def main(arguments: list[str] | None = None) -> None:
    """Both parts, or one."""
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser("benchmarks.objectives_kuairand")
    parser.add_argument("--quick", action="store_true", help="3 seeds, not 5")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--resume", action="store_true", help="keep runs done before")
    parser.add_argument("--data", type=Path, default=Path(beside))
    options = parser.parse_args(arguments)
    seeds = [1, 2, 3] if options.quick else [1, 2, 3, 4, 5]
    config = load_config(ROOT / "configs" / "kuairand.yaml")
    results = ROOT / "benchmarks" / "results"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        place = Path(folder)
        log_with_shares(options.data / "kuairand", place / "data")
        preprocess(everything(config), place / "data", place / "examples")
        rows = Rows(ExampleSet.open(place / "examples"))
        found = {}
        for part in options.only or PARTS:
            ledger = Ledger(
                results / f"objectives_kuairand_{part}_runs.json", options.resume
            )
            found[part] = PARTS[part](config, rows, seeds, ledger)
    minutes = round((time.monotonic() - begun) / 60, 1)
    print(json.dumps({"seeds": len(seeds), **found, "minutes": minutes}))


if __name__ == "__main__":
    main()
