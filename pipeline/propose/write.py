"""A choice as a config with a comment at every line."""

import datetime
import json
import re

import numpy as np

from steadyrank.pipeline.propose.choose import DAY_MS, Choice, seconds_of
from steadyrank.pipeline.propose.look import Column, Sample, shown
from steadyrank.pipeline.propose.positives import ITEM, Drawn

ENOUGH = 0.02  # of the rows, for a day to judge on
SMALL_ROWS = 50_000  # of a log, below which a smaller model is proposed
STEPS = 32  # of a pass over a small log, at least
LOG_SCALED = 100.0  # of a number that is not negative: its largest, over its median


PLACE = re.compile(r"(^|_)(pos|position|rank|slot)$", re.I)  # where an item was shown
RESERVED = {"null", "true", "false", "score"}  # what YAML, or a config, means by them


def as_yaml(sample: Sample, choice: Choice, patterns: list[str]) -> str:
    """The config, to be read by people."""
    names = _names([*sample.columns])
    lines = [
        "# Proposed by steadyrank init from a sample of the log: read it, and mend it."
    ]
    lines += ["data:", f"  input: {json.dumps(patterns, ensure_ascii=False)}"]
    lines += [f"  {key}: {json.dumps(value)}" for key, value in sample.form.items()]
    if choice.time:
        lines.append(f"  time: {shown(choice.time.name)}  # {choice.why['time']}")
        if choice.time.numbers is not None:
            lines.append(f"  time_unit: {choice.time.time[0]}")
    if choice.drawn and choice.time and choice.drawn.window != "1d":
        said = "what is drawn was there in the same window"
        lines.append(f"  window: {choice.drawn.window or 'null'}  # {said}")
    lines.append(f"  split: {_split(sample, choice)}")
    if choice.group:
        lines.append(f"  group: {shown(choice.group.name)}  # {choice.why['group']}")
    lines += _join(sample)
    if choice.drawn:
        lines.append(
            f"  negatives: {_negatives(choice.drawn)}  # {choice.why['negatives']}"
        )
    lines.append("features:")
    lines += [f"  - {_feature(column, names)}" for column in choice.features]
    for name, (label, auc) in choice.leaks.items():
        said = f"alone it tells {label} with an AUC of {auc:.3f}: is it known before?"
        lines.append(f"  # {name}: {said}")
    lines += [f"  # {name}: {why}" for name, why in choice.left_out.items()]
    lines += [f"tasks:  # {choice.why['tasks']}"]
    for name, given in choice.labels.items():
        parts = _named(name, names)
        parts += [f"given: {names.get(given, given)}"] * bool(given)
        if name in choice.at_least:
            parts.append(f"at_least: {choice.at_least[name]}")
        said = f"  # nearly all its positives have {given}, too" if given else ""
        lines.append(f"  - {{{', '.join(parts)}}}{said}")
    if choice.drawn:
        lines.append(f"  - {{{', '.join(_named(choice.drawn.task, names))}}}")
    for name, loss in choice.amounts.items():
        parts = _named(name, names)
        parts += ["kind: regression", f"loss: {loss}"]
        given = choice.amounts_given.get(name, "")
        parts += [f"given: {names.get(given, given)}"] * bool(given)
        said = f"  # 0 in every row without {given}" if given else ""
        lines.append(f"  - {{{', '.join(parts)}}}{said}")
    lines.append(f"model: {{{_model(sample, choice)}}}")
    lines.append(f"train: {{{_train(sample, choice, names)}}}")
    lines += ["gates:  # what a release must have; see docs/gates.md"]
    lines += ["  divergence: {max_micro: 0}", "  skew: {max_difference: 1.0e-5}"]
    binary = [*choice.labels, *([choice.drawn.task] if choice.drawn else [])]
    lines += [
        f"  auc: {{{names.get(name, name)}: {{min: 0.52}}}}  # above chance: raise it"
        for name in binary[:1]
    ]
    return "\n".join(lines) + "\n"


def _join(sample: Sample) -> list[str]:
    """How a side table of items would be joined, where the log names items."""
    items = [name for name in sample.columns if ITEM.search(name)]
    key = next((name for name in items if re.search("id$", name, re.I)), None)
    if key is None:
        return []
    join = f"[{{input: items.parquet, on: {shown(key)}}}]"
    return [f"  # join: {join}  # columns of a side table, as features"]


def _negatives(drawn: Drawn) -> str:
    parts = [f"item: {shown(drawn.item)}"]
    if drawn.columns:
        parts.append(f"columns: [{', '.join(map(shown, drawn.columns))}]")
    return f"{{{', '.join([*parts, 'per_positive: 4'])}}}"


