"""Losses per example and their mean over a task's own sample space.

What a mask hides may be NaN: it reaches neither the loss nor the gradient.  The loss of
an example without label is NaN going forward, so that a forgotten mask is seen at once,
but its gradient is zero (``tf.where`` before *and* after the formula).
"""

import math

import tensorflow as tf

TINY = 1e-30  # of a probability whose logarithm is taken


def masked_mean(values, mask, count):
    """``L_k = sum_i d_ik loss_k(i) / count`` (PLE, section 4.3).

    Args:
        values: float ``[B]``, losses; anything where the mask is 0.
        mask: float ``[B]``, d_ik: 1 inside of the task's sample space, else 0.
        count: Scalar, the number of ones of the mask in the *global* batch: a replica's
            own count would weigh its examples differently from another's.

    Returns:
        Scalar; 0 with zero gradient where count is 0.  Replicas' results add up.
    """
    inside = tf.where(mask > 0, values, tf.zeros_like(values))
    total = tf.reduce_sum(inside * tf.cast(mask, values.dtype))
    return tf.math.divide_no_nan(total, tf.cast(count, values.dtype))


def binary_cross_entropy(labels, logits):
    """``-y log p - (1 - y) log(1 - p)`` with ``p = sigmoid(logit)``, finite for any logit.

    Args:
        labels: float ``[B]``, 0 to 1; NaN where there is none.
        logits: float ``[B]``.

    Returns:
        ``[B]``, NaN (with zero gradient) where the label is.
    """
    missing, known = _split(labels, logits.dtype)
    loss = tf.nn.sigmoid_cross_entropy_with_logits(known, logits)
    return tf.where(missing, _nan(loss), loss)


def squared_error(labels, predictions):
    """``(y - prediction)^2``.

    Args:
        labels: float ``[B]``; NaN where there is none.
        predictions: float ``[B]``.

    Returns:
        ``[B]``, NaN (with zero gradient) where the label is.
    """
    missing, known = _split(labels, predictions.dtype)
    loss = tf.square(known - predictions)
    return tf.where(missing, _nan(loss), loss)


def tweedie(labels, z, rho):
    """``-y e^((1 - rho) z) / (1 - rho) + e^((2 - rho) z) / (2 - rho)``.

    Least at ``e^z = E y``: the part of a Tweedie distribution's negative log likelihood,
    of mean ``e^z`` and power rho, that ``z`` moves: of values that are often 0 and have a
    long tail.

    Reference: Jorgensen, The Theory of Dispersion Models (1997), chapter 4.

    Args:
        labels: float ``[B]``, at least 0; NaN where there is none.
        z: float ``[B]``, logarithms of means.
        rho: A scalar above 1 and below 2: towards 1 more like Poisson's, towards 2
            like gamma's.

    Returns:
        ``[B]``, NaN (with zero gradient) where the label is.
    """
    missing, known = _split(labels, z.dtype)
    loss = known * tf.exp((1 - rho) * z) / (rho - 1) + tf.exp((2 - rho) * z) / (2 - rho)
    return tf.where(missing, _nan(loss), loss)


def gamma(labels, z):
    """``y e^-z + z``, least at ``e^z = E y``: of values above 0, spread as their size.

    Args:
        labels: float ``[B]``, above 0; NaN where there is none.
        z: float ``[B]``, logarithms of means.

    Returns:
        ``[B]``, NaN (with zero gradient) where the label is.
    """
    missing, known = _split(labels, z.dtype)
    loss = known * tf.exp(-z) + z
    return tf.where(missing, _nan(loss), loss)


def weighted_logistic(labels, z):
    """``-y log p - log(1 - p)``, ``p = sigmoid(z)``, least at ``p / (1 - p) = e^z = E y``.

    Each row is a negative of weight 1 and a positive of weight y, so that the odds are the
    mean itself, where the published form (positives of weight y, the others negatives)
    has it but for the share of positives.

    Reference: Covington et al. (RecSys 2016), section 4.2.

    Args:
        labels: float ``[B]``, at least 0; NaN where there is none.
        z: float ``[B]``, log odds.

    Returns:
        ``[B]``, NaN (with zero gradient) where the label is.
    """
    missing, known = _split(labels, z.dtype)
    loss = known * tf.nn.softplus(-z) + tf.nn.softplus(z)
    return tf.where(missing, _nan(loss), loss)


