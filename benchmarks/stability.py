"""At which learning rate does training diverge, and what does clipping buy?

    python -m benchmarks.stability [--quick | --confirm] [--data DIR]

The protocol of the Clippy paper (KDD'23, section 5) on open data: KuaiRand, six tasks,
days in order and seen once, batches random inside of a day, each day measured before the
first step on it.  A ladder of learning rates of the dense weights, x2 a rung, from below
plain Adagrad's limit to 64 times it; tables keep one optimizer and one rate.  Thresholds
of the baselines come from the paper's ranges: the best AUC on three rungs and one seed.
``clippy`` has the paper's (0.5, 1e-2); ``clippy_unit``, a factor per output unit as in
AGC, has (0.1, 1e-3), chosen on KuaiRand with one seed as well.

``--quick``: five days, two seeds, Large+DCN only (4 x 256, a cross layer, LayerNorm).
``--confirm``: the same model on the days after those, with three other seeds and every
threshold as the quick study chose it: nothing is tuned, so nothing is fitted to them.
The full run has all days and three seeds of Small (2 x 512), Large (4 x 512) and
Large+DCN (4 x 512), and the synthetic log.

Beside the ladder: a run with one batch of spurious labels, the factors of an unclipped run
at the onset of its divergence, and the ablations of the paper's Table 3 at the edge.

AUC means are over is_click, long_view, is_like and is_profile_enter: the two other tasks
have some 30 positives a day.  Everything goes to ``benchmarks/results/``.  The last line is
a JSON object; see ``headline``.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.stability_probes import StudyProber, replay, spoil, step_times
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.studies.short_runs import Method, Probe, method_of
from steadyrank.pipeline.studies.stability import (
    areas_by_rate,
    best_rate,
    lowest_diverged,
    mean_auc,
    summarise,
)

ROOT = Path(__file__).resolve().parent.parent
STREAM = ROOT / "configs" / "stability.yaml"
DATA = "STEADYRANK_DATA"
TASKS = ("is_click", "long_view", "is_like", "is_profile_enter")
SYNTHETIC_TASKS = ("is_click", "long_view", "is_like", "is_share")
RATES = tuple(0.05 * 2**k for k in range(9))  # 0.05 to 12.8
TUNING_RATES = (RATES[2], RATES[4], RATES[6])
NONE, CLIPPY = Method("none", "none"), Method("clippy", "clippy")
UNIT = replace(method_of("clippy_unit"), name="clippy_unit")
RANGES = {
    "norm": (1e-1, 1e-2, 1e-3),
    "agc": (1e-2, 1e-3, 1e-4),
    "agc_tensor": (1e-2, 1e-3, 1e-4),
    "lamb": (1e-1, 1e-2, 1e-3),
}
CONFIRMED = ("norm=0.1", "agc=0.01", "agc_tensor=0.01", "lamb=0.001")
WARM_UP = 60  # steps, in the replay
LARGE = [512, 512, 512, 512]
NO_CROSS = {"front": "concatenation", "front_layers": None}
MODELS = {
    "small": {"bottom_units": [512, 512], **NO_CROSS, "layer_norm": False},
    "large": {"bottom_units": LARGE, **NO_CROSS, "layer_norm": False},
    "large_dcn": {"bottom_units": LARGE, "layer_norm": True},  # the config's front
}


class Study:
    """All probes of one model: none is run twice.

    Args:
        prober: What runs them.
        seeds: Seeds of every rung.
        tasks: Those that means of AUC are over.
    """

    def __init__(self, prober: StudyProber, seeds: list[int], tasks=TASKS):
        self.prober, self.seeds, self.tasks = prober, seeds, tasks
        self.probes: dict[tuple, Probe] = {}
        self.methods: list[Method] = []

    def probe(self, method: Method, rate: float, seed: int) -> Probe:
        key = (method.name, rate, seed)
        if key not in self.probes:
            found = self.probes[key] = self.prober.probe(method, rate, seed)
            how = found.why or f"mean AUC {mean_auc(found.final, self.tasks):.4f}"
            where = f"{method.name:18s} {rate:6g} seed {seed}"
            print(f"{where}: {how} ({found.seconds} s)", flush=True)
        return self.probes[key]

    def tune(self, clip: str) -> Method:
        """The threshold whose best AUC over a few rungs is highest, on the first seed."""
        methods = [method_of(f"{clip}={threshold}") for threshold in RANGES[clip]]

        def best(method: Method) -> float:
            tried = [self.probe(method, rate, self.seeds[0]) for rate in TUNING_RATES]
            return max(areas_by_rate(tried, self.tasks).values(), default=0.0)

        return max(methods, key=best)

    def climb(self, method: Method) -> list[Probe]:
        """Every rung, every seed."""
        return [self.probe(method, rate, seed) for rate in RATES for seed in self.seeds]

    def run(self, baselines: Sequence[Method] = ()) -> dict:
        """The ladder of every method; the baselines are tuned first, if none are given."""
        baselines = baselines or [self.tune(clip) for clip in RANGES]
        self.methods = [NONE, *baselines, CLIPPY, UNIT]
        probes = {method.name: self.climb(method) for method in self.methods}
        rows = [self.row(name, found) for name, found in probes.items()]
        edge = lowest_diverged(probes["none"])
        return {
            "rates": RATES,
            "seeds": self.seeds,
            "tasks": self.tasks,
            "edge": edge,
            "methods": rows,
            "probes": [
                asdict(replace(probe, clipping={})) for probe in self.probes.values()
            ],
        }

    def row(self, name: str, probes: list[Probe]) -> dict:
        """A method's line: at its best rate, with the values of all seeds."""
        row = summarise(name, probes, self.prober.rate_in_use, self.tasks)
        at_best = [probe for probe in probes if probe.rate == row["best_rate"]]
        progressive = areas_by_rate(probes, self.tasks, "progressive")
        chosen = [probe for probe in probes if probe.rate == best_rate(progressive)]
        return {
            **row,
            "areas": areas_by_rate(probes, self.tasks),
            "lost": sorted({probe.rate for probe in probes if probe.diverged}),
            "final": {p.seed: mean_auc(p.final, self.tasks) for p in at_best},
            "by_task": {
                task: float(np.mean([p.final[task] for p in at_best]))
                for task in self.tasks
            },
            "progressive": {p.seed: mean_auc(p.progressive, self.tasks) for p in chosen},
            "progressive_rate": best_rate(progressive),
            "micro": sum(probe.loss["micro"] for probe in at_best),
            "clipping": at_best[0].clipping if at_best else {},
        }


