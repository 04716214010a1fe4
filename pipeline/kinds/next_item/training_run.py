"""One phase of training: steps, evaluations, its log, its checkpoints, its recoveries."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.components.metrics.top_k import TopKMetrics, target_ranks
from steadyrank.models.next_item import NextItemModel
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.files.errors import DivergenceError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema
from steadyrank.pipeline.kinds.next_item.gates import TASK
from steadyrank.pipeline.kinds.next_item.model import compile_model, save_weights
from steadyrank.pipeline.kinds.next_item.steps import NextItemStep
from steadyrank.pipeline.train import log as train_log

MONITOR = "mrr@5"
FLUSH_STEPS = 50  # steps between looks at their losses: a look waits for the device
EVALUATION_CELLS = 1 << 24  # scores in memory at once
ROLLBACKS = "rollbacks.json"

Progress = Callable[[int, int, str], None]


class PhaseRun:
    """A model of one depth, its place in its phase, and the folder it writes to.

    A checkpoint is taken after every evaluation while the loss is healthy; it holds the
    place (epoch, batch, step), weights, optimizers and the best result so far.  Batches
    depend on the seed, the phase and the epoch alone: a run that is resumed ends as if
    never stopped (with a sampled softmax or dropout, whose draws begin anew, but alike).

    Args:
        config: The run's config.
        schema: The schema of the sequences.
        number: Of the phase, from 0.
        model: At its start in this phase, not compiled.
        folder: Of the phase.
        log: The run's ``log.jsonl``.
        strategy: The devices.
    """

    def __init__(
        self,
        config: SequenceConfig,
        schema: SequenceSchema,
        number: int,
        model: NextItemModel,
        folder: Path,
        log: Path,
        strategy: tf.distribute.Strategy,
    ):
        self.config, self.schema, self.number = config, schema, number
        self.phase, self.model = config.train.phases[number], model
        self.folder, self.log, self.strategy = folder, log, strategy
        with strategy.scope():
            self.backoff = tf.Variable(1.0, trainable=False, name="backoff")
            compile_model(model, config, self.backoff)
        self.place = {
            name: tf.Variable(0, dtype=tf.int64, trainable=False, name=name)
            for name in ("epoch", "batch", "step", "stale")
        }
        self.best = tf.Variable(-np.inf, dtype=tf.float64, trainable=False)
        self.checkpoint = tf.train.Checkpoint(model=model, best=self.best, **self.place)
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, folder / "checkpoints", max_to_keep=2
        )
        self.step = NextItemStep(model, strategy, schema)
        self._ranks = BatchFunction(self._rank)
        self.rollbacks: list[dict] = []
        if (folder / ROLLBACKS).exists():
            found = read_json(folder / ROLLBACKS, "an interrupted run")
            self.rollbacks = found["rollbacks"]
        self._order = (-1, None)
        self.began = time.monotonic()

    def train(self, rows: np.ndarray, validation: np.ndarray, offset: int, report) -> dict:
        """Train to the end of the phase.

        Args:
            rows: The training sequences, ``[N, length]``.
            validation: The validation sequences.
            offset: Steps of the phases before.
            report: Called with a step, a line about how it goes, and whether that soon
                is out of date.

        Returns:
            What ``train.json`` says of the phase.

        Raises:
            DivergenceError: The loss diverged and did not recover.
        """
        self.rows, self.validation = rows, validation
        self.offset, self.report = offset, report
        self._restore()
        while self._goes_on():
            try:
                self._train_stretch()
            except _Diverged as diverged:
                self._roll_back(diverged.event)
        return {
            "blocks": self.phase.blocks,
            "grow": self.phase.grow,
            "sequences": len(rows),
            "steps": int(self.place["step"]),
            "epochs": int(self.place["epoch"]),
            "best": float(self.best),
            "rollbacks": len(self.rollbacks),
        }

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch; the last may be a small one."""
        return -(-len(self.rows) // self.config.train.batch_size)

    def _goes_on(self) -> bool:
        place = {name: int(value) for name, value in self.place.items()}
        limits = ((self.phase.epochs, "epoch"), (self.phase.steps, "step"))
        limits += ((self.phase.patience, "stale"),)
        return all(limit is None or place[name] < limit for limit, name in limits)

    def _train_stretch(self) -> None:
        """Steps up to the next evaluation, that too, and a checkpoint."""
        pending, due = [], False
        while not due:
            epoch, batch = int(self.place["epoch"]), int(self.place["batch"])
            taken = not self._skipped(epoch, batch)
            if taken:
                step = int(self.place["step"].assign_add(1))
                pending.append((step, epoch, batch, *self._take(epoch, batch)))
            ended = batch + 1 == self.per_epoch
            self.place["batch"].assign(0 if ended else batch + 1)
            self.place["epoch"].assign(epoch + ended)
            due = self._is_due(taken, ended)
            if due or len(pending) == FLUSH_STEPS:
                pending = self._flush(pending)
        self._evaluate()

    def _is_due(self, taken: bool, ended: bool) -> bool:
        """Whether it is time for an evaluation, after a batch and perhaps an epoch."""
        every, step = self.config.train.evaluate_every, int(self.place["step"])
        if ended and (not every or int(self.place["epoch"]) == self.phase.epochs):
            return True
        return taken and (step == self.phase.steps or bool(every and step % every == 0))

    def _take(self, epoch: int, batch: int):
        """A step on a batch, and how many sequences it holds."""
        size, seed = self.config.train.batch_size, self.config.train.seed
        if self._order[0] != epoch:
            random = np.random.default_rng([seed, self.number, epoch])
            self._order = epoch, random.permutation(len(self.rows))
        chosen = self.rows[self._order[1][batch * size : (batch + 1) * size]]
        return self.step(chosen), len(chosen)

    def _flush(self, pending: list) -> list:
        """Log the steps that were taken since the last look, and judge their losses."""
        lines = [self._line(*each) for each in pending]
        train_log.append_lines(self.log, lines)
        if lines:
            mean = np.mean([line["loss"] for line in lines])
            self.report(lines[-1]["step"], f"loss {mean:.4f}", True)
        for line in lines:
            event = train_log.watch(self.detector, line)
            stays = self.config.train.on_divergence == "continue"
            if event and event["kind"] == "full" and not stays:
                raise _Diverged(event)
        return []

    def _line(self, step, epoch, batch, values, examples) -> dict:
        return {
            "step": self.offset + step,
            "phase": self.number,
            "epoch": epoch,
            "batch": batch,
            **self.step.line(values),
            "examples": examples,
            "batch_size": self.config.train.batch_size,
            "seconds": round(time.monotonic() - self.began, 3),
        }

    def _rank(self, ids):
        scores = self.model.scores({"items": ids[:, :-1]})
        return ranks_of(scores, ids[:, -1], self.schema.items)

    def measure(self) -> dict:
        """Metrics at 5 of the weights as they are, on the validation sequences."""
        with self.strategy.scope():
            self.model.catch_up()
        metrics, size = TopKMetrics(5), max(1, EVALUATION_CELLS // self.schema.unknown)
        for start in range(0, len(self.validation), size):
            metrics.update(self._ranks(tf.constant(self.validation[start : start + size])))
        return {"kind": TASK, "rows": metrics.rows, **metrics.result()}

    def _evaluate(self) -> None:
        """Measure; keep the weights if they are the best, and take a checkpoint."""
        found, step = self.measure(), self.offset + int(self.place["step"])
        place = {"step": step, "phase": self.number, "epoch": int(self.place["epoch"])}
        train_log.append_lines(self.log, [{**place, "validation": {TASK: found}}])
        value, healthy = found[MONITOR], not self.detector.in_episode
        self.report(step, f"validation {MONITOR} {value:.4f}")
        if healthy and value > float(self.best):
            self.best.assign(value)
            self.place["stale"].assign(0)
            save_weights(self.model, self.folder / "best")
        else:
            self.place["stale"].assign_add(1)
        if healthy:
            self.manager.save()

    def _restore(self) -> None:
        """Go to the last checkpoint, or start one; drop what the log holds beyond it."""
        if self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        self._cut_log()
        if not self.manager.latest_checkpoint:
            self._start()
        self.backoff.assign(self.config.train.rollback_factor ** len(self.rollbacks))
        self.step.reset()
        self.detector = DivergenceDetector()
        for line in train_log.read_lines(self.log) if self.log.exists() else ():
            if line["phase"] == self.number:
                train_log.watch(self.detector, line)

    def _start(self) -> None:
        """Measure what the phase starts from: it stays where training only loses."""
        found = self.measure()
        line = {"step": self.offset, "phase": self.number, "epoch": 0}
        train_log.append_lines(self.log, [{**line, "validation": {TASK: found}}])
        self.report(self.offset, f"starts at validation {MONITOR} {found[MONITOR]:.4f}")
        self.best.assign(found[MONITOR])
        save_weights(self.model, self.folder / "best")
        self.manager.save()

    def _cut_log(self) -> None:
        """Drop the lines of this phase that the checkpoint does not know."""
        saved = bool(self.manager.latest_checkpoint)
        last = self.offset + int(self.place["step"]) if saved else -1

        def is_beyond(line: dict) -> bool:
            later = line["phase"] == self.number and line["step"] > last
            return later or line["phase"] > self.number

        train_log.cut_from(self.log, is_beyond)

    def _roll_back(self, event: dict) -> None:
        """Go back to the last healthy checkpoint, and around what made the loss jump."""
        settings = self.config.train
        number = len(self.rollbacks) + 1
        record = {**event, "phase": self.number}
        write_json(self.folder / f"divergence-{number}.json", record)
        said = f"Training diverged: the loss of step {event['step']} did not come back."
        if settings.on_divergence == "stop" or number > settings.max_rollbacks:
            raise DivergenceError(
                f"{said} It began in phase {self.number}. Lower "
                "train.dense.learning_rate, or clip (train.dense.clip: clippy). "
                f"{original(self.log)} has the losses."
            )
        lines = train_log.read_lines(self.log)
        jump = next(
            line for line in lines if line["step"] == event["step"] and "loss" in line
        )
        self.rollbacks.append({"epoch": jump["epoch"], "batch": jump["batch"]})
        write_json(self.folder / ROLLBACKS, {"rollbacks": self.rollbacks})
        self._restore()
        step = self.offset + int(self.place["step"])
        line = {"step": step, "phase": self.number, "epoch": int(self.place["epoch"])}
        train_log.append_lines(self.log, [{**line, "rollback": record}])
        rates = float(self.backoff.numpy())
        self.report(step, f"{said} Back at step {step}, rates times {rates:g}.")

    def _skipped(self, epoch: int, batch: int) -> bool:
        """Whether a batch is next to one after which the loss jumped."""
        return any(
            epoch == place["epoch"] and abs(batch - place["batch"]) <= 1
            for place in self.rollbacks
        )


class _Diverged(Exception):
    """The detector saw a full divergence."""

    def __init__(self, event: dict):
        super().__init__(event)
        self.event = event


def ranks_of(scores, targets, items: int):
    """0-based rank of each target among the known items.

    Args:
        scores: float ``[B, items + 1]``, the last of the unknown item, or ``[B, items]``.
        targets: int ``[B]``, ids.
        items: V, the known items.

    Returns:
        int32 ``[B]``; V where the target is unknown, which is never a hit.
    """
    known = targets <= items
    ranks = target_ranks(scores[:, :items], tf.minimum(targets, items) - 1)
    return tf.where(known, ranks, items)
