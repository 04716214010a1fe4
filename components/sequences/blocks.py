"""Residual blocks of sequence models, causal, with StackRec's learnable weight alpha.

Two classes serve four published models: NextItNet and GRec are made of ``NextItNetBlock``
(GRec differs in its training, on inputs with items masked), SASRec and SSE-PT of
``SASRecBlock`` (SSE-PT's vectors hold the user's beside the item's, and ids are shared at
random by ``StochasticSharedIds``).

B batch, T positions, oldest first, D width, H heads.
"""

import math

import tensorflow as tf

from steadyrank.components.sequences.causal_convolution import (
    EPSILON,
    KERNEL_SIZE,
    convolution_norm_relu,
    from_rows,
    to_rows,
)

_MASKED = -1e9  # a score that leaves nothing in a softmax


def causal_attention(query, key, value, mask=None):
    """``softmax(q k' / sqrt(d)) v`` over the positions up to one's own.

    Reference: SASRec (ICDM 2018), section 3.2.

    Args:
        query: ``[B, H, T, d]``.
        key: ``[B, H, T, d]``.
        value: ``[B, H, T, d]``.
        mask: bool ``[B, T]``, False at padding, which no position sees; None: all are seen.

    Returns:
        ``[B, H, T, d]``; what stands at padding means nothing.
    """
    length = tf.shape(query)[2]
    place = tf.range(length)
    seen = place[tf.newaxis, :] <= place[:, tf.newaxis]
    if mask is not None:
        seen = tf.logical_and(seen, mask[:, tf.newaxis, tf.newaxis, :])
    scores = tf.matmul(query, key, transpose_b=True) / math.sqrt(query.shape[-1])
    scores = tf.where(seen, scores, tf.constant(_MASKED, scores.dtype))
    return tf.matmul(tf.nn.softmax(scores), value)


def receptive_field(dilations):
    """Positions that an output of NextItNet blocks depends on, its own among them.

    Args:
        dilations: Of each block; with 1, 4, 1, 4, ... it is 1 + 15 for each block.

    Returns:
        int.

    Example:

    >>> receptive_field([1, 4])
    31
    """
    return 1 + sum((KERNEL_SIZE - 1) * (q + 2 * q) for q in dilations)


def _offset(seed, number):
    return None if seed is None else seed + number


def _layer_norm(name):
    return tf.keras.layers.LayerNormalization(epsilon=EPSILON, name=name)


def _build(layer, input_shape):
    # within a name of its own, so that every weight of a block can be told by its name
    with tf.name_scope(layer.name):
        layer.build(input_shape)


