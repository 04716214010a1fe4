"""What is broken in an export, in what it answers, or in files of examples.

No gate is configured, and still it must not pass.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.verdicts_base import TASKS, Base, Case, answers, parsed
from steadyrank.pipeline.export.signatures import ENCODED

NAN, INF = float("nan"), float("inf")
# what is cut -> what the stage that reads it says
OF_EXAMPLES = {
    "test/*.tfrecord": "is cut off or was changed",
    "validation/*.tfrecord": "is cut off or was changed",
    "raw/test/*.parquet": "is cut off or was changed",
    "vocab/user_id.txt": "a file of vocab/ was changed",
    "schema.json": "schema.json is corrupt",
    "manifest.json": "manifest.json is corrupt",
}
OF_EXPORT = {
    "variables/variables.data*": "cannot be loaded",
    "saved_model.pb": "cannot be loaded",
    "assets.extra/card.json": "card.json is corrupt",
    "assets.extra/log.jsonl": "log.jsonl: line",
    "assets/user_id.txt": "must hold the 250 values of user_id",
}


def broken(base: Base) -> Iterator[Case]:
    """The cases, the cheap ones first."""
    yield from _predictions(base)
    yield from _weights(base)
    yield from _files(base)
    yield from _formulas(base)


def _set(name: str, rows, value, found: dict) -> dict:
    values = found[name].astype(np.float32)
    values[rows] = value
    return {**found, name: values}


def _predictions(base: Base) -> Iterator[Case]:
    """Outputs that are no numbers, constant, turned round or shuffled."""
    for name in (*TASKS, "score"):
        for word, value in (("NaN", NAN), ("inf", INF)):
            change = answers(partial(_set, name, slice(0, 1), value))
            yield Case(f"{word} in one row of {name}", partial(base.judge, change))
    served = [name for name in base.opened.call if name != ENCODED]
    for signature in served:
        change = answers(partial(_set, "score", slice(0, 1), NAN), signature)
        yield Case(
            f"NaN in one score of signature {signature}", partial(base.judge, change)
        )
    for name in TASKS[:2]:
        for word, value in (("0", 0.0), ("1", 1.0), ("the mean", 0.33)):
            change = answers(partial(_set, name, slice(None), value))
            yield Case(f"{name} is {word} in all rows", partial(base.judge, change))
    for name in TASKS[:2]:
        change = answers(partial(_turned, name))
        yield Case(f"{name} upside down", partial(base.judge, change))
        change = answers(partial(_shuffled, name))
        yield Case(f"{name} shuffled over the rows", partial(base.judge, change))
    for name in TASKS[:2]:
        change = answers(partial(_rounded, name))
        yield Case(
            f"{name} is 0 or 1, by the side of its median", partial(base.judge, change)
        )
        change = answers(partial(_but_one, name))
        yield Case(f"{name} is 0.9 in all rows but one", partial(base.judge, change))
    yield Case("every task is its mean", partial(base.judge, answers(_means)))
    yield Case(
        "every task is its mean, but in one row", partial(base.judge, answers(_but_ones))
    )
    yield Case("a score of 0 in all rows", partial(base.judge, answers(_no_score)))
    case = partial(base.judge, answers(_score_turned))
    yield Case("score upside down", case, "score orders each user's rows")
    for signature in served:
        change = answers(_no_score, signature)
        word = f"a score of 0 in all rows of signature {signature}"
        yield Case(word, partial(base.judge, change), f"signature {signature} answers")


def _turned(name: str, found: dict) -> dict:
    return {**found, name: 1 - found[name]}


def _shuffled(name: str, found: dict) -> dict:
    return {**found, name: np.random.default_rng(1).permutation(found[name])}


def _rounded(name: str, found: dict) -> dict:
    values = found[name]
    return {**found, name: (values > np.median(values)).astype(np.float32)}


def _but_one(name: str, found: dict) -> dict:
    return _set(name, slice(0, 1), 0.1, _set(name, slice(None), 0.9, found))


def _but_ones(found: dict) -> dict:
    """The mean of each task, which one row alone does not have."""
    return {n: np.append(v[:1], np.full(len(v) - 1, v.mean())).astype(v.dtype)
            for n, v in found.items()}  # fmt: skip


def _score_turned(found: dict) -> dict:
    return {**found, "score": -found["score"]}


def _no_score(found: dict) -> dict:
    return {**found, "score": np.zeros_like(found["score"])}


def _means(found: dict) -> dict:
    return {n: np.full_like(v, v.mean()) for n, v in found.items()}


def _weights(base: Base) -> Iterator[Case]:
    """Variables of the export, which are put back afterwards."""
    variables = _floats(base)
    largest = max(range(len(variables)), key=lambda i: np.prod(variables[i].shape))
    for number, variable in enumerate(variables):
        what = f"exported variable {number} {tuple(variable.shape)}"
        if number == largest or number % 3 == 0:
            yield Case(f"NaN in {what}", partial(_with_weights, base, number, NAN, True))
        if number == largest:
            yield Case(f"inf in {what}", partial(_with_weights, base, number, INF, True))
            yield Case(f"{what} all NaN", partial(_with_weights, base, number, NAN, False))
    yield Case("NaN in a row of a table that no scored row reads", partial(_unread, base))
    yield Case("all exported variables 0", partial(_with_weights, base, None, 0.0, False))
    yield Case(
        "all exported variables 1e30", partial(_with_weights, base, None, 1e30, False)
    )


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
    at = base.rows_of("user_id").start

    def change(values):
        values[at + 1] = NAN  # 0 is a missing user, 1 an unknown one

    return with_table(largest_table(base), change, base.judge)


def largest_table(base: Base):
    """The table of all features' vectors."""
    return max(_floats(base), key=lambda v: np.prod(v.shape))