def _model(sample: Sample, choice: Choice) -> str:
    """A trunk of a size that the log can teach."""
    tasks = len(choice.labels) + len(choice.amounts) + bool(choice.drawn)
    small, parts = sample.all_rows < SMALL_ROWS, ["trunk: dcn_v2"]
    if tasks > 1:
        parts = ["trunk: ple", "levels: 1"] + ["expert_units: [32]"] * small
    elif small:
        parts += ["cross_layers: 2", "deep_units: [64, 32]"]
    return ", ".join(parts + ["embedding_dim: 8"] * small)


def _train(sample: Sample, choice: Choice, names: dict[str, str]) -> str:
    """Some thirty steps a pass of a small log, and the usual batch of a large one."""
    steps = np.floor(np.log2(max(sample.all_rows, 1) / STEPS))
    parts = [f"batch_size: {int(2 ** np.clip(steps, 6, 10))}"]
    if not (choice.labels or choice.drawn):
        parts.append(f"monitor: {names[next(iter(choice.amounts))]}")
    return ", ".join(parts)


def _split(sample: Sample, choice: Choice) -> str:
    """The last two days, where they hold enough rows; else, the last two tenths."""
    if not choice.time:
        return "{validation: 0.1, test: 0.1}  # no column of times was found"
    ms = np.sort(choice.time.time[1])
    days, rows = np.unique(ms // DAY_MS, return_counts=True)
    if len(days) >= 4 and rows[-2:].min() >= ENOUGH * len(ms):
        first, second = (_day(int(day)) for day in days[-2:])
        said = (
            f"the last two of {len(days)} days" if sample.all_days else "the last two days"
        )
    else:
        first, second = map(_moment, _tenths(ms // 1000, seconds_of(choice.time)))
        said = "the last two tenths, about"
    return f"{{validation: {first}, test: {second}}}  # {said}"


def _day(day: int) -> str:
    return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=day))


def _tenths(rows: np.ndarray, moments: np.ndarray) -> tuple[int, int]:
    """Where the last two tenths of sorted rows begin, with rows before and between them.

    Args:
        rows: ``[N]``, their seconds, sorted.
        moments: ``[M]``, these, each once: three or more.
    """
    first, second = np.searchsorted(moments, rows[[int(s * len(rows)) for s in (0.8, 0.9)]])
    first = np.clip(first, 1, len(moments) - 2)
    return int(moments[first]), int(moments[max(second, first + 1)])


def _moment(seconds: int) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return moment.isoformat()


def _feature(column: Column, names: dict[str, str]) -> str:
    parts = _named(column.name, names)
    said = [f"{column.distinct:,} values"] if column.distinct else []
    said += [f"{column.missing:.1%} missing"] * (column.missing > 0)
    if PLACE.search(column.name) and column.numbers is not None:
        first = int(np.nanmin(column.numbers))
        said.append(
            f"if it is where the item was shown: add serving: {{drop: {first}}}, for it is "
            "not known before"
        )
    if column.kind == "number" or column.kind == "integer" and not _is_id(column):
        parts.append("kind: numeric")
        known = column.numbers[~np.isnan(column.numbers)]
        if known.min() >= 0 and known.max() > LOG_SCALED * max(np.median(known), 1):
            parts.append("transform: log1p")
    elif column.kind == "vector":
        parts += ["kind: vector", f"length: {column.width}"]
    else:
        parts.append("kind: categorical")
        parts += [f"separator: {json.dumps(column.separator)}"] * bool(column.separator)
        parts += [f"max_values: {column.width}"] * bool(column.width)
    return f"{{{', '.join(parts)}}}" + (f"  # {', '.join(said)}" if said else "")


def _is_id(column: Column) -> bool:
    """Whether whole numbers are names: by the column's, or as there are few of them."""
    named = re.search(r"(^|_)(id|uid|code|type|cat|category)$|id$", column.name, re.I)
    return bool(named) or column.distinct <= 50


def _named(column: str, names: dict[str, str]) -> list[str]:
    """The keys that name a column, or a task that is none."""
    name = names.get(column, column)
    return [f"name: {name}"] + [f"column: {shown(column)}"] * (name != column)


def _names(columns: list[str]) -> dict[str, str]:
    """Each column's name as a feature's or a task's, which no other has."""
    found: dict[str, str] = {}
    for column in sorted(columns, key=lambda column: _name(column) != column):
        name, number = _name(column), 2
        while name in found.values():
            name, number = f"{_name(column)}_{number}", number + 1
        found[column] = name
    return found


def _name(column: str) -> str:
    """Letters, digits and ``_``, a letter first: TensorFlow names no input ``_a``."""
    name = re.sub(r"\W", "_", column, flags=re.ASCII)
    plain = re.match(r"[A-Za-z]", name) and name.lower() not in RESERVED
    return name if plain else f"c_{name}"
