"""What is learned from the training split alone: vocabularies, statistics, quantiles.

``analyse`` sums up one shard, ``merge`` adds up shards in any order, ``learn`` turns
the sum into features and tasks that know their vocabulary, mean and boundaries.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import Feature, Task, sample_space, transform_numbers
from steadyrank.models.ids import MISSING_ID
from steadyrank.pipeline.examples.example_set import Schema, vocab_path
from steadyrank.pipeline.preprocess.blocks import Stored
from steadyrank.pipeline.preprocess.overflow import describe_weights
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import LOW
from steadyrank.pipeline.raw_log.columns import is_list

QUANTILE_ROWS = 500_000  # about so many rows of the whole log are drawn for quantiles
COUNTED = 4  # blocks that are counted before their counts are added up
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
        counts: Feature -> table of ``value`` and ``count``.
        numbers: Numeric feature -> moments of its transformed values, of each shard.
        drawn: Bucketized feature -> a uniform sample of its values.
        labels: Task -> moments of its transformed label over its sample space, of each
            shard: only ``learn`` adds them up, in an order of its own.
        weights: Task with sample weights -> a uniform sample of them, and the largest.
    """

    counts: dict[str, pa.Table] = field(default_factory=dict)
    numbers: dict[str, tuple[Moments, ...]] = field(default_factory=dict)
    drawn: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, tuple[Moments, ...]] = field(default_factory=dict)
    weights: dict[str, tuple[np.ndarray, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """What encoding needs.

    Attributes:
        features: With vocabulary sizes, means, deviations and boundaries.
        tasks: With the means and deviations of their labels.
        vocabularies: Categorical feature -> its known values, in the order of their ids.
        statistics: For people: what ``statistics.json`` holds.
        schema: All of it with its fingerprint; None until it is sealed.
        overflows: Why no row is to be encoded; see ``preprocess.overflow``.
    """

    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    vocabularies: dict[str, pa.Array]
    statistics: dict
    schema: Schema | None = None
    overflows: tuple[str, ...] = ()

    def text(self, feature: str) -> bytes:
        """What stands in the vocabulary file of a feature: one value a line."""
        return lines_of(self.vocabularies[feature])


def lines_of(known: pa.Array) -> bytes:
    """What stands in the file of a vocabulary: one value a line."""
    lines = known.cast(pa.string()).to_pylist()
    return "".join(f"{line}\n" for line in lines).encode()


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
        name = f"feature/{feature.name}"
        if feature.kind != "numeric":
            result.counts[feature.name] = count_values(rows.arrays(name))
            continue
        numbers = _numbers(rows, name)
        known = numbers[~np.isnan(numbers)].astype(np.float64)
        missing = len(numbers) - len(known)
        moments = Moments.of(transform_numbers(feature.transform, known, np), missing)
        result.numbers[feature.name] = (moments,)
        if item.buckets:
            some = numbers[drawn]
            result.drawn[feature.name] = some[~np.isnan(some)]
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
    for name in {name for analysis in analyses for name in analysis.counts}:
        parts = [a.counts[name] for a in analyses if name in a.counts]
        result.counts[name] = _added(parts)
    return result


def learn(
    analysis: Analysis, plan: Plan, old: Mapping[str, pa.Array] | None = None
) -> Learned:
    """Fix vocabularies, standardisation and buckets.

    Args:
        analysis: The sum over the training split.
        plan: The plan.
        old: Categorical feature -> known values that must keep their ids: new ones
            come after them.
    """
    features, vocabularies, statistics = [], {}, {}
    for feature, item in zip(plan.features, plan.config.features, strict=True):
        if feature.kind != "numeric":
            counts = analysis.counts.get(feature.name)
            least, kept = plan.config.owner(item).min_count, (old or {}).get(feature.name)
            known, summary = known_values(counts, least, feature.raw, kept)
            vocabularies[feature.name] = known
            feature = dataclasses.replace(feature, vocabulary_size=len(known))
        else:
            moments = _total(analysis.numbers.get(feature.name, ()))
            sample = analysis.drawn.get(feature.name, np.zeros(0, np.float32))
            feature = dataclasses.replace(
                feature,
                **_scaling(moments, item.scale),
                boundaries=_boundaries(sample, item.buckets),
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


def look_up(values: pa.Array, vocabulary: pa.Array, feature: Feature) -> np.ndarray:
    """Ids of values: 0 missing, then out-of-vocabulary buckets, then known values.

    Args:
        values: Strings or integers, null where missing; not lists.
        vocabulary: The known values, in the order of their ids.
        feature: The learned feature.

    Returns:
        int32 ``[values]``.
    """
    index = pc.index_in(values, value_set=vocabulary, skip_nulls=True)
    known = index.is_valid().to_numpy(zero_copy_only=False)
    ids = feature.ids.of_line(pc.fill_null(index, 0).to_numpy(zero_copy_only=False))
    unknown = ~known & values.is_valid().to_numpy(zero_copy_only=False)
    ids[~known] = MISSING_ID
    ids[unknown] = feature.ids.of_bucket(0)
    if feature.oov_buckets > 1 and unknown.any():
        buckets = _oov_bucket(values.filter(pa.array(unknown)), feature)
        ids[unknown] = feature.ids.of_bucket(buckets)
    return ids.astype(np.int32)


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
    return np.concatenate([as_float32(array) for array in rows.arrays(name)])


def count_values(arrays: Iterable[pa.Array]) -> pa.Table:
    """Each value, and how often it is there: ``value`` and ``count``.

    Args:
        arrays: Values, or lists of them, one after another.
    """
    held: list[pa.Table] = []
    for values in arrays:
        if is_list(values.type):
            values = values.flatten()
        counts = values.drop_null().value_counts()
        both = {"value": counts.field("values"), "count": counts.field("counts")}
        held.append(pa.table(both))
        if len(held) == COUNTED:
            held = [_added(held)]
    return held[0] if len(held) == 1 else _added(held)


def _added(parts: list[pa.Table]) -> pa.Table:
    grouped = pa.concat_tables(parts).group_by("value").aggregate([("count", "sum")])
    return grouped.rename_columns(["value", "count"])


def known_values(
    counts: pa.Table | None, min_count: int, raw: str, old: pa.Array | None = None
):
    """Values seen often enough, the most frequent first, ties by value; after old ones."""
    kind = pa.int64() if raw == "integer" else pa.string()
    if counts is None:
        counts = pa.table({"value": pa.array([], kind), "count": pa.array([], pa.int64())})
    seen, values = int(pc.sum(counts["count"]).as_py() or 0), len(counts)
    counts = counts.filter(pc.greater_equal(counts["count"], min_count))
    if kind == pa.string():  # a vocabulary file holds one value a line
        counts = counts.filter(
            pc.invert(pc.match_substring_regex(counts["value"], r"[\r\n]"))
        )
    counts = counts.sort_by([("count", "descending"), ("value", "ascending")])
    known, total = counts["value"].combine_chunks(), pc.sum(counts["count"]).as_py()
    if old is not None:
        new = pc.invert(pc.is_in(known, value_set=old))
        known = pa.concat_arrays([old, known.filter(new)])
    summary = {
        "values_seen": seen,
        "distinct": values,
        "vocabulary": len(known),
        "out_of_vocabulary": seen - int(total or 0),
        "most_frequent": [str(v) for v in counts["value"][:5].to_pylist()],
    }
    return known, summary


def _boundaries(sample: np.ndarray, buckets: int) -> tuple[float, ...]:
    """Inner quantiles, as float32 and strictly increasing."""
    if buckets < 2 or not len(sample):
        return ()
    cuts = np.quantile(sample, np.arange(1, buckets) / buckets, method="higher")
    return tuple(float(cut) for cut in np.unique(cuts.astype(np.float32)))


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