def gain(rows: dict[str, dict], method: str, over: str) -> dict:
    """Mean AUC of a method over another's, each at its best rate, paired by seed."""
    one, other = rows[method]["final"], rows[over]["final"]
    gains = [one[seed] - other[seed] for seed in one if seed in other]
    return {
        "over": over,
        "mean": float(np.mean(gains)),
        "lowest": min(gains),
        "highest": max(gains),
        "seeds": len(gains),
    }


def headline(study: dict, times: dict) -> dict:
    """The figures that the README promises, of one study.

    Returns:
        ``stable_lr_ratio``: Clippy's largest stable rate over plain Adagrad's;
        ``auc_range_lr``: method -> factor of rates within 0.01 of its own best AUC;
        ``auc_gain_over_none`` and ``auc_gain_over_best_baseline``, the latter with the
        least and the greatest gain of a seed; the same for ``clippy_unit``;
        ``step_time_ratio``: Clippy's step over plain Adagrad's.
    """
    rows = {row["method"]: row for row in study["methods"]}
    baselines = [name for name in rows if name.split()[0] in RANGES]
    best = max(baselines, key=lambda name: rows[name]["best_auc"] or 0.0)
    limit = rows["none"]["largest_stable"]
    result = {
        "auc_range_lr": {name: row["range"] for name, row in rows.items()},
        "best_auc": {name: row["best_auc"] for name, row in rows.items()},
        "largest_stable_lr": {name: row["largest_stable"] for name, row in rows.items()},
        "diverged": {n: f"{row['diverged']}/{row['tried']}" for n, row in rows.items()},
        "best_baseline": best,
        "steps_per_s": {name: 1 / t for name, t in times["seconds"].items()},
    }
    for name, mark in (("clippy", ""), ("clippy_unit", "_unit")):
        over_none, over_best = gain(rows, name, "none"), gain(rows, name, best)
        stable = rows[name]["largest_stable"]
        result |= {
            f"stable_lr_ratio{mark}": stable / limit if stable and limit else None,
            f"auc_gain_over_none{mark}": over_none["mean"],
            f"auc_gain_over_best_baseline{mark}": over_best["mean"],
            f"auc_gain_over_best_baseline{mark}_interval": [
                over_best["lowest"],
                over_best["highest"],
            ],
            f"step_time_ratio{mark}": times["ratio"][name],
        }
    return result


