"""A training run of any kind: steps, evaluations, log, checkpoints, recoveries."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.components.metrics.early_warning import EarlyWarning
from steadyrank.pipeline.files.durable import sync
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    PassingError,
    ToldToEndError,
)
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.room import require_room
from steadyrank.pipeline.files.shapes import Rollbacks
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.gates.divergence import dying_words
from steadyrank.pipeline.kinds.protocol import Kind, Phase, Setting
from steadyrank.pipeline.tracking.tracked import UNTRACKED, Tracked
from steadyrank.pipeline.train import log as train_log
from steadyrank.pipeline.train.checkpoints import found_in, restore_newest
from steadyrank.pipeline.train.diagnosis import explain, first_clipped, headline
from steadyrank.pipeline.train.eviction import watching
from steadyrank.pipeline.train.logged_step import LoggedStep
from steadyrank.pipeline.train.reporter import Progress, Reporter
from steadyrank.pipeline.train.weights import load_weights, parameter_counts, save_weights
from steadyrank.pipeline.train.workers import ALONE, variables_of

FLUSH_STEPS = 50  # steps between looks at their losses: a look waits for the device
AGREE_SECONDS = 5  # between looks of several workers, which then hear of a SIGTERM
ROLLBACKS = "rollbacks.json"
CHECKPOINTS = 2  # that are kept, and a third while it is written
# float32: weights and up to two slots in each checkpoint, and the best weights, twice
BYTES_A_PARAMETER = 4 * (3 * (CHECKPOINTS + 1) + 2)
PLACE = ("epoch", "batch", "step", "window", "stale")


class TrainingRun:
    """A phase's model, its place in the input, and the folders it writes to.

    The place (epoch, batch, step, window) and the best result so far are in the
    checkpoint, beside weights, optimizers and counters.  All that is random depends on
    the seed and the place alone, so a run that is resumed ends as if never stopped.

    Windows are visited from old to new.  In the first epoch the model is measured on
    each window just before it trains on it (progressive validation).

    A checkpoint is only taken while the loss is healthy.  Where it diverges, ``rollback``
    goes back to the last one, leaves out the batches around the jump, and lowers the
    rates; ``stop`` and too many rollbacks raise; ``continue`` leaves it to the gate.

    Of several workers all take every step and measurement together.  The chief alone
    reads and writes files, and judges; what it found is what all of them do.

    Args:
        kind: The model's.
        setting: The run's.
        phase: The phase; those before it have ended.
        offset: Steps of those, on top of which the log counts.
        progress: Called with steps done, steps in all (0: unknown, or what is said shall
            stay) and a line about how it goes.
        saved: Called with the run's folder after each checkpoint.
        tracked: The run of MLflow, which the chief tells.
    """

    def __init__(
        self,
        kind: Kind,
        setting: Setting,
        phase: Phase,
        *,
        offset: int = 0,
        progress: Progress | None = None,
        saved: Callable[[Path], None] | None = None,
        tracked: Tracked = UNTRACKED,
    ):
        self.settings, self.phase, self.offset = setting.config.train, phase, offset
        self.kind, self.monitor = kind, kind.monitor(setting.config)
        self.work, self.strategy = setting.work, setting.strategy
        self.workers = setting.workers or ALONE
        self.log = setting.work / train_log.LOG_FILE
        self.saved = saved or (lambda _: None)
        with self.strategy.scope():
            self.backoff = tf.Variable(1.0, trainable=False, name="backoff")
            self.learner = kind.learner(setting, phase, self.backoff)
        self.model = self.learner.model
        with tf.device("CPU:0"):  # which looks at them in every step, and waits for none
            self.place = {
                name: tf.Variable(0, dtype=tf.int64, trainable=False, name=name)
                for name in PLACE
            }
        # of each number that Python hands to an operation TensorFlow keeps 340 bytes for
        # good (2.16 on Python 3.11), so those of each step are made once
        self.zero, self.one = (tf.constant(number, tf.int64) for number in (0, 1))
        self.best = tf.Variable(-np.inf, dtype=tf.float64, trainable=False)
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, best=self.best, **self.place
        )
        self.is_average = tf.Variable(False, trainable=False)  # whether the best is
        if self.model.average is not None:
            self.checkpoint.is_average = self.is_average
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, phase.folder / "checkpoints", max_to_keep=CHECKPOINTS
        )
        size = BYTES_A_PARAMETER * sum(parameter_counts(self.model).values())
        self.workers.of_chief(
            lambda: require_room(self.work, size, "checkpoints and weights")
        )
        self.step = LoggedStep(self.model, self.strategy)
        self.started = time.monotonic()
        self.stride, self.is_leaving = FLUSH_STEPS, False
        self.rollbacks: list[dict] = self.workers.of_chief(self._read_rollbacks)
        self.reporter = Reporter(
            setting,
            phase,
            steps=self._limit(),
            offset=offset,
            progress=progress,
            tracked=tracked,
        )
        self._restore()

    def _read_rollbacks(self) -> list[dict]:
        place = self.phase.folder / ROLLBACKS
        if not place.exists():
            return []
        return read_json(place, "an interrupted run", Rollbacks)["rollbacks"]

    def _limit(self) -> int:
        """The most steps that the phase can take; 0: it ends when it has converged."""
        phase, per_epoch = self.phase, self.learner.batches_in_epoch
        limits = [phase.steps, phase.epochs and phase.epochs * per_epoch]
        return min((limit for limit in limits if limit), default=0)

    def train(self) -> dict:
        """Train to the end of the phase: its last epoch or step, or no gain any more.

        Returns:
            What the summary says of it.

        Raises:
            DivergenceError: The loss diverged and did not recover, or was hardly ever a
                number.
            PassingError: The process was told to end, and saved where it was.
        """
        with watching() as self.is_told_to_end:
            if not self._goes_on():  # of a run that had ended, whose epochs were raised
                self._say(f"warning: nothing to train{self._why_ended()}")
            while self._goes_on():
                try:
                    epoch = self._train_stretch()
                except _Diverged as diverged:
                    self._roll_back(diverged)
                else:
                    self._evaluate(epoch)
                    if not self._goes_on() and (why := self._why_ended()):
                        self._say(f"ended{why}")
        self.reporter.ended(int(self.place["step"]), self._why_ended())
        return self.workers.of_chief(self._summary)

    def take_best(self) -> None:
        """Load the best weights."""

        def load():
            with self.strategy.scope():
                load_weights(self.model, self.phase.folder / "best")

        self.workers.of_chief(load)
        self.workers.share(self.model.saved_weights().values())

    def _summary(self) -> dict:
        own = (line for line in train_log.read_lines(self.log) if self._is_mine(line))
        train_log.require_finite_steps(own, original(self.log))
        return {
            **self.learner.describe(),
            "epochs": int(self.place["epoch"]),
            "steps": int(self.place["step"]),
            "best": float(self.best),
            **({"averaged": bool(self.is_average)} if self.model.average else {}),
            "still_rising": self._ended_at_its_best(),
            "parameters": parameter_counts(self.model),
            "divergence": self.detector.summary(),
            "rollbacks": len(self.rollbacks),
        }

    def _ended_at_its_best(self) -> bool:
        """Whether the last evaluation was the best of several: more may be to be had."""
        more = int(self.place["epoch"]) > 1 or bool(self.phase.evaluate_every)
        return more and int(self.place["stale"]) == 0 and bool(np.isfinite(self.best))

    def _why_ended(self) -> str:
        """Why a phase ends before its last epoch; ``""``: it does not."""
        stale, patience = int(self.place["stale"]), self.phase.patience
        if patience is None or stale < patience:
            return ""
        how = f"{stale} evaluation{'s' * (stale != 1)}"
        borne = getattr(self.settings, "patience", None)  # of a phase it is its own
        how += " (patience)" if borne is None else f", and train.patience bears {borne}"
        return (
            f": {self.monitor} on validation has not risen for {how}; the weights of its "
            f"best, {float(self.best):.4f}, are kept"
        )

    def _goes_on(self) -> bool:
        phase, place = self.phase, {n: int(value) for n, value in self.place.items()}
        limits = [(phase.epochs, "epoch"), (phase.steps, "step"), (phase.patience, "stale")]
        return all(limit is None or place[name] < limit for limit, name in limits)

    def _train_stretch(self) -> int:
        """Train up to the next evaluation; the epoch that it came in."""
        while True:
            epoch, due = int(self.place["epoch"]), self._train_epoch()
            ended = not due or int(self.place["batch"]) == self.learner.batches_in_epoch
            if ended:
                self.place["epoch"].assign_add(self.one)
                self.place["batch"].assign(self.zero)
            every, last = self.phase.evaluate_every, epoch + 1 == self.phase.epochs
            if due or last or not every:
                return epoch

    def _train_epoch(self) -> bool:
        """The rest of an epoch, or up to an evaluation that is due before its end."""
        pending, due = [], False
        self.reporter.start()
        for epoch, number, batch in self._batches():
            if self._enters_window(number):
                pending = self._flush(pending)
                self._validate_window(epoch)
            step = int(self.place["step"].assign_add(self.one))
            pending.append((step, epoch, number, self.step(batch)))
            if due := self._evaluates_at(step):
                break
            saves = step % self.settings.checkpoint_every == 0
            told = self.workers.count == 1 and self.is_told_to_end()
            if saves or told or self.is_leaving or len(pending) >= self.stride:
                pending = self._flush(pending)
            if self.is_leaving:
                self._leave()
            if saves:
                self._save()
        self._flush(pending)
        if self.is_leaving and not due:
            self._leave()
        return due

    def _leave(self) -> None:
        """Save where the run is, and end: what comes next may be another machine."""
        self._save()
        raise ToldToEndError(
            f"told to end (SIGTERM) after step {self.offset + int(self.place['step'])}, "
            f"which {original(self.work)} holds."
        )

    def _batches(self) -> Iterator[tuple]:
        """Epoch, number and batch of the rest of an epoch, without those of a jump."""
        epoch, skipped = int(self.place["epoch"]), self._skipped_batches()
        for batch in self.learner.batches(epoch, int(self.place["batch"])):
            number = int(self.place["batch"].assign_add(self.one)) - 1
            if (epoch, number) not in skipped:
                yield epoch, number, batch

    def _evaluates_at(self, step: int) -> bool:
        """Whether an evaluation comes after a step, even within an epoch."""
        every, start = self.phase.evaluate_every, self.phase.judges_start and step == 0
        return start or step == self.phase.steps or bool(every and step % every == 0)

    def _enters_window(self, batch: int) -> bool:
        """Whether a batch holds rows of a window that was not trained on before."""
        latest = self.learner.latest_window(batch)
        if latest <= int(self.place["window"]):
            return False
        self.place["window"].assign(latest)
        return True

    def _flush(self, pending: list) -> list:
        """Log the steps that were taken since the last look, and judge their losses."""
        if not pending:
            return []
        seconds = round(time.monotonic() - self.started, 3)
        lines = [
            {
                **self._at(step, epoch),
                "batch": number,
                **self.step.line(values, self.learner.windows),
                "batch_size": self.settings.batch_size,
                "seconds": seconds,
            }
            for step, epoch, number, values in pending
        ]
        if self.learner.batches_in_epoch == 1:  # which is whole, however small
            lines = [{**line, "batch_size": line["examples"]} for line in lines]
        own = {
            "told": self.is_told_to_end(),
            "steps": self.reporter.steps_in(AGREE_SECONDS, len(lines)),
        }
        event, said = self.workers.decide(lambda: self._judge(lines), own)
        self.reporter.look(lines)
        self.is_leaving = any(each["told"] for each in said)
        if self.workers.count > 1:
            self.stride = min(max(said[0]["steps"], 1), FLUSH_STEPS)
        if event:
            raise _Diverged(event)
        return []

    def _judge(self, lines: list[dict]) -> dict | None:
        """Write steps down; the first of them at which the loss is lost for good."""
        lines[-1] |= self.step.norms()
        train_log.append_lines(self.log, lines)
        self.reporter.draw(lines)
        stays = self.settings.on_divergence == "continue"
        for line in lines:
            if warning := train_log.foretell(self.early, line):
                train_log.append_lines(self.log, [warning])
                self._say(f"warning: {dying_words(warning['warning'])}")
            event = train_log.watch(self.detector, line)
            if event and event["kind"] == "full" and not stays:
                return event
        return None

    def _at(self, step: int, epoch: int) -> dict:
        """Where a line of the log belongs."""
        phase = {} if self.phase.number is None else {"phase": self.phase.number}
        return {"step": self.offset + step, **phase, "epoch": epoch}

    def _say(self, text: str) -> None:
        self.reporter.say(int(self.place["step"]), text)

    def _validate_window(self, epoch: int) -> None:
        """Measure on a training window before the first step on it."""
        window = self.learner.windows[int(self.place["window"])]
        line = self._at(int(self.place["step"]), epoch)
        found = self._measure("train", window)
        self.workers.of_chief(
            lambda: self._log({**line, "window": window, "progressive": found})
        )

    def _log(self, line: dict) -> None:
        """Log a measurement, and show it to the detector."""
        train_log.append_lines(self.log, [line])
        train_log.watch(self.detector, line)

    def _measure(self, split: str, window: str | None = None) -> dict:
        with self.strategy.scope():
            self.model.catch_up()
        return self.learner.measure(split, window)

    def _evaluate(self, epoch: int) -> None:
        """Measure on the validation split; keep the weights if they are the best.

        Not while the loss is high: a rollback may drop what was measured then.
        """
        best = self._weigh_both(epoch)
        if best is not None:
            self.best.assign(best)
            self.place["stale"].assign(self.zero)
        else:
            self.place["stale"].assign_add(self.one)
        self._save()

    def _weigh_both(self, epoch: int) -> float | None:
        """Weigh the weights as they are, or the average of them where it is better."""
        results, average = self._measure("validation"), self.model.average
        if average is None or not int(average.steps.read_value()):
            return self.workers.of_chief(lambda: self._weigh(epoch, results))
        with self.strategy.scope(), self.model.averaged():
            others = self._measure("validation")
            better = self.workers.of_chief(
                lambda: self._value(others) > self._value(results)
            )
            if better:
                return self.workers.of_chief(lambda: self._weigh(epoch, others, True))
        return self.workers.of_chief(lambda: self._weigh(epoch, results, False))

    def _value(self, results: dict) -> float:
        return self.kind.monitored(results, self.monitor)

    def _weigh(
        self, epoch: int, results: dict, averaged: bool | None = None
    ) -> float | None:
        """Write a measurement down; its value, if the weights are the best so far."""
        step, value = int(self.place["step"]), self._value(results)
        more, warnings = self.learner.look()
        if averaged is not None:
            more = {**more, "averaged": averaged}
        for sentence in warnings:
            self._say(f"warning: {sentence}")
        self._log({**self._at(step, epoch), "validation": results, **more})
        self.reporter.draw_validation(step, results, self.monitor, value)
        how = f"epoch {epoch + 1}:" if step else "starts at"
        of = " of the average" if averaged else ""
        self._say(f"{how} validation {self.monitor} {value:.4f}{of}")
        better = not self.detector.in_episode and value > float(self.best)
        if not better and (self.phase.folder / "best").exists():
            return None
        save_weights(self.model, self.phase.folder / "best")
        self.is_average.assign(bool(averaged))
        return float(value) if np.isfinite(value) else -np.inf

    def _save(self) -> None:
        """Take a checkpoint, unless the loss is high: only healthy ones are worth it."""
        self.workers.of_chief(self._save_healthy)

    def _save_healthy(self) -> None:
        if not self.detector.in_episode:
            self.reporter.keep()
            for path in (self.log, self.log.parent):  # never behind a checkpoint,
                sync(path)  # whatever the power does
            self.manager.save()
            self._send()

    def _send(self) -> None:
        """Send a copy to where another machine would go on from; training does not hang
        on it: the next one comes after the next checkpoint."""
        try:
            self.saved(self.work)
        except PassingError as error:
            self._say(f"warning: no snapshot of this checkpoint was kept: {error}")

    def _restore(self) -> list[dict]:
        """Go to the last checkpoint, or start one; returns what the log held beyond it."""
        folder = self.phase.folder / "checkpoints"
        begins = self.workers.of_chief(lambda: not found_in(folder))
        if begins:
            with self.strategy.scope():
                self.learner.begin()
        else:
            self.workers.of_chief(self._read_newest)
        self.workers.share(variables_of(self.model))
        self.workers.share([self.best, *self.place.values()])
        self.backoff.assign(self.settings.rollback_factor ** len(self.rollbacks))
        self.step.reset()
        dropped: list[dict] = []
        self.workers.of_chief(lambda: dropped.extend(self._cut_log(begins)))
        if begins and self.phase.judges_start:
            self._evaluate(0)
        elif begins:
            self.workers.of_chief(lambda: self.manager.save() and None)
        return dropped

    def _read_newest(self) -> None:
        folder = self.phase.folder / "checkpoints"
        for damaged in restore_newest(self.checkpoint, folder):
            self._say(f"warning: {damaged} is damaged; the one before it is taken")

    def _cut_log(self, begins: bool) -> list[dict]:
        """Cut the log at the place; show what it holds to a fresh detector."""
        self.detector, self.early = DivergenceDetector(), EarlyWarning()
        is_beyond = self._is_mine if begins else self._is_beyond
        dropped = train_log.cut_from(self.log, is_beyond)
        kept = list(train_log.read_lines(self.log)) if self.log.exists() else []
        train_log.require_steps(self.log, kept, self.offset + int(self.place["step"]))
        for line in kept:
            if self._is_mine(line):
                train_log.watch(self.detector, line)
                train_log.foretell(self.early, line)
        return dropped

    def _is_mine(self, line: dict) -> bool:
        return line.get("phase") == self.phase.number

    def _is_beyond(self, line: dict) -> bool:
        """Whether a line was logged after the place: what goes on will log it again."""
        if not self._is_mine(line):
            return line.get("phase", 0) > (self.phase.number or 0)
        step = line["step"] - self.offset
        if "progressive" in line and step == int(self.place["step"]):
            entered = self.learner.windows.index(line["window"])
            return entered > int(self.place["window"])  # it will be measured again
        if "validation" in line and not self._evaluates_at(step):
            return line["epoch"] >= int(self.place["epoch"])  # of an epoch's end
        return step > int(self.place["step"])

    def _roll_back(self, diverged: "_Diverged") -> None:
        """Go back to the last healthy checkpoint, and around what made the loss jump."""
        settings, event = self.settings, diverged.event
        log: list[dict] = []
        self.workers.of_chief(lambda: log.extend(filter(self._is_mine, self._lines())))
        jump = self.workers.of_chief(
            lambda: next(n for n in log if n["step"] == event["step"] and "loss" in n)
        )
        number = len(self.rollbacks) + 1
        last = settings.on_divergence == "stop" or number > settings.max_rollbacks
        dropped = self._restore()
        self.reporter.tracked.rolled_back()
        with self.strategy.scope():
            self.model.catch_up()  # as for a replay of the checkpoint
        record = self.workers.of_chief(lambda: self._diagnose(event, jump, log, dropped))
        if last:
            self.workers.of_chief(lambda: self.saved(self.work))  # with the diagnosis
            raise DivergenceError(explain(record, self.phase.folder, number))
        self.rollbacks.append({"epoch": jump["epoch"], "batch": jump["batch"]})
        self.backoff.assign(settings.rollback_factor ** len(self.rollbacks))
        self.workers.of_chief(lambda: self._keep_rollback(record))

    def _keep_rollback(self, record: dict) -> None:
        write_json(self.phase.folder / ROLLBACKS, {"rollbacks": self.rollbacks})
        step = int(self.place["step"])
        line = {**self._at(step, int(self.place["epoch"])), "rollback": record}
        train_log.append_lines(self.log, [line])
        self.manager.save()
        rates = f"rates times {float(self.backoff.numpy()):g}"
        self._say(f"{headline(record)} Back at step {self.offset + step}, {rates}.")

    def _lines(self) -> Iterator[dict]:
        return train_log.read_lines(self.log)

    def _diagnose(self, event: dict, jump: dict, log: list[dict], dropped: list) -> dict:
        """Say why, through the healthy weights: the batch of the jump, and its layers."""
        place = {name: jump[name] for name in ("phase", "epoch", "batch") if name in jump}
        record = {
            **event,
            **place,
            "first_clipped": first_clipped(log, event["step"]),
            "healthy_step": self.offset + int(self.place["step"]),
            **self.learner.diagnose(jump["epoch"], jump["batch"]),
        }
        folder, number = self.phase.folder, len(self.rollbacks) + 1
        write_json(folder / f"divergence-{number}.json", record)
        train_log.append_lines(folder / f"divergence-{number}.jsonl", dropped)
        return record

    def _skipped_batches(self) -> set[tuple[int, int]]:
        """The batches around each jump: the one before it may have caused it."""
        return {
            (place["epoch"], place["batch"] + offset)
            for place in self.rollbacks
            for offset in (-1, 0, 1)
        }


class _Diverged(Exception):
    """The detector saw a full divergence."""

    def __init__(self, event: dict):
        super().__init__(event)
        self.event = event
