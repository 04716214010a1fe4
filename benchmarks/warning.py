"""How many steps before a loss jumps do dying units say so, and how often for nothing?

    python -m benchmarks.warning [--quick] [--made-on] [--data DIR]

Short runs without any clip, at a ladder of rates of the dense weights, Adagrad and Adam,
with and without warm-up, on the days of KuaiRand after those of ``benchmarks.stability``
and on the synthetic log, on shared bottoms and experts.  Each is watched by the detector of
divergence, and by ``EarlyWarning`` with the constants that it ships with, step by step.

*Diverging* is a run whose loss is lost for good; its onset is the step of the jump.
*At once* is one that was lost within ``AT_ONCE`` steps, which nothing foretells; *silent*
one in which a task died and no loss jumped.  Of the others those at a rate that somebody
would try are *healthy*, those at a rate far above have *survived*: what is said of these is
no false alarm, but did not come true.  The lead is the onset less the step of the first
warning, 0 where none came before it.

``--made-on``: the runs that the constants were chosen on, other days and models: for each
share and run of steps that was tried, what it would have given.
``--quick``: 10 diverging and 10 healthy runs at most, else 60 and 60.

The last line is a JSON object: ``median_lead_steps``, ``warned`` of ``diverging`` runs,
``false_alarms_per_20`` of ``healthy`` ones, the same counts of the other kinds, and
``runs``.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.stability import DATA, ROOT, STREAM, TASKS, changed, examples_of
from steadyrank.components.metrics.early_warning import EarlyWarning
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.studies.short_runs import Method, Prober, Watch
from steadyrank.pipeline.studies.stability import mean_auc
from steadyrank.pipeline.synthetic import synthesize

NONE = Method("none", "none")
# what a user would try, and far too much; between them is what no one would call either
RATES = {
    "adagrad": (0.05, 0.1, 0.2, 6.4, 12.8, 25.6),
    "adam": (2.5e-4, 5e-4, 1e-3, 5e-2, 0.2, 0.8),
}
FAR_TOO_HIGH = {"adagrad": 1.0, "adam": 1e-2}  # from there on
TRIED = tuple(itertools.product((0.05, 0.1, 0.15, 0.2, 0.3, 0.5), (1, 3, 5)))
WARM_UP = {False: (0, 120), True: (120, 200)}  # by whether a rate is far too high
AT_ONCE = 5  # steps: before them nothing can be foretold
DAYS, STEPS = 3, 80  # of a run: days, and steps of each of them
WIDE = {"trunk": "shared_bottom", "bottom_units": [256, 256, 256], "layer_norm": False}
PLAIN = {**WIDE, "front": "concatenation", "front_layers": None}
SMALL = {**PLAIN, "bottom_units": [512, 512]}
EXPERTS = {"trunk": "mmoe", "experts": 4, "expert_units": [128, 64]}


@dataclass(frozen=True)
class Run:
    """How one run went.

    Attributes:
        world, optimizer, rate, warmup, seed: What it was.
        onset: Step of the jump that was not survived; None: there was none.
        silent: Whether a task died without one.
        auc: Mean over tasks at the end; None: the run did not get there.
        shares: Of each step, the dead share of the worst layer.
        warned: Step of the first warning; None: none came.
    """

    world: str
    optimizer: str
    rate: float
    warmup: int
    seed: int
    onset: int | None
    silent: bool
    auc: float | None = None
    shares: list[float] = field(default_factory=list)
    warned: int | None = None

    @property
    def lead(self) -> int:
        """Steps from the first warning to the onset."""
        early = self.warned is not None and self.warned < self.onset
        return self.onset - self.warned if early else 0


class Recorder(Watch):
    """A watch that keeps each step's worst share."""

    def __init__(self, patience: int):
        super().__init__(patience)
        self.shares: list[float] = []

    def took(self, lines: list[dict]) -> None:
        """Look at the steps since the last look."""
        super().took(lines)
        self.shares += [max(line["dead_units"].values(), default=0.0) for line in lines]


class Runner(Prober):
    """Runs of one world: a model and some days."""

    def run(self, world: str, rate: float, seed: int) -> Run:
        """Train from the start, and say how it went."""
        watch = Recorder(self._patience(seed))
        step = self.prepare(NONE, rate, seed)
        for place, window in enumerate(self.windows):
            if place:
                watch.measured(self.measure(("train", window)))
            self._train_window(step, window, seed, watch)
            if watch.lost:
                break
        if not watch.lost:
            watch.measured(self.measure(self.final), last=True)
        probe = watch.outcome("none", rate, seed, 0.0)
        onset = watch.detector.loss_diverged_at
        settings = self.config.train
        return Run(
            world,
            settings.dense.optimizer,
            rate,
            settings.warmup_steps,
            seed,
            onset,
            silent=probe.diverged and onset is None,
            auc=mean_auc(probe.final, TASKS) if probe.final else None,
            shares=watch.shares,
            warned=warned(watch.shares),
        )


def warned(shares: list[float], **constants) -> int | None:
    """The step of the first warning, counted from 1."""
    early = EarlyWarning(**constants)
    for step, share in enumerate(shares, 1):
        if early.update(step, {"worst": share}):
            return step
    return None


