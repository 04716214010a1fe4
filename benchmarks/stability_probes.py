"""What the stability study does besides climbing: step times, a replay, a bad batch."""

import statistics
import time
from collections.abc import Sequence

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.components.optimizers import clipping, clippy
from steadyrank.models.ranker import RankingModel
from steadyrank.pipeline.studies.short_runs import Method, Prober
from steadyrank.pipeline.studies.stability import mean_auc

BLOCK = 10  # steps that are timed together
BAD_BATCH, BAD_TASK, BAD_LABEL = 5, "is_like", 100.0
REPLAYED = ("clippy", "norm", "agc")  # thresholds of the paper's Figure 4
HEALTHY_STEPS = 10  # at least, before the onset that is replayed
BOTTOM = "shared_bottom"


class StudyProber(Prober):
    """A prober that can put a batch with spurious labels of one task into the second day.

    Attributes:
        spoiled: Whether it does.
    """

    spoiled = False

    def batches(self, window: str, seed: int) -> list:
        """The batches of a window; see ``Prober``."""
        found = super().batches(window, seed)
        if not (self.spoiled and window == self.windows[1]):
            return found
        features, labels, masks, number = found[BAD_BATCH]
        wrong = tf.fill(tf.shape(labels[BAD_TASK]), BAD_LABEL)
        bad = (features, {**labels, BAD_TASK: wrong}, masks, number)
        return [*found[:BAD_BATCH], bad, *found[BAD_BATCH + 1 :]]


def step_times(prober: Prober, methods: Sequence[Method], rounds: int) -> dict:
    """Time blocks of steps, the methods in turn.

    Returns:
        ``seconds``: method -> median seconds a step; ``ratio``: method -> median over
        rounds of its block over plain Adagrad's of the same round.
    """
    seed = prober.config.train.seed
    batches = prober.batches(prober.windows[0], seed)[:BLOCK]
    blocks: dict[str, list[float]] = {method.name: [] for method in methods}
    for _ in range(rounds + 1):
        for method in methods:
            step = prober.prepare(method, prober.rate_in_use, seed)
            step(batches[0]).numpy()
            start = time.perf_counter()
            values = [step(batch) for batch in batches]
            values[-1].numpy()
            blocks[method.name].append((time.perf_counter() - start) / len(batches))
    plain = blocks["none"][1:]
    return {
        "seconds": {name: statistics.median(all_[1:]) for name, all_ in blocks.items()},
        "ratio": {
            name: statistics.median(
                one / other for one, other in zip(all_[1:], plain, strict=True)
            )
            for name, all_ in blocks.items()
        },
    }


def spoil(
    prober: StudyProber, methods: Sequence[Method], rate: float, seed: int, tasks
) -> dict:
    """Train with one batch whose labels of one task are absurd.

    Returns:
        Method -> mean AUC of the *other* tasks with and without that batch.
    """
    others = [task for task in tasks if task != BAD_TASK]
    found = {}
    for method in methods:
        healthy = prober.probe(method, rate, seed)
        prober.spoiled = True
        bad = prober.probe(method, rate, seed)
        prober.spoiled = False
        found[method.name] = {
            "healthy": mean_auc(healthy.final, others),
            "spoiled": mean_auc(bad.final, others),
            "diverged": bad.diverged,
            "highest_loss": bad.loss["highest"],
            "why": bad.why,
        }
        print(f"spurious batch, {method.name}: {found[method.name]}", flush=True)
    return found


def replay(prober: Prober, rates: Sequence[float], seed: int) -> dict:
    """An unclipped run that diverges: the factors that each method would have had.

    At every step the smallest factor over the kernels of the shared bottom of Clippy
    (0.1, 1e-2), GC (1e-1) and AGC (1e-3, per tensor), the thresholds of the paper's
    Figure 4.  The prober should have a warm-up: without one a run that diverges does so
    in its first steps, before there is anything healthy to compare with.

    Args:
        prober: What runs it.
        rates: Ascending; the first one whose run is healthy first and then diverges counts.
        seed: Seed of the run.

    Returns:
        ``rate`` and ``onset``, the step whose loss jumped for good; for each method the
        median before (``healthy``) and the least factor of the two steps before the jump
        (``onset``): the updates that caused it.  ``steps``: all factors and losses.
    """
    look = tf.function(lambda *batch: _factors(prober.model, batch), autograph=False)
    for rate in rates:
        lines, onset = _replay_at(prober, look, rate, seed)
        if onset is not None and onset >= HEALTHY_STEPS:
            break
    result = {"rate": rate, "onset": onset, "steps": lines}
    if onset is not None and onset >= HEALTHY_STEPS:
        for name in REPLAYED:
            factors = [line[name] for line in lines]
            before = float(np.median(factors[: onset - 2]))
            result[name] = {"healthy": before, "onset": min(factors[onset - 2 : onset])}
    print(f"replay: { {k: v for k, v in result.items() if k != 'steps'} }", flush=True)
    return result


def _replay_at(
    prober: Prober, look, rate: float, seed: int
) -> tuple[list[dict], int | None]:
    step = prober.prepare(Method("none", "none"), rate, seed)
    batches = [b for window in prober.windows for b in prober.batches(window, seed)]
    detector, lines = DivergenceDetector(patience=len(batches) // 5), []
    for number, batch in enumerate(batches):
        factors = look(*batch[:3]).numpy()
        loss = step.line(step(batch), prober.names)["loss"]
        lines.append({"loss": loss, **dict(zip(REPLAYED, factors.tolist(), strict=True))})
        event = detector.update(number, loss)
        if event and event["kind"] == "full":
            break
    return lines, detector.summary()["diverged_at"]


def _factors(model: RankingModel, batch):
    features, labels, masks = batch
    optimizer, weights = model.dense_optimizer, model.dense_variables
    with tf.GradientTape() as tape:
        losses = model.task_losses(labels, masks, model(features, training=True))
        loss = tf.add_n([task.weight * losses[task.name] for task in model.tasks])
    rows = []
    for w, g in zip(weights, tape.gradient(loss, weights), strict=True):
        if BOTTOM not in w.name or "kernel" not in w.name:
            continue
        slot = next(v for v in optimizer.variables if v.name == _slot_name(w))
        G = slot + tf.square(g)
        delta = optimizer.learning_rate * g / tf.sqrt(G + 1e-7)
        ours = clippy.factor(delta, w, 0.1, 1e-2)
        rows.append([ours, clipping.by_norm(g, 1e-1), clipping.agc_tensor(g, w, 1e-3)])
    return tf.reduce_min(tf.stack(rows), axis=0)


def _slot_name(weight: tf.Variable) -> str:
    return f"accumulator/{weight.name}"
