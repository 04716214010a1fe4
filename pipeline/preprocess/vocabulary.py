"""What is learned from the training split alone: vocabularies, statistics, quantiles.

``analyse`` sums up one shard, ``merge`` adds up shards in any order, ``learn`` turns
the sum into features and tasks that know their vocabulary, mean and boundaries.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import (
    Feature,
    Task,
    plain_numbers,
    sample_space,
    transform_numbers,
)
from steadyrank.models.ids import MISSING_ID
from steadyrank.pipeline.config.features import is_dropped
from steadyrank.pipeline.examples.example_set import Schema, vocab_path
from steadyrank.pipeline.preprocess.blocks import Stored
from steadyrank.pipeline.preprocess.counts import Counted
from steadyrank.pipeline.preprocess.known import Known, KnownWriter
from steadyrank.pipeline.preprocess.overflow import describe_weights
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import LOW

QUANTILE_ROWS = 500_000  # about so many rows of the whole log are drawn for quantiles
UNIFORM_STD = 12**-0.5  # of shares, which go evenly from 0 to 1
NONE_DEAD = np.zeros(0, np.int64)
FLOAT32_EPSILON = 1.2e-7  # a spread below this share of the mean is one of rounding


@dataclass(frozen=True, order=True)
class Moments:
    """Count, mean and sum of squared deviations of numbers, with their range."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    missing: int = 0

    @classmethod
    def of(cls, values: np.ndarray, missing: int = 0) -> "Moments":
        if not len(values):
            return cls(missing=missing)
        mean = float(values.mean())
        m2 = float(np.square(values - mean).sum())
        return cls(len(values), mean, m2, values.min(), values.max(), missing)

    def __add__(self, other: "Moments") -> "Moments":
        """Chan, Golub and LeVeque (1979): exact whatever the order and the scale."""
        count = self.count + other.count
        shift = other.mean - self.mean
        share = other.count / max(count, 1)
        return Moments(
            count,
            self.mean + shift * share,
            self.m2 + other.m2 + shift * shift * self.count * share,
            min(self.low, other.low),
            max(self.high, other.high),
            self.missing + other.missing,
        )

    @property
    def std(self) -> float:
        """Standard deviation, and 1 where all values are one: nothing to divide by."""
        deviation = float(np.sqrt(self.m2 / max(self.count, 1)))
        return deviation if deviation > FLOAT32_EPSILON * abs(self.mean) else 1.0


