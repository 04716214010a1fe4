"""What is broken, or healthy, in a next-item model: one small one, altered in memory."""

import copy
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from benchmarks.verdicts_base import NO_GATE, Base, Case
from benchmarks.verdicts_broken import OF_EXPORT, halve
from steadyrank.pipeline.config import parse_sequence_config
from steadyrank.pipeline.evaluate.stage import evaluate
from steadyrank.pipeline.export.signatures import ENCODED, RAW
from steadyrank.pipeline.kinds import export, preprocess, train
from steadyrank.pipeline.kinds.next_item.kind import KIND, NextItem
from steadyrank.pipeline.kinds.next_item.serving import SCORES

NAN, INF = float("nan"), float("inf")
# of fewer items an untrained model may rank the right successors well by luck
USERS, ITEMS, EVENTS = 1000, 300, 12
SEQUENCES = {"user": "user", "item": "item", "time": "at", "length": 8, "min_length": 3}
OVER_POPULARITY = {"metrics": {"mrr@20": {"min_gain_over_popularity": 0.05}}}
OF_SEQUENCES = {
    "test/*.tfrecord": "is cut off or was changed",
    "validation/*.tfrecord": "is cut off or was changed",
    "vocab/item.txt": "was changed",
    "schema.json": "schema.json is corrupt",
    "manifest.json": "manifest.json is corrupt",
}


