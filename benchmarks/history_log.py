"""What histories out of the log itself add to a ranker, and what a shipped one adds.

    python -m benchmarks.history_log [--resume] [--seeds 1,2,3] [--data DIR]

The shipped KuaiRand config, six tasks split by day.  Rankers:

- *none*: without any ``past_`` feature;
- *log*: and with features ``from: events``, made out of ``log.parquet`` alone;
- *shipped*: with ``history.parquet``, what each user did before the log begins;
- *both*.

What *log* reads is the one of ``CANDIDATES`` with the best mean AUC of the six tasks on
the validation day, over the seeds; no run of these looks at a test row.  Labels are known
an hour after their event: 99.9 % of the rows are played for less than 7 minutes, and a
stream of events brings them.  All else is equal: rows, seeds, optimizers, epochs.  Each
run's epoch is chosen by its mean AUC on the validation day; test rows are looked at once.
Gains are paired by seed, intervals Student's at 95 %: they say what another seed would do,
not other users.

Each run is kept as soon as it has ended; ``--resume`` goes on.  Some half an hour on 2
cores.  Results go to ``benchmarks/results/history_log.json``; the last line is a JSON
object: what was chosen, and the gains in mean AUC on the test days.
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
from benchmarks.history import DATA, ROOT, best_epoch, gains
from benchmarks.keep import git, machine
from benchmarks.multitask_ledger import Ledger
from benchmarks.multitask_trials import Contest, interval, mean_auc
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.files.publish import write_json

LABEL_DELAY = "1h"
LATELY, EVER = "3d", "14d"  # of counts, so that days are alike; of rates, all of the log
KEYS = {
    "user": ["user_id"],
    "video": ["video_id"],
    "user_tab": ["user_id", "tab"],
    "video_tab": ["video_id", "tab"],
    "pair": ["user_id", "video_id"],
}
OFTEN = ("is_click", "long_view")  # tasks with 1s enough for a rate by two columns
SEEN = {"seen": "", "clicked": "is_click", "watched": "long_view"}
LENGTH = 20  # the median row of the test days has 10 before it
BY_TWO = ("user_tab", "video_tab", "pair")
# what is read, and how sequences are encoded
CANDIDATES = {
    "counters by user": (("user",), "mean"),
    "counters by user and by video": (("user", "video"), "mean"),
    "counters, by two columns too": (("user", "video", *BY_TWO), "mean"),
    "last videos, averaged": (("seen",), "mean"),
    "all counters, last videos averaged": (("user", "video", *BY_TWO, "seen"), "mean"),
    "all counters, last videos by attention": (
        ("user", "video", *BY_TWO, "seen"),
        "attention",
    ),
}


def of_log(tasks: Sequence[str]) -> dict[str, list[dict]]:
    """Features from events, by what a candidate calls them."""
    found = {
        name: counters(name, by, OFTEN if len(by) > 1 else tasks)
        for name, by in KEYS.items()
    }
    last = {"kind": "sequence", "from": "events", "of": "video_id", "length": LENGTH}
    found["seen"] = [
        {"name": name, **last, **(known(where) if where else {})}
        for name, where in SEEN.items()
    ]
    return found


def counters(name: str, by: list[str], tasks: Sequence[str]) -> list[dict]:
    """How many events, how long ago the last was, and the share of each task's 1s."""
    own = {"kind": "numeric", "from": "events", "by": by}
    count = {"name": f"{name}_count", "measure": "count", "window": LATELY}
    since = {"name": f"{name}_since", "measure": "since"}
    found = [{**one, "transform": "log1p", **own} for one in (count, since)]
    rate = {"measure": "rate", "window": EVER, **own}
    return found + [{"name": f"{name}_{task}", **rate, **known(task)} for task in tasks]


def known(task: str) -> dict:
    """Of which task, and when its label is known."""
    return {"where": task, "label_delay": LABEL_DELAY}


def of_all(config: Config) -> Config:
    """The config with the features of all rankers: what one example set must hold."""
    document = config.model_dump(mode="json", by_alias=True) | {"gates": {}, "serving": {}}
    made = of_log([task.name for task in config.tasks])
    document["features"] += [one for family in made.values() for one in family]
    return Config.model_validate(document)


def variant(config: Config, families: Sequence[str], encoder: str, seed: int) -> Config:
    """A ranker that reads some of the features that ``of_all`` gave.

    Args:
        config: What ``of_all`` gave.
        families: Which of the features from events; ``past``: those of the shipped history.
        encoder: Of sequences.
        seed: Of weights and order.
    """
    made = of_log([task.name for task in config.tasks])
    wanted = {f["name"] for name in families if name != "past" for f in made[name]}
    document = config.model_dump(mode="json", by_alias=True)
    document["features"] = [
        f
        for f in document["features"]
        if f["name"] in wanted
        or (f.get("from") != "events" and ("past" in families or not is_past(f["name"])))
    ]
    document["model"]["history"] = {"encoder": encoder}
    document["train"] |= {"seed": seed, "monitor": "mean_auc"}
    return Config.model_validate(document)


