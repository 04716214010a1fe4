"""Release gates: measured numbers against limits, with a reason for each verdict.

A gate never passes for want of something to judge: a missing metric, NaN, an empty
sample space, a missing baseline or no gate at all refuse.  No TensorFlow here.
"""

import math

PASS, REFUSE = "PASS", "REFUSE"


def judge(metrics: dict, gates: dict) -> dict:
    """Judge a model.

    Args:
        metrics: As ``metrics.json`` has them, the baseline's among them.
        gates: The config's ``gates`` section.

    Returns:
        ``{"verdict": "PASS" or "REFUSE", "gates": [...]}``: for each gate its rule,
        what was measured, the limit, whether it passed, and why.
    """
    results = [
        *_divergence(metrics.get("divergence"), gates.get("divergence")),
        *_auc(metrics, gates.get("auc") or {}),
        *_calibration(metrics, gates.get("calibration") or {}),
        *_skew(metrics.get("skew"), gates.get("skew")),
    ]
    if not results:
        results = [_result("gates", None, "at least one gate", None, None, False)]
        results[0]["reason"] = "the config names no gate, so nothing vouches for the model"
    passed = all(result["passed"] for result in results)
    return {"verdict": PASS if passed else REFUSE, "gates": results}


def _divergence(found: dict | None, gate: dict | None) -> list[dict]:
    if gate is None:
        return []
    if not found or not found.get("steps"):
        return [_missing("divergence", None, "no divergence", "the training log is empty")]
    at = found["diverged_at"]
    full = _result(
        "divergence", None, "no full divergence", at, None, not found["diverged"]
    )
    dead = ", ".join(found.get("dead_tasks", []))
    full["reason"] = f"{found['steps']} steps without one"
    if found["diverged"]:
        what = f"the AUC of {dead} went to 0.5" if dead else "the loss diverged"
        full["reason"] = f"{what} at step {at} and did not come back"
    skipped = found["nonfinite_steps"]
    finite = _result("divergence", None, "no non-finite loss", skipped, 0, skipped == 0)
    finite["reason"] = f"{skipped} of {found['steps']} steps had a non-finite loss"
    micro, most = len(found["micro"]), gate["max_micro"]
    few = _result("divergence", None, f"max {most} micro", micro, most, micro <= most)
    where = ", ".join(str(event["step"]) for event in found["micro"][:5])
    few["reason"] = f"{micro} micro-divergences" + (f", at steps {where}" if micro else "")
    back, limit = found.get("rollbacks", 0), gate["max_rollbacks"]
    survived = _result(
        "divergence", None, f"max {limit} rollbacks", back, limit, back <= limit
    )
    survived["reason"] = f"training went back to a healthy checkpoint {back} times"
    return [full, finite, few, survived]


def _auc(metrics: dict, gates: dict) -> list[dict]:
    results = []
    for task, gate in gates.items():
        value = _metric(metrics, task, "auc")
        if gate.get("min") is not None:
            results.append(_at_least("auc", task, "min", value, gate["min"]))
        if gate.get("min_gain") is not None:
            results.append(_gain(metrics, task, value, gate["min_gain"]))
    return results


def _gain(metrics: dict, task: str, value: float | None, least: float) -> dict:
    rule = f"min_gain {least:g}"
    if not metrics.get("baseline"):
        reason = "no baseline was given: pass --baseline, or remove min_gain"
        return _missing("auc", task, rule, reason)
    base = _metric(metrics["baseline"], task, "auc")
    gain = None if value is None or base is None else value - base
    return _at_least("auc", task, "min_gain", gain, least)


def _calibration(metrics: dict, gates: dict) -> list[dict]:
    results = []
    for task, gate in gates.items():
        value = _metric(metrics, task, "calibration")
        rule = f"{gate['min']:g} to {gate['max']:g}"
        if value is None:
            results.append(_missing("calibration", task, rule, "it was not measured"))
            continue
        inside = gate["min"] <= value <= gate["max"]
        limit = gate["min"] if value < gate["min"] else gate["max"]
        result = _result("calibration", task, rule, value, limit, inside)
        word = "within" if inside else "outside of"
        result["reason"] = f"predicted over observed is {value:.4f}, {word} {rule}"
        results.append(result)
    return results


def _skew(found: dict | None, gate: dict | None) -> list[dict]:
    if gate is None:
        return []
    most = gate["max_difference"]
    rule = f"max {most:g}"
    if not found or not found.get("rows"):
        return [_missing("skew", None, rule, "no raw rows were scored")]
    value = found.get("max_difference")
    if not _is_number(value):
        return [_missing("skew", None, rule, "a signature gave no number")]
    result = _result("skew", None, rule, value, most, value <= most)
    result["reason"] = (
        f"raw and encoded signature differ by at most {value:.2g} on {found['rows']} rows"
    )
    return [result]


def _at_least(gate: str, task: str, name: str, value: float | None, least: float) -> dict:
    rule = f"{name} {least:g}"
    if value is None:
        return _missing(gate, task, rule, "it was not measured, or is not defined")
    result = _result(gate, task, rule, value, least, value >= least)
    word = "at least" if value >= least else "below"
    result["reason"] = f"{value:.4f} is {word} {least:g}"
    return result


def _metric(metrics: dict, task: str, name: str) -> float | None:
    """A task's metric, or None where it is missing, NaN or over no rows."""
    result = metrics.get("tasks", {}).get(task) or {}
    value = result.get(name)
    return value if result.get("rows") and _is_number(value) else None


def _is_number(value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _missing(gate: str, task: str | None, rule: str, reason: str) -> dict:
    return {**_result(gate, task, rule, None, None, False), "reason": reason}


def _result(gate, task, rule, measured, limit, passed) -> dict:
    return {
        "gate": gate,
        "task": task,
        "rule": rule,
        "measured": measured,
        "limit": limit,
        "passed": bool(passed),
        "reason": "",
    }
