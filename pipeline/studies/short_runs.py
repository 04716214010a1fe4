"""Short training runs from one model: another method, learning rate or seed in each.

Building a model and tracing its step costs seconds, a step milliseconds.  So a model is
built once, its step traced once a method, and every probe begins by putting weights,
optimizer slots and counters back to their start.  Rates do not decay in a probe.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.components.optimizers.dense import CLIPS
from steadyrank.components.optimizers.dense import THRESHOLDS as HYPERPARAMETERS
from steadyrank.components.optimizers.schedules import Backoff
from steadyrank.models.build import DENSE_OPTIMIZERS, build_model
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.dataset import evaluation_dataset, training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.files.errors import InputError, near
from steadyrank.pipeline.kinds.ranking.model import compiled_model
from steadyrank.pipeline.metrics.predict import predict
from steadyrank.pipeline.metrics.tasks import measure
from steadyrank.pipeline.train import log as train_log
from steadyrank.pipeline.train.logged_step import LoggedStep

EVALUATION_ROWS = 8192
CALM = 1.5  # times the first loss: what stays below it never rose
JUMP = 3.0  # times the first loss: what went beyond it did harm
ALIVE_AUC = 0.55  # what a task must have had before, to be told from chance
LOOK_STEPS = 10  # steps between looks at the losses
UNIT = {"relative": 0.1, "absolute": 1e-3}  # of clippy_unit, where none are given
THRESHOLDS = {
    "value": 1e-2,
    "norm": 1e-1,
    "global_norm": 1.0,
    "agc": 1e-2,
    "agc_tensor": 1e-2,
    "lamb": 1e-2,
}


@dataclass(frozen=True)
class Method:
    """What is done to the updates of the dense weights.

    Attributes:
        name: In tables and plots.
        clip: As ``train.dense.clip``.
        threshold: As ``train.dense.threshold``; None for those that have none.
        relative: Clippy's lambda_rel; None: the config's.
        absolute: Clippy's lambda_abs; None: the config's.
    """

    name: str
    clip: str
    threshold: float | None = None
    relative: float | None = None
    absolute: float | None = None


@dataclass(frozen=True)
class Probe:
    """How one short training run went.

    Attributes:
        method: Name of the method.
        rate: Learning rate of the dense weights, in the units of the config.
        seed: Seed of the weights and of the order of the rows.
        diverged: Whether the loss, or a task, was lost for good.
        why: In words; "" for a healthy run, and "too slow" for a task that has not begun
            to learn: no divergence.
        final: Task name -> AUC after the last step, on rows that come later; empty
            where training diverged before.
        progressive: Task name -> mean AUC over the windows, each measured before the
            first step on it; the first window is left out.
        loss: ``first``, ``last`` and ``highest`` loss of a step, and ``micro``, how many
            micro-divergences there were.
        clipping: Dense variable -> mean of its clipping factor.
        steps: Steps that were taken.
        seconds: In all.
    """

    method: str
    rate: float
    seed: int
    diverged: bool
    why: str = ""
    final: dict[str, float] = field(default_factory=dict)
    progressive: dict[str, float] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    clipping: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0


class Prober:
    """Runs probes on a slice of an example set: windows in order, a single pass.

    Every probe is watched by the detector that watches training; its patience is a fifth
    of the probe.  Batches and initial weights stay in memory from probe to probe, those
    of each seed.

    Args:
        config: The run's config; the method and rate of its dense optimizer change.
        schema: The model's schema.
        examples: What to train on.
        windows: Training windows, old to new.
        final: Split and window that the trained model is measured on; window None: the
            whole split.
        steps: Steps in a window, at most; None: all of it.
    """

    def __init__(
        self,
        config: Config,
        schema: Schema,
        examples: ExampleSet,
        windows: Sequence[str],
        *,
        final: tuple[str, str | None] = ("validation", None),
        steps: int | None = None,
    ):
        self.config, self.schema, self.examples = config, schema, examples
        self.windows, self.final, self.steps = list(windows), final, steps
        self.names = list(examples.windows("train"))
        self.rate_in_use = config.train.dense.learning_rate
        self.factor = tf.Variable(1.0, trainable=False, name="factor")
        self.model = compiled_model(config, schema)
        self._dense_settings = self.model.dense_optimizer.get_config()
        self._table_slots = _starts(self.model.embedding_optimizer)
        self._table_slots += _starts(self.model.weighting)
        if self.model.spike_guard is not None:
            self._table_slots += _starts(self.model.spike_guard)
        self._predict = BatchFunction(self.model.head.predict_logged)
        self._methods: dict[str, tuple] = {}
        self._weights: dict[int, list[np.ndarray]] = {}
        self._batches: dict[tuple, list] = {}
        self._evaluations: dict[tuple, list] = {}

    def probe(self, method: Method, rate: float, seed: int) -> Probe:
        """Train from the start and say how it went."""
        began, run = time.monotonic(), Watch(self._patience(seed))
        step = self.prepare(method, rate, seed)
        for place, window in enumerate(self.windows):
            if place:
                run.measured(self.measure(("train", window)))
            self._train_window(step, window, seed, run)
            if run.lost:
                break
        if not run.lost:
            run.measured(self.measure(self.final), last=True)
        return run.outcome(method.name, rate, seed, time.monotonic() - began)

    def prepare(self, method: Method, rate: float, seed: int) -> LoggedStep:
        """The step of a method, with everything that it changes at its start."""
        if method.clip not in self._methods:
            self._methods[method.clip] = self._trace(method)
        step, optimizer, slots = self._methods[method.clip]
        self.model.dense_optimizer = optimizer
        dense = self.config.train.dense
        optimizer.threshold.assign(method.threshold or 1.0)
        optimizer.relative.assign(method.relative or dense.relative_threshold)
        optimizer.absolute.assign(method.absolute or dense.absolute_threshold)
        self.factor.assign(rate / self.rate_in_use)
        for variable, start in (*self._start(seed), *slots, *self._table_slots):
            variable.assign(start)
        step.reset()
        return step

    def batches(self, window: str, seed: int) -> list:
        """The batches of a window, kept in memory."""
        key = (window, seed)
        if key not in self._batches:
            settings = self.config.train
            dataset = training_dataset(
                self.examples,
                epoch=0,
                batch_size=settings.batch_size,
                seed=seed,
                shuffle_rows=settings.shuffle_rows,
                windows=[window],
                grouped=self.config.ranks_groups,
            )
            batches = list(dataset.take(self.steps or -1))
            # The small remainder is no step of its own: it would need another trace.
            whole = [b for b in batches if len(b[-1]) == settings.batch_size]
            self._batches[key] = whole or batches
        return self._batches[key]

    def measure(self, place: tuple[str, str | None]) -> dict:
        """Metrics of the weights as they are, on a split and window."""
        if place not in self._evaluations:
            split, window = place
            dataset = evaluation_dataset(
                self.examples, split, EVALUATION_ROWS, windows=window and [window]
            )
            self._evaluations[place] = list(dataset)
        self.model.catch_up()
        labels, masks, outputs, _ = predict(self._predict, self._evaluations[place])
        outputs = {name: np.nan_to_num(values) for name, values in outputs.items()}
        return measure(self.schema.tasks, labels, masks, outputs)

    def _train_window(self, step: LoggedStep, window: str, seed: int, run: "Watch"):
        batches, size = self.batches(window, seed), self.config.train.batch_size
        for first in range(0, len(batches), LOOK_STEPS):
            values = [step(batch) for batch in batches[first : first + LOOK_STEPS]]
            run.took([{**step.line(v, self.names), "batch_size": size} for v in values])
            if run.lost:
                return

    def _patience(self, seed: int) -> int:
        return max(5, sum(len(self.batches(w, seed)) for w in self.windows) // 5)

    def _trace(self, method: Method) -> tuple:
        """A method's step, its optimizer, and the optimizer's variables at their start."""
        rate = tf.keras.optimizers.schedules.deserialize(
            self._dense_settings["learning_rate"]
        )
        settings = {
            **self._dense_settings,
            "learning_rate": Backoff(rate, self.factor),
            "clip": method.clip,
            # variables: another threshold needs no other trace
            **{
                name: tf.Variable(self._dense_settings[name], trainable=False)
                for name in HYPERPARAMETERS
            },
        }
        optimizer = DENSE_OPTIMIZERS[self.config.train.dense.optimizer](**settings)
        optimizer.build(self.model.dense_variables)
        self.model.dense_optimizer = optimizer
        step = LoggedStep(self.model, tf.distribute.get_strategy())
        return step, optimizer, _starts(optimizer)

    def _start(self, seed: int) -> list[tuple]:
        """Every weight with what it starts from under a seed."""
        if seed not in self._weights:
            fresh = build_model(
                self.schema.features,
                self.schema.tasks,
                self.schema.score,
                self.config.model.model_dump(),
                seed=seed,
            )
            variables = [*fresh.dense_variables, *fresh.embedding_variables]
            self._weights[seed] = [variable.numpy() for variable in variables]
        own = [*self.model.dense_variables, *self.model.embedding_variables]
        return list(zip(own, self._weights[seed], strict=True))


class Watch:
    """What is seen of a probe while it runs.

    Args:
        patience: Steps in which a loss that jumped may come back.
    """

    def __init__(self, patience: int):
        self.detector = DivergenceDetector(patience=patience)
        self.losses: list[float] = []
        self.clipping: list[dict[str, float]] = []
        self.areas: list[dict[str, float]] = []
        self.certain: set[str] = set()
        self.finished = False
        self.lost = False

    def took(self, lines: list[dict]) -> None:
        """Look at the steps since the last look."""
        for line in lines:
            self.losses.append(line["loss"])
            self.clipping.append(line["clipping"])
            line = {**line, "step": len(self.losses)}
            event = train_log.watch(self.detector, line)
            self.lost |= bool(event) and event["kind"] == "full"

    def measured(self, results: dict, last: bool = False) -> None:
        """Take a measurement in; the last one judges which tasks are alive."""
        step = len(self.losses)
        train_log.watch(self.detector, {"step": step, "progressive": results})
        binary = {t: r["auc"] for t, r in results.items() if r["kind"] == "binary"}
        self.areas.append(binary)
        self.certain = {t for t in binary if _is_certain(results[t])}
        self.finished |= last

    def outcome(self, method: str, rate: float, seed: int, seconds: float) -> Probe:
        """The probe that was."""
        summary = self.detector.summary()
        tasks = self.areas[0] if self.areas else {}
        slow = self._slow(summary) and not (self.lost or self.detector.in_episode)
        return Probe(
            method,
            rate,
            seed,
            diverged=summary["diverged"] and not slow,
            why=_why(summary, self.losses, slow),
            final=self.areas[-1] if self.finished else {},
            progressive={
                task: float(np.nanmean([areas[task] for areas in self.areas]))
                for task in tasks
                if any(math.isfinite(areas[task]) for areas in self.areas)
            },
            loss={
                "first": self.losses[0],
                "last": self.losses[-1],
                "highest": float(np.max(self.losses)),  # NaN if there is one
                "micro": len(summary["micro"]),
            },
            clipping={
                name: float(np.mean([each[name] for each in self.clipping]))
                for name in self.clipping[0]
            },
            steps=len(self.losses),
            seconds=round(seconds, 3),
        )

    def _slow(self, summary: dict) -> bool:
        """Whether all that is wrong is that some tasks have not begun to learn.

        They had no AUC to lose, and either another task has learned and the loss never
        jumped, or it never rose at all.  A shared bottom that is lost takes every task
        with it; one that was hit may leave the easiest alive.
        """
        dead, last = set(summary["dead_tasks"]), self.areas[-1] if self.areas else {}
        had = {t for areas in self.areas for t in dead if areas[t] > ALIVE_AUC}
        peak = float(np.max(self.losses)) / self.losses[0]  # NaN: neither
        calm, even = peak <= CALM and not summary["micro"], peak <= JUMP
        others = any(last[task] > ALIVE_AUC for task in self.certain - dead)
        return bool(dead) and not had and (calm or (even and others))


def _is_certain(result: dict) -> bool:
    positives = result["positives"]
    return min(positives, result["rows"] - positives) >= train_log.CERTAIN_ROWS


def _why(summary: dict, losses: list[float], slow: bool) -> str:
    if not summary["diverged"]:
        return ""
    at = summary["diverged_at"]
    if slow:
        return f"AUC of {', '.join(summary['dead_tasks'])} still at 0.5: too slow"
    if summary["dead_tasks"]:
        return f"AUC of {', '.join(summary['dead_tasks'])} at 0.5 from step {at}"
    if summary["nonfinite_steps"]:
        return f"loss not finite after a jump at step {at}"
    return f"loss jumped at step {at}, to {np.max(losses[at - 1 :]):.3g}, and stayed high"


def _starts(owner: tf.keras.optimizers.Optimizer | tf.Module) -> list[tuple]:
    """The variables of an optimizer, or of a module, each with what it holds now."""
    return [(variable, variable.numpy()) for variable in owner.variables]


def method_of(text: str) -> Method:
    """A method from its name: ``"agc"``, or ``"agc=0.01"`` with another threshold.

    Raises:
        InputError: There is no such clip, or it does not take a threshold.
    """
    clip, _, number = text.strip().partition("=")
    if clip not in CLIPS:
        raise InputError(f"--methods: there is no clip {clip!r}. {near(clip, CLIPS)}")
    if clip not in THRESHOLDS:
        if number:
            raise InputError(
                f"--methods: {clip} takes no threshold. Received: {text!r}. Leave it out."
            )
        return Method(clip, clip, **(UNIT if clip == "clippy_unit" else {}))
    try:
        threshold = float(number) if number else THRESHOLDS[clip]
    except ValueError:
        threshold = math.nan
    if not 0 < threshold < math.inf:
        raise InputError(
            f"--methods: a threshold must be a number above 0. Received: {text!r}. "
            f"Take {clip}:{THRESHOLDS[clip]:g}."
        )
    return Method(f"{clip} {threshold:g}", clip, threshold)
