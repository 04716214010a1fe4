"""What is healthy, and must not be refused: trunks, seeds, batches, few features."""

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.verdicts_base import FEATURES, TRUNK, Base, demo_gates
from benchmarks.verdicts_broken import relearned

Case = tuple[str, Callable[[], dict]]
TRUNKS = {
    "shared_bottom": TRUNK,
    "single_task": {**TRUNK, "trunk": "single_task"},
    "mmoe": {"trunk": "mmoe", "experts": 2, "expert_units": [16], "tower_units": [8]},
    "ple": {"trunk": "ple", "levels": 1, "shared_experts": 1, "task_experts": 1,
            "expert_units": [16], "tower_units": [8]},
}  # fmt: skip
MODELS = (  # trunk, seed, rows of a batch, features
    ("shared_bottom", 2, 256, FEATURES),
    ("shared_bottom", 3, 128, FEATURES),
    ("single_task", 4, 256, FEATURES),
    ("mmoe", 5, 256, FEATURES),
    ("ple", 6, 256, FEATURES),
    ("shared_bottom", 7, 512, FEATURES),
    ("shared_bottom", 8, 256, ("user_id", "item_id", "tab")),
    ("shared_bottom", 9, 256, FEATURES[:-1]),
)


def healthy(base: Base) -> Iterator[Case]:
    """Name and case of each: every model judged in five ways."""
    for trunk, seed, batch, features in MODELS:
        place: dict = {}
        what = f"{trunk}, seed {seed}, {batch} rows, {len(features)} features"
        changes = {
            "model": {"embedding_dim": 8, **TRUNKS[trunk]},
            "train__seed": seed,
            "train__batch_size": batch,
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
            yield f"{what}: {word}", partial(_judged, base, made, how)
    for name, value in (("is_click", "nan"), ("is_click", "inf"), ("number", "inf")):
        yield (
            f"{name} of {value}, which is missing, in 4 % of rows",
            partial(relearned, base, name, float(value), 0.04),
        )


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
