"""What the cases of ``benchmarks.verdicts`` start from: a log, its examples, a model.

A case gives a verdict, or raises what a stage refuses with.  Most share the base's
examples and its export, of which a copy is altered in memory: what it reads, what it
answers, its weights.  All stages are those that users run.
"""

import copy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.config import Config, parse_config
from steadyrank.pipeline.config.document import read_document
from steadyrank.pipeline.evaluate.baseline import keep_for
from steadyrank.pipeline.evaluate.stage import evaluate
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.files.errors import DivergenceError, InputError, PassingError
from steadyrank.pipeline.kinds import export, preprocess, train
from steadyrank.pipeline.kinds.ranking.kind import KIND, Ranking
from steadyrank.pipeline.synthetic import synthesize

DEMO = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"
FEATURES = (
    "user_id", "item_id", "category", "tags", "tab", "hour", "item_duration_ms",
    "author_followers",
)  # fmt: skip
TASKS = ("is_click", "long_view", "is_like", "watch_time_ms")
TRUNK = {"trunk": "shared_bottom", "bottom_units": [32], "tower_units": [8]}
NO_GATE = {"size": {"max_mb": 100}}  # a config without any is refused for that alone
ROWS, USERS, ITEMS = 20_000, 250, 150
REFUSALS = (InputError, DivergenceError, PassingError)


