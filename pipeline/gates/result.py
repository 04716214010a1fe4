"""What one gate says, in ``verdict.json``. No TensorFlow here."""

import math

from steadyrank.pipeline.gates.rules import Ruling
from steadyrank.pipeline.gates.verdicts import PASS, REFUSE


def result(
    gate: str, task: str | None, rule: str, measured, *, limit, ruling: Ruling
) -> dict:
    """A gate's result, its reason still empty.

    Args:
        gate: The gate's name.
        task: The task it judged, or None.
        rule: The rule in words.
        measured: What was measured, or None.
        limit: What it was compared with, or None.
        ruling: What follows.

    Returns:
        Its entry of ``verdict.json``; ``against`` says what a gain is over, ``interval``
        is the 95 % interval of what was measured, and ``judged`` the bound that decided.
    """
    return {
        "gate": gate,
        "task": task,
        "rule": rule,
        "measured": measured,
        "limit": limit,
        "against": None,
        "interval": list(ruling.interval) if ruling.interval else None,
        "judged": ruling.judged or None,
        "rows_needed": ruling.rows_needed,
        "verdict": ruling.verdict,
        "passed": ruling.verdict == PASS,
        "reason": "",
    }


def simple(gate, task, rule, measured, *, limit, passed) -> dict:
    """The result of a gate that either passes or refuses."""
    ruling = Ruling(PASS if passed else REFUSE)
    return result(gate, task, rule, measured, limit=limit, ruling=ruling)


def missing(gate: str, task: str | None, rule: str, reason: str) -> dict:
    """A refusal, because there is nothing to judge."""
    return {**simple(gate, task, rule, None, limit=None, passed=False), "reason": reason}


def is_number(value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def explain(ruling: Ruling, plain: str) -> str:
    """A reason: what was found, its interval, and what a HOLD lacks."""
    if ruling.interval:
        low, high = ruling.interval
        plain += f" (95 % interval {low:.4f} to {high:.4f}"
        plain += f"; {ruling.judged})" if ruling.judged else ")"
    return f"{plain}: {ruling.why}" if ruling.why else plain
