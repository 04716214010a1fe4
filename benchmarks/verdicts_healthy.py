"""What is healthy, and must not be refused: trunks, seeds, batches, few features."""

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.verdicts_base import FEATURES, TRUNK, Base, Case, demo_gates
from benchmarks.verdicts_logs import relearned
from benchmarks.verdicts_next import healthy_next

TRUNKS = {
    "shared_bottom": TRUNK,
    "single_task": {**TRUNK, "trunk": "single_task"},
    "mmoe": {"trunk": "mmoe", "experts": 2, "expert_units": [16], "tower_units": [8]},
    "ple": {"trunk": "ple", "levels": 1, "shared_experts": 1, "task_experts": 1,
            "expert_units": [16], "tower_units": [8]},
}  # fmt: skip
MODELS = (  # trunk, seed, rows of a batch, epochs, features
    ("shared_bottom", 2, 256, 3, FEATURES),
    ("shared_bottom", 3, 128, 3, FEATURES),
    ("single_task", 4, 256, 3, FEATURES),
    ("mmoe", 5, 256, 3, FEATURES),
    ("ple", 6, 256, 3, FEATURES),
    ("shared_bottom", 7, 512, 6, FEATURES),  # as many steps as the base takes
    ("shared_bottom", 9, 256, 3, FEATURES[:-1]),
)


def healthy(base: Base) -> Iterator[Case]:
    """The cases: every model judged in five ways, and what has values that are missing."""
    for trunk, seed, batch, epochs, features in MODELS:
        place: dict = {}
        what = f"{trunk}, seed {seed}, {batch} rows, {len(features)} features"
        changes = {
            "model": {"embedding_dim": 8, **TRUNKS[trunk]},
            "train__seed": seed,
            "train__batch_size": batch,
            "train__epochs": epochs,
        }
        made = partial(_made, base, place, features, changes)
        ways = {
            "no gate": {},
            "a baseline": {"baseline_path": base.model},
            "the demo's gates": {"gates": demo_gates(), "baseline_path": base.model},
            "on validation": {"split": "validation"},
            "the demo's gates, on validation": {
                "gates": demo_gates(), "baseline_path": base.model, "split": "validation",
            },
        }  # fmt: skip
        for word, how in ways.items():
            yield Case(f"{what}: {word}", partial(_judged, base, made, how))
    for name, value in (("is_click", "nan"), ("number", "inf")):
        case = partial(relearned, base, name, float(value), 0.04)
        yield Case(f"{name} of {value}, which is missing, in 4 % of rows", case)
    yield from healthy_next(base.folder / "next")


def _made(base: Base, place: dict, features, changes: dict) -> dict:
    """The model, trained when it is first asked for."""
    if not place:
        document = {"named": features, **changes}
        examples = base.examples
        if features != FEATURES:
            examples = base.preprocessed(base.log, named=features)
        place |= {"model": base.fitted(examples, **document), "examples": examples}
        place["changes"] = document
    return place


def _judged(base: Base, made: Callable, how: dict) -> dict:
    return base.judge(**made(), **how)
