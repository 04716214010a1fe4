"""A next-item model of one depth and its batches, as the training run takes them."""

import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics.top_k import TopKMetrics, target_ranks
from steadyrank.models.next_item import ITEMS, TARGETS, TASK
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds.next_item.diagnosis import diagnose
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema
from steadyrank.pipeline.kinds.next_item.model import (
    compile_model,
    grown,
    shared_rows,
    start,
)
from steadyrank.pipeline.kinds.next_item.scored import CUTOFFS, samples_of, summarise
from steadyrank.pipeline.kinds.next_item.serving import visible
from steadyrank.pipeline.kinds.protocol import Learner, Phase, Setting
from steadyrank.pipeline.metrics.samples import Samples
from steadyrank.pipeline.train.warm_start import (
    WARM_START_FILE,
    WarmStart,
    continue_from,
)
from steadyrank.pipeline.train.workers import ALONE

EVALUATION_CELLS = 1 << 24  # scores in memory at once


class NextItemLearner(Learner):
    """See ``kinds.protocol.Learner``.

    A folder that ``prepare_warm_start`` made starts from another run's weights, as deep,
    and sees the windows that it names alone.  Batches depend on the seed, the phase and
    the epoch alone; a sampled softmax and dropout draw anew, but alike, where a run is
    resumed.

    Args:
        setting: The run's.
        phase: One of its phases, those before which have ended.
        backoff: A variable that multiplies both learning rates, or a number.
    """

    def __init__(self, setting: Setting, phase: Phase, backoff):
        self.config, self.schema = setting.config, setting.schema
        self.strategy, self.phase = setting.strategy, phase
        self.workers = setting.workers or ALONE
        self.examples = setting.examples
        wanted = self.config.train.phases[phase.number]
        self.model = start(setting, phase.number)
        self.warm_start = WarmStart.read(setting.work)
        if not self.warm_start:
            self.model = grown(self.model, wanted)
        compile_model(self.model, self.config, backoff)
        rows, own = self.examples.training(self.warm_start and self.warm_start.windows)
        count = max(1, round(wanted.data_fraction * len(rows)))
        random = np.random.default_rng(self.config.train.seed)
        self.rows, self.own = rows, own
        smallest = np.min_scalar_type(len(rows))  # 4 bytes a sequence
        self.chosen = random.permutation(len(rows))[:count].astype(smallest)
        self.batches_in_epoch = -(-count // self.config.train.batch_size)
        self._ranks = BatchFunction(self._rank)
        self._read = functools.cache(self.examples.read)

    def begin(self) -> None:
        """Take the weights of the run that this one continues, if it does."""
        if self.warm_start:
            schema = SequenceSchema.from_dict(self.warm_start.schema, WARM_START_FILE)
            tables = shared_rows(self.model, schema, self.schema)
            continue_from(self.model, tables, self.warm_start)

    def batches(self, epoch: int, skip: int) -> Iterator[tuple]:
        """``(sequences, window)``, for each replica its part."""
        for batch in self._batches(epoch, skip):
            yield distributed(batch, self.strategy)

    def _batches(self, epoch: int, skip: int) -> Iterator[tuple]:
        size, seed = self.config.train.batch_size, self.config.train.seed
        random = np.random.default_rng([seed, self.phase.number, epoch])
        order = random.permutation(self.chosen)
        for first in range(skip * size, len(order), size):
            own = order[first : first + size]
            yield batch_of(self.rows[own], self.own[own], self.schema.unknown)

    def _rank(self, ids):
        history = ids[:, :-1]
        scores = self.model.scores({ITEMS: history})
        hides = self.config.serving.exclude_seen
        scores = visible(scores, history if hides else None)
        return ranks_of(scores, ids[:, -1], self.schema.items)

    def measure(self, split: str, window: str | None = None) -> dict:
        """How the last item of each sequence ranks, as it is served."""
        ranks = self._ranked(split)[0]
        if not self.workers.is_chief:
            return {}
        result = {"kind": TASK, "rows": len(ranks)}
        for k in CUTOFFS:
            metrics = TopKMetrics(k)
            metrics.update(ranks)
            result |= metrics.result()
        return {TASK: result}

    def _ranked(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of a split's last items, and their users."""
        (rows, groups), found = self._read(split), [np.zeros(0, np.int32)]
        own = self.workers.own(len(rows))
        rows = rows[own.start : own.stop]
        size = max(1, EVALUATION_CELLS // self.schema.unknown)
        for first in range(0, len(rows), size):
            found.append(self._ranks(tf.constant(rows[first : first + size])).numpy())
        return self.workers.gather(np.concatenate(found)), groups

    def sample(self) -> tuple[dict, Samples] | None:
        """The same of the validation split."""
        ranked = self._ranked("validation")
        if not self.workers.is_chief:
            return None
        how = {"repetitions": self.config.gates.repetitions}
        return {TASK: summarise(*ranked, {}, **how)}, samples_of(*ranked, **how)

    def diagnose(self, epoch: int, batch: int) -> dict:
        """See ``kinds.next_item.diagnosis``."""
        for data, _ in self._batches(epoch, batch):
            data = {name: tf.constant(values) for name, values in data.items()}
            return {"window": self.windows[0], **diagnose(self.model, data)}
        raise InputError(
            f"epoch {epoch} has no batch {batch}; batches are counted from 0. "
            "Take a smaller --batch."
        )

    def describe(self) -> dict:
        """Its depth, how it grew, and on how many sequences."""
        phase = self.config.train.phases[self.phase.number]
        return {"blocks": phase.blocks, "grow": phase.grow, "sequences": len(self.chosen)}


def batch_of(ids: np.ndarray, own: np.ndarray, unknown: int) -> tuple:
    """Sequences as ``LoggedStep`` takes them; neither the unknown is a target, nor what
    was one in another sequence.

    Args:
        ids: int32 ``[B, T + 1]``.
        own: int32 ``[B]``, how many of the last items are the sequence's own.
        unknown: The id of unknown items.
    """
    early = np.arange(ids.shape[1] - 1) < ids.shape[1] - 1 - own[:, np.newaxis]
    targets = np.where((ids[:, 1:] == unknown) | early, 0, ids[:, 1:])
    return {ITEMS: ids[:, :-1], TARGETS: targets}, np.zeros(len(ids), np.int64)


def distributed(batch: tuple, strategy: tf.distribute.Strategy) -> tuple:
    """A batch of NumPy arrays as tensors, for each replica its part; the windows whole."""
    count = strategy.num_replicas_in_sync
    if count == 1:
        return tf.nest.map_structure(tf.constant, batch)
    *data, window = batch
    parts = [np.array_split(values, count) for values in tf.nest.flatten(data)]

    def part_of(context):
        own = [tf.constant(part[context.replica_id_in_sync_group]) for part in parts]
        return tf.nest.pack_sequence_as(data, own)

    values = strategy.experimental_distribute_values_from_function(part_of)
    return *values, tf.constant(window)


def ranks_of(scores, targets, items: int):
    """0-based rank of each target among the known items.

    Args:
        scores: float ``[B, items + 1]``, the last of the unknown item, or ``[B, items]``.
        targets: int ``[B]``, ids.
        items: V, the known items.

    Returns:
        int32 ``[B]``; the largest where the target is unknown, which is never a hit.
    """
    known = targets <= items
    ranks = target_ranks(scores[:, :items], tf.minimum(targets, items) - 1)
    return tf.where(known, ranks, tf.int32.max)
