"""Rows in the shape of the Criteo Kaggle log, with a planted truth.

    from benchmarks.criteo import generate

    data = generate(rows=1_000_000, ids=8_000_000, seed=1)

13 numeric and 26 categorical fields.  At ``FULL_IDS`` ids the fields have as many as the
published log; with fewer, small fields stay as they are and large ones shrink.  Ids are
drawn by Zipf's law in each field.  The truth is a logistic model of a weight for each
id, inner products of ids of different fields (a factorisation machine) and a few
numeric effects; its probabilities come along, so that the AUC that a perfect model
would reach is known, about .85.

Nothing is stored for an id: weights come from a hash of seed, field and id.  Rows are
drawn in chunks, each from its own random numbers, so that fewer rows of the same seed
are the first of more.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Distinct values of C1 to C26 in the Kaggle training file, the empty one included, as
# published with DLRM (Naumov et al., 2019) and counted alike elsewhere.
CARDINALITIES = (
    (1_460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5_683)
    + (8_351_593, 3_194, 27, 14_992, 5_461_306, 10, 5_652, 2_173, 4, 7_046_547)
    + (18, 15, 286_181, 105, 142_572)
)
FULL_IDS = sum(CARDINALITIES)  # 33,762,577
NUMERIC_FIELDS = 13
SMALL = 10_000  # ids up to which a field keeps its size, where the total allows
LEAST_IDS = 2 * len(CARDINALITIES)

# About the share of empty values in each field of that file.
MISSING_NUMBERS = (0.45, 0, 0.21, 0.22, 0.03, 0.22, 0.04, 0, 0.04, 0.45, 0.04, 0.77, 0.22)
MISSING_IDS = (0, 0, 0.03, 0.03, 0, 0.12, 0, 0, 0, 0, 0, 0.03, 0, 0, 0, 0.03, 0, 0) + (
    0.44,
    0.44,
    0.03,
    0.76,
    0,
    0.03,
    0.44,
    0.44,
)  # where there are any, id 0 is the empty value

CHUNK = 65_536
ZIPF_EXPONENT, SMALL_ZIPF_EXPONENT = 1.05, 1.2  # large fields have the longer tail
BASE_RATE = 0.25
LOGIT_STDDEV = 1.85
SHARES = (0.55, 0.25, 0.20)  # of the logit's variance: ids, their products, numbers
COUNT_MEANS = np.linspace(0.5, 5.0, NUMERIC_FIELDS)  # of the logarithm of a number
COUNT_STDDEV = 1.3


@dataclass(frozen=True)
class CriteoShaped:
    """Rows, and what they were drawn from.

    Attributes:
        ids: int32 ``[rows, 26]``, in each field from 0; the smaller, the more frequent,
            but for the empty value, which is id 0 of the fields that have one.
        cardinalities: Ids of each field.
        numbers: float32 ``[rows, 13]``, whole counts with a long tail, NaN: missing.
        labels: float32 ``[rows]``, 0 or 1.
        truth: float32 ``[rows]``, the probability that a label was drawn with.
    """

    ids: np.ndarray
    cardinalities: tuple[int, ...]
    numbers: np.ndarray
    labels: np.ndarray
    truth: np.ndarray


def generate(rows: int, ids: int = FULL_IDS, seed: int = 1) -> CriteoShaped:
    """Draw rows.

    Args:
        rows: How many.
        ids: Of all categorical fields together.
        seed: The same seed gives the same truth and the same rows, the first of any
            larger number of them.

    Returns:
        The rows: 164 bytes each.

    Raises:
        ValueError: There are fewer than ``LEAST_IDS`` ids.
    """
    sizes = cardinalities(ids)
    data = CriteoShaped(
        np.empty((rows, len(sizes)), np.int32),
        sizes,
        np.empty((rows, NUMERIC_FIELDS), np.float32),
        np.empty(rows, np.float32),
        np.empty(rows, np.float32),
    )
    truth = _Truth(sizes, seed)
    for start in range(0, rows, CHUNK):
        random = np.random.default_rng([seed, 1 + start // CHUNK])
        chunk_ids, numbers = _draw_ids(sizes, random), _draw_numbers(random)
        probability = truth(chunk_ids, numbers)
        labels = random.random(CHUNK, np.float32) < probability
        part = slice(start, min(start + CHUNK, rows))
        count = part.stop - start
        data.ids[part], data.numbers[part] = chunk_ids[:, :count].T, numbers[:, :count].T
        data.labels[part], data.truth[part] = labels[:count], probability[:count]
    return data


def cardinalities(ids: int) -> tuple[int, ...]:
    """Criteo's fields scaled to ``ids`` ids in all.

    What a field has beyond ``SMALL`` ids is scaled, the rest is kept; of a total so
    small that this leaves no room for large fields, ``SMALL`` is halved until it does.

    Raises:
        ValueError: There are fewer than ``LEAST_IDS`` ids.
    """
    if ids < LEAST_IDS:
        raise ValueError(f"ids must be at least {LEAST_IDS}. Received: ids={ids}")
    full, small = np.array(CARDINALITIES), SMALL
    while np.minimum(full, small).sum() > ids / 2 and small > 1:
        small //= 2
    kept = np.minimum(full, small)
    factor = (ids - kept.sum()) / (full - kept).sum()
    sizes = kept + np.floor((full - kept) * factor).astype(int)
    sizes[np.argmax(full)] += ids - sizes.sum()  # what rounding left
    return tuple(sizes.tolist())


def _draw_ids(sizes: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """int32 ``[26, CHUNK]``: field by field, by the inverse of Zipf's distribution."""
    ids = np.empty((len(sizes), CHUNK), np.int32)
    for field, size in enumerate(sizes):
        first = int(MISSING_IDS[field] > 0 and size > 1)
        uniform = random.random(CHUNK)
        power = 1 - (ZIPF_EXPONENT if size > SMALL else SMALL_ZIPF_EXPONENT)
        # ranks from 1 to the size, their density x^(power - 1), cut to whole numbers
        last = float(size - first + 1) ** power
        rank = (1 + uniform * (last - 1)) ** (1 / power)
        ids[field] = np.minimum(rank.astype(np.int64), size - first) - 1 + first
        if first:
            ids[field][random.random(CHUNK) < MISSING_IDS[field]] = 0
    return ids


