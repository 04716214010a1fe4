"""Values that were learned as a logarithm have the mean that was observed."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.smearing import MOST, along, level_curve, smear
from tests.helpers.ranker import batch_of, build


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


def test_what_is_served_has_the_mean_of_the_rows_that_set_the_factor():
    model, (features, labels, masks) = build(), batch_of(64)
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
    foretold, observed = np.array([1.0, 2, 3, 4]), np.array([2.0, 8, 4, 10])
    x, y = level_curve(observed, foretold, levels=4)
    # 3 was observed lower than 2: both are one, at 2.5
    assert (x.tolist(), y.tolist()) == ([1, 2.5, 4], [2, 6, 10])
    np.testing.assert_allclose(along((x, y), np.array([0.5, 1.75, 4, 8])), [1, 4, 10, 20])
    nothing = level_curve(np.zeros(4), foretold)
    assert along(nothing, foretold).tolist() == foretold.tolist()
    assert along(level_curve(observed[:0], foretold[:0]), foretold) is foretold
