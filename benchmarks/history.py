"""What a user's history adds to a ranker, and what encoding it adds to averaging it.

    python -m benchmarks.history [--quick] [--resume] [--seeds 1,2,3] [--data DIR]

The shipped KuaiRand config, six tasks split by day, with the videos that each user saw
before the log begins:

- *none*: without any ``past_`` feature;
- *mean*: as shipped: the videos are averaged, in a table of their own; so are likes and
  long views, and there is the history's length;
- an encoder's name: the same, but the videos are a sequence of ``video_id``, encoded so.

All else is equal: rows, seeds, optimizers, epochs.  Each run's epoch is chosen by its
mean AUC on the validation day; test rows are looked at once.  Gains are paired by seed,
intervals Student's at 95 %: they say what another seed would do, not other users.

``--resume`` keeps the runs of an earlier study, of a quick one too.
``--quick``: the config's own encoder, 3 seeds, under 8 minutes on 2 quiet cores; else all
encoders and 5 seeds.  Results go to ``benchmarks/results/history.json`` (``_quick``).
The last line is a JSON object; see ``headline``.
"""

import argparse
import functools
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import steadyrank.models  # noqa: F401  (sets the TensorFlow environment)
from benchmarks.multitask_ledger import Ledger
from benchmarks.multitask_trials import Contest, interval, mean_auc
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.files.publish import write_json

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
MEAN, SEQUENCE = "past_video_id", "past_videos"
ENCODERS = ("attention", "nextitnet", "sasrec")
FEATURE = {
    "name": SEQUENCE,
    "column": MEAN,
    "kind": "sequence",
    "of": "video_id",
    "length": 50,
}


def both(config: Config) -> Config:
    """The config with the videos twice: what one example set must hold for all."""
    document = config.model_dump(mode="json") | {"gates": {}, "serving": {}}
    document["features"] = [*document["features"], FEATURE]
    return Config.model_validate(document)


def variant(config: Config, name: str, seed: int) -> Config:
    """One of the rankers compared, of what ``both`` gave."""
    document = config.model_dump(mode="json")
    if name == "none":
        dropped = {f["name"] for f in document["features"] if f["name"].startswith("past_")}
    elif name == "mean":
        dropped = {SEQUENCE}
    else:
        dropped = {MEAN}
        document["model"]["history"] = {"encoder": name}
    document["features"] = [f for f in document["features"] if f["name"] not in dropped]
    document["train"] |= {"seed": seed, "monitor": "mean_auc"}
    return Config.model_validate(document)


def best_epoch(
    held: Contest, name: str, config: Config, splits=("validation", "test")
) -> dict:
    """One run at the epoch that validation chose: AUC by split and task."""
    lines = held.epochs(config, splits)
    best = max(lines, key=lambda line: mean_auc(line["validation"]))
    kept = {key: best[key] for key in ("epoch", *splits)}
    seconds, click = lines[-1]["seconds"], best[splits[-1]]["is_click"]
    seed = config.train.seed
    print(f"{name} seed {seed}: is_click {click:.4f} ({seconds:.0f} s)", flush=True)
    return {**kept, "seconds": seconds}


def study(held: Contest, names: Sequence[str], seeds: Sequence[int], ledger: Ledger):
    """Name -> its runs, in the order of the seeds."""
    runs: dict[str, list] = {name: [] for name in names}
    for seed in seeds:
        for name in names:
            config = variant(held.config, name, seed)
            settings = {"name": name, "config": config.model_dump(mode="json")}
            run = ledger.run(settings, functools.partial(best_epoch, held, name, config))
            runs[name].append({"seed": seed, **run})
    return runs


def gains(runs: Mapping[str, list], name: str, over: str, split: str) -> dict:
    """Task -> gain of one ranker over another, paired by seed; ``mean``: of all tasks."""
    pairs = list(zip(runs[name], runs[over], strict=True))
    found = {
        task: interval([a[split][task] - b[split][task] for a, b in pairs])
        for task in pairs[0][0][split]
    }
    means = [mean_auc(a[split]) - mean_auc(b[split]) for a, b in pairs]
    return {**found, "mean": interval(means)}


def summary(runs: Mapping[str, list]) -> dict:
    """AUC of each ranker, and gains over none and over mean, on both splits."""
    rows = {}
    for name, found in runs.items():
        rows[name] = {
            split: {
                "auc": {
                    task: float(np.mean([run[split][task] for run in found]))
                    for task in found[0][split]
                },
                "over_none": gains(runs, name, "none", split),
                "over_mean": gains(runs, name, "mean", split),
            }
            for split in ("validation", "test")
        }
        rows[name]["seconds"] = float(np.mean([run["seconds"] for run in found]))
    return rows


def headline(rows: Mapping[str, dict], encoders: Sequence[str]) -> dict:
    """The encoder that validation prefers, and its gains on the test days.

    ``history_gain_is_click`` is over the ranker without a history, with its ``interval``;
    ``history_gain_over_mean`` over the average, likewise of is_click.
    """
    best = max(
        encoders, key=lambda name: rows[name]["validation"]["over_none"]["mean"]["mean"]
    )
    test = rows[best]["test"]
    gain, beside = test["over_none"]["is_click"], test["over_mean"]["is_click"]
    return {
        "encoder": best,
        "history_gain_is_click": gain["mean"],
        "interval": gain["interval"],
        "history_gain_over_mean": beside["mean"],
        "interval_over_mean": beside["interval"],
        "mean_gain_is_click": rows["mean"]["test"]["over_none"]["is_click"]["mean"],
    }


def show(rows: Mapping[str, dict]) -> None:
    """A table of the test days."""
    print(f"{'history':<10} {'is_click':>9} {'gain':>9} {'long_view':>10} {'s a run':>8}")
    for name, row in rows.items():
        areas, gain = row["test"]["auc"], row["test"]["over_none"]["is_click"]["mean"]
        print(
            f"{name:<10} {areas['is_click']:>9.4f} {gain:>+9.4f} "
            f"{areas['long_view']:>10.4f} {row['seconds']:>8.1f}"
        )


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seeds", default="")
    data = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    options = parser.parse_args(arguments)
    seeds = options.seeds or ("1,2,3" if options.quick else "1,2,3,4,5")
    options.seeds = [int(seed) for seed in seeds.split(",")]
    if len(options.seeds) > 10:
        parser.error(f"--seeds takes up to 10. Received: {len(options.seeds)}. Name fewer.")
    return options


def main() -> None:
    """Run the study, write it, and print the headline last."""
    options = options_of()
    suffix = "_quick" if options.quick else ""
    results = ROOT / "benchmarks" / "results"
    ledger = Ledger(results / "history_runs.json", options.resume)
    config = both(load_config(ROOT / "configs" / "kuairand.yaml"))
    encoders = (config.model.history.encoder,) if options.quick else ENCODERS
    with tempfile.TemporaryDirectory() as folder:
        held = Contest.prepare(config, options.data / "kuairand", Path(folder) / "kuairand")
        runs = study(held, ("none", "mean", *encoders), options.seeds, ledger)
    rows = summary(runs)
    show(rows)
    found = headline(rows, encoders)
    write_json(results / f"history{suffix}.json", {**found, "rankers": rows, "runs": runs})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
