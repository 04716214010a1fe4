"""Losses of the order within groups of rows, such as those of one request.

Each gives a loss to every row, in O(B), to be added to the row's own cross entropy: that
keeps what is foretold a probability.  A row outside of the mask takes no part.
"""

import tensorflow as tf

NEIGHBOURS = 16  # of a row, in its group, that it is paired with on either side


def pairwise(labels, z, segments, inside):
    """``log(1 + e^-(z_i - z_j))`` of pairs of a group with ``y_i = 1`` and ``y_j = 0``.

    Rows are paired with the ``NEIGHBOURS`` that follow them in their group, in the order
    of the batch: all rows of a group of no more, and a random sample of a larger one.
    Each pair counts by half in either row, divided by ``NEIGHBOURS``.

    Reference: Burges et al., RankNet (ICML 2005).

    Args:
        labels: float ``[B]``, 0 or 1; anything outside of the mask.
        z: float ``[B]``, logits.
        segments: int ``[B]``, numbers of groups.
        inside: bool ``[B]``.

    Returns:
        float ``[B]``.
    """
    order = tf.argsort(segments, stable=True)
    y, z, inside, segments = (tf.gather(x, order) for x in (labels, z, inside, segments))
    z, rows, losses = tf.where(inside, z, 0.0), tf.size(z), tf.zeros_like(z)
    for k in range(1, NEIGHBOURS + 1):
        y_k, z_k, inside_k, segments_k = (
            tf.roll(x, -k, 0) for x in (y, z, inside, segments)
        )
        paired = (segments == segments_k) & inside & inside_k & (y != y_k)
        paired &= tf.range(rows) + k < rows
        gap = tf.where(y > y_k, z - z_k, z_k - z)
        pair = tf.where(paired, tf.nn.softplus(-gap), 0.0) / (2 * NEIGHBOURS)
        losses += pair + tf.roll(pair, k, 0)
    return tf.gather(losses, tf.argsort(order))


def listwise(labels, z, segments, inside):
    """``-y_i log (e^z_i / sum_j e^z_j)`` over the rows j of i's group.

    Reference: Cao et al., ListNet (ICML 2007), of one-hot labels.

    Args:
        labels: float ``[B]``, 0 or 1; anything outside of the mask.
        z: float ``[B]``, logits.
        segments: int ``[B]``, numbers of groups.
        inside: bool ``[B]``.

    Returns:
        float ``[B]``.
    """
    shares = _log_shares(z, segments, inside)
    return tf.where(inside & (labels > 0.5), -shares, 0.0)


def jrc(labels, z, segments, inside):
    """``-log (e^f_i / sum_j e^f_j)``, f the logit of i's own label: of all rows, and not of
    the positives alone.

    f is z / 2 of a positive and -z / 2 of a negative, which are JRC's two logits of one
    whose cross entropy is the same.

    Reference: Sheng et al., JRC (KDD 2023).

    Args:
        labels: float ``[B]``, 0 or 1; anything outside of the mask.
        z: float ``[B]``, logits.
        segments: int ``[B]``, numbers of groups.
        inside: bool ``[B]``.

    Returns:
        float ``[B]``.
    """
    shares = [_log_shares(sign * z / 2, segments, inside) for sign in (1.0, -1.0)]
    return tf.where(inside, -tf.where(labels > 0.5, *shares), 0.0)


def _log_shares(z, segments, inside):
    """Logarithm of each row's share of its group's sum of exponents; 0 outside."""
    count = tf.size(z)  # of groups, at most
    z = tf.where(inside, z, 0.0)
    low = tf.where(inside, tf.stop_gradient(z), z.dtype.min)
    z -= tf.gather(tf.math.unsorted_segment_max(low, segments, count), segments)
    exponents = tf.where(inside, tf.exp(tf.where(inside, z, 0.0)), 0.0)
    total = tf.math.unsorted_segment_sum(exponents, segments, count)
    total = tf.where(inside, tf.gather(total, segments), 1.0)
    return tf.where(inside, z - tf.math.log(total), 0.0)
