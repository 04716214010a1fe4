"""One training run: epochs, windows, steps; its log, its checkpoints, its recoveries."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.dataset import (
    batches_in_epoch,
    evaluation_dataset,
    naming_damage,
    training_dataset,
)
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.files.errors import DivergenceError, InputError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.files.versions import versions
from steadyrank.pipeline.metrics.expert_use import ExpertUse, collapsed
from steadyrank.pipeline.metrics.predict import predict
from steadyrank.pipeline.metrics.tasks import measure, monitored
from steadyrank.pipeline.train import log as train_log
from steadyrank.pipeline.train.diagnosis import diagnose, first_clipped, read_batch
from steadyrank.pipeline.train.logged_step import LoggedStep
from steadyrank.pipeline.train.model import compiled_model, parameter_counts, save_weights
from steadyrank.pipeline.train.warm_start import WarmStart, continue_from

FLUSH_STEPS = 50  # steps between looks at their losses: a look waits for the device
EVALUATION_ROWS = 8192
ROLLBACKS = "rollbacks.json"

Progress = Callable[[int, int, str], None]


class TrainingRun:
    """A model, its place in the input, and the folder it writes to.

    The place (epoch, batch, step, window) and the best result so far are in the
    checkpoint, beside weights, optimizers and counters.  All that is random depends on
    the seed and the place alone, so a run that is resumed ends as if never stopped.

    A folder that ``prepare_warm_start`` made starts from another run's weights, and
    sees the windows that it names alone.

    Windows are visited from old to new.  In the first epoch the model is measured on
    each window just before it trains on it (progressive validation).

    A checkpoint is only taken while the loss is healthy.  Where it diverges, ``rollback``
    goes back to the last one, leaves out the batches around the jump, and lowers the
    rates; ``stop`` and too many rollbacks raise; ``continue`` leaves it to the gate.

    Args:
        config: The run's config.
        schema: The model's schema.
        examples: What to train on.
        work: The folder to write to.
        strategy: The devices.
        progress: Called with steps done, steps in all and a line about how it goes.
        saved: Called with ``work`` after each checkpoint.
    """

    def __init__(
        self,
        config: Config,
        schema: Schema,
        examples: ExampleSet,
        work: Path,
        strategy: tf.distribute.Strategy,
        progress: Progress | None = None,
        saved: Callable[[Path], None] | None = None,
    ):
        self.start = WarmStart.read(work)
        examples = examples.only(self.start.windows) if self.start else examples
        self.config, self.schema, self.examples = config, schema, examples
        self.work, self.strategy = work, strategy
        self.progress = progress or (lambda *_: None)
        self.saved = saved or (lambda _: None)
        self.windows = list(examples.windows("train"))
        per_epoch = batches_in_epoch(examples, config.train.batch_size)
        self.total_steps = per_epoch * config.train.epochs
        if config.train.warmup >= self.total_steps:
            raise InputError(
                f"train.warmup_steps must be below the {self.total_steps} steps of "
                f"{config.train.epochs} epochs. Received: {config.train.warmup}."
            )
        with strategy.scope():
            self.backoff = tf.Variable(1.0, trainable=False, name="backoff")
            begin = self.start.steps if self.start else 0
            self.model = compiled_model(
                config, schema, self.backoff, self.total_steps, begin
            )
        names = ("epoch", "batch", "step", "window", "stale")
        self.place = {
            name: tf.Variable(0, dtype=tf.int64, trainable=False, name=name)
            for name in names
        }
        self.best = tf.Variable(-np.inf, dtype=tf.float64, trainable=False)
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, best=self.best, **self.place
        )
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, work / "checkpoints", max_to_keep=2
        )
        self.step = LoggedStep(self.model, strategy)
        self.predict_tasks = BatchFunction(self.model.predict_tasks)
        self.expert_use = ExpertUse(self.model)
        self.started = self.looked = time.monotonic()
        self.rollbacks: list[dict] = []
        if (work / ROLLBACKS).exists():
            self.rollbacks = read_json(work / ROLLBACKS, "an interrupted run")["rollbacks"]
        self._restore()
        self.board = tf.summary.create_file_writer(str(work / "tensorboard"))

    def train(self) -> dict:
        """Train to the end of the last epoch, or until validation stops it.

        Returns:
            What ``train.json`` holds.

        Raises:
            DivergenceError: The loss diverged and did not recover.
        """
        with naming_damage(self.examples):
            while self._goes_on():
                try:
                    self._train_epoch()
                except _Diverged as diverged:
                    self._roll_back(diverged)
                else:
                    self._end_epoch()
        return self._summary()

    def _goes_on(self) -> bool:
        settings = self.config.train
        stale = settings.patience is not None and self.place["stale"] > settings.patience
        return int(self.place["epoch"]) < settings.epochs and not stale

    def _train_epoch(self) -> None:
        """Take the steps of the rest of an epoch."""
        settings, pending, self.looked = self.config.train, [], time.monotonic()
        epoch, skipped = int(self.place["epoch"]), self._skipped_batches()
        for batch in self._batches(epoch):
            number = int(self.place["batch"].assign_add(1)) - 1
            if (epoch, number) in skipped:
                continue
            if self._enters_window(batch):
                pending = self._flush(pending)
                self._validate_window(epoch)
            step = int(self.place["step"].assign_add(1))
            pending.append((step, epoch, number, self.step(batch)))
            if len(pending) == FLUSH_STEPS:
                pending = self._flush(pending)
            if step % settings.checkpoint_every == 0:
                pending = self._flush(pending)
                self._save()
        self._flush(pending)

    def _batches(self, epoch: int):
        settings = self.config.train
        dataset = training_dataset(
            self.examples,
            epoch=epoch,
            batch_size=settings.batch_size,
            seed=settings.seed,
            shuffle_rows=settings.shuffle_rows,
            skip_batches=int(self.place["batch"]),
        )
        if self.strategy.num_replicas_in_sync > 1:
            return self.strategy.experimental_distribute_dataset(dataset)
        return dataset

    def _enters_window(self, batch) -> bool:
        """Whether the batch holds rows of a window that was not trained on before."""
        parts = self.strategy.experimental_local_results(batch[-1])
        latest = max(int(tf.reduce_max(part)) for part in parts if tf.size(part))
        if latest <= int(self.place["window"]):
            return False
        self.place["window"].assign(latest)
        return True

    def _flush(self, pending: list) -> list:
        """Log the steps that were taken since the last look, and judge their losses."""
        if not pending:
            return []
        settings, seconds = self.config.train, time.monotonic() - self.started
        lines = [
            {
                "step": step,
                "epoch": epoch,
                "batch": number,
                **self.step.line(values, self.windows),
                "batch_size": settings.batch_size,
                "seconds": round(seconds, 3),
            }
            for step, epoch, number, values in pending
        ]
        lines[-1] |= self.step.norms()
        train_log.append_lines(self.work / train_log.LOG_FILE, lines)
        self._summarise(lines)
        self._report(lines)
        for line in lines:
            event = train_log.watch(self.detector, line)
            if event and event["kind"] == "full" and settings.on_divergence != "continue":
                raise _Diverged(event)
        return []

    def _summarise(self, lines: list[dict]) -> None:
        with self.board.as_default(lines[-1]["step"]):
            tf.summary.scalar("loss", np.mean([line["loss"] for line in lines]))
            for group in ("losses", "clipping", "clipped_rows", "learning_rate"):
                for name in lines[-1][group]:
                    mean = np.mean([line[group][name] for line in lines])
                    tf.summary.scalar(f"{group}/{name}", mean)
            for group in ("weight_norm", "update_norm", "task_weights"):
                for name, norm in lines[-1][group].items():
                    tf.summary.scalar(f"{group}/{name}", norm)

    def _report(self, lines: list[dict]) -> None:
        now = time.monotonic()
        loss = np.mean([line["loss"] for line in lines])
        rows = sum(line["examples"] for line in lines)
        rate, self.looked = rows / (now - self.looked), now
        text = f"loss {loss:.4f}, {rate:,.0f} examples/s"
        self.progress(lines[-1]["step"], self.total_steps, text)

    def _validate_window(self, epoch: int) -> None:
        """Measure on a training window before the first step on it."""
        window = self.windows[int(self.place["window"])]
        results = self._measure("train", window)
        step = int(self.place["step"])
        self._log({"step": step, "epoch": epoch, "window": window, "progressive": results})

    def _log(self, line: dict) -> None:
        """Log a measurement, and show it to the detector."""
        train_log.append_lines(self.work / train_log.LOG_FILE, [line])
        train_log.watch(self.detector, line)

    def _measure(self, split: str, window: str | None = None) -> dict:
        with self.strategy.scope():
            self.model.catch_up()
        with_group = split == "validation" and self.examples.schema.group
        dataset = evaluation_dataset(
            self.examples,
            split,
            EVALUATION_ROWS,
            windows=window and [window],
            extra=with_group,
        )
        labels, masks, outputs, extra = predict(self.predict_tasks, dataset)
        return measure(self.schema.tasks, labels, masks, outputs, extra.get("group"))

    def _expert_use(self) -> dict:
        """How the gates use the experts; a collapse is said aloud."""
        dataset = evaluation_dataset(self.examples, "validation", EVALUATION_ROWS)
        use = self.expert_use.measure(dataset)
        for sentence in collapsed(use):
            self.progress(int(self.place["step"]), 0, f"warning: {sentence}")
        return {"experts": use} if use else {}

    def _end_epoch(self) -> None:
        """Measure on the validation split; keep the weights if they are the best.

        Not while the loss is high: a rollback may drop what was measured then.
        """
        epoch, step = int(self.place["epoch"]), int(self.place["step"])
        results, monitor = self._measure("validation"), self.config.train.monitor
        value = monitored(results, monitor)
        line = {"step": step, "epoch": epoch, "validation": results}
        self._log(line | self._expert_use())
        with self.board.as_default(step):
            tf.summary.scalar(f"validation/{monitor}", value)
        self.board.flush()
        self.progress(step, 0, f"epoch {epoch + 1}: validation {monitor} {value:.4f}")
        healthy = not self.detector.in_episode
        better = healthy and value > float(self.best)
        if better or not (self.work / "best").exists():
            self.best.assign(value if np.isfinite(value) else -np.inf)
            self.place["stale"].assign(0)
            save_weights(self.model, self.work / "best")
        else:
            self.place["stale"].assign_add(1)
        self.place["epoch"].assign(epoch + 1)
        self.place["batch"].assign(0)
        self._save()

    def _save(self) -> None:
        """Take a checkpoint, unless the loss is high: only healthy ones are worth it."""
        if not self.detector.in_episode:
            self.manager.save()
            self.saved(self.work)

    def _restore(self) -> list[dict]:
        """Go to the last checkpoint, or start one; returns what the log held beyond it."""
        if self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
        else:
            if self.start:
                with self.strategy.scope():
                    continue_from(self.model, self.schema, self.start)
            self.manager.save()
        self.backoff.assign(self.config.train.rollback_factor ** len(self.rollbacks))
        self.step.reset()
        log = self.work / train_log.LOG_FILE
        dropped = train_log.cut_after(
            log, int(self.place["step"]), int(self.place["epoch"])
        )
        self.detector = DivergenceDetector()
        for line in train_log.read_lines(log) if log.exists() else ():
            train_log.watch(self.detector, line)
        return dropped

    def _roll_back(self, diverged: "_Diverged") -> None:
        """Go back to the last healthy checkpoint, and around what made the loss jump."""
        settings, event = self.config.train, diverged.event
        log = list(train_log.read_lines(self.work / train_log.LOG_FILE))
        jump = next(line for line in log if line["step"] == event["step"])
        number = len(self.rollbacks) + 1
        last = settings.on_divergence == "stop" or number > settings.max_rollbacks
        dropped = self._restore()
        record = self._diagnose(event, jump, log)
        write_json(self.work / f"divergence-{number}.json", record)
        train_log.append_lines(self.work / f"divergence-{number}.jsonl", dropped)
        if last:
            self.saved(self.work)  # with the diagnosis
            raise DivergenceError(_explain(record, self.work, number))
        self.rollbacks.append({"epoch": jump["epoch"], "batch": jump["batch"]})
        write_json(self.work / ROLLBACKS, {"rollbacks": self.rollbacks})
        self.backoff.assign(settings.rollback_factor ** len(self.rollbacks))
        step = int(self.place["step"])
        line = {"step": step, "epoch": int(self.place["epoch"]), "rollback": record}
        train_log.append_lines(self.work / train_log.LOG_FILE, [line])
        self.manager.save()
        rates = f"rates times {float(self.backoff.numpy()):g}"
        self.progress(step, 0, f"{_headline(record)} Back at step {step}, {rates}.")

    def _diagnose(self, event: dict, jump: dict, log: list[dict]) -> dict:
        """Say why, through the healthy weights: the batch of the jump, and its layers."""
        data, window = read_batch(self.config, self.examples, jump["epoch"], jump["batch"])
        return {
            **event,
            "epoch": jump["epoch"],
            "batch": jump["batch"],
            "window": window,
            "first_clipped": first_clipped(log, event["step"]),
            "healthy_step": int(self.place["step"]),
            **diagnose(self.model, data),
        }

    def _skipped_batches(self) -> set[tuple[int, int]]:
        """The batches around each jump: the one before it may have caused it."""
        return {
            (place["epoch"], place["batch"] + offset)
            for place in self.rollbacks
            for offset in (-1, 0, 1)
        }

    def _summary(self) -> dict:
        return {
            "fingerprint": self.schema.fingerprint,
            "epochs": int(self.place["epoch"]),
            "steps": int(self.place["step"]),
            "batch_size": self.config.train.batch_size,
            "monitor": self.config.train.monitor,
            "best": float(self.best),
            "parameters": parameter_counts(self.model),
            "replicas": self.strategy.num_replicas_in_sync,
            "divergence": self.detector.summary(),
            "rollbacks": len(self.rollbacks),
            "versions": versions(),
        }


class _Diverged(Exception):
    """The detector saw a full divergence."""

    def __init__(self, event: dict):
        super().__init__(event)
        self.event = event


def _headline(record: dict) -> str:
    loss = "not finite" if record["loss"] is None else f"{record['loss']:.4g}"
    return (
        f"Training diverged: at step {record['step']} the loss was {loss}, after a median "
        f"of {record['median'] or float('nan'):.4g}, and did not come back."
    )


def _explain(record: dict, work: Path, number: int) -> str:
    worst = max(record["tasks"], key=lambda task: record["tasks"][task]["gradient_norm"])
    layer = record["first_clipped"]
    fell = f" The clipping factor of {layer} fell first." if layer else ""
    return (
        f"{_headline(record)} It began in epoch {record['epoch']}, batch "
        f"{record['batch']}, window {record['window']}; task {worst} pulled hardest."
        f"{fell} Lower "
        "train.dense.learning_rate, or clip (train.dense.clip: clippy). "
        f"{original(work)}: divergence-{number}.json has the diagnosis."
    )