def _draw_numbers(random: np.random.Generator) -> np.ndarray:
    """float32 ``[13, CHUNK]``: whole numbers whose logarithm is normal."""
    drawn = random.standard_normal((NUMERIC_FIELDS, CHUNK), np.float32)
    numbers = np.floor(np.exp(COUNT_MEANS[:, None] + COUNT_STDDEV * drawn))
    numbers[1] -= 3  # I2 has negative ones
    missing = random.random((NUMERIC_FIELDS, CHUNK), np.float32)
    numbers[missing < np.array(MISSING_NUMBERS)[:, None]] = np.nan
    return numbers.astype(np.float32)


class _Truth:
    """The planted model; scaled on rows of its own, so that the AUC hangs on no seed."""

    def __init__(self, sizes: tuple[int, ...], seed: int):
        self.seed = seed
        random = np.random.default_rng([seed, 0])
        parts = self._parts(_draw_ids(sizes, random), _draw_numbers(random))
        self.means = [part.mean() for part in parts]
        self.scales = [
            LOGIT_STDDEV * math.sqrt(share) / max(float(part.std()), 1e-6)
            for share, part in zip(SHARES, parts, strict=True)
        ]
        self.bias = 0.0
        self.bias = _intercept(self._logits(parts))

    def __call__(self, ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        logits = self._logits(self._parts(ids, numbers))
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def _logits(self, parts) -> np.ndarray:
        scaled = zip(self.scales, parts, self.means, strict=True)
        return self.bias + sum(scale * (part - mean) for scale, part, mean in scaled)

    def _parts(self, ids, numbers) -> tuple[np.ndarray, ...]:
        linear = np.zeros(CHUNK, np.float32)
        sums, squares = np.zeros((2, 2, CHUNK), np.float32)
        for field, values in enumerate(ids):
            weight, *factors = self._weights(field, values)
            linear += weight
            for k, factor in enumerate(factors):
                sums[k] += factor
                squares[k] += factor * factor
        # Rendle, ICDM'10, lemma 3.1: all pairs of fields at the cost of one pass
        products = 0.5 * (sums * sums - squares).sum(axis=0)
        return linear, products, _numeric_effect(numbers)

    def _weights(self, field: int, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Three uniform numbers within -1 and 1 for each id: 21 bits each of its hash."""
        start = np.uint64(((self.seed * 64 + field) << 32) % 2**64)
        bits = mix(ids.astype(np.uint64) + start)
        for shift in (0, 21, 42):
            part = (bits >> np.uint64(shift)) & np.uint64(2**21 - 1)
            yield part.astype(np.float32) * np.float32(2.0**-20) - np.float32(1)


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al., OOPSLA'14): uint64 to well mixed uint64."""
    values = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _numeric_effect(numbers: np.ndarray) -> np.ndarray:
    """A slope, a bump, a step and a product of some fields' logarithms; missing: 0."""
    logs = np.log1p(np.maximum(numbers, 0)) - np.log1p(np.exp(COUNT_MEANS))[:, None]
    z = np.nan_to_num(logs, nan=0.0)
    return (
        z[4] + np.exp(-(z[1] ** 2)) - 0.7 * (z[6] > 0.5) + 0.5 * z[8] * z[10] - 0.4 * z[2]
    )


def _intercept(logits: np.ndarray) -> float:
    """What to add to logits for their mean probability to be ``BASE_RATE``."""
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        below = np.mean(1 / (1 + np.exp(-(logits + middle)))) < BASE_RATE
        low, high = (middle, high) if below else (low, middle)
    return middle
