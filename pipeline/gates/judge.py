"""Release gates: measured numbers against limits, with a reason for each verdict.

Three verdicts, never a fourth: PASS; HOLD, where there is too little data to tell; and
REFUSE.  A gate never passes for want of something to judge: a missing metric, NaN, an
empty sample space or slice, a missing baseline or no gate at all refuse.  What every
model must keep, whatever is configured, stands in ``pipeline.gates.soundness``.  How
numbers with a standard error are judged stands in ``pipeline.gates.rules``.  No
TensorFlow here.
"""

import re
from collections.abc import Iterable, Mapping

from steadyrank.pipeline.gates.divergence import divergence_gates
from steadyrank.pipeline.gates.result import is_number, missing, simple
from steadyrank.pipeline.gates.rules import worst
from steadyrank.pipeline.gates.soundness import (
    FINITE,
    LEARNED,
    ROWS,
    SERVED,
    STEPS,
    soundness_gates,
)
from steadyrank.pipeline.gates.task_gates import lacking, metric_gates, slice_gates

NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "normalized_entropy": "normalized entropy",
    "score_gauc": "GAUC under the served score",
    "score_ndcg": "NDCG@10 under the served score",
    "divergence": "training",
    "gates": "config",
}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
OF_NO_ROWS = ("size", "latency", "stability", "gates")  # of the export, or its settings


def judge(metrics: dict, gates: dict, further: Iterable[dict] = ()) -> dict:
    """Judge a model.

    Args:
        metrics: As ``metrics.json`` has them, the baseline's among them.
        gates: The config's ``gates`` section.
        further: Results of gates that only some models have.

    Returns:
        ``{"verdict": "PASS", "HOLD" or "REFUSE", "gates": [...]}``: for each gate its
        rule, what was measured, the limit, its own verdict, and why.
    """
    asked = [
        *divergence_gates(metrics.get("divergence"), gates.get("divergence")),
        *metric_gates(metrics, gates),
        *slice_gates(metrics.get("slices"), gates),
        *_skew(metrics.get("skew"), gates.get("skew")),
        *_drift(metrics, gates.get("drift")),
        *_size(metrics.get("size_mb"), gates.get("size")),
        *_latency(metrics.get("latency"), gates.get("latency")),
        *_stability(metrics.get("stability"), gates.get("stability")),
        *further,
    ]
    if not asked:
        reason = "the config names no gate, so nothing vouches for the model"
        asked = [missing("gates", None, "at least one gate", reason)]
    results = [named(said, metrics) for said in [*asked, *soundness_gates(metrics)]]
    return {"verdict": worst(r["verdict"] for r in results), "gates": results}


def named(said: dict, metrics: Mapping) -> dict:
    """A result whose reason says of what it is: metric, task, rows and limit."""
    gate, task = said["gate"], said["task"]
    if gate in (FINITE, LEARNED, ROWS, SERVED, STEPS):  # which say it themselves
        return said
    what = NAMES.get(gate.removeprefix("slice "), gate)
    place = metrics.get("trained_on" if gate == "divergence" else "where")
    if gate in OF_NO_ROWS:
        place = None
    name = what + (f" of {task}" if task else "") + (f" on {place}" if place else "")
    return {**said, "reason": _limited(f"{name}: {said['reason']}", said["rule"])}


def _limited(reason: str, rule: str) -> str:
    """A reason with the rule behind it, unless it has the rule's numbers already."""
    held = set(NUMBER.findall(reason))
    return reason if held >= {*NUMBER.findall(rule)} else f"{reason} (rule: {rule})"


def _skew(found: dict | None, gate: dict | None) -> list[dict]:
    if gate is None:
        return []
    most = gate["max_difference"]
    rule = f"max {most:g}"
    if not found or not found.get("rows"):
        return [missing("skew", None, rule, "no raw rows were scored")]
    value = found.get("max_difference")
    if not is_number(value):
        return [missing("skew", None, rule, "a signature gave no number")]
    result = simple("skew", None, rule, value, limit=most, passed=value <= most)
    result["reason"] = f"signatures differ by at most {value:.2g} on {found['rows']} rows"
    return [result]


