"""Which columns are time, group, labels and features; and which would tell the label."""

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.propose.look import Column, Sample
from steadyrank.pipeline.propose.positives import Drawn, drawn_of

TIME = re.compile(r"time|date|(^|_)(ts|dt|at|day)($|_)", re.I)
GROUP = re.compile(r"user|uid$|customer|visitor|session|query|account|member_?id", re.I)
RATED = re.compile(r"rating|stars|score|grade", re.I)
DAY = re.compile(r"(^|_)(date|dt|day)$", re.I)
FEWEST_GROUPS = 20
ENGAGED = re.compile(
    r"^(is|has|did|y)_|click|like|label|convert|conversion|purchas|buy|bought|order|share|"
    r"comment|follow|install|watch|view|save|(^|_)(target|event|clk|y)$",
    re.I,
)
AFTERWARDS = re.compile(
    r"(^|[^a-z])(play|watch|listen|stay)(ed|ing)?_?(time|sec|ms$|min|dur)|dwell|time_?spent|"
    r"duration_played",
    re.I,
)
TELLS = 0.98  # AUC of a column alone, from which on it is no feature
IMPLIES = 0.98  # share of a task's positives that have another task's
RARE = 0.005  # of a column of 0 and 1 whose name says nothing, to be a label
ALL_DIFFER = 0.95  # of the rows
DAY_MS = 86_400_000
LISTS = ("list", "vector")
SPLITS = 3  # each has a moment of its own


