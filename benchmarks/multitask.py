"""PLE against single-task models, a shared bottom and MMoE, measured as in the papers.

    python -m benchmarks.multitask [--quick] [--only census] [--resume] [--data DIR]

Three data sets: the synthetic regressions of MMoE and PLE over task correlations, the
whole Census-Income set (train as published, test halved into validation and test), and
KuaiRand, six tasks split by day.  *Single* is one model a task, tables and all, of the
same make.  All models of a data set have the same features and optimizers, and nearly as
many dense weights (printed); single has its embedding tables once a task.

Everything is chosen on validation rows: the epoch of each run (of each task, for single),
rates and sizes in the configs.  Test rows are looked at once.  Gains are paired by seed;
intervals are Student's at 95 % over the seeds.

``--quick``: 3 seeds, single, MMoE and PLE, three epochs of Census-Income, and a small
synthetic study; else 5 seeds, every trunk, and the papers' input width.  Parts have
processes of their own, one thread each, side by side on as many cores as there are: two
small models at once are faster than two threads in one.  Each part goes to a file of its
own, ``benchmarks/results/multitask_<part>.json`` (``_quick``).  ``--resume`` takes up a
study that was interrupted.  The last line is a JSON object; see ``headline``.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import steadyrank.models  # noqa: F401  (sets the TensorFlow environment)
from benchmarks import multitask_synthetic as synthetic
from benchmarks.multitask_ledger import Ledger
from benchmarks.multitask_trials import Contest, interval, mean_auc
from benchmarks.parts import run_parts
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.files.publish import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
PARTS = ("kuairand", "census", "seesaw", "synthetic")  # the longest first
QUICK = synthetic.Study(width=64, rows=40_000, units=(32, 16), experts=4, epochs=12)
FULL = synthetic.Study(width=512, rows=200_000, units=(64, 32), experts=4, epochs=12)
QUICK_EPOCHS = {"census": 3}  # half of the config's: .0016 of AUC, six minutes
QUICK_MODELS = ("single", "mmoe", "ple")
OTHERS = (
    "shared_bottom",
    "asymmetric",
    "customized",
    "cross_stitch",
    "sluice",
    "omoe",
    "ml_mmoe",
)
FOLDERS = {"census": "census_income", "kuairand": "kuairand"}


def contest(name: str, options: argparse.Namespace, folder: Path) -> Contest:
    """A shipped config and its examples."""
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    if options.quick and name in QUICK_EPOCHS:
        train = config.train.model_copy(update={"epochs": QUICK_EPOCHS[name]})
        config = config.model_copy(update={"train": train})
    return Contest.prepare(config, options.data / FOLDERS[name], folder / name)


def real(name: str, options: argparse.Namespace, folder: Path) -> dict:
    """All models on one of the real data sets."""
    held = contest(name, options, folder)
    names = QUICK_MODELS if options.quick else (*QUICK_MODELS, *OTHERS)
    own, runs = held.config.model_dump(mode="json"), []
    for seed in options.seeds:
        for model in names:
            settings = {"config": own, "model": model, "seed": seed}
            keys = task_reading(held.config, model)
            train = functools.partial(held.run, model, seed, keys)
            runs.append(options.ledger.run(settings, train))
    return summary(runs, names)


def task_reading(config: Config, model: str) -> dict:
    """Of asymmetric sharing: all others' towers read the first task's bottom, too."""
    if model != "asymmetric":
        return {}
    first, *rest = [task.name for task in config.tasks]
    return {"reads": {task: [first] for task in rest}}


def summary(runs: list[dict], names) -> dict:
    """Means and gains over single, by model and task, with intervals over the seeds."""
    by_model = {n: [r for r in runs if r["model"] == n] for n in names}
    single = {r["seed"]: r["test"] for r in by_model["single"]}
    rows = {}
    for name, found in by_model.items():
        tasks = list(found[0]["test"])
        gains = {
            task: [r["test"][task] - single[r["seed"]][task] for r in found]
            for task in tasks
        }
        mean = [mean_auc(r["test"]) - mean_auc(single[r["seed"]]) for r in found]
        rows[name] = {
            "auc": {t: interval([r["test"][t] for r in found]) for t in tasks},
            "mean_auc": interval([mean_auc(r["test"]) for r in found]),
            "validation": float(np.mean([mean_auc(r["validation"]) for r in found])),
            "gain": {task: interval(values) for task, values in gains.items()},
            "mean_gain": interval(mean),
            "parameters": found[0]["parameters"],
            "seconds": round(sum(r["seconds"] for r in found), 1),
        }
    return {"models": rows, "runs": runs}


def seesaw(options: argparse.Namespace, folder: Path) -> dict:
    """AUC of is_click and is_like after each epoch: a plain net's, and the shipped one's.

    The plain net is a shared bottom with Adam for all weights, all tasks alike and
    without the users' histories; the shipped config goes on training for as long.
    """
    held = contest("kuairand", options, folder)
    document = held.config.model_dump(mode="json")
    features = [f for f in document["features"] if not f["name"].startswith("past_")]
    plain = {
        "features": features,
        "tasks": [{**task, "weight": 1.0} for task in document["tasks"]],
        "serving": {"shared": []},
        "model": {"trunk": "shared_bottom", "bottom_units": [128, 64]},
        "train": {
            **document["train"],
            "epochs": 4,
            "batch_size": 512,
            "decay": "none",
            "dense": {"optimizer": "adam", "clip": "none", "learning_rate": 1e-3},
            "embedding": {"optimizer": "adam", "clip": "none", "learning_rate": 1e-3},
        },
    }
    without = Config.model_validate({**document, **plain})
    longer = Config.model_validate(
        {**document, "train": {**document["train"], "epochs": 4, "decay": "none"}}
    )
    wanted = {"plain net": without, "shipped config, no decay": longer}
    wanted["shipped config"] = held.config
    runs = {
        name: options.ledger.run(
            {"seesaw": config.model_dump(mode="json")},
            lambda c=config: {"epochs": held.epochs(c)},
        )["epochs"]
        for name, config in wanted.items()
    }
    for name, found in runs.items():
        for line in found:
            test = line["test"]
            print(
                f"seesaw {name} epoch {line['epoch']}: is_click {test['is_click']:.4f} "
                f"is_like {test['is_like']:.4f}",
                flush=True,
            )
    best = max(runs["shipped config"], key=lambda line: mean_auc(line["validation"]))
    return {"runs": runs, "shipped": best}


def synthetic_part(options: argparse.Namespace) -> dict:
    """PLE's and MMoE's gain over single on the synthetic data, by correlation."""
    study = QUICK if options.quick else FULL
    correlations = (0.0, 0.5, 0.9) if options.quick else (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    runs = synthetic.run(study, correlations, options.seeds, options.ledger)
    gains = {n: synthetic.gains(runs, n) for n in ("shared_bottom", "mmoe", "ple")}
    over = {
        c: [p - m for p, m in zip(gains["ple"][c], gains["mmoe"][c], strict=True)]
        for c in gains["ple"]
    }
    return {
        "gains": {
            n: {c: interval(v) for c, v in by_c.items()} for n, by_c in gains.items()
        },
        "ple_over_mmoe": {c: interval(v) for c, v in over.items()},
        "mean_ple_over_mmoe": interval(
            [float(np.mean(values)) for values in zip(*over.values(), strict=True)]
        ),
        "parameters": {r["model"]: r["parameters"] for r in runs},
        "runs": runs,
    }


def headline(found: dict) -> dict:
    """The figures that the issue asks for; those of parts left out are not there.

    Returns:
        ``census_income_auc_<model>`` and ``census_marital_auc_<model>``;
        ``kuairand_gain_<model>``, mean over tasks of AUC less single's, its interval and
        ``kuairand_gain_ple_by_task``; ``kuairand_ple_over_mmoe``; ``is_click`` and
        ``is_like`` of one model by the shipped config; ``synthetic_gain_ple_over_mmoe``,
        mean over correlations of the difference in mean squared error (labels have
        variance 1), and by correlation.
    """
    last: dict = {}
    for model, row in found.get("census", {}).get("models", {}).items():
        last[f"census_income_auc_{model}"] = row["auc"]["income"]["mean"]
        last[f"census_marital_auc_{model}"] = row["auc"]["never_married"]["mean"]
    rows = found.get("kuairand", {}).get("models", {})
    for model, row in rows.items():
        if model != "single":
            last[f"kuairand_gain_{model}"] = row["mean_gain"]["mean"]
            last[f"kuairand_gain_{model}_interval"] = row["mean_gain"]["interval"]
    if rows:
        last["kuairand_gain_ple_by_task"] = {
            task: [gain["mean"], *gain["interval"]]
            for task, gain in rows["ple"]["gain"].items()
        }
        ours, theirs = (rows[name]["mean_auc"]["mean"] for name in ("ple", "mmoe"))
        last["kuairand_ple_over_mmoe"] = ours - theirs
    if "seesaw" in found:
        shipped = found["seesaw"]["shipped"]["test"]
        last |= {task: shipped[task] for task in ("is_click", "is_like")}
    if "synthetic" in found:
        over = found["synthetic"]["mean_ple_over_mmoe"]
        last["synthetic_gain_ple_over_mmoe"] = over["mean"]
        last["synthetic_gain_ple_over_mmoe_interval"] = over["interval"]
        last["synthetic_gains"] = {
            name: {str(c): gain["mean"] for c, gain in by_c.items()}
            for name, by_c in found["synthetic"]["gains"].items()
        }
    return last


def print_models(name: str, found: dict) -> None:
    """A line a model: dense weights, AUC by task, gain over single with its interval."""
    tasks = list(found["models"]["single"]["auc"])
    print(f"\n{name}: test AUC, mean of the seeds; gain over single with its interval")
    print("model          dense      tables      " + "  ".join(f"{t:>13s}" for t in tasks))
    for model, row in found["models"].items():
        parameters, gain = row["parameters"], row["mean_gain"]
        low, high = gain["interval"]
        aucs = "  ".join(f"{row['auc'][task]['mean']:13.4f}" for task in tasks)
        print(
            f"{model:13s} {parameters['dense']:7,d} {parameters['embedding']:11,d}  {aucs}"
            f"   {gain['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
        )


def print_synthetic(found: dict) -> None:
    print("\nsynthetic: single's mean squared error less the model's (labels: variance 1)")
    print(
        "dense weights: " + ", ".join(f"{n} {p:,d}" for n, p in found["parameters"].items())
    )
    for name, by_c in found["gains"].items():
        cells = "  ".join(
            f"p {float(c):g}: {gain['mean']:+.4f}" for c, gain in by_c.items()
        )
        print(f"{name:13s} {cells}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.multitask", description="PLE and the models that it beat."
    )
    parser.add_argument("--quick", action="store_true", help="3 seeds, three models")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--resume", action="store_true", help="keep runs done before")
    parser.add_argument("--seeds", type=int, nargs="+", help="1 2 3, or 1 2 3 4 5 in full")
    parser.add_argument("--data", type=Path, default=Path(beside))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or ([1, 2, 3] if options.quick else [1, 2, 3, 4, 5])
    if len(options.seeds) > 10:
        parser.error(f"--seeds takes up to 10. Received: {len(options.seeds)}. Name fewer.")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options, began = parse(arguments), time.monotonic()
    parts = options.only or PARTS
    if len(parts) == 1:
        found = {parts[0]: run_part(parts[0], options)}
        write_all(options, found)
    else:
        found = side_by_side(parts, options)
    for part in ("census", "kuairand"):
        if part in found:
            print_models(part, found[part])
    if "synthetic" in found:
        print_synthetic(found["synthetic"])
    print(json.dumps(rounded({**headline(found), "seconds": time.monotonic() - began})))


def run_part(part: str, options: argparse.Namespace) -> dict:
    """One part's results, in this process."""
    ledger = options.results / f"multitask_runs_{part}.json"
    options.ledger = Ledger(ledger, options.resume)
    if part == "synthetic":
        return synthetic_part(options)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        if part == "seesaw":
            return seesaw(options, Path(folder))
        return real(part, options, Path(folder))


def side_by_side(parts: Iterable[str], options: argparse.Namespace) -> dict:
    """Several parts' results, each from a process of its own.

    Raises:
        subprocess.CalledProcessError: A part failed; what it printed says why.
    """
    command = [sys.executable, "-m", "benchmarks.multitask"]
    command += ["--data", options.data, "--results", options.results]
    command += ["--seeds", *options.seeds]
    command += [f"--{key}" for key in ("quick", "resume") if getattr(options, key)]
    run_parts(command, parts)
    return {part: read_json(results_of(part, options), "a study") for part in parts}


def results_of(part: str, options: argparse.Namespace) -> Path:
    size = "_quick" if options.quick else ""
    return options.results / f"multitask_{part}{size}.json"


def write_all(options: argparse.Namespace, found: dict) -> None:
    options.results.mkdir(parents=True, exist_ok=True)
    for part, results in found.items():
        content = {"headline": headline({part: results}), **results}
        write_json(results_of(part, options), rounded(content))


def rounded(content):
    """The same with five significant digits."""
    if isinstance(content, dict):
        return {str(key): rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    return float(f"{content:.5g}") if isinstance(content, float) else content


if __name__ == "__main__":
    main()
