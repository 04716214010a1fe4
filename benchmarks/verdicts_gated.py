"""What is broken, and must not pass the demo's gates beside a baseline."""

import json
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from benchmarks.verdicts_base import (
    TASKS,
    Base,
    Case,
    answers,
    column,
    demo_gates,
    inputs,
)
from benchmarks.verdicts_broken import copied_export, largest_table, with_table
from steadyrank.pipeline.export.signatures import ENCODED, RAW

CATEGORICAL = ("user_id", "item_id", "category", "tab", "hour")
MATTER = ("user_id", "item_id")  # without which a model is told from one with them
NUMBERS = ("item_duration_ms", "author_followers")


def gated(base: Base) -> Iterator[Case]:
    """The cases."""

    def judge(alter=None, **how):
        how = {"baseline_path": base.model, **how}
        return base.judge(alter, demo_gates(), **how)

    for a, b in (TASKS[:2], TASKS[1:3], (TASKS[0], TASKS[2])):
        change = answers(partial(_swapped, a, b))
        yield Case(f"{a} and {b} swapped", partial(judge, change), " of ")
    apart = "signatures differ by at most"
    for name in CATEGORICAL:
        change = inputs(partial(_moved, name, base.opened), ENCODED)
        yield Case(
            f"{name}: ids moved by one in the records", partial(judge, change), apart
        )
        change = inputs(partial(_constant, name), RAW)
        yield Case(f"{name} constant at serving", partial(judge, change), apart)
    for name in MATTER:
        moved = partial(_moved_rows, base, judge, name)
        yield Case(f"{name}: vectors moved by one, for every signature", moved, "AUC of ")
        change = inputs(partial(_constant, name))
        yield Case(
            f"{name} constant for every signature", partial(judge, change), "AUC of "
        )
    for name in NUMBERS:
        for word, factor in (("1000", 1000.0), ("0.001", 0.001)):
            change = inputs(partial(_times, name, factor), RAW)
            yield Case(f"{name} times {word} at serving", partial(judge, change), apart)
        change = inputs(partial(_constant, name), RAW)
        yield Case(f"{name} constant at serving", partial(judge, change), apart)
    for factor in (0.5, 1.5, 1000.0):
        change = answers(partial(_scaled, factor))
        case = partial(judge, change)
        yield Case(f"is_click times {factor:g}", case, "calibration of is_click")
    stale = partial(_stale, base, judge)
    yield Case(
        "a stale export: of other vocabularies", stale, "Ids would mean other values"
    )
    yield Case("a model of a fifth of the rows", partial(_of_few_rows, base), "gain")
    for name in TASKS[:2]:
        shuffled = partial(_relabelled, base, judge, name)
        yield Case(f"{name} of the test days shuffled", shuffled, f"AUC of {name} on test")
    for what, said in (("no steps", "training"), ("no losses", "the loss diverged")):
        cut = partial(_cut_log, base, judge, what)
        yield Case(f"export: a training log of {what}", cut, said)
    alone = partial(judge, baseline_path=None)
    yield Case("no baseline where one is asked for", alone, "no baseline was given")


def _swapped(a: str, b: str, found: dict) -> dict:
    return {**found, a: found[b], b: found[a]}


def _moved(name: str, export, given: dict) -> dict:
    rows = next(f.rows for f in export.schema.features if f.name == name)
    return {**given, name: (given[name] + 1) % rows}


def _constant(name: str, given: dict) -> dict:
    if name not in given:  # rows that are serialized stay as they are
        return given
    return {**given, name: np.repeat(given[name][:1], len(given[name]), 0)}


def _times(name: str, factor: float, given: dict) -> dict:
    return {**given, name: (given[name] * factor).astype(given[name].dtype)}


def _scaled(factor: float, found: dict) -> dict:
    return {**found, "is_click": found["is_click"] * np.float32(factor)}


def _moved_rows(base: Base, judge: Callable, name: str) -> dict:
    """A feature's rows of the table, each at the place of the next."""
    table, rows = largest_table(base), base.rows_of(name)

    def moved(values):
        values[rows] = np.roll(values[rows], 1, axis=0)

    return with_table(table, moved, judge)


def _early(base: Base):
    """Examples whose training rows are a fifth of the first ones: fewer users, items."""

    def change(table):
        trains = len(table) * 9 // 14
        return pa.concat_tables([table.slice(0, trains // 5), table.slice(trains)])

    return base.preprocessed(base.with_log(change))


def _stale(base: Base, judge: Callable) -> dict:
    """An export of earlier examples, on the examples of now."""
    return judge(model=base.fitted(_early(base), train__epochs=1))


def _of_few_rows(base: Base) -> dict:
    """A model of few rows, judged on its own examples beside one of all rows."""
    examples = _early(base)
    model = base.fitted(examples, train__epochs=1)
    gates, how = demo_gates(), {"baseline_path": base.model}
    return base.judge(gates=gates, model=model, examples=examples, **how)


def _relabelled(base: Base, judge: Callable, name: str) -> dict:
    """Labels of the last days shuffled; the vocabularies stay the same."""

    def change(table):
        values, last = np.array(table[name]), len(table) * 11 // 14
        values[last:] = np.random.default_rng(5).permutation(values[last:])
        return column(table, name, values)

    return judge(examples=base.preprocessed(base.with_log(change)))


def _cut_log(base: Base, judge: Callable, what: str) -> dict:
    model, version = copied_export(base)
    path = version / "assets.extra" / "log.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if what == "no steps":
        lines = []
    lines = [{**n, "loss": None} if "loss" in n else n for n in lines]
    path.write_text("".join(json.dumps(n) + "\n" for n in lines), encoding="utf-8")
    return judge(model=model)