def parsed(**changes):
    """The config; ``train__seed=2`` changes a key."""
    document = {
        "data": {
            "input": ["events.parquet"],
            "time_unit": "s",
            "sequences": SEQUENCES,
            "split": "leave_last_out",
        },
        "model": {"kind": "next_item", "dim": 16},
        "train": {
            "batch_size": 64,
            "dense": {"optimizer": "adam", "learning_rate": 0.01, "clip": "none"},
            "embedding": {"learning_rate": 0.01, "clip": "none"},
            "phases": [{"blocks": 1, "epochs": 6}],
        },
        "serving": {"k": 20},
        "gates": copy.deepcopy(NO_GATE),
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = document
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return parse_sequence_config(document, "verdicts")


def events(shuffled: bool = False, first: int = 0) -> pa.Table:
    """Events in which an item mostly is followed by the one after it; or no order.

    ``first`` is the number of the first item: of 1, ids mean other items.
    """
    random = np.random.default_rng(7)
    item = np.zeros((USERS, EVENTS), int)
    item[:, 0] = random.integers(0, ITEMS, USERS)
    for place in range(1, EVENTS):
        other = random.integers(0, ITEMS, USERS)
        follows = random.random(USERS) < 0.8
        item[:, place] = np.where(follows, (item[:, place - 1] + 1) % ITEMS, other)
    if shuffled:  # but for the last two, which validate and test
        item[:, :-2] = random.permuted(item[:, :-2].ravel()).reshape(USERS, -1)
    at = 1_700_000_000 + np.arange(USERS)[:, None] * 100 + np.arange(EVENTS) * 60
    user = np.repeat(np.arange(USERS), EVENTS)
    return pa.table({"user": user, "item": item.ravel() + first, "at": at.ravel()})


class Altered(NextItem):
    """The kind of next-item models, whose exports are altered once they are opened."""

    def __init__(self, opened, alter: Callable):
        self._opened, self._alter = opened, alter

    def open_model(self, path, examples):
        return self._alter(self._opened)

    def skew(self, export, examples, split):
        """What alters the judged signature is taken to alter the others alike."""
        alters_raw = export.call[RAW] is not self._opened.call[RAW]
        return super().skew(export if alters_raw else self._opened, examples, split)


class NextBase:
    """Events, their sequences, a trained next-item model and its export.

    Args:
        folder: A folder that is not there yet.
    """

    def __init__(self, folder: Path):
        self.folder, self._number = folder, 0
        self.examples = self.preprocessed(events())
        self.model = self.fitted(self.examples)
        self.opened = KIND.open_model(self.model, KIND.open_examples(self.examples))

    def new(self, what: str) -> Path:
        """A path of a folder that is not there yet."""
        self._number += 1
        return self.folder / f"{self._number}_{what}"

    def preprocessed(self, table: pa.Table) -> Path:
        """The sequences of some events."""
        log, output = self.new("log"), self.new("examples")
        log.mkdir(parents=True)
        pq.write_table(table, log / "events.parquet")
        preprocess(parsed(), log, output)
        return output

    def fitted(self, examples: Path, **changes) -> Path:
        """A trained model's export."""
        trained, output = self.new("train"), self.new("export")
        train(parsed(**changes), examples, trained)
        export(parsed(**changes), trained, output)
        return output

    def judge(self, alter: Callable | None = None, gates: dict | None = None, **how):
        """Evaluate the export, altered, or another ``model`` or ``examples``."""
        model, examples = how.pop("model", None), how.pop("examples", self.examples)
        kind = KIND if model else Altered(self.opened, alter or (lambda found: found))
        config = parsed(**({} if gates is None else {"gates": gates}))
        places = (examples, model or self.model, self.new("evaluation"))
        return evaluate(config, *places, kind=kind, **how)


def answers(change: Callable, signature: str = ENCODED) -> Callable:
    """Alters what an export answers: outputs by name -> outputs by name."""

    def altered(opened):
        found, call = copy.copy(opened), opened.call[signature]

        def answer(inputs):
            given = {name: np.array(value) for name, value in call(inputs).items()}
            changed = change(given)
            if signature != ENCODED:
                return changed
            return {name: tf.constant(value) for name, value in changed.items()}

        found.call = {**opened.call, signature: answer}
        found.encoded = found.call[ENCODED]
        return found

    return altered


def broken_next(base: Base) -> Iterator[Case]:
    """The cases, of which all but the last name no gate."""
    own = NextBase(base.folder / "next_broken")
    yield from _answers(own)
    yield from _weights(own)
    for pattern, said in {
        **OF_EXPORT,
        "assets/item.txt": "must hold the 300 values of item",
    }.items():
        if "user" not in pattern:
            cut = partial(_cut, own, "model", pattern)
            yield Case(f"next item: export: {pattern} cut", cut, said)
    for pattern, said in OF_SEQUENCES.items():
        cut = partial(_cut, own, "examples", pattern)
        yield Case(f"next item: sequences: {pattern} cut", cut, said)
    idle = {f"train__{part}__learning_rate": 1e-9 for part in ("dense", "embedding")}
    idle["train__phases"] = [{"blocks": 1, "epochs": 1}]
    case, said = partial(_trained, own, own.examples, **idle), "next_item"
    yield Case("next item: learning rates of 1e-9", case, said)
    yield Case("next item: events of training shuffled", partial(_shuffled, own), said)
    foreign = partial(_foreign, own)
    yield Case("next item: a stale export", foreign, "Ids would mean other values")


def _answers(own: NextBase) -> Iterator[Case]:
    random = np.random.default_rng(3)
    odd, dead, idle = "NaN or infinite", "is dead", "no task is known to have learned"
    changes = {
        "NaN in one score": (partial(_one, NAN), odd),
        "inf in one score": (partial(_one, INF), odd),
        "NaN in all scores": (lambda scores: np.full_like(scores, NAN), odd),
        "the same score for all items": (np.zeros_like, dead),
        "the same scores for all histories": (_of_first, dead),
        "scores upside down": (_upside_down, "next_item on validation"),
        "scores of another history": (lambda s: np.roll(s, 1, axis=0), idle),
        "scores of chance": (lambda s: random.random(s.shape, np.float32), idle),
    }
    for word, (change, said) in changes.items():
        alter = answers(partial(_of_scores, change))
        yield Case(f"next item: {word}", partial(own.judge, alter), said)
    alter = answers(partial(_of_scores, partial(_one, NAN)), RAW)
    case = partial(own.judge, alter)
    yield Case(
        "next item: NaN in a score of serving_default", case, "gives NaN or infinity"
    )
    alter = answers(partial(_of_scores, lambda scores: scores * 0.5), RAW)
    case = partial(own.judge, alter)
    yield Case("next item: half the score in serving_default", case, "answers otherwise")
    alter = answers(partial(_of_scores, _of_first))
    case = partial(own.judge, alter, OVER_POPULARITY)
    yield Case("next item: no better than popularity", case, "mrr@20 of next_item on test")


def _of_scores(change: Callable, found: dict) -> dict:
    return {**found, SCORES: change(found[SCORES]).astype(np.float32)}


def _of_first(scores: np.ndarray) -> np.ndarray:
    """The first history's scores for all; what each leaves out is left out still."""
    return np.where(np.isfinite(scores), np.maximum(scores[:1], -1e3), scores)


def _upside_down(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(scores), -scores, scores)


def _one(value: float, scores: np.ndarray) -> np.ndarray:
    return np.where(np.arange(scores.size).reshape(scores.shape) == 5, value, scores)


def _weights(own: NextBase) -> Iterator[Case]:
    variables = own.opened._loaded.signatures[ENCODED].variables
    for number, variable in enumerate(variables):
        if variable.dtype.is_floating and number % 4 == 0:
            what = f"exported variable {number} {tuple(variable.shape)}"
            case = partial(_with_weight, own, variable)
            yield Case(f"next item: NaN in {what}", case, f"weights {variable.name}")


def _with_weight(own: NextBase, variable) -> dict:
    kept = variable.numpy()
    changed = np.array(kept)
    changed.reshape(-1)[-1] = NAN
    try:
        variable.assign(changed)
        return own.judge()
    finally:
        variable.assign(kept)


def _cut(own: NextBase, what: str, pattern: str) -> dict:
    folder = own.new(what)
    shutil.copytree(getattr(own, what), folder)
    within = folder if what == "examples" else next(folder.iterdir())
    halve(next(iter(sorted(within.glob(pattern)))))
    return own.judge(**{"model": own.model, what: folder})


def _trained(own: NextBase, examples: Path, **changes) -> dict:
    model = own.fitted(examples, **changes)
    return own.judge(model=model, examples=examples)


def _shuffled(own: NextBase) -> dict:
    return _trained(own, own.preprocessed(events(shuffled=True)))


def _foreign(own: NextBase) -> dict:
    others = own.preprocessed(events(first=1))
    return own.judge(model=own.model, examples=others)


def healthy_next(folder: Path) -> Iterator[Case]:
    """One model, judged in three ways."""
    own = NextBase(folder)
    other: list[Path] = []

    def beside_another() -> dict:
        other.append(own.fitted(own.examples, train__seed=2))
        return own.judge(gates=OVER_POPULARITY, model=own.model, baseline_path=other[0])

    yield Case("next item: no gate", own.judge)
    yield Case("next item: over popularity, beside a baseline", beside_another)
    yield Case("next item: on validation", partial(own.judge, split="validation"))
