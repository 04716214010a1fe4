"""How sure the metrics are: standard errors, intervals and gains over the baseline."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from steadyrank.components.metrics import bootstrap
from steadyrank.models.features import Task

CONFIDENCE = 0.95  # of gains and deciles, where the config says nothing else
HIGHER = ("auc", "gauc")  # of which more is better; of LOWER less
LOWER = ("log_loss", "normalized_entropy")


@dataclass(frozen=True)
class Estimate:
    """A measured number, and how far it would scatter.

    Attributes:
        value: The number; None where it is missing or not finite.
        error: Its standard error; None where it is not known.
        groups: Groups it was drawn from; the scarcer class decides.
        rows: Rows it was measured on.
    """

    value: float | None
    error: float | None = None
    groups: int = 0
    rows: int = 0


def add_scatter(
    results: Mapping[str, dict],
    tasks: Iterable[Task],
    columns: Mapping[str, Mapping],
    baseline: Mapping[str, np.ndarray] | None = None,
    baseline_results: Mapping[str, dict] | None = None,
    *,
    confidence: float | None = None,
    repetitions: int = bootstrap.REPETITIONS,
) -> None:
    """Add to each task's metrics how far they would scatter on other users.

    Adds ``errors`` (metric -> standard error), ``intervals`` (metric -> bounds, each of
    which holds with the confidence), ``deciles`` (predicted over observed in tenths of
    the predictions, with ``errors``), ``groups`` (that hold the scarcer class) and, with
    a baseline, ``gain`` (metric -> ``difference``, positive where the model is better,
    with ``error`` and ``interval``).

    Args:
        results: From ``measure``, to which it is added.
        tasks: The tasks.
        columns: ``labels``, ``masks`` and ``outputs`` by task, and ``groups`` or None.
        baseline: The baseline's outputs on the same rows, of the tasks that it has.
        baseline_results: The baseline's metrics, from ``measure``.
        confidence: Of each bound; None: 0.95, so that nine in ten intervals cover.
        repetitions: Samples drawn.
    """
    for task in tasks:
        inside = columns["masks"][task.name] > 0
        label = columns["labels"][task.name][inside]
        if not len(label):
            continue
        outputs = [columns["outputs"][task.name][inside]]
        if baseline is not None and task.name in baseline:
            outputs.append(baseline[task.name][inside])
        group = None if columns.get("groups") is None else columns["groups"][inside]
        base = (baseline_results or {}).get(task.name)
        settings = {"negative_rate": task.negative_rate, "repetitions": repetitions}
        _add(results[task.name], base, label, outputs, group, confidence, settings)


def _add(result, base, label, outputs, group, confidence, settings: dict) -> None:
    binary = result["kind"] == "binary"
    drawn = bootstrap.resample(label, outputs, group, binary=binary, **settings)
    if binary:
        groups = bootstrap.scarcest(label, group)
    else:
        groups = bootstrap.number_groups(group, len(label))[1]
    deciles = drawn.pop("deciles")
    known = {name: v for name, v in drawn.items() if result.get(name) is not None}
    errors = {name: _error(values[0], groups) for name, values in known.items()}
    far = bootstrap.quantile(confidence or CONFIDENCE, max(groups, 2))
    result["groups"], result["errors"] = groups, errors
    result["intervals"] = {
        name: _interval(result[name], error, far) for name, error in errors.items()
    }
    stands = np.where(label > 0.5, 1.0, 1 / settings["negative_rate"])
    result["deciles"] = _deciles(label, outputs[0], stands, deciles[0])
    if base is not None:
        result["gain"] = _gains(result, base, known, groups, far)


def _gains(result: dict, base: dict, drawn: dict, groups: int, far: float) -> dict:
    gains = {}
    for name in drawn.keys() & {*HIGHER, *LOWER}:
        sign = 1 if name in HIGHER else -1
        if base.get(name) is None:
            continue
        difference = sign * (result[name] - base[name])
        error = _error(drawn[name][0] - drawn[name][1], groups)
        interval = _interval(difference, error, far)
        gains[name] = {"difference": difference, "error": error, "interval": interval}
    return gains


def _deciles(label: np.ndarray, output: np.ndarray, stands, drawn: np.ndarray) -> dict:
    """Predicted over observed in each tenth of the predictions, from low to high.

    A row stands for ``stands`` rows of the whole log.
    """
    order = np.argsort(output, kind="stable")
    tenth = np.arange(len(order)) * bootstrap.DECILES // len(order)
    count = bootstrap.DECILES
    predicted = np.bincount(tenth, (stands * output)[order].astype(float), count)
    observed = np.bincount(tenth, label[order].astype(float), count)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(observed > 0, predicted / observed, np.nan)
    return {
        "ratio": ratio.tolist(),
        "errors": bootstrap.standard_error(drawn).tolist(),
        "observed": observed.tolist(),
        "rows": np.bincount(tenth, minlength=count).tolist(),
    }


def _error(values: np.ndarray, groups: int) -> float | None:
    error = float(bootstrap.standard_error(values))
    return error if groups >= bootstrap.FEWEST and np.isfinite(error) else None


def _interval(value: float, error: float | None, far: float) -> list[float] | None:
    return None if error is None else [value - far * error, value + far * error]