@dataclass
class Choice:
    """What a config says, and why.

    Attributes:
        time, group: Columns, or None.
        labels: Task -> the task that it is given by, or ``""``.
        drawn: What negatives are drawn of, where every row is a positive; None: none are.
        amounts: Regression task -> its loss.
        amounts_given: Regression task -> the task without which it is 0.
        at_least: Task -> from which number on its label is 1.
        features: The columns that are features.
        left_out: Column -> why it is none.
        leaks: Column -> label and AUC.
        why: Key of the config -> one sentence.
    """

    time: Column | None = None
    group: Column | None = None
    labels: dict[str, str] = field(default_factory=dict)
    drawn: Drawn | None = None
    amounts: dict[str, str] = field(default_factory=dict)
    amounts_given: dict[str, str] = field(default_factory=dict)
    at_least: dict[str, float] = field(default_factory=dict)
    features: list[Column] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    leaks: dict[str, tuple[str, float]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What is to be foretold."""
        drawn = [self.drawn.task] if self.drawn else []
        return (*self.labels, *drawn, *self.amounts)


def choose(sample: Sample) -> Choice:
    """Choose the part of every column of a log."""
    found, columns = Choice(), sample.columns
    times = [c for c in columns.values() if c.time and c.kind != "binary"]
    times = [c for c in times if len(seconds_of(c)) >= SPLITS]
    named = [c for c in times if TIME.search(c.name)]
    if times and (named or times[0].kind == "moment"):
        found.time = max(named or times, key=lambda c: c.distinct)
        unit = f", in {found.time.time[0]}" if found.time.kind == "integer" else ""
        found.why["time"] = f"{found.time.name} holds moments of the last decades{unit}"
    ids = [c for c in columns.values() if GROUP.search(c.name) and c.kind in _IDS]
    ids = [c for c in ids if FEWEST_GROUPS <= c.distinct <= 0.8 * sample.rows]
    if ids:
        found.group = max(ids, key=lambda c: c.distinct)
        rows = sample.rows / found.group.distinct
        found.why["group"] = f"{found.group.name}: {rows:.1f} rows a value"
    binary = [c for c in columns.values() if c.kind == "binary"]
    labels = [c for c in binary if ENGAGED.search(c.name)]
    labels = labels or [c for c in binary if RARE < np.nanmean(c.numbers) < 1 - RARE][-1:]
    if not labels:
        labels = _rated(columns, found)
    values = {c.name: labels_of(c, found) for c in labels}
    found.labels = _given(values)
    found.amounts = _amounts(columns)
    for name in found.amounts:
        _give_amount(found, columns[name], values)
    never = [c for c in columns.values() if _never(c) and ENGAGED.search(c.name)]
    if not (labels or found.amounts or never):
        found.drawn = drawn_of(sample, found.time, found.group)
    _say_why(found, labels)
    if said := two_words(sample):
        found.why["texts"] = said.strip()
    _choose_features(sample, found)
    return found


def seconds_of(column: Column) -> np.ndarray:
    """The moments that it holds, each once, in seconds: what a config's moments are in."""
    return np.unique(column.time[1] // 1000)


def two_words(sample: Sample) -> str:
    """Which columns hold two texts, such as Yes and No: labels, perhaps."""
    found = ""
    for column in sample.columns.values():
        if column.kind == "text" and column.distinct == 2:
            both = sorted(map(str, column.values.unique().drop_null().to_pylist()))
            found += (
                f" {column.name} holds {both[0]} and {both[1]}: as a label, write 1 and 0."
            )
    return found


def _say_why(found: Choice, labels: list[Column]) -> None:
    means = [f"{c.name} {np.nanmean(c.numbers):.3g}" for c in labels]
    said = [f"columns of 0 and 1 (means: {', '.join(means)})"] * bool(means)
    if found.drawn:
        drawn = found.drawn
        found.why["negatives"] = f"no column tells rows apart: {drawn.item} is drawn"
        said.append(f"{drawn.task} is 1 in every row of the log, and 0 where it is drawn")
    said += [f"{name}, how long or how much" for name in found.amounts]
    found.why["tasks"] = "; ".join(said)


def _amounts(columns: dict[str, Column]) -> dict[str, str]:
    """Columns of how long, by their names, and the loss that takes such numbers."""
    found = {}
    for column in columns.values():
        if not AFTERWARDS.search(column.name) or column.numbers is None:
            continue
        known = column.numbers[~np.isnan(column.numbers)]
        if column.kind != "binary" and column.distinct > 50:
            found[column.name] = _loss(known)
    return dict([*found.items()][:1])  # one says it: the others are parts of it, mostly


def _loss(amounts: np.ndarray) -> str:
    lowest = amounts.min()
    return "squared" if lowest < 0 else "gamma" if lowest > 0 else "tweedie"


def _give_amount(found: Choice, amount: Column, labels: dict[str, np.ndarray]) -> None:
    """Give an amount by the rarest label without which it is 0, or missing."""
    without = {
        name: values
        for name, values in labels.items()
        if (values == 0).any() and not np.nan_to_num(amount.numbers[values == 0]).any()
    }
    if not without:
        return
    rarest = min(without, key=lambda name: np.nanmean(without[name]))
    known = amount.numbers[without[rarest] == 1]
    known = known[~np.isnan(known)]
    if len(known):
        found.amounts_given[amount.name] = rarest
        found.amounts[amount.name] = _loss(known)


def _never(column: Column) -> bool:
    """Whether a column is 0 in every row: as a label, no positive is there."""
    known = column.numbers if column.numbers is not None else np.array([])
    return column.distinct == 1 and bool((known[~np.isnan(known)] == 0).all())


_IDS = ("integer", "text")


def _rated(columns: dict[str, Column], found: Choice) -> list[Column]:
    """A column of ratings: from the one on that half of the rows, at most, reach."""
    rated = [c for c in columns.values() if RATED.search(c.name) and c.numbers is not None]
    for column in rated[:1]:
        steps = np.unique(column.numbers[~np.isnan(column.numbers)])
        share = [np.nanmean(column.numbers >= step) for step in steps]
        found.at_least[column.name] = float(steps[np.argmax(np.array(share) <= 0.6)])
    return rated[:1]


def labels_of(column: Column, found: Choice) -> np.ndarray:
    """The labels of a task, NaN where there is none."""
    least = found.at_least.get(column.name)
    if least is None:
        return column.numbers
    return np.where(np.isnan(column.numbers), np.nan, column.numbers >= least)


def _given(labels: dict[str, np.ndarray]) -> dict[str, str]:
    """Label -> the rarest one that nearly all its positives have, too."""
    rate = {name: np.nanmean(values) for name, values in labels.items()}
    given = {}
    for name, values in labels.items():
        above = [
            other
            for other, others in labels.items()
            if rate[other] > rate[name] and np.nanmean(others[values == 1]) >= IMPLIES
        ]
        given[name] = min(above, key=rate.get, default="")
    return given


def _choose_features(sample: Sample, found: Choice) -> None:
    labels = {name: labels_of(sample.columns[name], found) for name in found.labels}
    for column in sample.columns.values():
        why = _why_none(column, sample, found)
        if why:
            found.left_out[column.name] = why
        elif column.name not in (*labels, *found.amounts):
            leak = strongest(column, labels)
            if leak and leak[1] > TELLS:
                found.leaks[column.name] = leak
            else:
                found.features.append(column)


def _why_none(column: Column, sample: Sample, found: Choice) -> str:
    if column.name in found.amounts:
        return ""
    if found.drawn and column.name == found.drawn.task:
        return "is the label: 1 in every row"
    if found.time and column.name == found.time.name:
        return "orders the log"
    if column.time and column.distinct > 31:
        return "is a time"
    if found.time and DAY.search(column.name):
        return "is a day: those to come are not known"
    if column.kind in ("other", "moment"):
        return f"is {column.values.type}"
    if not column.name:
        return "has no name"
    if column.missing == 1 or column.kind not in LISTS and column.distinct <= 1:
        return "has one value, or none"
    if AFTERWARDS.search(column.name):
        return "is known after the engagement alone, by its name"
    if column.kind in _IDS and column.distinct > ALL_DIFFER * sample.rows:
        return "differs from row to row"
    return ""


def strongest(column: Column, labels: dict[str, np.ndarray]) -> tuple[str, float] | None:
    """The label that a column alone tells best, and its AUC; None: it has no numbers."""
    found = []
    for name, label in labels.items():
        score, known = _score(column, label), ~np.isnan(label)
        if score is not None and 0 < np.nanmean(label) < 1:
            known &= ~np.isnan(score)
            found.append((name, _auc(score[known], label[known])))
    return max(found, key=lambda pair: pair[1], default=None)


def _score(column: Column, label: np.ndarray) -> np.ndarray | None:
    """A column as a score: numbers, or of ids the mean label of the rows of the other half.

    A column with a value missing tells by that, too.
    """
    if (
        column.kind in ("number", "binary")
        or column.kind == "integer"
        and column.distinct > 50
    ):
        return np.where(np.isnan(column.numbers), -1e300, column.numbers)
    if column.kind in LISTS:
        return None
    codes = column.values.dictionary_encode(null_encoding="encode").indices.to_numpy()
    score, half = np.full(len(codes), np.nan), np.arange(len(codes)) % 2 == 0
    for part in (half, ~half):
        own = part & ~np.isnan(label)
        size = int(codes.max()) + 1
        rows = np.bincount(codes[own], minlength=size)
        positive = np.bincount(codes[own], label[own], minlength=size)
        mean = (positive + label[own].mean()) / (rows + 1)
        score[~part] = mean[codes[~part]]
    return score


def _auc(score: np.ndarray, label: np.ndarray) -> float:
    """The better of both directions; equal scores count half."""
    positive = label == 1
    if positive.all() or not positive.any():
        return 0.5
    ranks = pc.rank(pa.array(score), tiebreaker="min").to_numpy().astype(float)
    ranks += pc.rank(pa.array(score), tiebreaker="max").to_numpy()
    total, ones = len(label), int(positive.sum())
    auc = (ranks[positive].sum() / 2 - ones * (ones + 1) / 2) / (ones * (total - ones))
    return float(max(auc, 1 - auc))
