r"""Does a large batch cost AUC? Every scaling rule, with CowClip's clip and without.

    python -m benchmarks.large_batch [--quick] [--data DIR] [--workers 2]
    python -m benchmarks.large_batch --decay linear --recipes momentum --factors 64 \
        --no-kuairand
    python -m benchmarks.large_batch --quick --trunk dcn_v2 --recipes momentum --no-kuairand
    python -m benchmarks.large_batch --quick --clip-study

A DeepFM (26 fields of width 10, linear weights, 13 numbers) on Criteo-shaped rows, with
0.75 ids a row as in the Kaggle log: rare ids are what large batches are said to lose.
(``--trunk``: another model than DeepFM on the same rows, at the same rates; ``--decay
linear``: rates that fall to 0 over the epochs, at all batch sizes.)
Rates and L2 at the base batch of 1 K (``BASE``) were chosen on validation rows, once for
all rules; a rule says what becomes of them at ``s`` times the batch.  Every run has as
many epochs, is judged after each on validation rows, and reported on test rows at its
best epoch.  KuaiRand's is_click is the second set, from 1 K to 8 K.

Recipes: every scaling rule with the clip (r = 1, zeta = 1e-5) and lazy semantics, Adam for
the dense weights, unclipped, and a warm-up of their rate; CowClip's rule and the rule that
we ship (``SHIPPED``) without the clip; that with the other semantics of L2; with Clippy on
the dense weights and no warm-up, as ``train`` has it by default; and the same with Adagrad.

``--clip-study``: in place of the recipes, where CowClip's clip is worth something: the
rule that we ship with the clip, without it, and with its bound as it is to a loss that is
summed over the batch; for Adam and Adagrad, with L2 and without, at the tuned rate of the
embeddings and at ``HIGH`` times as much.  ``clip_worth``: what the clip adds to the AUC.

``--quick``: 2 M rows, two epochs, 1 K and 16 K, one seed.  The full run has 8 M rows, four
epochs, batches to 128 K and three seeds; ``--recipes``, ``--factors`` and ``--seeds`` are a
part of it.  Runs share the cores: ``--workers`` at once, one thread each.  Each is kept as
soon as it has ended, and ``--resume`` goes on with what an interrupted study lacks.

Results go to ``benchmarks/results/large_batch*.json``, named by what was chosen (a part of
a study does not replace the whole).  The last line is a JSON object:
drops of test AUC from 1 K to 16 times as much, means over the seeds: ``cowclip_drop_16x``,
``best_shipped_drop_16x``, ``best_other_rule_drop_16x``, ``clip_off_drop_16x``;
``lazy_minus_dense_auc`` and ``touched_minus_dense_auc`` at 16 K; ``epoch_speedup_16x``;
``clipped_fraction`` by recipe; ``kuairand_drop_8x`` by recipe; in the full run the same
drops at 64 times.  What was left out is left out there, too.
"""

import argparse
import dataclasses
import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.multitask_ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
BASE_BATCH = 1024
BASE = {"embedding_rate": 1e-3, "l2": 3e-5, "dense_rate": 8e-4}
DENSE_RATES = {"adam": BASE["dense_rate"], "adagrad": 0.2}
TRUNKS = {  # and what each has beside its deep side
    "deepfm": {},
    "wide_deep": {},
    "dcn": {"cross_layers": 3},
    "dcn_v2": {"cross_layers": 3, "rank": None},
}
DEEPFM = "deepfm"
DEEP = {"deep_units": [64, 32]}
ADAGRAD = {"embedding_rate": 0.005, "initial_accumulator": 1e-10}
ZETA = 1e-5
INITIAL_NORM = 0.01 * math.sqrt(10)  # of an embedding of width 10, drawn with 0.01
HIGH = 8.0
WARM_UP_EPOCHS = 1  # of the dense rate, as in CowClip's published runs
IDS_PER_ROW = 0.75
HELD_OUT = 0.1  # of the rows, for validation and as many for test
SHIPPED = "momentum"
THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
FIELDS = ("ids", "cardinalities", "numbers", "labels", "truth")


