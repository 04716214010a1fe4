"""The gates that judge a task's metrics, over all rows or over a slice. No TensorFlow."""

from collections.abc import Mapping
from dataclasses import replace

from steadyrank.pipeline.gates.result import explain, is_number, missing, result
from steadyrank.pipeline.gates.rules import HOLD, Ruling, at_least, at_most, between, worst
from steadyrank.pipeline.metrics.uncertainty import (
    CONFIDENCE,
    Estimate,
    bounded,
    groups_of,
)

METRICS = ("auc", "gauc", "log_loss", "normalized_entropy", "score_gauc", "score_ndcg")
UNDEFINED = "it was not measured, or is not defined"
UNTOLD = "not told from the limit"  # where the data cannot say on which side of it


def metric_gates(metrics: Mapping, gates: Mapping, trials: int = 1) -> list[dict]:
    """Judge every metric of every task that has a limit.

    Args:
        metrics: ``tasks`` and ``baseline``, as ``metrics.json`` has them.
        gates: The config's ``gates``, or one of its ``slices``.
        trials: Slices that are judged by the same gate.

    Returns:
        The results.
    """
    results, confidence = [], gates.get("confidence")
    for name in METRICS:
        for task, gate in (gates.get(name) or {}).items():
            results += metric_gate(
                metrics, name, task, gate, confidence=confidence, trials=trials
            )
    for task, gate in (gates.get("calibration") or {}).items():
        results += _calibration(metrics, task, gate, confidence, trials=trials)
    return results


def slice_gates(found: list[dict] | None, gates: Mapping) -> list[dict]:
    """Judge every slice that is large enough; see ``pipeline.metrics.slices``.

    Args:
        found: As ``metrics.json`` has them: one entry for each of the config's.
        gates: The config's ``gates``.

    Returns:
        The results, each with its ``slice``.
    """
    results, rules = [], gates.get("slices") or []
    for number, rule in enumerate(rules):
        entry = (found or [])[number] if number < len(found or []) else {}
        name, judged = " × ".join(rule["by"]), entry.get("judged") or []
        if not judged:
            reason = f"no slice has {rule['min_rows']:,} rows, so none was judged"
            said = missing("slices", None, f"slices by {name}", reason)
            results.append({**said, "slice": None})
        wanted = {"confidence": gates.get("confidence"), **rule}
        for part in judged:
            for item in metric_gates(part, wanted, len(judged)):
                results.append(_of_slice(item, part["slice"]))
    return results


def _of_slice(item: dict, values: Mapping[str, str]) -> dict:
    name = ", ".join(f"{key} {value}" for key, value in values.items())
    reason = f"{name}: {item['reason']}"
    return {**item, "gate": f"slice {item['gate']}", "slice": values, "reason": reason}


def metric_gate(
    metrics, name: str, task: str, gate: Mapping, *, confidence, trials: int = 1
) -> list[dict]:
    """Judge one metric of one task by the limits that a gate has."""
    results = []
    measured = _estimate(metrics, task, name)
    for key, judge, word in (
        ("min", at_least, ("at least", "below")),
        ("max", at_most, ("at most", "above")),
    ):
        if gate.get(key) is not None:
            how = {"judge": judge, "words": word, "confidence": confidence}
            how |= {"limit": gate[key], "trials": trials}
            results.append(_limit(name, task, key, measured, **how))
    if gate.get("min_gain") is not None:
        results.append(
            _gain(
                metrics, name, task, gate["min_gain"], confidence=confidence, trials=trials
            )
        )
    if not results:
        results.append(missing(name, task, "a limit", "the gate names no limit"))
    return results


def _limit(name, task, key, estimate, *, limit, judge, words, confidence, trials) -> dict:
    rule = f"{key} {limit:g}"
    if isinstance(estimate, dict):
        return _undefined(name, task, rule, estimate)
    ruling = judge(estimate, limit, confidence, trials)
    ruling = replace(ruling, interval=bounded(name, ruling.interval))
    said = result(name, task, rule, estimate.value, limit=limit, ruling=ruling)
    kept = estimate.value >= limit if key == "min" else estimate.value <= limit
    word = UNTOLD if ruling.verdict == HOLD else words[0] if kept else words[1]
    plain = f"{estimate.value:.4f} is {word} {limit:g}"
    return {**said, "reason": explain(ruling, plain)}


def _gain(metrics, name: str, task: str, least: float, *, confidence, trials) -> dict:
    """A gain is always judged with its scatter, paired with the baseline's."""
    rule = f"min_gain {least:g}"
    if not metrics.get("baseline"):
        reason = "no baseline was given: pass --baseline, or remove min_gain"
        return missing(name, task, rule, reason)
    if task not in metrics["baseline"]["tasks"]:
        return missing(name, task, rule, lacking(task))
    ours, theirs = (_estimate(m, task, name) for m in (metrics, metrics["baseline"]))
    for estimate in (ours, theirs):
        if isinstance(estimate, dict):
            return _undefined(name, task, rule, estimate)
    sign = -1 if name in ("log_loss", "normalized_entropy") else 1
    difference = sign * (ours.value - theirs.value)
    found = (metrics["tasks"][task].get("gain") or {}).get(name) or {}
    estimate = Estimate(difference, found.get("error"), ours.groups, ours.rows)
    ruling = at_least(estimate, least, confidence or CONFIDENCE, trials)
    said = result(name, task, rule, difference, limit=least, ruling=ruling)
    word = "at least" if difference >= least else "below"
    word = UNTOLD if ruling.verdict == HOLD else word
    said["against"] = f"baseline {theirs.value:.4f}"
    plain = f"gain {difference:+.4f} is {word} {least:g}"
    return {**said, "reason": explain(ruling, plain)}


