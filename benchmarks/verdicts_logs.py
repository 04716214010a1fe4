"""What is broken in a log, or in how it was trained on, though no gate is configured."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.verdicts_base import TASKS, Base, Case, column
from steadyrank.pipeline.synthetic.log import DAY_MS, DAYS, START_MS

NAN, INF = float("nan"), float("inf")
ALL_DAYS = slice(0, DAYS)


def broken_logs(base: Base) -> Iterator[Case]:
    """Logs that hold what is no number, or nothing to learn from or to judge by."""
    odd = "label is_click: infinite, or beyond float32"
    for word, value, share, said in (
        ("NaN", NAN, 1.0, ""),
        ("inf", INF, 1.0, odd),
        ("inf", INF, 0.04, odd),
        ("-inf", -INF, 0.04, odd),
        ("1e300", 1e300, 0.04, odd),
        ("3e38", 3e38, 0.04, "label is_click: neither 0 nor 1"),
        ("7", 7.0, 0.04, "label is_click: neither 0 nor 1"),
    ):
        case = partial(relearned, base, "is_click", value, share)
        yield Case(f"labels of {word} in {share:.0%} of rows", case, said)
    for word, value, said in (
        ("inf", INF, "sample weight of is_click: infinite"),
        ("NaN", NAN, "sample weight of is_click: not 0 or more"),
        ("-1", -1.0, "sample weight of is_click: not 0 or more"),
        ("1e38", 1e38, "has a weight of 1e+38"),
    ):
        case = partial(relearned, base, "w", value, 0.04)
        yield Case(f"sample weights of {word} in 4 % of rows", case, said)
    yield Case("sample weights of 0 in all rows", partial(relearned, base, "w", 0.0, 1.0))
    for days, word in ((slice(11, 14), "test"), (slice(9, 11), "validation")):
        for name, value, what in (
            ("w", 0.0, "sample weights of 0"),
            ("is_click", 0.0, "labels of one class"),
            ("is_click", NAN, "labels of NaN"),
        ):
            case = partial(relearned, base, name, value, 1.0, days)
            yield Case(f"{what} in all rows of {word}", case)
    for value in (3e38, -3e38):
        case = partial(relearned, base, "number", value, 0.04)
        yield Case(f"a number of {value} in 4 % of rows", case, "overflow float32")
    rows = "the train split has no rows"
    yield Case("no rows of the training days", partial(_cut_table, base), rows)


def relearned(
    base: Base, name: str, value: float, share: float, days: slice = ALL_DAYS
) -> dict:
    """Preprocessed, trained, exported and judged, with a column that is broken."""

    def change(table):
        rows = np.random.default_rng(2).random(len(table)) < share
        rows &= np.isin(_days(table), np.arange(DAYS)[days])
        values = np.ones(len(table)) if name not in table.column_names else table[name]
        if name == "number":
            values = np.random.default_rng(3).random(len(table))
        values = np.array(values, float)
        return column(table, name, np.where(rows, value, values))

    changes = {}
    tasks = [{"name": "is_click"}, {"name": "long_view", "given": "is_click"}]
    if name == "w":
        tasks = [{**task, "sample_weight": "w"} for task in tasks]
    features = [{"name": "user_id", "kind": "categorical"}, {"name": "tab",
                "kind": "categorical"}]  # fmt: skip
    if name == "number":
        features += [{"name": "number", "kind": "numeric"}]
    changes = {
        "tasks": tasks,
        "features": features,
        "score": "is_click",
        "train__epochs": 1,
    }
    examples = base.preprocessed(base.with_log(change), **changes)
    model = base.fitted(examples, **changes)
    return base.judge(model=model, examples=examples, changes=changes)


def _days(table) -> np.ndarray:
    """Which day of the log each row is of, from 0."""
    moments = table["time_ms"].to_numpy()
    return (moments - START_MS) // DAY_MS


def _cut_table(base: Base) -> dict:
    log = base.with_log(lambda table: table.slice(len(table) - 100))
    examples = base.preprocessed(log)
    return base.judge(model=base.fitted(examples), examples=examples)


def broken_trainings(base: Base) -> Iterator[Case]:
    """What learned nothing."""
    for epochs in (1, 3, 6):
        few = {"train__batch_size": 65536, "train__epochs": epochs}
        yield Case(f"{epochs} steps", partial(_trained, base, **few))
    for epochs, said in ((1, ""), (3, "only 1 of 3 steps had a finite loss")):
        wild = {
            "train__batch_size": 65536,
            "train__epochs": epochs,
            "train__dense__learning_rate": 1e30,
            "train__dense__clip": "none",
        }
        case = partial(_trained, base, **wild)
        yield Case(f"{epochs} steps at a learning rate of 1e30", case, said)
    idle = {
        "train__epochs": 1,
        "train__dense__learning_rate": 1e-9,
        "train__embedding__learning_rate": 1e-9,
    }
    yield Case("learning rates of 1e-9", partial(_trained, base, **idle))
    yield Case("labels shuffled in training", partial(_shuffled_labels, base))


def _trained(base: Base, **changes) -> dict:
    return base.judge(model=base.fitted(**changes))


def _shuffled_labels(base: Base) -> dict:
    def change(table):
        order, trains = np.arange(len(table)), len(table) * 9 // 14
        order[:trains] = np.random.default_rng(4).permutation(trains)
        for name in TASKS:
            table = column(table, name, np.array(table[name])[order])
        return table

    examples = base.preprocessed(base.with_log(change))
    return base.judge(model=base.fitted(examples), examples=examples)