@dataclass(frozen=True)
class Recipe:
    """What is done as the batch grows.

    Attributes:
        name, rule, clip, semantics: As in a config.
        optimizer: Of the tables.
        l2, rate: Times ``BASE``'s.
        summed: The bound is what it would be to a loss summed over the batch, and an L2
            as many times as large.
        bound: Times the usual one.
        adaptive: Whether it follows the norms of the embeddings; else it is for all ids
            ``INITIAL_NORM``.
        dense: Optimizer of the dense weights.
        dense_clip: On their updates.
        warm_up: Whether their rate warms up.
    """

    name: str
    rule: str
    clip: str = "cowclip"
    semantics: str = "lazy"
    optimizer: str = "adam"
    l2: float = 1.0
    rate: float = 1.0
    summed: bool = False
    bound: float = 1.0
    adaptive: bool = True
    dense: str = "adam"
    dense_clip: str = "none"
    warm_up: bool = True


AS_TRAINED = {"dense_clip": "clippy", "warm_up": False}  # the defaults of `train`
RECIPES = (
    Recipe("none", "none"),
    Recipe("sqrt", "sqrt"),
    Recipe("linear", "linear"),
    Recipe("n2_lambda", "n2_lambda"),
    Recipe("cowclip", "cowclip"),
    Recipe("cowclip, clip off", "cowclip", clip="none"),
    Recipe("sde", "sde"),
    Recipe(SHIPPED, SHIPPED),
    Recipe(f"{SHIPPED}, clip off", SHIPPED, clip="none"),
    Recipe(f"{SHIPPED}, dense", SHIPPED, semantics="dense"),
    Recipe(f"{SHIPPED}, touched", SHIPPED, semantics="touched"),
    Recipe(f"{SHIPPED}, as trained", SHIPPED, **AS_TRAINED),
    Recipe(f"{SHIPPED}, Adagrad", SHIPPED, dense="adagrad", **AS_TRAINED),
)
CLIPS = {"clip": {}, "summed": {"summed": True}, "off": {"clip": "none"}}
CLIP_STUDY = tuple(
    Recipe(f"{optimizer} l2 {l2:g} rate {rate:g}: {name}", SHIPPED, **clip, **settings)
    for optimizer, l2, rate in product(("adam", "adagrad"), (1.0, 0.0), (1.0, HIGH))
    for settings in [{"optimizer": optimizer, "l2": l2, "rate": rate}]
    for name, clip in CLIPS.items()
)
OTHER_RULES = ("none", "sqrt", "linear", "n2_lambda")
KUAIRAND = RECIPES[:8]


@dataclass(frozen=True)
class Run:
    """One training run, and what came of it."""

    recipe: Recipe
    batch_size: int
    seed: int
    trunk: str = DEEPFM
    decay: str = "none"
    validation: tuple[float, ...] = ()
    test: float = 0.0
    seconds: float = 0.0  # of the median epoch
    clipped: float = 0.0  # fraction of the embedding table's rows, in the last epoch


