"""One vector of what a user did before: encoders of a sequence of embedded events.

B batch, L places, D width, H hidden units.  Events stand oldest first, the latest one in
the last place, padding, id 0, before the first; no event at all is one of id 0.
"""

import tensorflow as tf

from steadyrank.components.layers.embeddings import pool, present

ATTENTION_UNITS = 36  # of the published model


def target_attention(history, ids, target, score):
    """What a history says about one item: events weighed by their relevance to it.

    Zhou et al., KDD'18 (DIN), equation 3: ``v_U(A) = sum_j a(e_j, v_A) e_j``, the weights
    not normalised, so that many relevant events weigh more than one.

    Args:
        history: Events e ``[B, L, D]``, or ``[1, L, D]``: one user, many items.
        ids: int ``[B, L]`` or ``[1, L]``, 0 before the first event.
        target: Items v_A ``[B, D]``.
        score: The function a: ``(e [*, L, D], v_A [B, 1, D])`` to ``[B, L, 1]``.

    Returns:
        ``[B, D]``.
    """
    weights = score(history, target[:, tf.newaxis])[..., 0]
    weights *= present(ids, weights.dtype)
    return tf.reduce_sum(weights[..., tf.newaxis] * history, axis=1)


@tf.keras.utils.register_keras_serializable("steadyrank")
class TargetAttention(tf.keras.layers.Layer):
    """``target_attention`` whose weights an MLP gives, as in the published model.

    Of the pair it reads both sides and their product.  (Their difference, which the
    paper adds, is in the span of a linear layer's inputs already.)  The sides are
    multiplied apart, so that many items of one user share what is the user's.

    Args:
        units: H, of the hidden layer.
        seed: Start of the layers' seeds.

    Call arguments:
        history: ``[B, L, D]`` or ``[1, L, D]``.
        ids: int ``[B, L]`` or ``[1, L]``.
        target: ``[B, D]``.

    Output shape:
        ``[B, D]``.

    Example:

    >>> layer = TargetAttention(8, seed=1)
    >>> events, ids = tf.ones([1, 3, 4]), tf.constant([[0, 5, 7]])
    >>> layer(events, ids, tf.ones([10, 4])).shape
    TensorShape([10, 4])
    """

    reads_target = True

    def __init__(self, units=ATTENTION_UNITS, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.seed = units, seed
        self.of_event = self._dense(0, "of_event")
        self.of_target = self._dense(1, "of_target", use_bias=False)
        self.of_product = self._dense(2, "of_product", use_bias=False)
        self.weight = self._dense(3, "weight", units=1)

    def _dense(self, i, name, units=None, use_bias=True):
        seed = None if self.seed is None else self.seed + i
        return tf.keras.layers.Dense(
            units or self.units,
            use_bias=use_bias,
            kernel_initializer=tf.keras.initializers.GlorotUniform(seed),
            name=name,
        )

    def call(self, history, ids, target):
        """Weighs the events."""
        return target_attention(history, ids, target, self._score)

    def _score(self, event, target):
        hidden = self.of_event(event) + self.of_target(target)
        return self.weight(tf.nn.swish(hidden + self.of_product(event * target)))

    def get_config(self):
        """Every argument of ``__init__``."""
        return {**super().get_config(), "units": self.units, "seed": self.seed}


@tf.keras.utils.register_keras_serializable("steadyrank")
class MeanHistory(tf.keras.layers.Layer):
    """The mean of the events, whatever the item; called as the other encoders are.

    Call arguments:
        history: ``[B, L, D]`` or ``[1, L, D]``.
        ids: int ``[B, L]`` or ``[1, L]``, 0 before the first event.
        target: Not read.

    Output shape:
        ``[B, D]``.
    """

    reads_target = False

    def call(self, history, ids, target=None):
        """Pools the events."""
        return pool(ids, history, "mean")


@tf.keras.utils.register_keras_serializable("steadyrank")
class LastState(tf.keras.layers.Layer):
    """What residual sequence blocks make of the events, at the latest one.

    Args:
        encoder: A ``SequenceEncoder``.

    Call arguments:
        history: ``[B, L, D]``.
        ids: int ``[B, L]``, 0 before the first event.
        target: Not read.

    Output shape:
        ``[B, D]``.

    Example:

    >>> from steadyrank.components.sequences.encoder import SequenceEncoder
    >>> layer = LastState(SequenceEncoder("sasrec", blocks=2, max_length=3, seed=1))
    >>> layer(tf.ones([2, 3, 4]), tf.constant([[0, 5, 7], [0, 0, 0]])).shape
    TensorShape([2, 4])
    """

    reads_target = False

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, history, ids, target=None):
        """Encodes the events and takes the latest state."""
        return self.encoder(history, mask=present(ids, tf.bool))[:, -1]

    def get_config(self):
        """Every argument of ``__init__``."""
        encoder = tf.keras.layers.serialize(self.encoder)
        return {**super().get_config(), "encoder": encoder}

    @classmethod
    def from_config(cls, config):
        """The layer, its encoder too."""
        encoder = tf.keras.layers.deserialize(config["encoder"])
        return cls(**{**config, "encoder": encoder})