def is_past(name: str) -> bool:
    """Whether a feature comes from the shipped history."""
    return name.startswith("past_")


def rankers(chosen: str) -> dict[str, tuple]:
    """What is compared on the test days, as ``CANDIDATES`` has it."""
    families, encoder = CANDIDATES[chosen]
    return {
        "none": ((), "mean"),
        "log": (families, encoder),
        "shipped": (("past",), "mean"),
        "both": ((*families, "past"), encoder),
    }


def study(held: Contest, named: Mapping[str, tuple], seeds, ledger: Ledger, splits) -> dict:
    """Name -> its runs, in the order of the seeds."""
    runs: dict[str, list] = {}
    for name, (families, encoder) in named.items():
        runs[name] = []
        for seed in seeds:
            config = variant(held.config, families, encoder, seed)
            settings = {"splits": splits, "config": config.model_dump(mode="json")}
            make = functools.partial(best_epoch, held, name, config, splits)
            runs[name].append({"seed": seed, **ledger.run(settings, make)})
    return runs


def chosen_of(runs: Mapping[str, list]) -> tuple[str, dict[str, dict]]:
    """The candidate that validation prefers, and mean AUC of each with its interval."""
    found = {
        name: interval([mean_auc(run["validation"]) for run in tried])
        for name, tried in runs.items()
    }
    return max(found, key=lambda name: found[name]["mean"]), found


def summary(runs: Mapping[str, list]) -> dict:
    """AUC of each ranker by split and task, and what it gains over others."""
    found: dict = {}
    for name, tried in runs.items():
        found[name] = {"seconds": float(np.mean([run["seconds"] for run in tried]))}
        for split in ("validation", "test"):
            areas = {
                task: float(np.mean([run[split][task] for run in tried]))
                for task in tried[0][split]
            }
            over = {
                f"over_{other}": gains(runs, name, other, split)
                for other in ("none", "log", "shipped")
            }
            found[name][split] = {"auc": areas, "mean": mean_auc(areas), **over}
    return found


def headline(rows: Mapping[str, dict]) -> dict:
    """Gains in mean AUC of the six tasks on the test days, with their intervals."""
    pairs = {"log": "none", "shipped": "none", "both": "log"}
    of = {f"{name}_over_{over}": (name, over) for name, over in pairs.items()}
    of["both_over_shipped"] = ("both", "shipped")
    gained = {
        key: rows[name]["test"][f"over_{over}"]["mean"] for key, (name, over) in of.items()
    }
    return {
        key: {"mean": gain["mean"], "interval": gain["interval"]}
        for key, gain in gained.items()
    }


def show(rows: Mapping[str, dict]) -> None:
    """A table of the test days."""
    print(f"{'ranker':<10} {'six tasks':>9} {'gain':>9} {'is_click':>9} {'s a run':>8}")
    for name, row in rows.items():
        test = row["test"]
        print(
            f"{name:<10} {test['mean']:>9.4f} {test['over_none']['mean']['mean']:>+9.4f} "
            f"{test['auc']['is_click']:>9.4f} {row['seconds']:>8.1f}"
        )


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seeds", default="1,2,3")
    data = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    options = parser.parse_args(arguments)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    if not 2 <= len(options.seeds) <= 10:
        parser.error(f"--seeds takes 2 to 10. Received: {len(options.seeds)}.")
    return options


def main() -> None:
    """Choose, compare, write it, and print the headline last."""
    options = options_of()
    results = ROOT / "benchmarks" / "results"
    ledger = Ledger(results / "history_log_runs.json", options.resume)
    config = of_all(load_config(ROOT / "configs" / "kuairand.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        held = Contest.prepare(config, options.data / "kuairand", Path(folder) / "kuairand")
        run = functools.partial(study, held, seeds=options.seeds, ledger=ledger)
        chosen, candidates = chosen_of(run(CANDIDATES, splits=("validation",)))
        print(f"chosen on the validation day: {chosen}", flush=True)
        runs = run(rankers(chosen), splits=("validation", "test"))
    rows = summary(runs)
    show(rows)
    found = {
        "chosen": chosen,
        **headline(rows),
        "revision": git("rev-parse", "--short", "HEAD"),
    }
    write_json(
        results / "history_log.json",
        {
            **found,
            "machine": machine(),
            "label_delay": LABEL_DELAY,
            "seeds": options.seeds,
            "candidates": candidates,
            "rankers": rows,
            "runs": runs,
        },
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
