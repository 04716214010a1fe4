"""What is said of watch times: their order, and how well they are calibrated where."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from benchmarks.pages.form import student

TENTHS = 10
LEAST = 0.01  # of all the time: what a tenth must hold to be looked at
WITHIN = 0.95, 1.05


def watched(foretold: np.ndarray, time: np.ndarray, duration: np.ndarray) -> dict:
    """What is said of watch times; all ``[rows]``, of times in one unit."""
    foretold, time = foretold.astype(float), time.astype(float)
    deciles, noise = calibration_by(foretold, foretold, time)
    durations, _ = calibration_by(duration, foretold, time)
    return {
        "mean": float(time.mean()),
        "calibration": float(foretold.sum() / time.sum()),
        "xauc": xauc(foretold, time),
        "mae": float(np.abs(foretold - time).mean()),
        "deciles": deciles,
        "durations": durations,
        "noise": noise,
    }


def calibration_by(
    key: np.ndarray, foretold: np.ndarray, time: np.ndarray
) -> tuple[list, list]:
    """Predicted over observed in tenths by a key, and what luck alone may do to each.

    Tenths with less than ``LEAST`` of the time are left out.
    """
    ratios, noise = [], []
    for rows in np.array_split(np.argsort(key, kind="stable"), TENTHS):
        if time[rows].sum() < LEAST * time.sum():
            continue
        ratios.append(float(foretold[rows].sum() / time[rows].sum()))
        spread = (time[rows] - foretold[rows] / ratios[-1]).std()
        noise.append(float(1.96 * spread / time[rows].mean() / len(rows) ** 0.5))
    return ratios, noise


def xauc(foretold: np.ndarray, time: np.ndarray) -> float:
    """Share of pairs of unequal times that are foretold in their order; ties half."""
    pairs = len(time) * (len(time) - 1) / 2
    apart = pairs - _tied(time)
    tau = stats.kendalltau(foretold, time).statistic
    net = tau * np.sqrt((pairs - _tied(foretold)) * apart)  # tau-b's own definition
    return float((1 + net / apart) / 2)


def _tied(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())


def watched_by_seed(found: Sequence[dict]) -> dict:
    """Means and intervals over seeds of what ``watched`` gave of each.

    ``worst`` is the tenth by prediction that is furthest from 1, ``worst_shape`` the same
    with all times divided by their calibration, as if the day's level had been known; and
    ``hold`` in how many of the seeds all tenths are within .95 to 1.05, without and with
    that.
    """
    levels = [run["calibration"] for run in found]
    bare = [run["deciles"] for run in found]
    level = [[r / x for r in tenths] for tenths, x in zip(bare, levels, strict=True)]
    return {
        **{n: rounded([run[n] for run in found]) for n in ("calibration", "xauc", "mae")},
        **{
            name: _mean_by_tenth([run[name] for run in found])
            for name in ("deciles", "durations", "noise")
        },
        "worst": rounded([max(tenths, key=_off) for tenths in bare]),
        "worst_shape": rounded([max(tenths, key=_off) for tenths in level]),
        "hold": [sum(map(_holds, each)) for each in (bare, level)],
    }


def _mean_by_tenth(found: Sequence[list]) -> list[float]:
    """Over seeds; tenths that are left out are the lowest ones."""
    tenths = [[np.nan] * (TENTHS - len(one)) + one for one in found]
    known = np.array(tenths)[:, TENTHS - max(map(len, found)) :]
    return np.round(np.nanmean(known, axis=0), 4).tolist()


def rounded(values: Sequence[float]) -> list[float]:
    """Mean and interval, to five places."""
    return [round(value, 5) for value in student(values)]


def _off(ratio: float) -> float:
    return abs(np.log(max(ratio, 1e-3)))


def _holds(tenths: Sequence[float]) -> bool:
    return all(WITHIN[0] <= ratio <= WITHIN[1] for ratio in tenths)