def changed(config: Config, **sections) -> Config:
    """A config with some keys of some sections replaced."""
    document = config.model_dump(mode="json")
    for section, keys in sections.items():
        if isinstance(keys, dict):
            document[section].update(keys)
        else:
            document[section] = keys
    return Config.model_validate(document)


def prober_of(config: Config, examples: ExampleSet, days: list[str] | None) -> StudyProber:
    """A prober over some days of training, judged on the day after the last one."""
    names = list(examples.windows("train"))
    days = days or names
    after = names.index(days[-1]) + 1
    final = ("train", names[after]) if after < len(names) else ("validation", None)
    return StudyProber(config, agree(config, examples.schema), examples, days, final)


def ablations(config: Config, examples: ExampleSet, days, rate: float, seeds) -> dict:
    """The paper's Table 3: plain Adagrad at the edge, and what lowers its odds to fail.

    Each at the edge and at twice the edge.

    Returns:
        Change -> ``diverged`` and ``tried``.
    """
    dump = config.model_dump(mode="json")
    fewer = [t for t in dump["tasks"] if t["name"] != "is_follow"]
    fewest = [t for t in fewer if t["name"] != "is_comment"]
    variants = {
        "none": {},
        "smaller model": {"model": {"bottom_units": [128, 128]}},
        "no cross layer": {"model": NO_CROSS},
        "half of the features": {"features": dump["features"][::2]},
        "one task fewer": {"tasks": fewer},
        "two tasks fewer": {"tasks": fewest},
    }
    found = {}
    for name, sections in variants.items():
        prober = prober_of(changed(config, **sections), examples, days)
        probes = [prober.probe(NONE, r, seed) for r in (rate, 2 * rate) for seed in seeds]
        found[name] = {"diverged": sum(p.diverged for p in probes), "tried": len(probes)}
        print(f"ablation at {rate:g}: {name}: {found[name]}", flush=True)
    return found


def study_of(config: Config, examples: ExampleSet, days, seeds, quick: bool) -> dict:
    """Ladder, step times, a spurious batch, replay and ablations, of one model."""
    prober = prober_of(config, examples, days)
    study = Study(prober, seeds)
    result = study.run()
    result["times"] = step_times(prober, study.methods, rounds=9 if quick else 21)
    result["spoiled"] = spoil(prober, (NONE, CLIPPY, UNIT), RATES[1], seeds[0], TASKS)
    if result["edge"]:
        # LayerNorm hides the explosion: the run stalls at AUC 0.5 instead.
        plain = {**NO_CROSS, "layer_norm": False}
        rows = config.train.embedding.model_copy(update={"warmup": True}).model_dump()
        warm = {"warmup_steps": WARM_UP, "embedding": rows}
        warm = changed(config, model=plain, train=warm)
        result["replay"] = replay(prober_of(warm, examples, days), RATES[5:], seeds[0])
        result["ablations"] = ablations(config, examples, days, result["edge"], seeds)
    return result