def lacking(task: str) -> str:
    """Why nothing is compared with a baseline that left a task out."""
    return f"the baseline has no task {task!r}: give one that has, or remove the limit"


def _calibration(metrics, task: str, gate: Mapping, confidence, *, trials) -> list[dict]:
    results = []
    if gate.get("min") is not None and gate.get("max") is not None:
        results.append(_band(metrics, task, gate, confidence, trials=trials))
    if gate.get("deciles"):
        results.append(_deciles(metrics, task, gate["deciles"]["max_error"], confidence))
    if not results:
        results.append(missing("calibration", task, "a limit", "it names no limit"))
    return results


def _band(metrics, task: str, gate: Mapping, confidence, *, trials) -> dict:
    low, high = gate["min"], gate["max"]
    rule = f"{low:g} to {high:g}"
    estimate = _estimate(metrics, task, "calibration")
    if isinstance(estimate, dict):
        return _undefined("calibration", task, rule, estimate)
    ruling = between(estimate, low, high, confidence, trials=trials)
    value = estimate.value
    said = result(
        "calibration", task, rule, value, limit=low if value < low else high, ruling=ruling
    )
    word = "within" if low <= value <= high else "outside of"
    plain = f"predicted over observed is {value:.4f}, {word} {rule}"
    return {**said, "reason": explain(ruling, plain)}


def _deciles(metrics, task: str, most: float, confidence) -> dict:
    """Predicted over observed in each tenth, judged with its scatter; the worst one is
    told."""
    rule = f"deciles max_error {most:g}"
    found = metrics.get("tasks", {}).get(task) or {}
    deciles = found.get("deciles")
    if not found.get("rows") or not deciles:
        return missing("calibration", task, rule, UNDEFINED)
    tenths = list(zip(deciles["ratio"], deciles["errors"], deciles["rows"], strict=True))
    rulings = []
    for ratio, error, rows in tenths:
        if not is_number(ratio):
            rulings.append(_nothing_observed(found, rows))
            continue
        error = error if is_number(error) else None
        estimate = Estimate(ratio, error, found.get("groups", 0), rows)
        sure, trials = confidence or CONFIDENCE, len(tenths)
        rulings.append(between(estimate, 1 - most, 1 + most, sure, trials=trials))
    verdict = worst(ruling.verdict for ruling in rulings)
    gaps = [abs(r - 1) if is_number(r) else -1.0 for r, _, _ in tenths]
    told = max(
        (i for i in range(len(tenths)) if rulings[i].verdict == verdict),
        key=lambda i: gaps[i],
    )
    return _told_decile(
        task, rule, most, told, ratio=deciles["ratio"][told], ruling=rulings[told]
    )


def _nothing_observed(found: Mapping, rows: int) -> Ruling:
    """A tenth without a positive."""
    needed = 10 * max(found["rows"], 1)
    why = f"none of its {rows:,} rows is positive; about {needed:,} rows in all would tell"
    return Ruling(HOLD, None, needed, why)


def _told_decile(task, rule, most, number: int, *, ratio, ruling: Ruling) -> dict:
    gap = abs(ratio - 1) if is_number(ratio) else None
    said = result("calibration", task, rule, gap, limit=most, ruling=ruling)
    shown = "not defined" if gap is None else f"{ratio:.4f}"
    plain = f"tenth {number + 1} of the predictions: predicted over observed is {shown}"
    return {**said, "reason": explain(ruling, plain)}


def _undefined(name: str, task: str, rule: str, found: dict) -> dict:
    """A refusal; a HOLD where rows of one class only show that they are too few."""
    rows, positives = found.get("rows"), found.get("positives")
    one_class = rows and positives is not None and positives in (0, rows)
    if not one_class or not is_number(found.get("log_loss", 0.0)):  # NaN: predictions
        return missing(name, task, rule, UNDEFINED)
    kind = "positive" if positives == 0 else "negative"
    needed = 10 * rows
    why = f"none of {rows:,} rows is {kind}; more than {needed:,} rows would be needed"
    said = result(
        name, task, rule, None, limit=None, ruling=Ruling(HOLD, None, needed, why)
    )
    return {**said, "reason": why}


def _estimate(metrics: Mapping, task: str, name: str) -> Estimate | dict:
    """A task's metric; what was measured where it is missing, NaN or over no rows."""
    found = (metrics.get("tasks") or {}).get(task) or {}
    value = found.get(name)
    if not found.get("rows") or not is_number(value):
        return found
    error = (found.get("errors") or {}).get(name)
    return Estimate(value, error, groups_of(found, name), found["rows"])