def document(named=FEATURES, **changes) -> dict:
    """The demo's config for a log of a few thousand rows, as a dictionary of its own."""
    found = read_document(DEMO)
    found["data"]["split"] = {"validation": "2024-01-10", "test": "2024-01-12"}
    found["features"] = [f for f in found["features"] if f["name"] in named]
    found["tasks"] = [t for t in found["tasks"] if t["name"] in TASKS]
    found["score"] = "is_click * (long_view + 2 * is_like) ** 0.5"
    found["model"] = {"embedding_dim": 8, **TRUNK}
    found["train"] |= {"batch_size": 256, "epochs": 3}
    found["gates"] = copy.deepcopy(NO_GATE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = found
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return found


def parsed(**changes) -> Config:
    """The same as a config.

    Raises:
        ValueError: It is none, which no case is about.
    """
    try:
        return parse_config(document(**changes), "verdicts")
    except InputError as error:
        raise ValueError(str(error)) from None


def demo_gates() -> dict:
    """The demo's gates, its limits for a small log, and gains over a baseline."""
    gates = read_document(DEMO)["gates"]
    gates["auc"] = {
        "is_click": {"min": 0.55, "min_gain": -0.01},
        "long_view": {"min": 0.55, "min_gain": -0.01},
    }
    return gates


class Case(NamedTuple):
    """Something to be judged.

    Attributes:
        name: What it is.
        run: Gives what ``evaluate`` returned, or raises what a stage refused with.
        said: In the reason it is stopped for; ``""``: it must come to a verdict.
    """

    name: str
    run: Callable[[], dict]
    said: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a case, and the first reason, or the one that was foreseen.

    PASS, HOLD, REFUSE, ``refused`` (by a stage), ``astray`` (stopped, but not for what is
    wrong with it: such a case shows nothing) or ``traceback``.
    """

    name: str
    came_to: str
    reason: str


def settle(case: Case) -> Outcome:
    """Run a case."""
    try:
        found = case.run()
    except REFUSALS as error:
        word, reasons = "refused", [" ".join(str(error).split())]
    except Exception as error:  # what users would see as a traceback
        return Outcome(case.name, "traceback", f"{type(error).__name__}: {error}"[:300])
    else:
        word = found["verdict"]
        reasons = [g["reason"] for g in found["gates"] if g["verdict"] == word]
    told = next((r for r in reasons if case.said and case.said in r), reasons[0])
    foreseen = case.said in told if case.said else word != "refused"
    return Outcome(case.name, word if foreseen or word == "PASS" else "astray", told)


class Altered(Ranking):
    """The kind of ranking models, whose exports are altered once they are opened."""

    def __init__(self, opened, alter: Callable):
        self._opened, self._alter = opened, alter

    def open_model(self, path, examples):
        return self._alter(self._opened)


def answers(change: Callable, signatures: str = "all") -> Callable:
    """Alters what an export answers.

    Args:
        change: Outputs by name -> outputs by name, NumPy arrays ``[rows]``.
        signatures: ``"all"``, or the name of one; the encoded one is judged.
    """

    def altered(export):
        def wrap(call):
            def answer(inputs):
                found = {n: np.array(v) for n, v in call(inputs).items()}
                return _tensors(change(found))

            return answer

        return _rewired(export, wrap, signatures)

    return altered


def inputs(change: Callable, signatures: str = "all") -> Callable:
    """Alters what an export reads: features by name -> features by name."""

    def altered(export):
        def wrap(call):
            def answer(given):
                return call(change({n: np.array(v) for n, v in given.items()}))

            return answer

        return _rewired(export, wrap, signatures)

    return altered


def _rewired(export, wrap: Callable, signatures: str):
    found = copy.copy(export)
    found.call = {
        name: wrap(call) if signatures in ("all", name) else call
        for name, call in export.call.items()
    }
    found.encoded = found.call[ENCODED]
    return found


def _tensors(found: Mapping) -> dict:
    import tensorflow as tf

    return {name: tf.constant(values) for name, values in found.items()}


class Base:
    """A log, its examples, a trained model, its export and an older one.

    Args:
        folder: An empty folder, for all of it.
        rows: Of the log.
    """

    def __init__(self, folder: Path, rows: int = ROWS):
        self.folder, self._number = folder, 0
        self.log, self.examples = folder / "log", folder / "examples"
        synthesize(rows, 1, self.log, users=USERS, items=ITEMS)
        self.config = parsed()
        preprocess(self.config, self.log, self.examples)
        self.trained, self.model = folder / "train", folder / "export"
        train(self.config, self.examples, self.trained)
        export(self.config, self.trained, self.model)
        self.opened = KIND.open_model(self.model, KIND.open_examples(self.examples))

    def new(self, what: str) -> Path:
        """A path of a folder that is not there yet."""
        self._number += 1
        return self.folder / f"{self._number}_{what}"

    def rows_of(self, name: str) -> slice:
        """A feature's rows of the one table."""
        at = 0
        for feature in self.opened.schema.features:
            if feature.name == name:
                return slice(at, at + feature.rows)
            at += feature.rows
        raise KeyError(name)

    def judge(self, alter: Callable | None = None, gates: dict | None = None, **how):
        """Evaluate the export, altered.

        Args:
            alter: Export -> export.
            gates: The config's; None: none.
            **how: ``examples``, ``model`` (a folder, which is opened anew), and what
                ``evaluate`` takes.
        """
        changes = {} if gates is None else {"gates": gates}
        changes |= how.pop("changes", {})
        config = parsed(**changes)
        model = how.pop("model", None)
        examples = how.pop("examples", self.examples)
        kind = KIND if model else Altered(self.opened, alter or (lambda export: export))
        places = (examples, model or self.model, self.new("evaluation"))
        try:
            return evaluate(config, *places, kind=kind, **how)
        finally:
            shutil.rmtree(places[-1], ignore_errors=True)

    def with_log(self, change: Callable[[pa.Table], pa.Table], table="log") -> Path:
        """A copy of the log with one of its tables changed."""
        folder = self.new("log")
        shutil.copytree(self.log, folder)
        path = folder / f"{table}.parquet"
        pq.write_table(change(pq.read_table(path)), path)
        return folder

    def preprocessed(self, log: Path, **changes) -> Path:
        """The examples of another log, or config; they keep what the base reads."""
        config, output = keep_for(parsed(**changes), self.model), self.new("examples")
        preprocess(config, log, output)
        return output

    def fitted(self, examples: Path | None = None, **changes) -> Path:
        """A model trained anew: its export."""
        config = parsed(**changes)
        trained, output = self.new("train"), self.new("export")
        train(config, examples or self.examples, trained)
        export(config, trained, output)
        return output


def column(table: pa.Table, name: str, values) -> pa.Table:
    """A table with the values of a column replaced, or with a new one."""
    if name not in table.column_names:
        return table.append_column(name, pa.array(values))
    return table.set_column(table.column_names.index(name), name, pa.array(values))