def distilled(labels, soft, w):
    """``(1 - w) y + w q``, y itself where no q is known.

    Of a loss that is a straight line in its label, as cross entropy and the losses of
    means are, it gives ``(1 - w) loss(y) + w loss(q)``; of the squared error what differs
    from that is no matter of the prediction.

    Reference: Hinton et al., Distilling the Knowledge in a Neural Network (2015), section
    2, at temperature 1.

    Args:
        labels: float ``[B]``, y; NaN where there is none.
        soft: float ``[B]``, q, what a teacher foretold; NaN where it did not.
        w: A scalar, 0 to 1: the share of q.

    Returns:
        ``[B]``, NaN where the label is.
    """
    return tf.where(tf.math.is_nan(soft), labels, (1 - w) * labels + w * soft)


def product_cross_entropy(labels, logits):
    """``-y log p - (1 - y) log(1 - p)`` with ``p = prod_k sigmoid(logit_k)``.

    Reference: Ma et al., ESMM (SIGIR 2018), equation 3: a click and a conversion, over all
    impressions.

    Args:
        labels: float ``[B]``, 1 where all of the chain came to be, else 0.
        logits: float ``[B, K]``, each one's given those before it.

    Returns:
        ``[B]``, finite for any logits.
    """
    log_p = -tf.reduce_sum(tf.nn.softplus(-logits), axis=1)
    near = log_p > -math.log(2.0)  # where 1 - p is small, and exact as -expm1
    safe = tf.where(near, log_p, -1.0), tf.where(near, -1.0, log_p)
    small = tf.maximum(-tf.math.expm1(safe[0]), TINY)
    log_not = tf.where(near, tf.math.log(small), tf.math.log1p(-tf.exp(safe[1])))
    return -labels * log_p - (1.0 - labels) * log_not


def sampled_softmax(states, true, sampled, labels, *, ids, log_expected):
    """``-log softmax`` over the label and some sampled classes, logits less ``log Q``.

    A sampled class that is the example's label counts once: its sample is left out.

    Reference: Jean et al. (ACL 2015), section 3; as TensorFlow's of the same name, from
    rows that were gathered before.

    Args:
        states: float ``[N, D]``.
        true: float ``[N, D + 1]``, weights and bias of each label.
        sampled: float ``[S, D + 1]``, of the sampled classes.
        labels: int ``[N]``.
        ids: int ``[S]``, the sampled classes.
        log_expected: ``(float [N], float [S])``, the logarithm of how often the sampler is
            expected to draw each.

    Returns:
        ``[N]``.
    """
    of_true = tf.reduce_sum(states * true[:, :-1], axis=1) + true[:, -1] - log_expected[0]
    bias = sampled[:, -1] - log_expected[1]
    logits = tf.nn.bias_add(tf.matmul(states, sampled[:, :-1], transpose_b=True), bias)
    hit = labels[:, tf.newaxis] == ids[tf.newaxis, :]
    logits = tf.where(hit, tf.constant(-1e9, logits.dtype), logits)
    largest = tf.maximum(tf.reduce_max(tf.stop_gradient(logits), axis=1), of_true)
    largest = tf.stop_gradient(largest)
    others = tf.reduce_sum(tf.exp(logits - largest[:, tf.newaxis]), axis=1)
    return tf.math.log(others + tf.exp(of_true - largest)) + largest - of_true


def _split(labels, dtype):
    labels = tf.cast(labels, dtype)
    missing = tf.math.is_nan(labels)
    return missing, tf.where(missing, tf.zeros_like(labels), labels)


def _nan(like):
    return tf.fill(tf.shape(like), tf.constant(float("nan"), like.dtype))
