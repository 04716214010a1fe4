"""Sums of repeated ids, dense forms, global norm."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers.gradients import (
    global_norm,
    sum_duplicates,
    sum_rows,
    to_dense,
)
from tests.helpers import reference


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("n", [0, 1, 7, 200])
def test_sums_and_counts_equal_the_reference(n, dtype):
    random = np.random.default_rng(n)
    indices = random.integers(0, 20, n).astype(dtype)
    values = random.normal(size=[n, 3]).astype(np.float32)
    unknown = [tf.TensorSpec([None], dtype), tf.TensorSpec([None, 3], tf.float32)]
    for function in (sum_duplicates, tf.function(sum_duplicates, unknown)):
        unique, summed, counts = function(tf.constant(indices), tf.constant(values))
        expected = reference.sum_duplicates(indices, values)
        assert unique.numpy().tolist() == list(expected)  # order of first occurrence
        assert counts.dtype == tf.float32 and summed.shape == [len(expected), 3]
        for row, count, (total, times) in zip(
            summed, counts, expected.values(), strict=True
        ):
            np.testing.assert_allclose(row, total, rtol=1e-5, atol=1e-6)
            assert count == times


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_a_row_that_is_not_finite_stays_where_it_is(dtype):
    values = tf.constant([[1, 2], [np.nan, np.inf], [3, 4], [5, 6]], dtype)
    summed = sum_rows(values, tf.constant([2, 1, 2, 0]), 4)
    assert summed.dtype == dtype
    expected = [[5, 6], [np.nan, np.inf], [4, 6], [0, 0]]
    np.testing.assert_array_equal(summed, expected)


def test_to_dense_sums_and_passes_dense_through():
    g = tf.IndexedSlices(tf.ones([3, 2]), tf.constant([1, 1, 3]), tf.constant([4, 2]))
    np.testing.assert_array_equal(to_dense(g), [[0, 0], [2, 2], [0, 0], [1, 1]])
    dense = tf.ones([2])
    assert to_dense(dense) is dense


def test_global_norm_leaves_out_what_will_be_skipped():
    tensors = [tf.constant([3.0]), tf.constant([[4.0]], tf.float16)]
    assert global_norm(tensors) == 5
    for bad in (np.nan, np.inf, 1e25):
        assert global_norm([*tensors, tf.constant([1.0, bad])]) == 5
    assert np.isinf(global_norm([tf.fill([9], 1.5e19)]))