def worlds(made_on: bool, data: Path, folder: Path) -> Iterator[tuple]:
    """Name, config, examples and days of each; those of ``made_on`` are no others'."""
    base = load_config(STREAM)
    stream = examples_of(base, data, folder / "stream")
    days = list(stream.windows("train"))
    if made_on:
        config = changed(base, model=PLAIN)
        yield "kuairand, 3 x 256", config, stream, days[1 : 1 + DAYS]
        return
    config = changed(base, model=SMALL)
    yield "kuairand later, 2 x 512", config, stream, days[9 : 9 + DAYS]
    synthesize(100_000, 5, folder / "log")
    demo = load_config(ROOT / "configs" / "demo.yaml").model_dump(mode="json")
    demo["train"] = base.train.model_dump(mode="json")
    for name, model in (("synthetic, experts", EXPERTS), ("synthetic, 2 x 512", SMALL)):
        keys = {"embedding_dim": 8, "tower_units": [32], **model}
        config = Config.model_validate({**demo, "model": keys})
        place = folder / name.partition(", ")[2].replace(" ", "")
        examples = examples_of(config, folder / "log", place)
        yield name, config, examples, list(examples.windows("train"))[:DAYS]


def runner_of(
    config: Config, examples: ExampleSet, days: list[str], optimizer: str, *, warmup: int
) -> Runner:
    """What runs one model with one optimizer."""
    names = list(examples.windows("train"))
    after = names.index(days[-1]) + 1
    final = ("train", names[after]) if after < len(names) else ("validation", None)
    dense = {"optimizer": optimizer, "clip": "none"}
    train = {"dense": dense, "warmup_steps": warmup, "spike_guard": None}
    own = changed(config, train=train)
    schema = agree(own, examples.schema)
    return Runner(own, schema, examples, days, final=final, steps=STEPS)


def all_runs(options: argparse.Namespace, folder: Path) -> list[Run]:
    """Runs until there are enough of either kind, the worlds in turn."""
    most, seeds = (10, (21, 22, 23)) if options.quick else (60, range(21, 31))
    found: list[Run] = []
    runners: dict[tuple, Runner] = {}
    every = list(worlds(options.made_on, options.data, folder))
    for seed, place, optimizer in itertools.product(seeds, range(6), RATES):
        rate = RATES[optimizer][place // 2 if place % 2 else -1 - place // 2]
        high = rate >= FAR_TOO_HIGH[optimizer]
        for warmup, (name, *world) in itertools.product(WARM_UP[high], every):
            kinds = [_kind(run) for run in found]
            if kinds.count("diverging" if high else "healthy") >= most:
                continue
            key = name, optimizer, warmup
            if key not in runners:
                runners[key] = runner_of(*world, optimizer, warmup=warmup)
            found.append(runners[key].run(name, rate, seed))
            print(line(found[-1]), flush=True)
    return found


def _kind(run: Run) -> str:
    if run.onset is not None:
        return "at once" if run.onset <= AT_ONCE else "diverging"
    if run.silent:
        return "silent"
    return "healthy" if run.rate < FAR_TOO_HIGH[run.optimizer] else "survived"


def line(run: Run) -> str:
    """A run in words."""
    what = f"{run.world:24s} {run.optimizer:8s} {run.rate:7g} warm-up {run.warmup:2d}"
    end = f"jumps at {run.onset}, lead {run.lead}" if run.onset else _kind(run)
    end += f" AUC {run.auc or 0:.4f}, at most {max(run.shares):.2f} dead"
    return f"{what} seed {run.seed}: {end}; warned at {run.warned}"


def summary(runs: list[Run]) -> dict:
    """The figures of the module's words."""
    by_kind = {kind: [r for r in runs if _kind(r) == kind] for kind in KINDS}
    diverging, at_once, silent, survived, healthy = by_kind.values()
    alarms = sum(run.warned is not None for run in healthy)
    leads = [run.lead for run in diverging]
    return {
        "median_lead_steps": statistics.median(leads) if leads else None,
        "false_alarms_per_20": 20 * alarms / len(healthy) if healthy else None,
        "diverging": len(diverging),
        "warned": sum(lead > 0 for lead in leads),
        "at_once": len(at_once),
        "silent": len(silent),
        "silent_warned": sum(run.warned is not None for run in silent),
        "survived": len(survived),
        "survived_warned": sum(run.warned is not None for run in survived),
        "healthy": len(healthy),
        "false_alarms": alarms,
    }


KINDS = ("diverging", "at once", "silent", "survived", "healthy")


def tried(runs: list[Run]) -> list[dict]:
    """What other constants would have given on the same runs."""
    rows = []
    for share, steps in TRIED:
        again = [
            Run(**{**asdict(run), "warned": warned(run.shares, share=share, steps=steps)})
            for run in runs
        ]
        rows.append({"share": share, "steps": steps, **summary(again)})
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """What was asked for."""
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.warning", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="10 runs of either kind")
    parser.add_argument("--made-on", action="store_true", help="what constants came from")
    parser.add_argument("--data", type=Path, default=Path(beside) / "kuairand")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run, and print a line of JSON."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        runs = all_runs(options, Path(folder))
    found = summary(runs)
    if options.made_on:
        found["tried"] = tried(runs)
        for row in found["tried"]:
            print(json.dumps(row))
    shown = ("world", "optimizer", "rate", "warmup", "seed", "onset", "silent")
    shown += ("auc", "warned")
    found["runs"] = [{key: getattr(run, key) for key in shown} for run in runs]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
