"""The Criteo-shaped generator against what it promises, counted by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.criteo import (
    CARDINALITIES,
    CHUNK,
    FULL_IDS,
    LEAST_IDS,
    MISSING_IDS,
    MISSING_NUMBERS,
    cardinalities,
    generate,
    mix,
)

ROWS = 150_000


@pytest.fixture(scope="module")
def data():
    return generate(ROWS, 1_000_000, seed=5)


def test_full_size_is_what_was_published():
    assert FULL_IDS == 33_762_577
    assert cardinalities(FULL_IDS) == CARDINALITIES


@pytest.mark.parametrize("ids", [LEAST_IDS, 1000, 260_000, 8_000_000, 50_000_000])
def test_fields_scale_to_the_total(ids):
    sizes = cardinalities(ids)
    assert sum(sizes) == ids
    assert min(sizes) >= 1
    in_order = sorted(zip(CARDINALITIES, sizes, strict=True))
    assert [s for _, s in in_order] == sorted(sizes)  # no field overtakes another
    if ids >= 260_000:
        small = [(f, s) for f, s in in_order if f <= 10_000]
        assert len(small) == 16 and all(f == s for f, s in small)


def test_too_few_ids_are_refused():
    with pytest.raises(ValueError, match="at least 52. Received: ids=51"):
        cardinalities(51)


def test_shapes_and_types(data):
    assert data.ids.shape == (ROWS, 26) and data.ids.dtype == np.int32
    assert data.numbers.shape == (ROWS, 13) and data.numbers.dtype == np.float32
    assert data.labels.dtype == data.truth.dtype == np.float32
    assert data.ids.min() == 0
    assert np.all(data.ids.max(axis=0) < np.array(data.cardinalities))
    numbers = data.numbers[np.isfinite(data.numbers)]
    assert np.array_equal(numbers, np.round(numbers))


def test_labels_follow_the_truth(data):
    """The rate is that of Criteo, and each decile of the truth is calibrated."""
    assert data.labels.mean() == pytest.approx(0.25, abs=0.01)
    order = np.argsort(data.truth)
    for part in np.array_split(order, 10):
        expected, count = data.truth[part].mean(), len(part)
        error = math.sqrt(expected * (1 - expected) / count)
        assert abs(data.labels[part].mean() - expected) < 4.5 * error


@pytest.mark.parametrize("ids, seed", [(20_000, 1), (1_000_000, 5), (FULL_IDS, 2)])
def test_reachable_auc(ids, seed):
    data = generate(ROWS, ids, seed)
    assert 0.84 < roc_auc_score(data.labels, data.truth) < 0.87


def test_missing_values(data):
    for field, share in enumerate(MISSING_NUMBERS):
        found = np.isnan(data.numbers[:, field]).mean()
        assert found == pytest.approx(share, abs=0.005)
    for field, share in enumerate(MISSING_IDS):
        if share:
            assert (data.ids[:, field] == 0).mean() == pytest.approx(share, abs=0.005)


def test_ids_follow_zipf(data):
    """Field 0 has no empty value: counts of its ranks fall as rank^-1.2."""
    counts = np.bincount(data.ids[:, 0])
    # the inverse of a density gives rank k the mass between k and k + 1
    masses = [k**-0.2 - (k + 1) ** -0.2 for k in range(1, 1461)]
    expected = ROWS * np.array(masses[:100]) / sum(masses)
    assert np.all(np.abs(counts[:100] - expected) < 5 * np.sqrt(expected))


def test_fewer_rows_are_the_first_of_more(data):
    few = generate(CHUNK + 10, 1_000_000, seed=5)
    for name in ("ids", "numbers", "labels", "truth"):
        one, other = getattr(few, name), getattr(data, name)
        assert np.array_equal(one, other[: CHUNK + 10], equal_nan=True), name


def test_another_seed_is_another_truth(data):
    other = generate(1000, 1_000_000, seed=6)
    assert not np.array_equal(other.ids, data.ids[:1000])


def naive_weights(seed: int, field: int, value: int) -> list[float]:
    """Three numbers within -1 and 1 out of SplitMix64, in whole numbers of Python."""
    limit = 2**64
    state = (value + (((seed * 64 + field) << 32) % limit) + 1) * 0x9E3779B97F4A7C15 % limit
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % limit
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % limit
    bits = state ^ (state >> 31)
    return [((bits >> shift) % 2**21) / 2**20 - 1 for shift in (0, 21, 42)]


def naive_parts(seed: int, ids, numbers) -> tuple[float, float, float]:
    """Weights of a row's ids, inner products of all pairs of them, effects of numbers."""
    weights = [naive_weights(seed, field, int(value)) for field, value in enumerate(ids)]
    linear = sum(weight for weight, *_ in weights)
    pairs = [(one, two) for i, one in enumerate(weights) for two in weights[:i]]
    products = sum(one[1] * two[1] + one[2] * two[2] for one, two in pairs)
    z = []
    for field, value in enumerate(numbers):
        centre = math.log1p(math.exp(0.5 + 4.5 * field / 12))
        z.append(0.0 if math.isnan(value) else math.log1p(max(value, 0)) - centre)
    step = 0.7 if z[6] > 0.5 else 0.0
    effect = z[4] + math.exp(-(z[1] ** 2)) - step + 0.5 * z[8] * z[10] - 0.4 * z[2]
    return linear, products, effect


def test_truth_is_the_planted_model(data):
    """Nothing but the row moves the truth: its logit is linear in the three parts."""
    rows = slice(0, 300)
    given = zip(data.ids[rows], data.numbers[rows], strict=True)
    parts = [naive_parts(5, *row) for row in given]
    design = np.column_stack([np.ones(300), np.array(parts)])
    truth = data.truth[rows].astype(np.float64)
    logits = np.log(truth / (1 - truth))
    fit = np.linalg.lstsq(design, logits, rcond=None)[0]
    np.testing.assert_allclose(design @ fit, logits, atol=2e-4)
    share = fit[1:] * np.array(parts).std(axis=0)
    assert np.sqrt(0.55) * 1.85 == pytest.approx(share[0], rel=0.15)
    assert np.sqrt(0.25) * 1.85 == pytest.approx(share[1], rel=0.15)
    assert np.sqrt(0.20) * 1.85 == pytest.approx(share[2], rel=0.15)


def test_hash_is_splitmix():
    """The first outputs of SplitMix64 from state 0, as published with it."""
    outputs = mix(np.array([0, 1], np.uint64))
    assert [int(output) for output in outputs] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
