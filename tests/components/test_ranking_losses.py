"""Losses of the order within groups, against loops over pairs and lists."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components import ranking_losses


def drawn(seed, rows=40, groups=5):
    random = np.random.default_rng(seed)
    y, z = (random.random(rows) < 0.4).astype(np.float32), random.normal(size=rows) * 3
    return (
        y,
        z.astype(np.float32),
        random.integers(0, groups, rows),
        random.random(rows) < 0.8,
    )


def naive_pairwise(y, z, groups, inside):
    losses = np.zeros(len(z))
    for group in set(groups):
        rows = [i for i in range(len(z)) if groups[i] == group]
        for a, i in enumerate(rows):
            for j in rows[a + 1 : a + 1 + ranking_losses.NEIGHBOURS]:
                if inside[i] and inside[j] and y[i] != y[j]:
                    up, down = (i, j) if y[i] else (j, i)
                    pair = np.log1p(np.exp(-(z[up] - z[down])))
                    losses[i] += pair / (2 * ranking_losses.NEIGHBOURS)
                    losses[j] += pair / (2 * ranking_losses.NEIGHBOURS)
    return losses


def share(f, i, groups, inside):
    of = [np.exp(f[j]) for j in range(len(f)) if groups[j] == groups[i] and inside[j]]
    return -np.log(np.exp(f[i]) / np.sum(of))


def naive_listwise(y, z, groups, inside):
    return np.array(
        [share(z, i, groups, inside) if inside[i] and y[i] else 0 for i in range(len(z))]
    )


def naive_jrc(y, z, groups, inside):
    f = (-z / 2, z / 2)
    return np.array(
        [share(f[int(y[i])], i, groups, inside) if inside[i] else 0 for i in range(len(z))]
    )


NAIVE = {"pairwise": naive_pairwise, "listwise": naive_listwise, "jrc": naive_jrc}


@pytest.mark.parametrize("loss", NAIVE)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_is_what_loops_over_pairs_and_lists_give(loss, seed):
    rows = drawn(seed, *((90, 2) if seed == 3 else ()))  # groups beyond the neighbours
    found = getattr(ranking_losses, loss)(*map(tf.constant, rows))
    np.testing.assert_allclose(found, NAIVE[loss](*rows), atol=1e-5)
    assert np.abs(found).sum() > 0


@pytest.mark.parametrize("loss", NAIVE)
def test_what_is_outside_is_nowhere_even_as_nan(loss):
    y, z, groups, inside = drawn(4)
    other = np.where(inside, y, np.float32("nan"))
    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = tf.reduce_sum(getattr(ranking_losses, loss)(other, z, groups, inside))
    gradient = tf.convert_to_tensor(tape.gradient(total, z)).numpy()
    assert np.isfinite(total) and np.all(gradient[~inside] == 0)
    wanted = NAIVE[loss](y, z.numpy(), groups, inside).sum()
    assert float(total) == pytest.approx(wanted, rel=1e-5)
    h = 1e-2
    for i in np.flatnonzero(inside)[:5]:
        up, down = z.numpy().astype(float), z.numpy().astype(float)
        up[i] += h
        down[i] -= h
        slope = NAIVE[loss](y, up, groups, inside).sum()
        slope -= NAIVE[loss](y, down, groups, inside).sum()
        assert gradient[i] == pytest.approx(slope / (2 * h), abs=1e-3)


@pytest.mark.parametrize("loss", NAIVE)
def test_a_group_shifted_as_a_whole_is_as_before_and_an_empty_batch_is_none(loss):
    y, z, groups, inside = drawn(5)
    function = getattr(ranking_losses, loss)
    shifted = z + 2 * groups.astype(np.float32)
    np.testing.assert_allclose(
        function(y, z, groups, inside), function(y, shifted, groups, inside), atol=1e-5
    )
    assert not len(function(y[:0], z[:0], groups[:0], inside[:0]))
