"""NextItNet's layer in few passes over memory: causal convolution, LayerNorm, ReLU.

N = T * B rows, ordered by position, then by sequence: to look q positions back is then to
look q * B rows up, whatever the sequence, and a shift is one copy of one piece of memory.
D width, F outputs.
"""

import tensorflow as tf

KERNEL_SIZE = 3
EPSILON = 1e-8  # of LayerNorm, as published


def to_rows(x):
    """``[B, T, D]`` to ``[T * B, D]``.

    Args:
        x: ``[B, T, D]``.

    Returns:
        ``[T * B, D]``.
    """
    return tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, x.shape[-1]])


def from_rows(rows, batch):
    """``[T * B, D]`` back to ``[B, T, D]``.

    Args:
        rows: ``[T * B, D]``.
        batch: B, an int scalar.

    Returns:
        ``[B, T, D]``.
    """
    return tf.transpose(tf.reshape(rows, [-1, batch, rows.shape[-1]]), [1, 0, 2])


def convolution(x, kernel, back):
    """``y_n = x_{n-2s} K_0 + x_{n-s} K_1 + x_n K_2``, zeros before the first row.

    Three products, of the rows that have something so far above them: on a CPU faster
    than three shifted copies and one product, with XLA and without.

    Args:
        x: ``[N, D]``.
        kernel: ``[3, D, F]``.
        back: s, in rows.

    Returns:
        ``[N, F]``.
    """
    once, twice, count = _reaches(x, back)
    y0 = tf.matmul(x[: count - twice], kernel[0])
    y1 = tf.matmul(x[: count - once], kernel[1])
    y2 = tf.matmul(x, kernel[2])
    between = twice - once
    late = y2[twice:] + y1[between:] + y0
    return tf.concat([y2[:once], y2[once:twice] + y1[:between], late], axis=0)


def _to_inputs(dy, kernel, back):
    once, twice, count = _reaches(dy, back)
    d0 = tf.matmul(dy[twice:], kernel[0], transpose_b=True)
    d1 = tf.matmul(dy[once:], kernel[1], transpose_b=True)
    d2 = tf.matmul(dy, kernel[2], transpose_b=True)
    early, last = count - twice, count - once
    return tf.concat(
        [d2[:early] + d1[:early] + d0, d2[early:last] + d1[early:], d2[last:]], axis=0
    )


def _to_kernel(x, dy, back):
    once, twice, count = _reaches(x, back)
    starts = (twice, once, 0)
    parts = [tf.matmul(x[: count - s], dy[s:], transpose_a=True) for s in starts]
    return tf.stack(parts)


def _reaches(x, back):
    count = tf.shape(x)[0]
    return tf.minimum(back, count), tf.minimum(2 * back, count), count


def convolution_norm_relu(x, kernel, bias, gamma, *, beta, back):
    """``relu(LN(y))``, ``y_n = x_{n-2s} K_0 + x_{n-s} K_1 + x_n K_2 + b``, s rows back.

    LayerNorm's centring of y is linear in the kernel and the bias, and done there; its
    other sums are products with vectors, which a CPU is faster at than at reductions.
    The gradient is written out: it keeps y, each row's scale and which outputs were
    above zero.

    Reference: NextItNet (WSDM 2019), section 3.2.

    Args:
        x: ``[N, D]``, rows ordered by position, then by sequence.
        kernel: ``[3, D, F]``, the oldest position first.
        bias: ``[F]``.
        gamma: ``[F]``, LayerNorm's gain.
        beta: ``[F]``, LayerNorm's bias.
        back: s, the dilation times the number of sequences.

    Returns:
        ``[N, F]``.
    """
    outputs = kernel.shape[-1]
    mean = tf.fill([outputs, 1], tf.constant(1 / outputs, x.dtype))

    @tf.custom_gradient
    def compute(x, kernel, bias, norm):
        k, (gamma, beta) = _centred(kernel), norm
        y = tf.nn.bias_add(convolution(x, k, back), _centred(bias))
        scale = tf.math.rsqrt(tf.matmul(tf.square(y), mean) + EPSILON)
        z = tf.nn.relu(y * scale * gamma + beta)

        def gradient(dz):
            ones = tf.ones([1, tf.shape(y)[0]], y.dtype)
            normal, d = y * scale, tf.where(z > 0, dz, tf.zeros([], dz.dtype))
            g = d * gamma
            dy = scale * (g - normal * tf.matmul(g * normal, mean))
            return (
                _to_inputs(dy, k, back),
                _centred(_to_kernel(x, dy, back)),
                _centred(tf.matmul(ones, dy)[0]),
                (tf.matmul(ones, d * normal)[0], tf.matmul(ones, d)[0]),
            )

        return z, gradient

    norm = tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)
    return compute(x, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias), norm)


def _centred(y):
    return y - tf.reduce_mean(y, axis=-1, keepdims=True)