def _drift(metrics: dict, gate: dict | None) -> list[dict]:
    """Every output's population stability index over the baseline."""
    if gate is None:
        return []
    most = gate["max_psi"]
    rule = f"max_psi {most:g}"
    if not metrics.get("baseline"):
        reason = "no baseline was given: pass --baseline, or remove drift"
        return [missing("drift", None, rule, reason)]
    found = metrics.get("drift") or {}
    results = []
    new = metrics.get("new_tasks") or ()
    for task in (t for t in metrics.get("tasks") or {} if t not in new):
        value = (found.get(task) or {}).get("psi")
        if not is_number(value):
            known = task in metrics["baseline"].get("tasks", [task])
            reason = "it was not measured" if known else lacking(task)
            results.append(missing("drift", task, rule, reason))
            continue
        result = simple("drift", task, rule, value, limit=most, passed=value <= most)
        result["against"] = "the baseline's predictions on the same rows"
        word = "at most" if value <= most else "above"
        reason = f"population stability index {value:.4f} is {word} {most:g}"
        result["interval"] = found[task].get("interval")
        result["reason"] = reason + _bounds(result["interval"], ".4f")
        results.append(result)
    return results or [missing("drift", None, rule, "no task was measured")]


def _bounds(interval: list[float] | None, form: str) -> str:
    """An interval for the end of a reason; the number itself was judged."""
    if interval is None:
        return ""
    low, high = interval
    return f" (95 % interval {low:{form}} to {high:{form}}; judged: the number itself)"


def _size(found: float | None, gate: dict | None) -> list[dict]:
    if gate is None:
        return []
    most = gate["max_mb"]
    rule = f"max_mb {most:g}"
    if not is_number(found):
        return [missing("size", None, rule, "it was not measured")]
    result = simple("size", None, rule, found, limit=most, passed=found <= most)
    word = "at most" if found <= most else "above"
    result["reason"] = f"the export takes {found:.1f} MB, {word} {most:g}"
    return [result]


def _latency(found: dict | None, gate: dict | None) -> list[dict]:
    """Percentiles of the time a request took, as it was measured on this machine."""
    if gate is None:
        return []
    results = []
    for name in ("p50_ms", "p99_ms"):
        most = gate[f"max_{name}"]
        if most is None:
            continue
        rule = f"max_{name} {most:g}"
        value = (found or {}).get(name)
        if not is_number(value):
            reason = f"requests to {gate['signature']} were not timed"
            results.append(missing("latency", None, rule, reason))
            continue
        result = simple("latency", None, rule, value, limit=most, passed=value <= most)
        word = "at most" if value <= most else "above"
        result["interval"] = (found.get("intervals") or {}).get(name)
        result["reason"] = (
            f"{found['requests']} requests of {found['rows']} rows to "
            f"{found['signature']}: {name.removesuffix('_ms')} {value:.2f} ms, "
            f"{word} {most:g}{_bounds(result['interval'], '.2f')}"
        )
        results.append(result)
    if not results:
        return [missing("latency", None, "a limit", "the gate names no limit")]
    return results


def _stability(found: dict | None, gate: dict | None) -> list[dict]:
    """How far the learning rate in use is from the lowest one that diverges."""
    if gate is None:
        return []
    least = gate["min_margin"]
    shortest = gate["min_steps"]
    rule = f"min_margin {least:g}"
    if not found:
        reason = "no ladder was given: pass --stability, or remove stability"
        return [missing("stability", None, rule, reason)]
    margin, tried = found.get("margin"), found.get("tried_up_to")
    if not is_number(margin) and not is_number(tried):
        return [missing("stability", None, rule, "it was not measured")]
    value = margin if is_number(margin) else tried
    # probes that are too short find no divergence at any rate
    steps, windows = found.get("steps") or 0, found.get("windows")
    passed = value >= least and steps >= shortest
    result = simple("stability", None, rule, value, limit=least, passed=passed)
    what = "training diverges at" if is_number(margin) else "no divergence up to"
    result["reason"] = (
        f"{what} {value:g} times the rate in use, in probes of {steps} steps over "
        f"{windows} windows"
    )
    if steps < shortest:
        result["reason"] += f"; min_steps is {shortest}"
    return [result]