class _Residual(tf.keras.layers.Layer):
    """``x + alpha F(x)``: creates the alphas, scalars that all start alike."""

    def __init__(self, alpha, alpha_start, seed, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha
        self.alpha_start = alpha_start
        self.seed = seed
        self.supports_masking = True

    def _add_alpha(self, name):
        if not self.alpha:
            return None
        start = tf.keras.initializers.Constant(self.alpha_start)
        return self.add_weight(name, [], initializer=start)

    def get_config(self):
        """Every argument of ``__init__``."""
        names = ("alpha", "alpha_start", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _scaled(branch, alpha):
    return branch if alpha is None else alpha * branch


@tf.keras.utils.register_keras_serializable("steadyrank")
class NextItNetBlock(_Residual):
    """Two dilated causal convolutions: ``x + alpha F(x)``.

    F: convolution of dilation q, LayerNorm, ReLU, convolution of dilation 2q, LayerNorm,
    ReLU.  Without a mask padding is an item like others, as in the published code; with
    one it is as if the sequence began after it.

    Reference: StackRec (SIGIR 2021), section 3.2; NextItNet (WSDM 2019), figure 3.

    Args:
        dilation: q; the published nets alternate 1 and 4.
        alpha: Whether alpha is learned; False: it is 1, the original NextItNet.
        alpha_start: Where it starts: 0 as in StackRec.
        seed: Start of the kernels' seeds; None: from Keras' global seed.

    Call arguments:
        x: ``[B, T, D]``.
        mask: bool ``[B, T]``, False at padding; or None.

    Output shape:
        ``[B, T, D]``.

    Example:

    >>> NextItNetBlock(dilation=4, seed=1)(tf.ones([2, 5, 8])).shape
    TensorShape([2, 5, 8])
    """

    def __init__(self, dilation=1, alpha=True, alpha_start=0.0, seed=None, **kwargs):
        super().__init__(alpha, alpha_start, seed, **kwargs)
        if dilation < 1:
            raise ValueError(
                f"dilation must be at least 1. Received: dilation={dilation}. Use 1 or 4."
            )
        self.dilation = dilation
        self._norms = [_layer_norm(f"norm_{i}") for i in range(2)]

    def build(self, input_shape):
        """Creates two kernels ``[3, D, D]``, their biases, and alpha."""
        width = input_shape[-1]
        self._kernels, self._biases = [], []
        for i in range(2):
            start = tf.keras.initializers.TruncatedNormal(
                stddev=0.02, seed=_offset(self.seed, i)
            )
            shape = [KERNEL_SIZE, width, width]
            self._kernels.append(self.add_weight(f"kernel_{i}", shape, initializer=start))
            self._biases.append(self.add_weight(f"bias_{i}", [width], initializer="zeros"))
            _build(self._norms[i], input_shape)
        self._alpha = self._add_alpha("alpha")
        super().build(input_shape)

    def call(self, x, mask=None):
        """Applies the block."""
        batch, rows = tf.shape(x)[0], to_rows(x)
        real = None if mask is None else to_rows(tf.cast(mask, x.dtype)[..., tf.newaxis])
        hidden = rows
        for i, norm in enumerate(self._norms):
            hidden = convolution_norm_relu(
                hidden if real is None else hidden * real,
                self._kernels[i],
                self._biases[i],
                norm.gamma,
                beta=norm.beta,
                back=(self.dilation << i) * batch,
            )
        y = from_rows(rows + _scaled(hidden, self._alpha), batch)
        y.set_shape(x.shape)
        return y

    def get_config(self):
        """Every argument of ``__init__``."""
        return {**super().get_config(), "dilation": self.dilation}


@tf.keras.utils.register_keras_serializable("steadyrank")
class SASRecBlock(_Residual):
    """Causal self-attention, then a feed-forward net at each position.

    ``y = LN(x + a1 Attention(x))``, ``LN(y + a2 FFN(y))``, as StackRec has it.  With
    ``normalize_first`` it is ``y = x + a1 Attention(LN(x))``, ``y + a2 FFN(LN(y))``,
    SASRec's own
    form: with both alphas at 0 such a block is exactly the identity.

    Reference: StackRec (SIGIR 2021), its SASRec; SASRec (ICDM 2018), section 3.2.

    Args:
        heads: H, which must divide D; 1 as published.
        dropout: Rate after attention and feed-forward net; 0 as in StackRec.
        alpha: Whether a1 and a2 are learned; False: they are 1.
        alpha_start: Where they start: 0 as in StackRec.
        normalize_first: Whether LayerNorm stands before each part, or after the sum.
        seed: Start of the seeds; None: from Keras' global seed.

    Call arguments:
        x: ``[B, T, D]``.
        mask: bool ``[B, T]``, False at padding, which is not attended to; or None.
        training: Whether dropout acts.

    Output shape:
        ``[B, T, D]``.

    Example:

    >>> SASRecBlock(heads=2, seed=1)(tf.ones([2, 5, 8])).shape
    TensorShape([2, 5, 8])
    """

    def __init__(
        self,
        heads=1,
        dropout=0.0,
        alpha=True,
        alpha_start=0.0,
        *,
        normalize_first=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(alpha, alpha_start, seed, **kwargs)
        self.heads = heads
        self.dropout = dropout
        self.normalize_first = normalize_first
        self._norms = [_layer_norm(f"norm_{i}") for i in range(2)]
        self._drops = [
            tf.keras.layers.Dropout(dropout, seed=_offset(seed, 8 + i)) for i in range(2)
        ]

    def build(self, input_shape):
        """Creates the attention's kernel ``[D, 3 D]``, the feed-forward net, the alphas."""
        width = input_shape[-1]
        if width % self.heads:
            raise ValueError(
                f"heads must divide the width {width}. Received: heads={self.heads}. "
                "Use 1, or another divisor."
            )
        limit = math.sqrt(3 / width)  # Glorot's for [D, D], of which this is three
        start = tf.keras.initializers.RandomUniform(-limit, limit, _offset(self.seed, 2))
        shape = [width, 3 * width]
        self._attention = self.add_weight("query_key_value", shape, initializer=start)
        self._attention_bias = self.add_weight(
            "query_key_value_bias", [3 * width], initializer="zeros"
        )
        self._feed_forward = [
            tf.keras.layers.Dense(
                width,
                activation,
                kernel_initializer=tf.keras.initializers.GlorotUniform(
                    _offset(self.seed, i)
                ),
                name=f"feed_forward_{i}",
            )
            for i, activation in enumerate(("relu", None))
        ]
        for layer in (*self._norms, *self._feed_forward):
            _build(layer, input_shape)
        self._alphas = [self._add_alpha(f"alpha_{i}") for i in range(2)]
        super().build(input_shape)

    def call(self, x, mask=None, training=None):
        """Applies the block."""
        parts = (lambda z: self._attend(z, mask), self._feed)
        for part, alpha, norm, drop in zip(
            parts, self._alphas, self._norms, self._drops, strict=True
        ):
            branch = drop(part(norm(x) if self.normalize_first else x), training=training)
            x = x + _scaled(branch, alpha)
            x = x if self.normalize_first else norm(x)
        return x

    def _attend(self, x, mask):
        length, width = tf.shape(x)[1], x.shape[-1]
        flat = tf.matmul(tf.reshape(x, [-1, width]), self._attention)
        flat = tf.nn.bias_add(flat, self._attention_bias)
        heads = tf.reshape(flat, [-1, length, 3, self.heads, width // self.heads])
        query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
        attended = causal_attention(query, key, value, mask)
        return tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, length, width])

    def _feed(self, x):
        for dense in self._feed_forward:
            x = dense(x)
        return x

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "dropout": self.dropout,
            "normalize_first": self.normalize_first,
        }


@tf.keras.utils.register_keras_serializable("steadyrank")
class StochasticSharedIds(tf.keras.layers.Layer):
    """Replaces ids at random, in training: embeddings are then shared at random.

    Reference: SSE-PT (RecSys 2020), section 3; Wu et al. (NeurIPS 2019), SSE-SE.

    Args:
        rows: Ids are drawn from 1 to ``rows - 1``; 0 is padding and stays what it is.
        rate: Share of the ids that are replaced: in StackRec's code .8 of the users, .01
            of the items.
        seed: Of the draws; None: from the global seed.

    Call arguments:
        ids: int ``[...]``.
        training: Whether ids are replaced.

    Output shape:
        int ``[...]``.
    """

    def __init__(self, rows, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate <= 1:
            raise ValueError(
                f"rate must lie in [0, 1]. Received: rate={rate}. Use 0 to share none."
            )
        self.rows = rows
        self.rate = rate
        self.seed = seed

    def call(self, ids, training=None):
        """Replaces ids, if this is training."""
        if not training or self.rate == 0:
            return ids
        shape = tf.shape(ids)
        others = tf.random.uniform(shape, 1, self.rows, ids.dtype, seed=self.seed)
        drawn = tf.random.uniform(shape, seed=_offset(self.seed, 1)) < self.rate
        return tf.where(tf.logical_and(drawn, ids != 0), others, ids)

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            **super().get_config(),
            "rows": self.rows,
            "rate": self.rate,
            "seed": self.seed,
        }
