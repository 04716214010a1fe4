"""The synthetic data of MMoE and PLE: two regressions whose likeness is dialled in."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf

from benchmarks.multitask_ledger import Ledger
from steadyrank.components.layers.mlp import MLP
from steadyrank.models.build import build_trunk

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
        settings = {"trunk": name, **settings}
        return lambda tasks, seed: build_trunk(tasks, settings, seed)

    wide = widened(study.width, units, n)
    half = widened(study.width, units, n / len(TASKS))
    return {
        "single": trunk("single_task", bottom_units=half),
        "shared_bottom": trunk("shared_bottom", bottom_units=wide),
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


class Fitting:
    """A model's graphs, which all its runs use: seeds and rates differ in values alone.

    Args:
        make: From ``models``.
        study: The study.
    """

    def __init__(self, make: Callable, study: Study):
        self.make, self.study = make, study
        self.network = self._network(0)
        self.optimizer = tf.keras.optimizers.Adam()
        self.optimizer.build(self.network.trainable_variables)
        self._epoch = tf.function(self._epoch_of, reduce_retracing=True)
        self._predict = tf.function(self.network, reduce_retracing=True, autograph=False)

    def _network(self, seed: int) -> Network:
        network = Network(self.make(TASKS, seed), seed)
        network(tf.zeros([1, self.study.width]))
        return network

    def _start(self, rate: float, seed: int) -> None:
        fresh = self._network(seed)
        for ours, theirs in zip(self.network.variables, fresh.variables, strict=True):
            ours.assign(theirs)
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self.optimizer.learning_rate = rate

    def _epoch_of(self, x, y, order):
        for rows in order:  # [steps, B]
            self._step(tf.gather(x, rows), tf.gather(y, rows))

    @tf.autograph.experimental.do_not_convert
    def _step(self, x, y):
        with tf.GradientTape() as tape:
            error = self.network(x) - y
            loss = tf.reduce_sum(tf.reduce_mean(tf.square(error), axis=0))
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def fit(self, parts: dict, rate: float, seed: int) -> dict:
        """Train; the epoch with the least validation loss counts.

        Args:
            parts: ``train``, ``validation`` and ``test``: ``(x, y)``, y standardised.
            rate: Adam's learning rate.
            seed: Of weights and order.

        Returns:
            ``validation`` and ``test`` mean squared errors by task, ``parameters``.
        """
        self._start(rate, seed)
        parts = {name: tuple(map(tf.constant, pair)) for name, pair in parts.items()}
        random, batch, best = np.random.default_rng(seed), self.study.batch, None
        rows = len(parts["train"][1])
        for _ in range(self.study.epochs):
            order = random.permutation(rows)[: rows // batch * batch]
            order = tf.constant(order.reshape(-1, batch), tf.int32)
            self._epoch(*parts["train"], order)
            errors = {
                name: np.mean((self._predict(x) - y).numpy() ** 2, axis=0)
                for name, (x, y) in parts.items()
                if name != "train"
            }
            if best is None or errors["validation"].sum() < best["validation"].sum():
                best = errors
        found = {n: dict(zip(TASKS, map(float, e), strict=True)) for n, e in best.items()}
        return {**found, "parameters": self.network.count_params()}


def run(study: Study, correlations, seeds, ledger: Ledger, names=None) -> list[dict]:
    """Every model at every correlation and seed.

    A model's rate is the one that does better by validation in its first run.

    Returns:
        One dictionary a run: correlation, seed, model, rate, errors, label correlation.
    """
    found, chosen = [], {}
    made = {
        name: Fitting(make, study)
        for name, make in models(study).items()
        if not names or name in names
    }
    for correlation in correlations:
        for seed in seeds:
            parts, pearson = splits_of(correlation, study, seed)
            for name, fitting in made.items():
                place = {"correlation": correlation, "seed": seed, "model": name}
                runs = {}
                for rate in [chosen[name]] if name in chosen else RATES:
                    settings = {**place, "rate": rate, "study": asdict(study)}
                    train = functools.partial(fitting.fit, parts, rate, seed)
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