def with_table(table, change: Callable, judge: Callable) -> dict:
    """Judge an export of which a variable is changed, which is put back afterwards."""
    kept = table.numpy()
    changed = kept.copy()
    change(changed)
    try:
        table.assign(changed)
        return judge()
    finally:
        table.assign(kept)


def _files(base: Base) -> Iterator[Case]:
    """Files of examples and of the export that were cut or changed."""
    for pattern, said in OF_EXAMPLES.items():
        cut = partial(_cut_examples, base, pattern)
        yield Case(f"examples: {pattern} cut", cut, said)
    nan_means = partial(_nan_means, base)
    yield Case("examples: statistics with NaN means", nan_means, "NaN is no number")
    for pattern, said in OF_EXPORT.items():
        cut = partial(_cut_export, base, pattern)
        yield Case(f"export: {pattern} cut", cut, said)
    cut = partial(_cut_weights, base)
    yield Case("weights of training cut", cut, "does not hold this model's weights")
    first = partial(_changed_export, base, "assets/user_id.txt", _without_first)
    yield Case("export: vocabulary of users moved by one", first, "must hold the 250")
    other = partial(_changed_export, base, "variables/variables.data*", _one_other_bit)
    yield Case("export: a bit of the weights changed", other, "cannot be loaded")
    yield Case(
        "export: variables of another training",
        partial(_other_variables, base),
        "other files than were exported",
    )


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_examples(base: Base, pattern: str) -> dict:
    examples = base.new("examples")
    shutil.copytree(base.examples, examples)
    halve(next(iter(sorted(examples.glob(pattern)))))
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
    halve(next(iter(sorted(version.glob(pattern)))))
    return base.judge(model=model)


def _changed_export(base: Base, pattern: str, change: Callable[[bytes], bytes]) -> dict:
    model, version = copied_export(base)
    path = next(iter(sorted(version.glob(pattern))))
    path.write_bytes(change(path.read_bytes()))
    return base.judge(model=model)


def _without_first(vocabulary: bytes) -> bytes:
    """Each value at the place of the one before it, and one more at the end."""
    return vocabulary.partition(b"\n")[2] + b"999999\n"


def _one_other_bit(weights: bytes) -> bytes:
    middle = len(weights) // 2
    return weights[:middle] + bytes([weights[middle] ^ 1]) + weights[middle + 1 :]


def _other_variables(base: Base) -> dict:
    """Those of a healthy model, but not of the one whose card and log these are."""
    other = base.fitted(train__seed=99, train__epochs=1)
    model, version = copied_export(base)
    shutil.rmtree(version / "variables")
    shutil.copytree(next(other.iterdir()) / "variables", version / "variables")
    return base.judge(model=model)


def _cut_weights(base: Base) -> dict:
    from steadyrank.pipeline.kinds import export

    trained = base.new("train")
    shutil.copytree(base.trained, trained)
    halve(next(trained.glob("best/weights.data*")))
    return base.judge(model=export(base.config, trained, base.new("export")).parent)


def _formulas(base: Base) -> Iterator[Case]:
    """Scores that are no number for some or all rows."""
    for score in ("(is_click - is_click) / (long_view - long_view)", "1 / (is_click * 0)",
                  "(0 - is_click) ** 0.5", "is_click * 1e38 * 1e38"):  # fmt: skip
        yield Case(f"score {score}", partial(_exported, base, score))
    turned = partial(_exported, base, "1 - is_click * long_view")
    said = "score orders each user's rows"
    yield Case("score 1 - is_click * long_view", turned, said)


def _exported(base: Base, score: str) -> dict:
    from steadyrank.pipeline.kinds import export

    config = parsed(score=score)
    return base.judge(model=export(config, base.trained, base.new("export")).parent)
