"""A ranking model and its batches, as the training run takes them."""

import numpy as np

from steadyrank.components.batch_function import BatchFunction
from steadyrank.pipeline.examples.compatibility import require_labels
from steadyrank.pipeline.examples.damage import naming_damage
from steadyrank.pipeline.examples.dataset import (
    EvaluationPasses,
    TrainingPasses,
    batches_in_epoch,
)
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds.protocol import Learner, Phase, Setting
from steadyrank.pipeline.kinds.ranking.diagnosis import diagnose, read_batch
from steadyrank.pipeline.kinds.ranking.model import compiled_model, shared_rows
from steadyrank.pipeline.metrics.collapsed_experts import collapsed
from steadyrank.pipeline.metrics.expert_use import ExpertUse
from steadyrank.pipeline.metrics.predict import predict
from steadyrank.pipeline.metrics.samples import Samples
from steadyrank.pipeline.metrics.scored import Scored, compare
from steadyrank.pipeline.metrics.tasks import measure
from steadyrank.pipeline.train.strategy import ahead
from steadyrank.pipeline.train.warm_start import WARM_START_FILE, WarmStart, continue_from
from steadyrank.pipeline.train.workers import ALONE

EVALUATION_ROWS = 8192


class RankingLearner(Learner):
    """See ``kinds.protocol.Learner``.

    A folder that ``prepare_warm_start`` made starts from another run's weights, and sees
    the windows that it names alone.

    Args:
        setting: The run's.
        phase: Its only one.
        backoff: A variable that multiplies both learning rates, or a number.
    """

    def __init__(self, setting: Setting, phase: Phase, backoff):
        self.config, self.schema = setting.config, setting.schema
        self.strategy, self.workers = setting.strategy, setting.workers or ALONE
        self.start, self.examples = WarmStart.read(setting.work), setting.examples
        if self.start:
            self.examples = self.examples.only(self.start.windows)
        self.windows = list(self.examples.windows("train"))
        require_labels(self.schema.tasks, self.examples.label_lows())
        settings = self.config.train
        rows = [self.examples.rows("train", window) for window in self.windows]
        self._window_ends = np.cumsum(rows)
        self.batches_in_epoch = batches_in_epoch(self.examples, settings.batch_size)
        steps = self.batches_in_epoch * settings.epochs
        if settings.warmup >= steps:
            raise InputError(
                f"train.warmup_steps must be below the {steps} steps of "
                f"{settings.epochs} epochs. Received: {settings.warmup}. Lower it."
            )
        begin = self.start.steps if self.start else 0
        self.model = compiled_model(self.config, self.schema, backoff, steps, begin=begin)
        self._predict = BatchFunction(self.model.head.predict_logged)
        self._expert_use = ExpertUse(self.model)
        self._passes = TrainingPasses(
            self.examples,
            batch_size=settings.batch_size,
            seed=settings.seed,
            shuffle_rows=settings.shuffle_rows,
            grouped=self.config.ranks_groups,
            **self._shared_out(),
        )
        self._read: dict[tuple, EvaluationPasses] = {}

    def begin(self) -> None:
        """Take the weights of the run that this one continues, if it does."""
        if self.start:
            before = Schema.from_dict(self.start.schema, WARM_START_FILE)
            rows = shared_rows(self.model, before, self.start.moved)
            continue_from(self.model, rows, self.start)
            self.model.weighting.begin_again()  # as rates do

    def batches(self, epoch: int, skip: int):
        """``(features, labels, masks, window)``, for each replica its part."""
        dataset = self._passes(epoch, skip)
        if self.workers.count > 1:
            dataset = map(self._of_replicas, dataset)
        elif self.strategy.num_replicas_in_sync > 1:
            dataset = self.strategy.experimental_distribute_dataset(dataset)
        else:
            dataset = ahead(dataset, self.strategy)
        with naming_damage(self.examples):
            yield from dataset

    def latest_window(self, batch: int) -> int:
        """See ``kinds.protocol.Learner``: batches come in the order of the windows."""
        last = min((batch + 1) * self.config.train.batch_size, self._window_ends[-1])
        return int(np.searchsorted(self._window_ends, last))

    def _shared_out(self) -> dict:
        """Which rows of a batch this process takes, where there are several."""
        replicas = self.strategy.num_replicas_in_sync
        if self.workers.count == 1:
            return {}
        return {"parts": replicas, "own": self.workers.own(replicas)}

    def _of_replicas(self, batch: tuple) -> tuple:
        """A batch's parts, each as the value of its replica."""
        parts, window = batch
        first = self.workers.own(self.strategy.num_replicas_in_sync).start
        data = self.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group - first]
        )
        return (*data, window)

    def measure(self, split: str, window: str | None = None) -> dict:
        """Every metric of every task, by what foretells the log: the bias is part of it.

        Without, what learned positions as properties of items would be the best.
        """
        labels, masks, outputs, groups = self._predictions(split, window)
        if split == "validation" and window is None:
            with self.strategy.scope():
                outputs = self.model.smear(labels, masks, outputs)
        if not self.workers.is_chief:
            return {}
        return measure(self.schema.tasks, labels, masks, outputs, groups=groups)

    def _predictions(self, split: str, window: str | None = None) -> tuple:
        """Labels, masks, outputs and groups of a split's rows."""
        with_group = split == "validation" and bool(self.examples.schema.group)
        rows, size = self.examples.rows(split, window), EVALUATION_ROWS
        own, gather = None, None
        if 1 < self.workers.count <= rows:  # each has a batch at least
            size = min(size, rows // self.workers.count)
            own, gather = self.workers.own(-(-rows // size)), self.workers.gather
        dataset = self._rows_of(split, window, size=size, extra=with_group, own=own)
        with naming_damage(self.examples):
            labels, masks, outputs, extra = predict(self._predict, dataset, gather)
        return labels, masks, outputs, extra.get("group")

    def _rows_of(
        self, split: str, window: str | None = None, *, size: int, extra=False, own=None
    ):
        """The batches of a split, or of one window of it."""
        if (size, extra) not in self._read:
            self._read[size, extra] = EvaluationPasses(self.examples, size, extra)
        return self._read[size, extra](split, window and [window], own)

    def sample(self) -> tuple[dict, Samples] | None:
        """Of every task."""
        rows = Scored(*self._predictions("validation"), {}, {})
        if not self.workers.is_chief:
            return None
        results, _, samples = compare(
            rows, None, self.schema.tasks, self.config.gates, curves=False
        )
        return results, samples

    def look(self) -> tuple[dict, list[str]]:
        """How the gates use the experts; a collapse is said aloud."""
        dataset = self._rows_of("validation", size=EVALUATION_ROWS)
        use = self._expert_use.measure(dataset)
        return {"experts": use} if use else {}, collapsed(use)

    def diagnose(self, epoch: int, batch: int) -> dict:
        """See ``kinds.ranking.diagnosis``."""
        data, window = read_batch(self.config, self.examples, epoch, batch)
        return {"window": window, **diagnose(self.model, data)}
