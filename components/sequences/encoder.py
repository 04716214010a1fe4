"""Blocks over embedded items: the body of a sequence model, whatever reads its states.

B batch, T positions, oldest first, D width.
"""

import tensorflow as tf

from steadyrank.components.sequences.blocks import NextItNetBlock, SASRecBlock

KINDS = ("nextitnet", "sasrec")
_DILATIONS = (1, 4)
_BLOCK_SEEDS = 1_000


@tf.keras.utils.register_keras_serializable("steadyrank")
class SequenceEncoder(tf.keras.layers.Layer):
    """``[B, T, D]`` embedded items to ``[B, T, D]`` states, each of what came up to it.

    ``nextitnet``: blocks of dilations 1, 4, 1, 4, ..., and nothing else.  ``sasrec``:
    learned positions are added, counted from the newest item, so that padding on the left
    shifts nothing; LayerNorm stands before the blocks, or with ``normalize_first`` after
    them.

    Reference: StackRec (SIGIR 2021), section 3.

    Args:
        kind: ``"nextitnet"`` (also GRec's) or ``"sasrec"`` (also SSE-PT's).
        blocks: Their number; 0 for none.
        alpha: Whether the blocks' weights alpha are learned.
        alpha_start: Where these start.  At 0, as in StackRec, a deep model is the identity
            at first, and a short training leaves it near there; at 1 its blocks act.
        heads: Of ``sasrec``: of its attention.
        max_length: Of ``sasrec``: the longest T.
        dropout: Of ``sasrec``: after embedding, attention and feed-forward net.
        normalize_first: Of ``sasrec``, see ``SASRecBlock``.
        seed: Start of the seeds; None: from Keras' global seed.

    Call arguments:
        x: ``[B, T, D]``.
        mask: bool ``[B, T]``, False at padding, which then changes nothing; or None.
        training: Whether dropout acts.

    Output shape:
        ``[B, T, D]``; what stands at padding means nothing.

    Example:

    >>> encoder = SequenceEncoder("nextitnet", blocks=2, seed=1)
    >>> encoder(tf.ones([2, 5, 8]), mask=tf.ones([2, 5], tf.bool)).shape
    TensorShape([2, 5, 8])
    """

    def __init__(
        self,
        kind="nextitnet",
        blocks=4,
        alpha=True,
        alpha_start=0.0,
        *,
        heads=1,
        max_length=200,
        dropout=0.0,
        normalize_first=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(
                f"kind must be one of {KINDS}. Received: kind={kind!r}. "
                "GRec has NextItNet's blocks, and SSE-PT SASRec's."
            )
        if blocks < 0:
            raise ValueError(
                f"blocks must be at least 0. Received: blocks={blocks}. Use an even number."
            )
        self.kind = kind
        self.blocks = blocks
        self.alpha = alpha
        self.alpha_start = alpha_start
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.normalize_first = normalize_first
        self.seed = seed
        self.supports_masking = True
        self.block_layers = [self._block(i) for i in range(blocks)]
        if kind == "sasrec":
            self._norm = tf.keras.layers.LayerNormalization(epsilon=1e-8, name="norm")
            self._drop = tf.keras.layers.Dropout(dropout, seed=seed)

    def _block(self, i):
        seed = None if self.seed is None else self.seed + _BLOCK_SEEDS * (i + 1)
        common = {"alpha": self.alpha, "alpha_start": self.alpha_start}
        common |= {"seed": seed, "name": f"block_{i}"}
        if self.kind == "nextitnet":
            return NextItNetBlock(_DILATIONS[i % len(_DILATIONS)], **common)
        first, heads = self.normalize_first, self.heads
        return SASRecBlock(heads, self.dropout, normalize_first=first, **common)

    def build(self, input_shape):
        """Creates the positions, if there are any."""
        if self.kind == "sasrec":
            self._positions = self.add_weight(
                "positions",
                [self.max_length, input_shape[-1]],
                initializer=tf.keras.initializers.TruncatedNormal(
                    stddev=0.02, seed=self.seed
                ),
            )
        super().build(input_shape)

    def call(self, x, mask=None, training=None):
        """Applies positions, LayerNorm and blocks."""
        for state in self.states(x, mask, training):
            x = state
        return x

    def states(self, x, mask=None, training=None):
        """What each block puts out, the input first and the encoder's output last.

        Args:
            x: As for ``call``.
            mask: As for ``call``.
            training: As for ``call``.

        Returns:
            List of ``[B, T, D]``.
        """
        attends = self.kind == "sasrec"
        if attends:
            x = self._drop(x + self._newest_positions(x), training=training)
            x = x if self.normalize_first else self._norm(x)
        found = [x]
        for block in self.block_layers:
            more = {"training": training} if attends else {}
            found.append(block(found[-1], mask=mask, **more))
        if attends and self.normalize_first:
            found.append(self._norm(found[-1]))
        return found

    def _newest_positions(self, x):
        if x.shape[1] is not None and x.shape[1] > self.max_length:
            raise ValueError(
                f"x must hold at most {self.max_length} positions. Received: x of shape "
                f"{tuple(x.shape)}. Raise max_length, or cut the sequences."
            )
        return self._positions[self.max_length - tf.shape(x)[1] :]

    def get_config(self):
        """Every argument of ``__init__``."""
        names = ["kind", "blocks", "alpha", "alpha_start", "heads", "max_length", "dropout"]
        names += ["normalize_first", "seed"]
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
