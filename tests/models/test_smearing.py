"""Values that were learned as a logarithm have the mean that was observed."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.smearing import MOST, along, level_curve, smear
from tests.helpers.ranker import TASKS, batch_of, build


def test_the_mean_of_a_skewed_value_is_recovered():
    """Of log y normal around z with deviation 1 the mean is exp(z + 1/2)."""
    random = np.random.default_rng(1)
    z = random.normal(size=400_000)
    observed = np.exp(z + random.normal(size=z.size))
    assert smear(observed, np.exp(z)) == pytest.approx(np.exp(0.5), rel=0.02)


@pytest.mark.parametrize(
    "observed, predicted, factor",
    [
        ([2.0, 4.0], [1.0, 2.0], 2.0),
        ([], [], 1.0),
        ([0.0, 0.0], [1.0, 1.0], 1.0),
        ([1.0], [-1.0], 1.0),
        ([1.0], [0.0], 1.0),
        ([np.nan], [1.0], 1.0),
        ([1e9], [1.0], MOST),
        ([1.0], [1e9], 1 / MOST),
    ],
)
def test_by_hand(observed, predicted, factor):
    assert smear(np.array(observed), np.array(predicted)) == pytest.approx(factor)


@pytest.mark.parametrize("smearing", ["factor", "levels"])
def test_what_is_served_has_the_mean_of_the_rows_that_set_the_factor(smearing):
    tasks = [dataclasses.replace(task, smearing=smearing) for task in TASKS]
    model, (features, labels, masks) = build(tasks=tasks), batch_of(64)
    for _ in range(3):
        model.train_step((features, labels, masks))
    numpy = [{k: v.numpy() for k, v in part.items()} for part in (labels, masks)]

    def foretold():
        return {k: v.numpy() for k, v in model.head.predict_tasks(features).items()}

    before, inside = foretold(), numpy[1]["watch"] > 0
    changed = model.smear(*numpy, before)
    after = foretold()
    np.testing.assert_allclose(changed["watch"], after["watch"], rtol=1e-5)
    np.testing.assert_array_equal(after["click"], before["click"])
    observed = numpy[0]["watch"][inside].sum()
    assert after["watch"][inside].sum() == pytest.approx(observed, rel=1e-5)
    assert before["watch"][inside].sum() != pytest.approx(observed, rel=0.01)
    again = model.smear(*numpy, after)  # what is set is set anew, not on top
    np.testing.assert_allclose(again["watch"], after["watch"], rtol=1e-5)


def test_no_step_moves_the_factor_and_it_is_saved():
    model = build()
    model.smears["watch"].assign(2.0)
    model.train_step(batch_of(16))
    assert float(model.smears["watch"]) == 2.0
    (name,) = [n for n in model.saved_weights() if "smear" in n]
    assert model.saved_weights()[name] is model.smears["watch"]
    assert all(v is not model.smears["watch"] for v in model.dense_variables)
    assert isinstance(model.smears["watch"], tf.Variable)


def test_a_curve_gives_each_level_the_mean_that_was_observed():
    """Of log y = 1.5 log f + noise no single factor is right, low and high."""
    random = np.random.default_rng(1)
    foretold = np.exp(random.normal(0, 0.6, 200_000))
    observed = foretold**1.5 * random.exponential(size=foretold.size)
    served = along(level_curve(observed, foretold), foretold)
    tenths = np.array_split(np.argsort(foretold), 10)
    ratios = {
        name: [values[rows].sum() / observed[rows].sum() for rows in tenths]
        for name, values in (
            ("along", served),
            ("factor", smear(observed, foretold) * foretold),
        )
    }
    np.testing.assert_allclose(ratios["along"], 1, atol=0.07)
    assert min(ratios["factor"]) < 0.8 and max(ratios["factor"]) > 1.2
    order = np.argsort(foretold)
    assert np.all(np.diff(served[order]) > 0)  # as it was foretold


def test_a_curve_by_hand():
    foretold = np.repeat(np.arange(1.0, 11), 2)
    observed = np.repeat([2.0, 8, 4, 10, 12, 14, 16, 18, 20, 40], 2)
    x, y = level_curve(observed, foretold)
    # 3 was observed lower than 2: both are one, at 2.5; what is left goes on
    assert x.tolist() == [0, 1, 2.5, 4, 5, 6, 7, 8, 9, 10, 20]
    np.testing.assert_allclose(y, [0, 2, 6, 10, 12, 14, 16, 18, 20, 40, 80], rtol=1e-12)
    some = np.array([0.5, 1.75, 4, 30])
    np.testing.assert_allclose(along((x, y), some), [1, 4, 10, 120])
    np.testing.assert_allclose(along((y, x), along((x, y), some)), some)
    tensor = along(
        tf.constant([x, y], tf.float32), tf.constant(some, tf.float32), tf.maximum
    )
    np.testing.assert_allclose(tensor, [1, 4, 10, 120], rtol=1e-6)


@pytest.mark.parametrize("foretold", [[], [np.nan, 1.0], [1.0, 2.0], [-1.0, -2.0]])
def test_what_says_nothing_leaves_all_as_it_is(foretold):
    curve = level_curve(np.zeros(len(foretold)), np.array(foretold))
    np.testing.assert_allclose(along(curve, np.array([0.5, 100.0])), [0.5, 100.0])


def test_what_was_foretold_below_0_is_lifted_and_keeps_its_order():
    """A net that learns log(1 + y) may go below 0, where a value never is."""
    foretold = np.linspace(-1.0, 9.0, 1000)
    observed = np.where(foretold < 0, 0.5, 2 * foretold + 1)
    served = along(level_curve(observed, foretold), foretold)
    assert np.all(np.diff(served) > 0) and served[0] == pytest.approx(0, abs=1e-9)
    for rows in np.array_split(np.arange(1000), 10):
        assert served[rows].sum() == pytest.approx(observed[rows].sum(), rel=0.13)
    # less steep below than after
    curve = level_curve(observed + 10, foretold)
    assert curve[1][0] > 9 and np.all(np.diff(curve) > 0)


@pytest.mark.parametrize(
    ("base", "width"), [(1e9, 100.0), (1e3, 1e-4), (1.0, 1e-6), (-3.0, 1e-3), (0.0, 1.0)]
)
def test_a_curve_of_values_that_hardly_differ_has_no_step_in_float32(base, width):
    random = np.random.default_rng(3)
    foretold = (base + width * random.random(500)).astype(np.float32)
    observed = np.abs(base + width * random.normal(size=500))
    curve = level_curve(observed, foretold).astype(np.float32)
    assert (np.diff(curve, axis=1) > 0).all()
    served = along(curve, foretold)
    assert np.isfinite(served).all() and np.isfinite(along(curve[::-1], served)).all()
