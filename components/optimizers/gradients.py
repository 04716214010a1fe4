"""Sparse gradients: one summed row per id, with the number of times it occurred.

B batch, N gathered rows (ids repeat), U unique ids, D width.
"""

import tensorflow as tf


def sum_duplicates(indices, values):
    """Sums the gradient rows of repeated ids and counts the repetitions.

    Everything that looks at the gradient of an *id* (a square, a norm, a clip) must
    see the sum: summing afterwards gives a different, wrong number.

    Args:
        indices: int ``[N]``, the rows of the table that were read; N may be 0.
        values: float ``[N, D]``, the gradient of each reading.

    Returns:
        ``(unique [U], summed [U, D], counts [U] float32)``; ids come in the order of
        their first occurrence, so the result is the same in every run on a CPU.
    """
    unique, positions, counts = tf.unique_with_counts(indices)
    summed = sum_rows(values, positions, tf.size(unique))
    return unique, summed, tf.cast(counts, tf.float32)


def sum_rows(values, positions, count):
    """Sums the rows that share a position.

    A product with a sparse matrix of ones.  ``tf.math.unsorted_segment_sum`` gives the
    same, but on a CPU each of its threads walks over all rows.

    Args:
        values: float ``[N, D]``; N may be 0.
        positions: int ``[N]``, each below ``count``.
        count: U, an int scalar.

    Returns:
        ``[U, D]``, added up in the order of the rows.
    """
    positions = tf.cast(positions, tf.int64)
    rows = tf.size(positions, tf.int64)
    return tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=tf.stack([positions, tf.range(rows)], axis=1),
        a_values=tf.ones([rows], values.dtype),
        a_shape=tf.stack([tf.cast(count, tf.int64), rows]),
        b=values,
    )


def count_repeats(positions, wanted):
    """How often a row stands in a sample beyond the first time, over all samples.

    Args:
        positions: int ``[B, M]``, the rows that each sample reads, each below U.
        wanted: bool ``[U]``, of which rows it is asked; 0 is said of others.

    Returns:
        float32 ``[U]``.
    """

    shape, count = tf.shape(positions, tf.int64), tf.size(wanted, tf.int64)
    flat = tf.reshape(positions, [-1])
    asked = tf.where(tf.gather(wanted, flat))[:, 0]
    flat, sample = tf.gather(flat, asked), asked // tf.maximum(shape[1], 1)

    def counted(dtype):
        size = tf.cast(shape[0], dtype)
        pairs = tf.cast(flat, dtype) * size + tf.cast(sample, dtype)
        pairs, _, times = tf.unique_with_counts(pairs)
        rows = pairs // tf.maximum(size, 1)
        return tf.math.unsorted_segment_sum(tf.cast(times - 1, tf.float32), rows, count)

    small = count * shape[0] <= tf.int32.max  # a third faster
    return tf.cond(small, lambda: counted(tf.int32), lambda: counted(tf.int64))


def to_dense(gradient):
    """Turns ``IndexedSlices`` into the dense tensor it stands for, repetitions summed.

    Args:
        gradient: ``tf.IndexedSlices`` of ``[rows, ...]``, or a tensor.

    Returns:
        ``[rows, ...]``; a tensor comes back as it is.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows = gradient.dense_shape[0]
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, rows)


def global_norm(gradients):
    """L2 norm over all coordinates of the dense tensors that an optimizer would use.

    A tensor with a coordinate whose square is not finite is left out: its own step
    is skipped, and it must not stop the steps of the others.

    Args:
        gradients: Non-empty sequence of dense tensors of any shapes and float types.

    Returns:
        float32 scalar; infinite where finite squares overflow in their sum.
    """
    total = 0.0
    for gradient in gradients:
        square = tf.square(tf.cast(gradient, tf.float32))
        finite = tf.reduce_all(tf.math.is_finite(square))
        total += tf.where(finite, tf.reduce_sum(square), 0.0)
    return tf.sqrt(total)
