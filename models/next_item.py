"""Next-item models: a sequence of items in, a score of every item of the catalogue out.

B batch, T positions, oldest first, left-padded with 0; V items, their ids 1 to V; D width.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from steadyrank.components.losses import masked_mean, sampled_softmax
from steadyrank.components.optimizers.gradients import to_dense
from steadyrank.components.sequences.blocks import StochasticSharedIds
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.batch_rows import BatchRows
from steadyrank.models.trained import TrainedModel

ITEMS, USER, TARGETS, SOFTMAX = "items", "user", "targets", "softmax"
TASK = "next_item"  # the only one
SOFTMAX_BIAS = 0.1  # at the start, as published
SHARED_USERS, SHARED_ITEMS = 0.8, 0.01  # rates of SSE-PT in StackRec's code


class NextItemModel(TrainedModel):
    """Item embedding, a sequence encoder, a softmax over the catalogue.

    Padding is left out of the loss and of what the blocks see.  StackRec's code does
    neither: there id 0 is an item like others.

    NextItNet and SASRec are this with their encoders.  GRec is NextItNet with
    ``masked_inputs=0.2``: a fifth of the items that it reads are hidden in training.
    SSE-PT is SASRec with ``users``: each item's vector is followed by the user's, and ids
    are shared at random in training.

    With ``tied`` the softmax has no table of its own: an item's logit is the product of
    the state and the item's vector, as in SASRec's article.  Every step then reads the
    whole item table, which belongs to the dense optimizer.

    Args:
        encoder: Between embedding and softmax.
        items: V.
        dim: Width of the embedding; the states are as wide, with users twice.
        tied: Whether the softmax reads the item table; with a full softmax alone, and
            without users.
        sampled: Share of the catalogue in the training softmax, .2 as published; None:
            all of it.
        masked_inputs: Rate at which inputs are hidden in training.
        users: Number of users, ids 1 to this, for SSE-PT; None: no users.
        seed: Start of the tables' seeds.

    Call arguments:
        features: ``"items"`` int ``[B, T]``; with users also ``"user"`` int ``[B]``.

    Output shape:
        States ``[B, T, D]``.
    """

    xla = False  # until compiled otherwise

    def __init__(
        self,
        encoder: SequenceEncoder,
        items: int,
        dim: int = 64,
        sampled: float | None = None,
        *,
        masked_inputs: float = 0.0,
        users: int | None = None,
        tied: bool = False,
        seed: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if sampled is not None and not 0 < sampled <= 1:
            raise ValueError(
                f"sampled must lie in (0, 1]. Received: sampled={sampled}. "
                "Use None for the full softmax."
            )
        if tied and (sampled is not None or users):
            raise ValueError(
                "tied needs a full softmax, over items alone. Received: "
                f"sampled={sampled}, users={users}. Use tied=False."
            )
        self.encoder, self.items, self.dim = encoder, items, dim
        self.tied = tied
        self.sampled, self.masked_inputs = sampled, masked_inputs
        self.users, self.seed = users, seed
        self.item_table = self._table("item", items + 1, dim, 0)
        self.user_table = self._table("user", users + 1, dim, 1) if users else None
        item_rate = SHARED_ITEMS if users else 0.0
        self._shared_items = StochasticSharedIds(items + 1, item_rate, seed)
        self._shared_users = StochasticSharedIds((users or 0) + 1, SHARED_USERS, seed + 2)
        width = dim * (2 if users else 1)
        self.softmax_table: Any = None if tied else self._softmax(items, width, seed + 3)
        self({ITEMS: tf.zeros([1, 1], tf.int32), USER: tf.zeros([1], tf.int32)})  # builds

    def _table(self, name, rows, dim, number):
        start = tf.keras.initializers.TruncatedNormal(stddev=0.02, seed=self.seed + number)
        return self.add_weight(f"{name}_embedding", [rows, dim], initializer=start)

    def _softmax(self, items, width, seed):
        """One row a class, its bias the last number: a row is then read in one gather."""
        start = tf.keras.initializers.RandomNormal(stddev=0.01, seed=seed)

        def initial(_, dtype=None, **__):
            bias = tf.fill([items, 1], SOFTMAX_BIAS)
            return tf.concat([start([items, width], dtype), bias], axis=1)

        return self.add_weight("softmax", [items, width + 1], initializer=initial)

    def compile(self, dense_optimizer, embedding_optimizer, xla=False, **kwargs):
        """Takes two optimizers, which together update every weight exactly once.

        Args:
            dense_optimizer: For the encoder, and a full softmax, with the items' table
                where that is tied to it.
            embedding_optimizer: For the tables, of which a batch reads some rows; a
                sampled softmax is among them.
            xla: Whether XLA compiles loss and gradients: on a CPU a quarter faster with
                SASRec's blocks, no faster with NextItNet's, after seconds of compilation
                for each shape.
            **kwargs: Passed to Keras.
        """
        super().compile(dense_optimizer, embedding_optimizer, **kwargs)
        self.xla = xla
        self._compute = self._loss_and_gradients
        if xla:
            self._compute = tf.function(self._compute, jit_compile=True, autograph=False)

    @property
    def tables(self) -> dict[str, tf.Variable]:
        """The tables of which a training step reads the batch's rows alone, by name."""
        found = {} if self.tied else {ITEMS: self.item_table}
        if self.users:
            found[USER] = self.user_table
        if self.sampled is not None:
            found[SOFTMAX] = self.softmax_table
        return found

    @property
    def task_weights(self) -> dict[str, float]:
        """Of the one task."""
        return {TASK: 1.0}

    def log_name(self, variable: tf.Variable) -> str:
        """A table's name, or that of a weight of the encoder, the same at any depth.

        Args:
            variable: A trainable weight of the model.
        """
        tables = {table.ref(): name for name, table in self.tables.items()}
        return tables.get(variable.ref()) or self._own_name(variable)

    def saved_weights(self) -> dict[str, tf.Variable]:
        """By names that are the same in all such models, whatever their depth.

        Such as ``item_embedding``, ``softmax``, ``positions`` or ``block_3/kernel_0``.
        """
        return {self._own_name(variable): variable for variable in self.trainable_variables}

    def _own_name(self, variable: tf.Variable) -> str:
        return variable.name.split(":")[0].split(f"{self.encoder.name}/")[-1]

    def call(self, features: Mapping):
        """Computes the states."""
        ids = features[ITEMS]
        rows = {} if self.tied else {ITEMS: self._items(ids)}
        if self.users:
            rows[USER] = tf.gather(self.user_table, features[USER])
        return self.encoder(self.embed(ids, rows), mask=ids > 0)

    def _items(self, ids):
        return tf.gather(self.item_table, tf.reshape(ids, [-1]))

    def embed(self, ids, rows: Mapping):
        """Vectors ``[B, T, D]`` from gathered rows.

        Args:
            ids: int ``[B, T]``.
            rows: ``"items"`` ``[B * T, dim]``, which a tied model reads itself; with
                users also ``"user"`` ``[B, dim]``.

        Returns:
            ``[B, T, dim]``, with users ``[B, T, 2 * dim]``.
        """
        shape = tf.shape(ids)
        items = self._items(ids) if self.tied else rows[ITEMS]
        x = tf.reshape(items, [shape[0], shape[1], self.dim])
        if not self.users:
            return x
        user = tf.repeat(rows[USER][:, tf.newaxis], shape[1], axis=1)
        return tf.concat([x, user], axis=2)

    def scores(self, features: Mapping):
        """Logits of all items after the newest position.

        Args:
            features: As for ``call``.

        Returns:
            float32 ``[B, V]``, item i at place i - 1.
        """
        return self._logits(self(features)[:, -1])

    def _logits(self, states):
        if self.tied:
            return tf.matmul(states, self.item_table[1:], transpose_b=True)
        kernel, bias = self.softmax_table[:, :-1], self.softmax_table[:, -1]
        return tf.nn.bias_add(tf.matmul(states, kernel, transpose_b=True), bias)

    def train_step(self, data):
        """One step: mean cross-entropy of the item that follows each position.

        Args:
            data: Features as for ``call``, whose ``"items"`` are ``[B, T + 1]``: the last
                T are what the first T are to foretell.  Where ``"targets"`` ``[B, T]``
                are given they are instead, 0 for none, and ``"items"`` are ``[B, T]``.

        Returns:
            See ``report``.
        """
        seen, targets, located, sample = self._locate(data)
        rows = BatchRows(self.tables, located, self.embedding_optimizer)
        count = _global_sum(tf.math.count_nonzero(targets, dtype=tf.float32))
        loss, of_dense, of_rows = self._compute(
            seen, targets, rows.gathered, sample, count=count
        )
        self.update(of_dense, rows, of_rows)
        return self.report(loss, {TASK: loss})

    def gradients(self, data):
        """What a step would start from; nothing moves.

        Args:
            data: As for ``train_step``.

        Returns:
            The loss, its gradient at each dense variable, and by table the rows that the
            batch reads, int ``[N]``, and the gradient there, ``[N, D]``.
        """
        seen, targets, located, sample = self._locate(data)
        gathered = {n: tf.gather(self.tables[n], rows) for n, rows in located.items()}
        count = tf.math.count_nonzero(targets, dtype=tf.float32)
        loss, of_dense, of_rows = self._loss_and_gradients(
            seen, targets, gathered, sample, count=count
        )
        return loss, of_dense, located, of_rows

    def _locate(self, data):
        """Items as they are read, targets, rows of the tables, and softmax classes."""
        ids, targets = data[ITEMS], data.get(TARGETS)
        if targets is None:
            ids, targets = ids[:, :-1], ids[:, 1:]
        seen = self._hide(self._shared_items(ids, training=True))
        located = {} if self.tied else {ITEMS: tf.reshape(seen, [-1])}
        if self.users:
            located[USER] = self._shared_users(data[USER], training=True)
        sample = () if self.sampled is None else self._sample(targets, self.sampled)
        if sample:
            located[SOFTMAX] = tf.concat([_classes(targets), sample[0]], axis=0)
        return seen, targets, located, sample

    def _hide(self, ids):
        if not self.masked_inputs:
            return ids
        hidden = tf.random.uniform(tf.shape(ids), seed=self.seed) < self.masked_inputs
        return tf.where(hidden, 0, ids)

    def _sample(self, targets, share: float):
        """Distinct classes, and the logarithm of how often labels and they are expected.

        Log-uniform as published: ids are to be in the order of their frequency.
        """
        drawn = tf.random.log_uniform_candidate_sampler(
            tf.cast(_classes(targets), tf.int64)[:, tf.newaxis],
            num_true=1,
            num_sampled=max(1, round(share * self.items)),
            unique=True,
            range_max=self.items,
            seed=self.seed,
        )
        return (
            tf.cast(drawn.sampled_candidates, targets.dtype),
            tf.math.log(drawn.true_expected_count[:, 0]),
            tf.math.log(drawn.sampled_expected_count),
        )

    def _loss_and_gradients(self, seen, targets, gathered, sample, *, count):
        dense = self.dense_variables
        with tf.GradientTape() as tape:
            tape.watch(gathered)
            x = self.embed(seen, gathered)
            states = self.encoder(x, mask=seen > 0, training=True)
            flat = tf.reshape(states, [-1, states.shape[-1]])
            targets = tf.reshape(targets, [-1])
            if not (sample or self.xla):  # most of a softmax may be padding's
                flat, targets = _without_padding(flat, targets)
            losses = self._cross_entropy(flat, _classes(targets), gathered, sample)
            weights = tf.cast(targets > 0, losses.dtype)
            loss = masked_mean(losses, weights, count)
        of_dense, of_rows = tape.gradient(loss, (dense, gathered))
        return loss, [to_dense(g) for g in of_dense], of_rows

    def _cross_entropy(self, states, classes, gathered, sample):
        if not sample:
            logits = self._logits(states)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        ids, *log_expected = sample
        sizes = [tf.size(classes), tf.size(ids)]
        true, sampled = tf.split(gathered[SOFTMAX], sizes)
        return sampled_softmax(
            states, true, sampled, classes, ids=ids, log_expected=log_expected
        )

    def get_config(self):
        """Every argument of ``__init__``."""
        names = ("items", "dim", "sampled", "masked_inputs", "users", "tied", "seed")
        return {
            "name": self.name,
            "encoder": tf.keras.layers.serialize(self.encoder),
            **{name: getattr(self, name) for name in names},
        }

    @classmethod
    def from_config(cls, config):
        """The model of a config, its weights at their start."""
        encoder = tf.keras.layers.deserialize(config["encoder"])
        return cls(**{**config, "encoder": encoder})


def _without_padding(states, targets):
    """States ``[N, D]`` and targets ``[N]`` where there is a target."""
    places = tf.where(targets > 0)[:, 0]
    return tf.gather(states, places), tf.gather(targets, places)


def _classes(targets):
    """Row of the softmax of each target, ``[B * T]``; padding reads the first."""
    return tf.reshape(tf.maximum(targets - 1, 0), [-1])


def _global_sum(count):
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
    return count
