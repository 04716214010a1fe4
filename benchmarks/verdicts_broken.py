"""What is broken, and must not pass though no gate is configured."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.verdicts_base import TASKS, Base, answers, column, parsed
from steadyrank.pipeline.export.signatures import ENCODED

NAN, INF = float("nan"), float("inf")
Case = tuple[str, Callable[[], dict]]


def broken(base: Base) -> Iterator[Case]:
    """Name and case of each; the cheap ones first."""
    yield from _predictions(base)
    yield from _weights(base)
    yield from _files(base)
    yield from _formulas(base)
    yield from _logs(base)
    yield from _trainings(base)


def _set(name: str, rows, value, found: dict) -> dict:
    values = found[name].astype(np.float32)
    values[rows] = value
    return {**found, name: values}


def _predictions(base: Base) -> Iterator[Case]:
    """Outputs that are no numbers, constant, turned round or shuffled."""
    for name in (*TASKS, "score"):
        for word, value in (("NaN", NAN), ("inf", INF)):
            change = answers(partial(_set, name, slice(0, 1), value))
            yield f"{word} in one row of {name}", partial(base.judge, change)
    for signature in (n for n in base.opened.call if n != ENCODED):
        change = answers(partial(_set, "score", slice(0, 1), NAN), signature)
        yield f"NaN in one score of signature {signature}", partial(base.judge, change)
    for name in TASKS[:2]:
        for word, value in (("0", 0.0), ("1", 1.0), ("the mean", 0.33)):
            change = answers(partial(_set, name, slice(None), value))
            yield f"{name} is {word} in all rows", partial(base.judge, change)
    for name in TASKS[:2]:
        change = answers(partial(_turned, name))
        yield f"{name} upside down", partial(base.judge, change)
        change = answers(partial(_shuffled, name))
        yield f"{name} shuffled over the rows", partial(base.judge, change)
    yield "every task is its mean", partial(base.judge, answers(_means))


def _turned(name: str, found: dict) -> dict:
    return {**found, name: 1 - found[name]}


def _shuffled(name: str, found: dict) -> dict:
    return {**found, name: np.random.default_rng(1).permutation(found[name])}


def _means(found: dict) -> dict:
    return {n: np.full_like(v, v.mean()) for n, v in found.items()}


def _weights(base: Base) -> Iterator[Case]:
    """Variables of the export, which are put back afterwards."""
    variables = _floats(base)
    largest = max(range(len(variables)), key=lambda i: np.prod(variables[i].shape))
    for number, variable in enumerate(variables):
        what = f"exported variable {number} {tuple(variable.shape)}"
        if number == largest or number % 3 == 0:
            yield f"NaN in {what}", partial(_with_weights, base, number, NAN, True)
        if number == largest:
            yield f"inf in {what}", partial(_with_weights, base, number, INF, True)
            yield f"{what} all NaN", partial(_with_weights, base, number, NAN, False)
    yield "NaN in a row of a table that no scored row reads", partial(_unread, base)
    yield "all exported variables 0", partial(_with_weights, base, None, 0.0, False)
    yield "all exported variables 1e30", partial(_with_weights, base, None, 1e30, False)


def _floats(base: Base) -> list:
    variables = base.opened._loaded.signatures[ENCODED].variables
    return [v for v in variables if v.dtype.is_floating]


def _with_weights(base: Base, number: int | None, value: float, one: bool) -> dict:
    variables = _floats(base)
    variables = variables if number is None else [variables[number]]
    kept = [variable.numpy() for variable in variables]
    try:
        for variable, values in zip(variables, kept, strict=True):
            changed = np.array(values)
            changed.reshape(-1)[-1 if one else slice(None)] = value
            variable.assign(changed)
        return base.judge()
    finally:
        for variable, values in zip(variables, kept, strict=True):
            variable.assign(values)


def _unread(base: Base) -> dict:
    """The row of users that training never saw, of whom the log has none."""
    at = 0
    for feature in base.opened.schema.features:
        if feature.name == "user_id":
            break
        at += feature.rows
    table = max(_floats(base), key=lambda v: np.prod(v.shape))
    kept = table.numpy()
    broken_table = kept.copy()
    broken_table[at + 1] = NAN  # 0 is a missing user, 1 an unknown one
    try:
        table.assign(broken_table)
        return base.judge()
    finally:
        table.assign(kept)


def _files(base: Base) -> Iterator[Case]:
    """Files of examples and of the export that were cut or changed."""
    for pattern in ("test/*.tfrecord", "validation/*.tfrecord", "raw/test/*.parquet",
                    "vocab/user_id.txt", "schema.json", "manifest.json"):  # fmt: skip
        yield f"examples: {pattern} cut", partial(_cut_examples, base, pattern)
    yield "examples: statistics with NaN means", partial(_nan_means, base)
    for pattern in ("variables/variables.data*", "saved_model.pb", "assets.extra/card.json",
                    "assets.extra/log.jsonl", "assets/user_id.txt"):  # fmt: skip
        yield f"export: {pattern} cut", partial(_cut_export, base, pattern)
    yield "weights of training cut", partial(_cut_weights, base)


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_examples(base: Base, pattern: str) -> dict:
    examples = base.new("examples")
    shutil.copytree(base.examples, examples)
    _halve(next(iter(sorted(examples.glob(pattern)))))
    return base.judge(examples=examples)


def _nan_means(base: Base) -> dict:
    examples = base.new("examples")
    shutil.copytree(base.examples, examples)
    path = examples / "statistics.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    for label in found["labels"].values():
        label["mean"] = NAN
    path.write_text(json.dumps(found), encoding="utf-8")
    return base.judge(examples=examples)


def copied_export(base: Base) -> tuple[Path, Path]:
    model = base.new("export")
    shutil.copytree(base.model, model)
    return model, next(model.iterdir())


def _cut_export(base: Base, pattern: str) -> dict:
    model, version = copied_export(base)
    _halve(next(iter(sorted(version.glob(pattern)))))
    return base.judge(model=model)


def _cut_weights(base: Base) -> dict:
    from steadyrank.pipeline.kinds import export

    trained = base.new("train")
    shutil.copytree(base.trained, trained)
    _halve(next(trained.glob("best/weights.data*")))
    return base.judge(model=export(base.config, trained, base.new("export")).parent)


def _formulas(base: Base) -> Iterator[Case]:
    """Scores that are no number for some or all rows."""
    for score in ("(is_click - is_click) / (long_view - long_view)", "1 / (is_click * 0)",
                  "(0 - is_click) ** 0.5", "is_click * 1e38 * 1e38"):  # fmt: skip
        yield f"score {score}", partial(_exported, base, score)


def _exported(base: Base, score: str) -> dict:
    from steadyrank.pipeline.kinds import export

    config = parsed(score=score)
    return base.judge(model=export(config, base.trained, base.new("export")).parent)


def _logs(base: Base) -> Iterator[Case]:
    """A log that holds what is no number, or nothing to learn from."""
    for word, value, share in (
        ("NaN", NAN, 1.0),
        ("inf", INF, 1.0),
        ("3e38", 3e38, 0.04),
        ("7", 7.0, 0.04),
    ):
        yield (
            f"labels of {word} in {share:.0%} of rows",
            partial(relearned, base, "is_click", value, share),
        )
    for word, value in (("inf", INF), ("NaN", NAN), ("-1", -1.0), ("1e38", 1e38)):
        yield (
            f"sample weights of {word} in 4 % of rows",
            partial(relearned, base, "w", value, 0.04),
        )
    yield "sample weights of 0 in all rows", partial(relearned, base, "w", 0.0, 1.0)
    for value in (3e38, -3e38):
        yield (
            f"a number of {value} in 4 % of rows",
            partial(relearned, base, "number", value, 0.04),
        )
    yield "no rows of the training days", partial(_cut_table, base)


def relearned(base: Base, name: str, value: float, share: float) -> dict:
    """Preprocessed, trained, exported and judged, with a column that is broken."""

    def change(table):
        rows = np.random.default_rng(2).random(len(table)) < share
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


def _cut_table(base: Base) -> dict:
    log = base.with_log(lambda table: table.slice(len(table) - 100))
    examples = base.preprocessed(log)
    return base.judge(model=base.fitted(examples), examples=examples)


def _trainings(base: Base) -> Iterator[Case]:
    """What learned nothing."""
    yield "one step", partial(_trained, base, train__batch_size=65536, train__epochs=1)
    for epochs in (1, 3):
        yield (
            f"{epochs} steps at a learning rate of 1e30",
            partial(
                _trained,
                base,
                train__batch_size=65536,
                train__epochs=epochs,
                train__dense__learning_rate=1e30,
                train__dense__clip="none",
            ),
        )
    yield (
        "learning rates of 1e-9",
        partial(
            _trained,
            base,
            train__epochs=1,
            train__dense__learning_rate=1e-9,
            train__embedding__learning_rate=1e-9,
        ),
    )
    yield "labels shuffled in training", partial(_shuffled_labels, base)


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
