"""The rules of a gate: a measurement, a limit, and what may be concluded. No TensorFlow.

A measurement with a standard error is judged as two one-sided tests at one confidence:

- PASS: its lower bound keeps the limit.  A model that does not keep it gets this far
  with a probability of 1 - confidence at most.
- REFUSE: its upper bound does not keep the limit.  A model that keeps it is refused with
  a probability of 1 - confidence at most.
- HOLD: the data cannot tell.  It says about how many rows would, if the measurement and
  its scatter stayed what they are.

What is shown beside it is the 95 % interval of the measurement, as everywhere; which bound
was judged, and at which confidence, is said by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steadyrank.components.metrics.bootstrap import FEWEST, quantile
from steadyrank.pipeline.gates.verdicts import HOLD, PASS, REFUSE
from steadyrank.pipeline.metrics.uncertainty import Estimate, interval_of

LOWER, UPPER = -1, 1  # the side of a number on which its limit lies
BOUND = {LOWER: "lower bound", UPPER: "upper bound"}
MOST_ROWS = 1000  # times as many as there are: a larger estimate says nothing


@dataclass(frozen=True)
class Ruling:
    """What follows from an estimate and its limit.

    Attributes:
        verdict: PASS, HOLD or REFUSE.
        interval: The 95 % interval of the measurement; None: it is not known.
        judged: The bound that decided, its confidence, and where it lies.
        rows_needed: About how many rows would tell; None unless held.
        why: The clause that explains it, where the numbers do not.
    """

    verdict: str
    interval: Sequence[float] | None = None
    rows_needed: int | None = None
    why: str = ""
    judged: str = ""


def at_least(
    estimate: Estimate, limit: float, confidence: float | None, trials: int = 1
) -> Ruling:
    """Rule that a number must be at least a limit.

    Args:
        estimate: The number, which must not be None.
        limit: The limit.
        confidence: Of either bound; None: the number itself is compared.
        trials: Numbers that are judged together: that one of them is refused by chance
            stays as improbable as for a single one (Bonferroni).

    Returns:
        The ruling.
    """
    return _rule(estimate, estimate.value - limit, LOWER, confidence, trials=trials)


def at_most(
    estimate: Estimate, limit: float, confidence: float | None, trials: int = 1
) -> Ruling:
    """Rule that a number must be at most a limit; see ``at_least``."""
    return _rule(estimate, limit - estimate.value, UPPER, confidence, trials=trials)


def between(
    estimate: Estimate,
    low: float,
    high: float,
    confidence: float | None,
    *,
    trials: int = 1,
) -> Ruling:
    """Rule that a number must lie in a range; see ``at_least``."""
    value = estimate.value
    margin, side = min((value - low, LOWER), (high - value, UPPER))
    return _rule(estimate, margin, side, confidence, trials=trials)


def _rule(
    estimate: Estimate, margin: float, side: int, confidence, *, trials: int
) -> Ruling:
    """Rule on a margin: at least 0 keeps the limit, which lies on a side of the number."""
    interval = interval_of(estimate.value, estimate.error, estimate.groups)
    if confidence is None:
        said = "judged: the number itself" if interval else ""
        return Ruling(PASS if margin >= 0 else REFUSE, interval, judged=said)
    if estimate.groups < FEWEST:
        return _too_few(estimate)
    if estimate.error is None:
        return Ruling(REFUSE, why="its scatter was not measured")
    strict = 1 - (1 - confidence) / trials
    far = quantile(confidence, estimate.groups) * estimate.error
    farther = quantile(strict, estimate.groups) * estimate.error
    near, beyond = estimate.value + side * far, estimate.value - side * farther
    if margin - far >= 0:
        said = f"judged: its {BOUND[side]} {_at(confidence)}, {near:.4f}, keeps the limit"
        return Ruling(PASS, interval, judged=said)
    if margin + farther < 0:
        said = f"judged: its {BOUND[-side]} {_at(strict)}, {beyond:.4f}, breaks the limit"
        return Ruling(REFUSE, interval, judged=said)
    short = (far if margin >= 0 else farther) / abs(margin) if margin else math.inf
    said = f"judged: the limit lies between its {BOUND[side]} {_at(confidence)}, "
    said += f"{near:.4f}, and its {BOUND[-side]} {_at(strict)}, {beyond:.4f}"
    return _undecided(estimate, interval, short, said)


def _at(confidence: float) -> str:
    return f"at {100 * confidence:.4g} % confidence"


def _undecided(estimate: Estimate, interval, times: float, judged: str) -> Ruling:
    most = MOST_ROWS * estimate.rows
    needed = math.ceil(min(most, estimate.rows * times**2))
    word = "more than" if needed == most else "about"
    why = f"{estimate.rows:,} rows cannot tell; {word} {needed:,} would"
    return Ruling(HOLD, interval, needed, why, judged)


def _too_few(estimate: Estimate) -> Ruling:
    needed = math.ceil(max(estimate.rows, 1) * FEWEST / max(estimate.groups, 1))
    needed = max(needed, estimate.rows + 1)
    why = (
        f"only {estimate.groups} users or groups of the scarcer class, of which "
        f"{FEWEST} are the fewest to judge by; about {needed:,} rows would hold them"
    )
    return Ruling(HOLD, None, needed, why)


def worst(verdicts) -> str:
    """The verdict on all of it: one REFUSE refuses, else one HOLD holds."""
    found = set(verdicts)
    unknown = found - {PASS, HOLD, REFUSE}
    if unknown or not found or REFUSE in found:
        return REFUSE
    return HOLD if HOLD in found else PASS
