"""What is broken, and must not pass the demo's gates beside a baseline."""

import json
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.verdicts_base import TASKS, Base, answers, column, demo_gates, inputs
from benchmarks.verdicts_broken import copied_export
from steadyrank.pipeline.export.signatures import ENCODED, RAW

Case = tuple[str, Callable[[], dict]]
CATEGORICAL = ("user_id", "item_id", "category", "tab", "hour")
NUMBERS = ("item_duration_ms", "author_followers")


def gated(base: Base) -> Iterator[Case]:
    """Name and case of each."""

    def judge(alter=None, **how):
        how = {"baseline_path": base.model, **how}
        return base.judge(alter, demo_gates(), **how)

    for a, b in (TASKS[:2], TASKS[1:3], (TASKS[0], TASKS[2])):
        yield f"{a} and {b} swapped", partial(judge, answers(partial(_swapped, a, b)))
    for name in CATEGORICAL:
        for word, where in (("everywhere", "all"), ("at serving", RAW)):
            if where == "all":
                change = inputs(partial(_moved, name, base.opened), ENCODED)
            else:
                change = inputs(partial(_constant, name), RAW)
            verb = "ids moved by one" if where == "all" else "constant"
            yield f"{name} {verb} {word}", partial(judge, change)
    for name in NUMBERS:
        for word, factor in (("1000", 1000.0), ("0.001", 0.001)):
            change = inputs(partial(_times, name, factor), RAW)
            yield f"{name} times {word} at serving", partial(judge, change)
        change = inputs(partial(_constant, name), RAW)
        yield f"{name} constant at serving", partial(judge, change)
    for factor in (0.5, 1.5, 1000.0):
        change = answers(partial(_scaled, factor))
        yield f"is_click times {factor:g}", partial(judge, change)
    yield "a stale export: another epoch's vocabulary", partial(_stale, base, judge)
    for name in TASKS[:2]:
        yield f"{name} of the test days shuffled", partial(_relabelled, base, judge, name)
    for what in ("no steps", "no losses"):
        yield f"export: a training log of {what}", partial(_cut_log, base, judge, what)
    yield "no baseline where one is asked for", partial(judge, baseline_path=None)


def _swapped(a: str, b: str, found: dict) -> dict:
    return {**found, a: found[b], b: found[a]}


def _moved(name: str, export, given: dict) -> dict:
    rows = next(f.rows for f in export.schema.features if f.name == name)
    return {**given, name: (given[name] + 1) % rows}


def _constant(name: str, given: dict) -> dict:
    return {**given, name: np.repeat(given[name][:1], len(given[name]), 0)}


def _times(name: str, factor: float, given: dict) -> dict:
    return {**given, name: (given[name] * factor).astype(given[name].dtype)}


def _scaled(factor: float, found: dict) -> dict:
    return {**found, "is_click": found["is_click"] * np.float32(factor)}


def _stale(base: Base, judge: Callable) -> dict:
    """An export of the log's first half, on the examples of all of it."""
    examples = base.preprocessed(base.with_log(lambda t: t.slice(0, len(t) // 2)))
    return judge(model=base.fitted(examples, train__epochs=1))


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