def train_shaped(folder: Path, rows: int, epochs: int, run: Run) -> Run:
    """Train on the first Criteo-shaped rows; called in a worker process."""
    from benchmarks import in_memory
    from benchmarks.criteo import CriteoShaped

    data = CriteoShaped(*(np.load(folder / f"{f}.npy", mmap_mode="r") for f in FIELDS))
    held = int(HELD_OUT * rows)
    validation, test = range(rows, rows + held), range(rows + held, rows + 2 * held)
    settings = {"trunk": run.trunk, **DEEP, **TRUNKS[run.trunk]}
    model = in_memory.model_of(in_memory.features_of(data, rows), settings, run.seed)
    model.compile(*optimizers(run, rows // run.batch_size, epochs))
    trainer, found, areas, best = in_memory.Trainer(model, data), [], [], 0.0
    for epoch in range(epochs):
        seed = 1000 * run.seed + epoch
        found.append(trainer.epoch(range(rows), run.batch_size, seed))
        areas.append(trainer.auc(validation))
        if areas[-1] == max(areas):
            best = trainer.auc(test)
    return dataclasses.replace(
        run,
        validation=tuple(areas),
        test=best,
        seconds=statistics.median(each["seconds"] for each in found),
        clipped=found[-1]["clipped_rows"][str(in_memory.DIM)],
    )


def optimizers(run: Run, steps: int, epochs: int) -> tuple:
    """The two optimizers of a run, its rates scaled; ``steps`` of an epoch."""
    from steadyrank.components.optimizers.schedules import WarmUp, scale
    from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS

    recipe, s = run.recipe, run.batch_size / BASE_BATCH
    rate = (ADAGRAD if recipe.optimizer == "adagrad" else BASE)["embedding_rate"]
    base = recipe.rate * rate, recipe.l2 * BASE["l2"]
    of_dense = {"dense_rate": DENSE_RATES[recipe.dense], "dense_optimizer": recipe.dense}
    rates = scale(recipe.rule, s, *base, **of_dense)
    start = {"initial_accumulator": ADAGRAD["initial_accumulator"]}
    bound = recipe.bound / (run.batch_size if recipe.summed else 1)
    r, zeta = (bound, bound * ZETA) if recipe.adaptive else (0.0, bound * INITIAL_NORM)
    end = epochs * steps if run.decay == "linear" else None
    warm_up = WARM_UP_EPOCHS * steps if recipe.warm_up else 0
    dense = DENSE_OPTIMIZERS[recipe.dense](
        WarmUp(rates.dense_rate, warm_up, end=end),
        clip=recipe.dense_clip,
        **(rates.adam if recipe.dense == "adam" else {}),
    )
    return dense, ROW_OPTIMIZERS[recipe.optimizer](
        WarmUp(rates.embedding_rate, 0, end=end),
        clip=recipe.clip,
        r=r,
        zeta=zeta,
        l2=rates.embedding_l2,
        semantics=recipe.semantics,
        **(rates.adam if recipe.optimizer == "adam" else start),
    )


def train_kuairand(folder: Path, rows: int, epochs: int, run: Run) -> Run:
    """Train on KuaiRand's is_click as ``train`` does; called in a worker process."""
    from steadyrank.pipeline.config import parse_config
    from steadyrank.pipeline.examples.compatibility import agree
    from steadyrank.pipeline.examples.dataset import evaluation_dataset
    from steadyrank.pipeline.examples.example_set import ExampleSet
    from steadyrank.pipeline.kinds import train
    from steadyrank.pipeline.kinds.ranking.model import compiled_model
    from steadyrank.pipeline.metrics.predict import predict
    from steadyrank.pipeline.metrics.tasks import measure
    from steadyrank.pipeline.train.log import LOG_FILE, read_lines
    from steadyrank.pipeline.train.weights import load_weights

    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    recipe = run.recipe
    document["train"] |= {
        "batch_size": run.batch_size,
        "base_batch_size": BASE_BATCH,
        "scaling": recipe.rule,
        "epochs": epochs,
        "seed": run.seed,
        "decay": run.decay,
        "warmup_steps": WARM_UP_EPOCHS * (rows // BASE_BATCH),
        "embedding": {
            "learning_rate": BASE["embedding_rate"],
            "l2": BASE["l2"],
            "clip": recipe.clip,
            "semantics": recipe.semantics,
        },
    }
    config = parse_config(document, "large_batch")
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as output:
        train(config, folder / "examples", Path(output) / "train")
        log = list(read_lines(Path(output) / "train" / LOG_FILE))
        examples = ExampleSet.open(folder / "examples")
        schema = agree(config, examples.schema)
        model = compiled_model(config, schema)
        load_weights(model, Path(output) / "train" / "best")
    found = predict(model.head.predict_tasks, evaluation_dataset(examples, "test", 8192))
    steps = [line for line in log if "clipped_rows" in line]
    return dataclasses.replace(
        run,
        validation=tuple(
            line["validation"]["is_click"]["auc"] for line in log if "validation" in line
        ),
        test=measure(schema.tasks, *found[:3])["is_click"]["auc"],
        seconds=steps[-1]["seconds"] / epochs,
        clipped=statistics.mean(next(iter(s["clipped_rows"].values())) for s in steps),
    )


def write_shaped(folder: Path, rows: int) -> None:
    """Generate the rows, and put them where the processes map them."""
    from benchmarks.criteo import generate

    data = generate(int(rows * (1 + 2 * HELD_OUT)), int(rows * IDS_PER_ROW), seed=1)
    for name in FIELDS:
        np.save(folder / f"{name}.npy", getattr(data, name))


def write_kuairand(folder: Path, data: Path) -> int:
    """Preprocess KuaiRand for one task; returns the rows to train on."""
    from steadyrank.pipeline.config import load_config, parse_config
    from steadyrank.pipeline.examples.example_set import ExampleSet
    from steadyrank.pipeline.kinds import preprocess

    document = load_config(ROOT / "configs" / "kuairand.yaml").model_dump(mode="json")
    document["tasks"] = [t for t in document["tasks"] if t["name"] == "is_click"]
    document |= {"score": "", "gates": {}}
    document["model"] = {"trunk": DEEPFM, "deep_units": [128, 64]}
    dense = {"optimizer": "adam", "learning_rate": BASE["dense_rate"], "clip": "none"}
    document["train"] = {"dense": dense, "monitor": "is_click"}
    config = parse_config(document, "large_batch")
    preprocess(config, data, folder / "examples")
    text = json.dumps(config.model_dump(mode="json"))
    (folder / "config.json").write_text(text, encoding="utf-8")
    return ExampleSet.open(folder / "examples").rows("train")


def run_all(
    job, folder: Path, rows: int, epochs: int, runs: list[Run], workers: int, ledger: Ledger
) -> list[Run]:
    """All runs that the ledger lacks, ``workers`` at a time, seed by seed."""
    runs = sorted(runs, key=lambda run: (run.seed, run.batch_size))
    os.environ.update(THREADS)
    done = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            run: pool.submit(job, folder, rows, epochs, run)
            for run in runs
            if not ledger.has(_settings(job, rows, epochs, run))
        }
        for run in runs:
            found = ledger.run(
                _settings(job, rows, epochs, run),
                lambda run=run: dataclasses.asdict(jobs[run].result()),
            )
            done.append(Run(**{**found, "recipe": run.recipe}))
            print(_line(done[-1]), flush=True)
    return done


def _settings(job, rows: int, epochs: int, run: Run) -> dict:
    """What a run depends on."""
    return {"of": job.__name__, "rows": rows, "epochs": epochs, **dataclasses.asdict(run)}


def _line(run: Run) -> str:
    areas = " ".join(f"{area:.4f}" for area in run.validation)
    return (
        f"{run.recipe.name:24s} batch {run.batch_size:6d} seed {run.seed}: test "
        f"{run.test:.4f} (validation {areas}), {run.seconds:.1f} s an epoch, "
        f"{100 * run.clipped:.2f} % clipped"
    )


def mean_test(runs: list[Run], name: str, batch_size: int) -> float:
    """Mean over the seeds; at the base batch all rules are one."""
    areas = [
        run.test
        for run in runs
        if run.batch_size == batch_size
        and (run.recipe.name == name or batch_size == BASE_BATCH)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def drops(runs: list[Run], factor: int) -> dict[str, float]:
    """Recipe -> AUC at the base batch minus that at ``factor`` times as much."""
    base = mean_test(runs, "", BASE_BATCH)
    names = [recipe.name for recipe in RECIPES]
    return {name: base - mean_test(runs, name, factor * BASE_BATCH) for name in names}


def headline(shaped: list[Run], factor: int) -> dict:
    """The keys of one factor, as far as it was run."""
    found = drops(shaped, factor)
    mark = f"_{factor}x"
    shipped = [found[SHIPPED], found[f"{SHIPPED}, clip off"]]
    times = {
        size: [
            r.seconds
            for r in shaped
            if r.batch_size == size and (size == BASE_BATCH or r.recipe.name == SHIPPED)
        ]
        for size in (BASE_BATCH, factor * BASE_BATCH)
    }
    keys = {
        f"cowclip_drop{mark}": found["cowclip"],
        f"best_shipped_drop{mark}": _least(shipped),
        f"best_other_rule_drop{mark}": _least([found[n] for n in OTHER_RULES]),
        f"clip_off_drop{mark}": found["cowclip, clip off"],
        f"drops{mark}": _known(found),
    }
    if all(times.values()):
        base, large = (statistics.median(each) for each in times.values())
        keys[f"epoch_speedup{mark}"] = base / large
    return _known(keys)


def clip_worth(runs: list[Run], batch_size: int) -> dict[str, dict[str, float]]:
    """Setting -> what the clip, and the bound of a summed loss, add to the test AUC."""
    worth = {}
    for setting in dict.fromkeys(recipe.name.split(":")[0] for recipe in CLIP_STUDY):
        off = mean_test(runs, f"{setting}: off", batch_size)
        found = {
            name: mean_test(runs, f"{setting}: {name}", batch_size) - off
            for name in ("clip", "summed")
        }
        worth[setting] = _known({"off": off, **found})
    return _known(worth)


def _least(numbers: list[float]) -> float:
    known = [number for number in numbers if not math.isnan(number)]
    return min(known, default=math.nan)


def _known(keys: dict) -> dict:
    """Without what was not run."""
    return {
        key: value
        for key, value in keys.items()
        if value != {} and not (isinstance(value, float) and math.isnan(value))
    }


def plan(recipes: Iterable[Recipe], factors, options: argparse.Namespace) -> list[Run]:
    """Runs on one set of rows: every recipe at every factor, beside the base batch."""
    seeds, kind = options.seeds, (options.trunk, options.decay)
    base = [] if options.clip_study else [RECIPES[4]]
    runs = [Run(recipe, BASE_BATCH, seed, *kind) for recipe in base for seed in seeds]
    return runs + [
        Run(recipe, BASE_BATCH * factor, seed, *kind)
        for recipe in recipes
        for factor in factors
        for seed in seeds
    ]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    names = [recipe.name for recipe in RECIPES]
    parser = argparse.ArgumentParser(
        "benchmarks.large_batch", description="Does a large batch cost AUC?"
    )
    parser.add_argument("--quick", action="store_true", help="16 K on 2 M rows, one seed")
    parser.add_argument("--recipes", nargs="+", choices=names, default=names)
    parser.add_argument("--trunk", choices=TRUNKS, default=DEEPFM)
    parser.add_argument("--decay", choices=("none", "linear"), default="none")
    parser.add_argument("--factors", nargs="+", type=int, help="batch over 1 K; 4 to 128")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--clip-study", action="store_true", help="what the clip is worth")
    parser.add_argument("--no-kuairand", action="store_true", help="Criteo-shaped only")
    parser.add_argument("--resume", action="store_true", help="keep runs done before")
    parser.add_argument("--data", type=Path, default=Path(beside) / "kuairand")
    parser.add_argument("--workers", type=int, default=2, help="runs at once")
    parser.add_argument("--epochs", type=int, help="in place of 2 or 4")
    parser.add_argument("--rows", type=int, help="in place of 2 M or 8 M")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    options.name = name_of(options)
    options.rows = options.rows or (2_000_000 if options.quick else 8_000_000)
    options.epochs = options.epochs or (2 if options.quick else 4)
    options.factors = options.factors or ([16] if options.quick else [4, 16, 64, 128])
    options.seeds = options.seeds or ([1] if options.quick else [1, 2, 3])
    options.recipes = [recipe for recipe in RECIPES if recipe.name in options.recipes]
    if options.clip_study:
        options.recipes, options.factors, options.no_kuairand = CLIP_STUDY, [16], True
    return options


def name_of(options: argparse.Namespace) -> str:
    """What the results are called: by all that was chosen on the command line."""
    parts = [] if options.trunk == DEEPFM else [options.trunk]
    parts += [] if options.decay == "none" else ["decay"]
    if options.clip_study:
        parts += ["clip"]
    elif options.recipes != [recipe.name for recipe in RECIPES]:
        parts += [name.replace(", ", "-").replace(" ", "-") for name in options.recipes]
    parts += [f"{factor}x" for factor in options.factors or ()]
    parts += [f"seed{seed}" for seed in options.seeds or ()]
    parts += [f"{options.epochs}epochs"] if options.epochs else []
    parts += [f"{options.rows}rows"] if options.rows else []
    parts += ["shaped"] if options.no_kuairand else []
    return "_".join(["large_batch", *parts, *(["quick"] if options.quick else [])])


def train_all(options: argparse.Namespace, folder: Path, ledger: Ledger) -> tuple:
    """Runs on Criteo-shaped rows, and on KuaiRand."""
    write_shaped(folder, options.rows)
    runs = plan(options.recipes, options.factors, options)
    usual = options.epochs, runs, options.workers, ledger
    shaped = run_all(train_shaped, folder, options.rows, *usual)
    if options.no_kuairand:
        return shaped, []
    count = write_kuairand(folder, options.data)
    recipes = [recipe for recipe in KUAIRAND if recipe in options.recipes]
    runs = plan(recipes, [8] if options.quick else [2, 4, 8], options)
    usual = options.epochs, runs, options.workers, ledger
    return shaped, run_all(train_kuairand, folder, count, *usual)


def summary(shaped: list[Run], kuairand: list[Run], factors: Iterable[int]) -> dict:
    """The last line."""
    at_16 = {r.name: mean_test(shaped, r.name, 16 * BASE_BATCH) for r in RECIPES}
    dense = at_16[f"{SHIPPED}, dense"]
    result = {}
    for factor in factors:
        if factor in (16, 64, 128):
            result |= headline(shaped, factor)
    return result | _known(
        {
            "lazy_minus_dense_auc": at_16[SHIPPED] - dense,
            "touched_minus_dense_auc": at_16[f"{SHIPPED}, touched"] - dense,
            "clipped_fraction": {
                r.recipe.name: r.clipped for r in shaped if r.batch_size == 16 * BASE_BATCH
            },
            "auc_base": mean_test(shaped, "", BASE_BATCH),
            "kuairand_auc_base": mean_test(kuairand, "", BASE_BATCH),
            "kuairand_drop_8x": _known(drops(kuairand, 8)),
        }
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options = parse(arguments)
    ledger = Ledger(options.results / f"{options.name}_runs.json", options.resume)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        shaped, kuairand = train_all(options, Path(folder), ledger)
    result = summary(shaped, kuairand, options.factors)
    if options.clip_study:
        result["clip_worth"] = clip_worth(shaped, 16 * BASE_BATCH)
    about = {"rows": options.rows, "epochs": options.epochs}
    runs = [dataclasses.asdict(run) for run in (*shaped, *kuairand)]
    text = json.dumps({**result, **about, "runs": runs}, indent=1)
    (options.results / f"{options.name}.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