def examples_of(config: Config, data: Path, folder: Path) -> ExampleSet:
    preprocess(config, data, folder)
    return ExampleSet.open(folder)


def synthetic(folder: Path, seeds: list[int]) -> dict:
    """The same ladder on the synthetic log, with the demo's features."""
    from steadyrank.pipeline.synthetic import synthesize

    synthesize(200_000, 1, folder / "log")
    config = load_config(ROOT / "configs" / "demo.yaml")
    model = {"trunk": "shared_bottom", "embedding_dim": 8, "tower_units": []}
    document = config.model_dump(mode="json")
    document["model"] = {**model, **MODELS["large_dcn"]}
    document["train"] = load_config(STREAM).train.model_dump(mode="json")
    config = Config.model_validate(document)
    examples = examples_of(config, folder / "log", folder / "synthetic")
    prober = prober_of(config, examples, None)
    return Study(prober, seeds, SYNTHETIC_TASKS).run()


def print_rows(name: str, study: dict) -> None:
    print(f"\n{name}: mean AUC of {', '.join(study['tasks'])}")
    print("method              stable  best AUC  at rate  progressive  range  diverged")
    for row in study["methods"]:
        seen = row["progressive"].values()
        progressive = statistics.mean(seen) if seen else float("nan")
        print(
            f"{row['method']:18s} {row['largest_stable'] or 0:7g}  "
            f"{row['best_auc'] or 0:.4f}  {row['best_rate'] or 0:7g}  "
            f"{progressive:11.4f}  {row['range']:5g}  {row['diverged']}/{row['tried']}"
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.stability", description="Divergence by learning rate and method."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="one model, two seeds")
    size.add_argument("--confirm", action="store_true", help="later days, other seeds")
    parser.add_argument("--data", type=Path, default=Path(beside) / "kuairand")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options, began = parse(arguments), time.monotonic()
    base = load_config(STREAM)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        examples = examples_of(base, options.data, Path(folder) / "examples")
        names = list(examples.windows("train"))
        if options.quick:
            # The first window is a night of 141 rows.
            results = {"large_dcn": study_of(base, examples, names[1:5], [1, 2], True)}
        elif options.confirm:
            results = {"large_dcn": confirm(base, examples, names[5:9])}
        else:
            results = full(base, examples, names[1:], Path(folder))
    study = results["large_dcn"]
    for name, each in results.items():
        print_rows(name, each)
    last = {**headline(study, study["times"]), "seconds": time.monotonic() - began}
    write_all(options, results, last)
    print(json.dumps(rounded(last)))


def confirm(base: Config, examples: ExampleSet, days: list[str]) -> dict:
    """The quick study's methods at its thresholds, where nothing was chosen."""
    prober = prober_of(base, examples, days)
    study = Study(prober, [11, 12, 13])
    result = study.run([method_of(text) for text in CONFIRMED])
    result["times"] = step_times(prober, study.methods, rounds=9)
    return result


def full(base: Config, examples: ExampleSet, days: list[str], folder: Path) -> dict:
    """All models, and the synthetic log."""
    seeds, results = [1, 2, 3], {}
    for name, model in MODELS.items():
        results[name] = study_of(changed(base, model=model), examples, days, seeds, False)
    results["synthetic"] = synthetic(folder, seeds)
    return results


def write_all(options: argparse.Namespace, results: dict, last: dict) -> None:
    kind = "_quick" if options.quick else "_confirm" if options.confirm else ""
    name = f"stability{kind}.json"
    options.results.mkdir(parents=True, exist_ok=True)
    write_json(options.results / name, {"headline": last, "models": results})


def rounded(content):
    """The same with four significant digits."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return float(f"{content:.4g}") if isinstance(content, float) else content


if __name__ == "__main__":
    main()
