"""The synthetic data of MMoE and PLE: two regressions whose likeness is dialled in."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf

from benchmarks.multitask_ledger import Ledger
from components.mlp import MLP
from models.build import TRUNKS

TASKS = ("a", "b")
TERMS = 10  # m, of the sum of sines
NOISE_VARIANCE = 0.01
RATES = (1e-3, 3e-3)  # Adam's, chosen by validation


@dataclass(frozen=True)
class Study:
    """How large the study is.

    Attributes:
        width: d, of the input; 512 in PLE, 100 in MMoE.
        rows: Training rows of each correlation; a fifth as many validate, and test.
        units: Widths of an expert's layers.
        experts: Experts of PLE in all: a private one a task, the others shared.
        epochs: At most; the best by validation counts.
        batch: Rows of a step.
    """

    width: int
    rows: int
    units: tuple[int, ...]
    experts: int
    epochs: int
    batch: int = 512


def generate(correlation: float, width: int, rows: int, seed: int):
    """MMoE (KDD'18), section 3.2, with PLE's constants (RecSys'20, section 5.1): c = 1.

    ``y_t = w_t.x + sum_i sin(alpha_i w_t.x + beta_i) + noise``; alpha and beta are shared
    by both tasks, the noise is each row's and each task's own.

    Args:
        correlation: p, the cosine of ``w_1`` and ``w_2``.
        width: d.
        rows: How many.
        seed: Of directions, constants, inputs and noise.

    Returns:
        ``(x float32 [rows, d], y float32 [rows, 2])``.
    """
    random = np.random.default_rng(seed)
    u, _ = np.linalg.qr(random.normal(size=[width, 2]))
    second = correlation * u[:, 0] + np.sqrt(1 - correlation**2) * u[:, 1]
    w = np.stack([u[:, 0], second], axis=1)
    alpha, beta = random.normal(size=[2, TERMS])
    x = random.normal(size=[rows, width])
    z = x @ w
    waves = np.sin(z[..., np.newaxis] * alpha + beta).sum(axis=-1)
    noise = random.normal(scale=np.sqrt(NOISE_VARIANCE), size=z.shape)
    return x.astype(np.float32), (z + waves + noise).astype(np.float32)


def models(study: Study) -> dict[str, Callable]:
    """Trunks of like size, by name: tasks and seed -> layer.

    PLE's experts are MMoE's; a single model or a shared bottom gets as many weights in
    one network as all experts have together.
    """
    units, n = list(study.units), study.experts
    private = {"task_experts": 1, "shared_experts": n - len(TASKS), "expert_units": units}

    def trunk(name, **settings):
        return lambda tasks, seed: TRUNKS[name](tasks, seed, **settings)

    bottom = {"cross_layers": 0, "layer_norm": False}
    wide = widened(study.width, units, n)
    half = widened(study.width, units, n / len(TASKS))
    return {
        "single": trunk("single_task", bottom_units=half),
        "shared_bottom": trunk("shared_bottom", bottom_units=wide, **bottom),
        "mmoe": trunk("mmoe", experts=n, expert_units=units),
        "ple": trunk("cgc", **private),
    }


def widened(width: int, units: list[int], times: float) -> list[int]:
    """Layers of one network with so many times the weights of one of ``units``."""

    def size(scale):
        widths = [width, *(max(1, round(scale * u)) for u in units)]
        return sum((a + 1) * b for a, b in zip(widths, widths[1:], strict=False))

    target, low, high = times * size(1.0), 0.0, times + 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) < target else (low, middle)
    return [max(1, round(low * u)) for u in units]


class Network(tf.keras.Model):
    """A trunk, and a linear tower for each of two regressions."""

    def __init__(self, trunk, seed: int):
        super().__init__()
        self.trunk = trunk
        self.towers = {
            task: MLP([16, 1], seed=seed + 500_000_000 + 100 * i)
            for i, task in enumerate(TASKS)
        }

    def call(self, x):
        """Both predictions, ``[B, 2]``."""
        states = self.trunk(x)
        return tf.concat([self.towers[task](states[task]) for task in TASKS], axis=1)


def fit(make: Callable, parts: dict, study: Study, rate: float, seed: int) -> dict:
    """Train one model; the epoch with the least validation loss counts.

    Args:
        make: From ``models``.
        parts: ``train``, ``validation`` and ``test``: ``(x, y)``, y standardised.
        study: The study.
        rate: Adam's learning rate.
        seed: Of weights and order.

    Returns:
        ``validation`` and ``test`` mean squared errors by task, ``parameters``.
    """
    network = Network(make(TASKS, seed), seed)
    network(parts["train"][0][:1])
    optimizer = tf.keras.optimizers.Adam(rate)
    x, y = (tf.constant(each) for each in parts["train"])

    @tf.function(autograph=False)
    def step(rows):
        with tf.GradientTape() as tape:
            error = network(tf.gather(x, rows)) - tf.gather(y, rows)
            loss = tf.reduce_sum(tf.reduce_mean(tf.square(error), axis=0))
        variables = network.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    predict, best = tf.function(network), None
    random = np.random.default_rng(seed)
    for _ in range(study.epochs):
        order = tf.constant(random.permutation(len(y)), tf.int32)
        for start in range(0, len(y) - study.batch + 1, study.batch):
            step(order[start : start + study.batch])
        errors = {
            name: np.mean((predict(parts[name][0]).numpy() - parts[name][1]) ** 2, axis=0)
            for name in ("validation", "test")
        }
        if best is None or errors["validation"].sum() < best["validation"].sum():
            best = errors
    found = {name: dict(zip(TASKS, map(float, e), strict=True)) for name, e in best.items()}
    count = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    return {**found, "parameters": count}


def run(study: Study, correlations, seeds, ledger: Ledger, names=None) -> list[dict]:
    """Every model at every correlation and seed.

    A model's rate is the one that does better by validation in its first run.

    Returns:
        One dictionary a run: correlation, seed, model, rate, errors, label correlation.
    """
    found, chosen = [], {}
    for correlation in correlations:
        for seed in seeds:
            parts, pearson = splits_of(correlation, study, seed)
            for name, make in models(study).items():
                if names and name not in names:
                    continue
                place = {"correlation": correlation, "seed": seed, "model": name}
                runs = {}
                for rate in [chosen[name]] if name in chosen else RATES:
                    settings = {**place, "rate": rate, "study": asdict(study)}
                    train = functools.partial(fit, make, parts, study, rate, seed)
                    runs[rate] = ledger.run(settings, train)
                rate = min(runs, key=lambda r: sum(runs[r]["validation"].values()))
                chosen.setdefault(name, rate)
                found.append({**place, "rate": rate, "pearson": pearson, **runs[rate]})
                errors = ", ".join(f"{e:.4f}" for e in found[-1]["test"].values())
                print(f"synthetic p {correlation} seed {seed} {name}: {errors}", flush=True)
    return found


def splits_of(correlation: float, study: Study, seed: int):
    """Training, validation and test rows, labels standardised by the training rows."""
    fifth = study.rows // 5
    x, y = generate(correlation, study.width, study.rows + 2 * fifth, seed)
    train = y[: study.rows]
    y = (y - train.mean(axis=0)) / train.std(axis=0)
    cuts = {"train": slice(0, study.rows)}
    cuts["validation"] = slice(study.rows, study.rows + fifth)
    cuts["test"] = slice(study.rows + fifth, None)
    parts = {name: (x[cut], y[cut]) for name, cut in cuts.items()}
    return parts, float(np.corrcoef(y.T)[0, 1])


def gains(runs: list[dict], model: str) -> dict[float, list[float]]:
    """Correlation -> single's test error less the model's, mean of the tasks, by seed."""
    by_key = {(r["correlation"], r["seed"], r["model"]): r["test"] for r in runs}
    found: dict[float, list[float]] = {}
    for (correlation, seed, name), errors in by_key.items():
        if name == model:
            single = by_key[correlation, seed, "single"]
            gain = np.mean([single[task] - errors[task] for task in TASKS])
            found.setdefault(correlation, []).append(float(gain))
    return found
