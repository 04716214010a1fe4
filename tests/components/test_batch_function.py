"""One trace for batches of any size, on one replica and on several."""

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction


def test_it_is_traced_once_however_many_rows_there_are():
    traces = []

    def weighted(features, weight):
        traces.append(features["x"].shape)
        return tf.reduce_sum(features["x"], axis=1) * weight

    function = BatchFunction(weighted)
    for rows in (4, 1, 0, 7):
        x, weight = np.ones([rows, 3], np.float32), np.arange(rows, dtype=np.float32)
        found = function({"x": tf.constant(x)}, weight)
        np.testing.assert_array_equal(found, 3 * weight)
    assert traces == [(None, 3)]


def test_replicas_may_hold_different_numbers_of_rows(two_replicas):
    traces = []

    def total(values):
        traces.append(1)
        each = two_replicas.run(tf.reduce_sum, (values,))
        return two_replicas.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)

    dataset = tf.data.Dataset.range(1, 8).map(lambda i: tf.cast(i, tf.float32)).batch(4)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    distributed = two_replicas.experimental_distribute_dataset(
        dataset.with_options(options)
    )
    function = BatchFunction(total)
    assert [float(function(batch)) for batch in distributed] == [10.0, 18.0]
    assert len(traces) == 1
