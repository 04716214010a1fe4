"""Shipped configs from the raw log to the verdict, as a user runs them.

    python -m benchmarks.keep shipped demo         # what ``make demo`` runs
    python -m benchmarks.keep shipped kuairand     # configs/kuairand.yaml
    python -m benchmarks.keep shipped compared     # a feature less, and another trunk
    python -m benchmarks.keep shipped sweep        # trials of the sweep, on the test days
    python -m benchmarks.keep shipped sequences    # configs/sequence_*.yaml

Every run is ``steadyrank run`` in a process of its own.  ``compared`` has the first one as
the baseline of the others, on the same rows.  ``sweep`` takes settings of
``benchmarks/results/sweep_kuairand.json``: its first trial, its best, and the best by the
three tasks of the score.  ``sequences`` runs CL and TS once, and TF from TS and from fresh
weights with three seeds.  The last line is a JSON object: of each run its settings,
verdict, metrics on the test split, and what its training says of itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("STEADYRANK_DATA", ROOT.parent / "shared" / "data"))
SWEEP = ROOT / "benchmarks" / "results" / "sweep_kuairand.json"
OF_THE_SCORE = ("is_click", "long_view", "is_like")
SEEDS = (1, 2, 3)
MMOE = "{trunk: mmoe, experts: 4, expert_units: [64, 32], tower_units: [16]}"
LESS = {"without_author_id": "features.author_id=null", "mmoe": f"model={MMOE}"}
REFUSED = 1  # exit status of a run whose gates did not pass


def run(
    config: str,
    data: str,
    output: Path,
    settings: Iterable[str] = (),
    baseline: Path | None = None,
) -> dict:
    """A config's run: ``settings``, ``verdict``, ``metrics`` and ``training``.

    Args:
        config: Its name below ``configs``.
        data: The log's folder, below ``DATA`` or anywhere.
        output: The run's folder.
        settings: ``key=value``, as for ``--set``.
        baseline: Another run's folder, of which the export is the baseline.

    Raises:
        RuntimeError: It ended before its verdict.
    """
    settings = list(settings)
    command = [
        sys.executable,
        "-m",
        "steadyrank",
        "run",
        "--config",
        f"configs/{config}.yaml",
    ]
    command += ["--data", str(DATA / data), "--output", str(output)]
    for one in settings:
        command += ["--set", one]
    if baseline:
        command += ["--baseline", str(baseline / "export")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, REFUSED):
        raise RuntimeError(f"{config} ended with status {done.returncode}: {done.stderr}")
    metrics = _read(output / "evaluation" / "metrics.json")
    verdict = _read(output / "evaluation" / "verdict.json")["verdict"]
    print(f"{output.name}: {verdict}", flush=True)
    kept = {name: metrics.get(name) for name in ("rows", "tasks", "popularity")}
    if baseline:
        kept["scored_on"] = metrics["baseline"]["scored_on"]
    training = _read(output / "train" / "train.json")
    kept_training = {
        name: training.get(name) for name in ("epochs", "steps", "best", "phases")
    }
    return {
        "settings": [s for s in settings if not s.startswith("train.start_from=/")],
        "verdict": verdict,
        "metrics": _plain(kept),
        "training": kept_training,
    }


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(content):
    """Without curves and the like: lists longer than an interval are left out."""
    if isinstance(content, dict):
        return {k: _plain(v) for k, v in content.items() if not _long(v)}
    return content


def _long(content) -> bool:
    return isinstance(content, list) and len(content) > 2


def demo(folder: Path) -> dict:
    """The synthetic log of ``make demo``, and its rows as preprocessing counts them."""
    command = [sys.executable, "-m", "steadyrank", "synthesize", "--rows", "200000"]
    command += ["--seed", "1", "--output", str(folder / "log")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = run("demo", str(folder / "log"), folder / "demo")
    manifest = _read(folder / "demo" / "examples" / "manifest.json")
    splits = {name: one["rows"] for name, one in manifest["splits"].items()}
    return {"demo": {**found, "rows": {**manifest["rows"], "splits": splits}}}


def kuairand(folder: Path) -> dict:
    """The main job, once."""
    return {"kuairand": run("kuairand", "kuairand", folder / "kuairand")}


def compared(folder: Path) -> dict:
    """The main job beside itself without a feature, and with MMoE in place of PLE."""
    found = kuairand(folder)
    for name, setting in LESS.items():
        args = "kuairand", "kuairand", folder / name, [setting]
        found[name] = run(*args, baseline=folder / "kuairand")
    return found


def sweep(folder: Path) -> dict:
    """Trials of the sweep, trained again and judged on the test days."""
    found = _read(SWEEP)
    trials = {trial["trial"]: trial for trial in found["trials"]}
    three = max(trials, key=lambda name: _of_the_score(trials[name]))
    return {
        name: run("kuairand", "kuairand", folder / name, _settings(trials[name]["values"]))
        for name in dict.fromkeys([found["own"], found["best"], three])
    }


def _of_the_score(trial: dict) -> float:
    return sum(trial["metrics"][task]["auc"] for task in OF_THE_SCORE)


def _settings(values: dict) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def sequences(folder: Path) -> dict:
    """The next-item configs."""
    found, data = {}, "movielens_small"
    for name in ("sequence_cl", "sequence_ts"):
        found[name] = run(name, data, folder / name)
    source = {"transferred": folder / "sequence_ts" / "train", "fresh": "null"}
    for seed in SEEDS:
        for name, start in source.items():
            settings = [f"train.seed={seed}", f"train.start_from={start}"]
            output = folder / f"sequence_tf_{name}_{seed}"
            found[output.name] = run("sequence_tf", data, output, settings)
    return found


PARTS = {
    "demo": demo,
    "kuairand": kuairand,
    "compared": compared,
    "sweep": sweep,
    "sequences": sequences,
}


def main(arguments: list[str] | None = None) -> None:
    """Run a part, print."""
    parser = argparse.ArgumentParser(
        "benchmarks.shipped", description=__doc__.splitlines()[0]
    )
    parser.add_argument("part", choices=PARTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(PARTS[options.part](Path(folder))))


if __name__ == "__main__":
    main()