@dataclass
class Analysis:
    """Sums over rows of the training split.

    Attributes:
        numbers: Numeric feature -> moments of its transformed values, of each shard.
        drawn: Bucketized feature -> a uniform sample of its values.
        labels: Task -> moments of its transformed label over its sample space, of each
            shard: only ``learn`` adds them up, in an order of its own.
        seen: Feature without a vocabulary, no number and no cross -> its values.
        weights: Task with sample weights -> a uniform sample of them, and the largest.
    """

    numbers: dict[str, tuple[Moments, ...]] = field(default_factory=dict)
    drawn: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, tuple[Moments, ...]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    weights: dict[str, tuple[np.ndarray, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """What encoding needs.

    Attributes:
        features: With vocabulary sizes, means, deviations and boundaries.
        tasks: With the means and deviations of their labels.
        vocabularies: Categorical feature -> its known values.
        statistics: For people: what ``statistics.json`` holds.
        schema: All of it with its fingerprint; None until it is sealed.
        overflows: Why no row is to be encoded; see ``preprocess.overflow``.
    """

    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    vocabularies: dict[str, Known]
    statistics: dict
    schema: Schema | None = None
    overflows: tuple[str, ...] = ()

    def lines(self, feature: str) -> Iterator[bytes]:
        """What stands in the vocabulary file of a feature: one value a line."""
        return self.vocabularies[feature].lines()


def read_values(examples: Path, feature: str, raw: str) -> pa.Array:
    """A vocabulary of an example set, typed as the log was."""
    text = vocab_path(examples / "vocab", feature).read_bytes().decode()
    kind = pa.int64() if raw == "integer" else pa.string()
    return pa.array(text.split("\n")[:-1], pa.string()).cast(kind)


def analyse(rows: Stored, plan: Plan) -> Analysis:
    """Sum up the typed rows of one shard: numbers a whole column at a time, whose sums
    would differ by a bit otherwise."""
    result = Analysis()
    rate = max(1, plan.log.rows // QUANTILE_ROWS)
    low = np.concatenate([array.to_numpy() for array in rows.arrays(LOW)])
    drawn = (low >> np.uint64(32)) % np.uint64(rate) == 0
    for feature, item in zip(plan.features, plan.config.features, strict=True):
        if is_code(feature):
            arrays = rows.arrays(f"feature/{feature.name}")
            result.seen[feature.name] = sum(len(a) - a.null_count for a in arrays)
        if feature.kind != "numeric":
            continue
        numbers = _numbers(rows, f"feature/{feature.name}")
        known = numbers[~np.isnan(numbers)].astype(np.float64)
        missing = (len(numbers) - len(known)) // max(feature.width, 1)
        moments = Moments.of(plain_numbers(feature, known, np), missing)
        result.numbers[feature.name] = (moments,)
        quantiles = item.transform == "quantile"
        if quantiles or (isinstance(item.buckets, int) and item.buckets):
            some = numbers[drawn]
            some = some[~np.isnan(some)]
            result.drawn[feature.name] = plain_numbers(feature, some, np)
    labels = {t.name: _numbers(rows, f"label/{t.name}") for t in plan.tasks}
    for task in plan.tasks:
        inside = labels[task.name][sample_space(task, plan.tasks, labels)]
        values = transform_numbers(task.transform, inside.astype(np.float64), np)
        result.labels[task.name] = (Moments.of(values, len(rows) - len(inside)),)
        if task.sample_weight:
            weights = _numbers(rows, f"weight/{task.name}")
            result.weights[task.name] = weights[drawn], float(weights.max(initial=0.0))
    return result


def merge(analyses: list[Analysis]) -> Analysis:
    """Add up analyses; the order does not matter."""
    result = Analysis()
    for analysis in analyses:
        for name, seen in analysis.seen.items():  # a Counter's own sum drops those of 0
            result.seen[name] += seen
        for name, moments in analysis.numbers.items():
            result.numbers[name] = result.numbers.get(name, ()) + moments
        for name, moments in analysis.labels.items():
            result.labels[name] = result.labels.get(name, ()) + moments
    for name in {name for analysis in analyses for name in analysis.weights}:
        parts = [a.weights[name] for a in analyses if name in a.weights]
        sample = np.concatenate([drawn for drawn, _ in parts])
        result.weights[name] = sample, max(largest for _, largest in parts)
    for name in {name for analysis in analyses for name in analysis.drawn}:
        parts = [a.drawn[name] for a in analyses if name in a.drawn]
        result.drawn[name] = np.concatenate(parts)
    return result


def learn(
    analysis: Analysis,
    plan: Plan,
    counted: Mapping[str, Counted],
    folder: str,
    *,
    old: Mapping[str, pa.Array] | None = None,
) -> Learned:
    """Fix vocabularies, standardisation and buckets.

    Args:
        analysis: The sum over the training split.
        plan: The plan.
        counted: Categorical feature -> how often its values were seen there.
        folder: Of the files of known values.
        old: Categorical feature -> known values that must keep their ids: new ones
            come after them.
    """
    features, vocabularies, statistics = [], {}, {}
    for feature, item in zip(plan.features, plan.config.features, strict=True):
        if feature.has_vocabulary:
            least, kept = plan.config.owner(item).min_count, (old or {}).get(feature.name)
            seen = counted[feature.name]
            expires = getattr(item, "expires", None) is not None
            living = _living(item, plan, counted) if expires else None
            known, summary = known_values(
                seen,
                least,
                feature.raw,
                folder,
                old=kept,
                most=getattr(item, "max_size", None),
                living=living,
            )
            vocabularies[feature.name] = known
            feature = dataclasses.replace(feature, vocabulary_size=len(known))
            if is_dropped(item):
                place = _reference_of(item.serving.drop, feature.raw, known, feature)
                summary["reference"] = place
                feature = dataclasses.replace(feature, reference=place)
        elif is_code(feature):
            summary = {"values_seen": analysis.seen[feature.name]}
        elif feature.kind != "numeric":
            summary = {}
        else:
            moments = _total(analysis.numbers.get(feature.name, ()))
            sample = analysis.drawn.get(feature.name, np.zeros(0, np.float32))
            scaling = _scaling(moments, item.scale) | _shares(sample, item, moments)
            feature = dataclasses.replace(
                feature,
                **scaling,
                boundaries=_boundaries(sample, item.buckets),
                reference=float(item.serving.drop) if is_dropped(item) else None,
            )
            summary = _describe(moments)
        features.append(feature)
        statistics[feature.name] = {"kind": feature.kind, **summary}
    features = [_sharing(f, features, vocabularies, statistics) for f in features]
    totals = {t.name: _total(analysis.labels.get(t.name, ())) for t in plan.tasks}
    tasks = [_fitted(task, totals[task.name]) for task in plan.tasks]
    labels = {name: _describe(moments) for name, moments in totals.items()}
    weights = {n: describe_weights(*w) for n, w in sorted(analysis.weights.items())}
    return Learned(
        tuple(features),
        tuple(tasks),
        vocabularies,
        {"features": statistics, "labels": labels, "weights": weights},
    )


def is_code(feature: Feature) -> bool:
    """Whether its ids are those of values that it reads, but of no vocabulary."""
    return not (feature.has_vocabulary or feature.kind == "numeric" or feature.of)


def _reference_of(value: str | float, raw: str, known: Known, feature: Feature):
    """The id that served rows are taken to have; None: training rows have no such value."""
    kind = pa.int64() if raw == "integer" else pa.string()
    try:
        place = int(known.find(pa.array([str(value)], pa.string()).cast(kind))[0])
    except pa.ArrowInvalid:
        return None
    return float(feature.ids.of_line(place)) if place >= 0 else None


def _sharing(feature: Feature, features, vocabularies, statistics) -> Feature:
    """A feature with the vocabulary of the one whose table it shares, if there is one."""
    if not feature.table:
        return feature
    (owner,) = (f for f in features if f.name == feature.table)
    vocabularies[feature.name] = vocabularies[owner.name]
    seen = statistics[feature.name]
    statistics[feature.name] = {
        "kind": feature.kind,
        "table": owner.name,
        "values_seen": seen["values_seen"],
        "distinct": seen["distinct"],
        "vocabulary": owner.vocabulary_size,
        "most_frequent": seen["most_frequent"],
    }
    return dataclasses.replace(feature, vocabulary_size=owner.vocabulary_size)


def look_up(values: pa.Array, known: Known, feature: Feature) -> np.ndarray:
    """Ids of values: 0 missing, then out-of-vocabulary buckets, then known values.

    Args:
        values: Strings or integers, null where missing; not lists.
        known: The known values.
        feature: The learned feature.

    Returns:
        int32 ``[values]``.
    """
    if known.is_dense:
        return _ids(values, known, feature)
    encoded = values.dictionary_encode()
    ids = np.append(_ids(encoded.dictionary, known, feature), np.int32(MISSING_ID))
    return ids[encoded.indices.fill_null(-1).to_numpy()]


def _ids(values: pa.Array, known: Known, feature: Feature) -> np.ndarray:
    places = known.find(values)
    ids = feature.ids.of_line(places).astype(np.int32, copy=False)
    others = np.flatnonzero(places < 0)
    if len(others):
        ids[others], strangers = MISSING_ID, values.take(pa.array(others))
        unknown = strangers.is_valid()
        there = others[unknown.to_numpy(zero_copy_only=False)]
        ids[there] = unknown_ids(strangers.filter(unknown), feature)
    return ids


def unknown_ids(values: pa.Array, feature: Feature) -> np.ndarray:
    """Ids of values that are not known, none of them null: of out-of-vocabulary buckets."""
    if feature.oov_buckets > 1 and len(values):
        return feature.ids.of_bucket(_oov_bucket(values, feature))
    return np.full(len(values), feature.ids.of_bucket(0))


def _oov_bucket(values: pa.Array, feature: Feature) -> np.ndarray:
    """The bucket of an unknown value, by the very operation that the export holds."""
    import tensorflow as tf  # only where there is more than one bucket

    encoded = values.dictionary_encode()
    texts = encoded.dictionary.cast(pa.string()).to_numpy(zero_copy_only=False)
    buckets = tf.strings.to_hash_bucket_fast(tf.constant(texts), feature.oov_buckets)
    return buckets.numpy()[encoded.indices.to_numpy()]


def as_float32(values: pa.Array) -> np.ndarray:
    """Numbers as the examples hold them: NaN where missing."""
    return values.to_numpy(zero_copy_only=False).astype(np.float32)


def _numbers(rows: Stored, name: str) -> np.ndarray:
    """A column of numbers, those of its vectors one after the other."""
    arrays = rows.arrays(name)
    return np.concatenate([as_float32(a.flatten() if is_vectors(a) else a) for a in arrays])


def is_vectors(values: pa.Array) -> bool:
    """Whether each row has a list of numbers, all of one length."""
    return pa.types.is_fixed_size_list(values.type)


def known_values(
    counted: Counted,
    min_count: int,
    raw: str,
    folder: str,
    *,
    old: pa.Array | None = None,
    most: int | None = None,
    living: Iterable[Counted] | None = None,
) -> tuple[Known, dict]:
    """Values seen often enough, the most frequent first, ties by value; after old ones.

    Where values expire, a new one takes the place of a dead one first.

    Args:
        counted: How often each was seen.
        min_count: How often is enough.
        raw: How they are held: ``"string"`` or ``"integer"``.
        folder: Where the files of known values are to stand.
        old: Known values that keep their ids.
        most: How many there may be, beside old ones; None: any number.
        living: Counts in which an old value is that is alive; None: none expires.

    Returns:
        The known values, and what statistics say of them.
    """
    total, first = 0, []
    before = _all_known(old, raw, folder) if old is not None else None
    free = _dead(before, living) if before is not None and living is not None else NONE_DEAD
    room = np.inf if most is None else max(most - (0 if old is None else len(old)), 0)
    taken: list[pa.Array] = []  # in the places of the dead
    with KnownWriter(folder, raw) as writer:
        if old is not None and not len(free):
            writer.add(old)
        for table in counted.rows.blocks():
            table = table.filter(pc.greater_equal(table["count"], min_count))
            if raw == "string":  # a vocabulary file holds one value a line
                broken = pc.match_substring_regex(table["value"], r"[\r\n]")
                table = table.filter(pc.invert(broken))
            total += pc.sum(table["count"]).as_py() or 0
            values = table["value"].combine_chunks()
            first += values[: 5 - len(first)].to_pylist()
            if before is not None:
                values = values.filter(pa.array(before.find(values) < 0))
            if old is not None and len(free):
                taken.append(values)
                continue
            values = values[: int(min(room, len(values)))]
            room -= len(values)
            writer.add(values)
        reused = 0
        if old is not None and len(free):
            new = pa.concat_arrays([old[:0], *(values.cast(old.type) for values in taken)])
            reused = min(len(new), len(free))
            places = np.arange(len(old))
            places[free[:reused]] = len(old) + np.arange(reused)
            writer.add(pa.concat_arrays([old, new]).take(pa.array(places)))
            writer.add(new[reused : reused + int(min(room, len(new) - reused))])
        known = writer.finish()
    return known, {
        **({"reused": reused} if reused else {}),
        "values_seen": counted.seen,
        "distinct": len(counted.rows),
        "vocabulary": len(known),
        "out_of_vocabulary": counted.seen - total,
        "most_frequent": [str(value) for value in first],
    }


def _living(item, plan: Plan, counted: Mapping[str, Counted]) -> list[Counted]:
    """Counts of all features that read a vocabulary."""
    readers = (f.name for f in plan.config.features if plan.config.owner(f) is item)
    return [counted[name] for name in readers]


def _dead(before: Known, living: Iterable[Counted]) -> np.ndarray:
    """Places of known values that are in none of some counts, rising."""
    alive = np.zeros(len(before), bool)
    for counted in living:
        for table in counted.rows.blocks():
            places = before.find(table["value"].combine_chunks())
            alive[places[places >= 0]] = True
    return np.flatnonzero(~alive)


def _all_known(values: pa.Array, raw: str, folder: str) -> Known:
    with KnownWriter(folder, raw) as writer:
        writer.add(values)
        return writer.finish()


def _boundaries(sample: np.ndarray, buckets: int | list[float]) -> tuple[float, ...]:
    """Those that are given, or inner quantiles, as float32 and strictly increasing."""
    if isinstance(buckets, list):
        return tuple(np.asarray(buckets, np.float32).tolist())
    if buckets < 2 or not len(sample):
        return ()
    cuts = np.quantile(sample, np.arange(1, buckets) / buckets, method="higher")
    return tuple(float(cut) for cut in np.unique(cuts.astype(np.float32)))


def _shares(sample: np.ndarray, item, moments: Moments) -> dict:
    """Quantiles and their shares, as ``Feature`` names them; of ties the mean share.

    A number that is one in all training rows has none, and is read as it is.
    """
    if item.transform != "quantile":
        return {}
    steps = np.arange(item.quantiles + 1) / item.quantiles
    cuts = np.quantile(sample, steps).astype(np.float32) if len(sample) else sample
    values, places, counts = np.unique(cuts, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return {}
    levels = np.bincount(places.ravel(), steps) / counts
    learned = {"quantiles": tuple(values.tolist()), "levels": tuple(levels.tolist())}
    return {**learned, "mean": 0.5, "std": UNIFORM_STD, "centre": moments.mean}


def _total(parts: tuple[Moments, ...]) -> Moments:
    """Sorted first: sums of reals depend on their order, by a bit, and runners differ."""
    return sum(sorted(parts), Moments())


def _scaling(moments: Moments, scale: str) -> dict[str, float]:
    """What a number is shifted and divided by, and its mean, as ``Feature`` names them."""
    if scale == "standard" or not moments.count:
        return {"mean": moments.mean, "std": moments.std}
    low, high = float(moments.low), float(moments.high)
    return {"mean": low, "std": high - low or 1.0, "centre": moments.mean}


def _fitted(task: Task, moments: Moments) -> Task:
    return dataclasses.replace(task, mean=moments.mean, std=moments.std)


def _describe(moments: Moments) -> dict:
    return {
        "rows": moments.count,
        "missing": moments.missing,
        "mean": moments.mean,
        "std": moments.std,
        "m2": moments.m2,
        "min": moments.low,
        "max": moments.high,
    }
