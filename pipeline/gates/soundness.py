"""What every model must keep, whatever its gates: finite, and better than a constant.

No config asks for it and none lifts it; ``--force`` alone lets such a model through.
"""

from collections.abc import Mapping

from steadyrank.pipeline.gates.result import is_number, missing, result, simple
from steadyrank.pipeline.gates.rules import HOLD, PASS, REFUSE, Ruling

FEWEST_ROWS = 30  # of the scarcer class, below which a task is told of, not judged
FINITE, LEARNED = "finite", "learned"
DEFINED = ("auc", "pr_auc", "log_loss", "normalized_entropy", "calibration")
DEFINED_VALUES = ("mse", "rmse", "mae")
RULE_FINITE = "every prediction is a number"
RULE_DEFINED = "every metric is a number"
RULE_LEARNED = "better than always predicting the mean"


def soundness_gates(metrics: Mapping) -> list[dict]:
    """Judge what needs no limit.

    Args:
        metrics: As ``metrics.json`` has them, with ``finite`` and ``learned``.

    Returns:
        The results.
    """
    return [
        *_finite(metrics.get("finite"), (metrics.get("skew") or {}).get("nonfinite")),
        *_defined(metrics),
        *_learned(metrics.get("learned")),
    ]


def _finite(found: Mapping | None, of_raw: Mapping | None) -> list[dict]:
    """Of every prediction of every signature, the score's among them."""
    if not found or not found.get("rows"):
        return [missing(FINITE, None, RULE_FINITE, "no row was scored")]
    results = [_weights(n, bad) for n, bad in (found.get("weights") or {}).items()]
    for place, by_output in found["nonfinite"].items():
        for output, rows in by_output.items():
            if rows:
                said = simple(FINITE, output, RULE_FINITE, rows, 0, False)
                said["reason"] = (
                    f"{output} is NaN or infinite in {rows:,} of {found['rows'][place]:,} "
                    f"rows of {place}"
                )
                results.append(said)
    for signature, outputs in (of_raw or {}).items():
        for output in outputs:
            said = missing(FINITE, output, RULE_FINITE, "")
            said["reason"] = (
                f"{output} is NaN or infinite in some of the raw rows that were sent to "
                f"signature {signature}"
            )
            results.append(said)
    if results:
        return results
    said = simple(FINITE, None, RULE_FINITE, 0, 0, True)
    places = ", ".join(f"{rows:,} rows of {place}" for place, rows in found["rows"].items())
    said["reason"] = f"every prediction and score is a number: {places}"
    return [said]


def _weights(name: str, bad: int) -> dict:
    """Of a variable: rows that were not scored may read what is no number."""
    said = simple(FINITE, None, RULE_FINITE, bad, 0, False)
    return {**said, "reason": f"weights {name}: {bad:,} of them are NaN or infinite"}


def _defined(metrics: Mapping) -> list[dict]:
    """Of every metric of a task that has what it needs."""
    results = []
    for task, found in (metrics.get("tasks") or {}).items():
        rows, positives = found.get("rows"), found.get("positives")
        if found.get("kind") == "regression":
            names = DEFINED_VALUES if rows else ()
        else:
            both = rows and positives is not None and 0 < positives < rows
            names = DEFINED if both else ()
        bad = [n for n in names if n in found and not is_number(found[n])]
        if bad:
            reason = f"{task}: {', '.join(bad)} of {rows:,} rows {_are(bad)} not a number"
            results.append(missing(FINITE, task, RULE_DEFINED, reason))
    return results


def _are(names: list) -> str:
    return "is" if len(names) == 1 else "are"


def _learned(found: Mapping | None) -> list[dict]:
    """A task that is worse than its mean is refused; a model without a good one held."""
    if not found or not found.get("tasks"):
        return [missing(LEARNED, None, RULE_LEARNED, "no task was measured")]
    where, results, said = found["where"], [], {}
    for task, each in found["tasks"].items():
        said[task] = _learned_task(task, each, where)
        if said[task]["verdict"] == REFUSE:
            results.append(said[task])
    learned = [task for task, each in said.items() if each["verdict"] == PASS]
    others = [each["reason"] for each in said.values() if each["verdict"] == HOLD]
    if learned:
        whole = result(LEARNED, None, RULE_LEARNED, len(learned), 1, Ruling(PASS))
        whole["reason"] = "; ".join([said[task]["reason"] for task in learned] + others)
        return [*results, whole]
    needed = [each["rows_needed"] for each in said.values() if each["rows_needed"]]
    ruling = Ruling(HOLD, None, min(needed, default=None))
    whole = result(LEARNED, None, RULE_LEARNED, 0, 1, ruling)
    whole["reason"] = "; ".join(["no task is known to have learned", *others])
    return [*results, whole]


def _learned_task(task: str, found: Mapping, where: str) -> dict:
    """One task: PASS where it has learned, HOLD where that cannot be told."""
    rows, gain, interval = found["rows"], found["gain"], found["interval"]
    if gain is not None and not is_number(gain):
        return missing(LEARNED, task, RULE_LEARNED, f"{task}: its loss is not a number")
    few = found["scarcer"] < FEWEST_ROWS
    if few or interval is None:
        what = "rows of the scarcer class" if found["kind"] == "binary" else "rows"
        why = f"only {found['scarcer']:,} {what}"
        if not few:
            why = f"only {found['groups']} groups to tell by"
        said = result(LEARNED, task, RULE_LEARNED, gain, 0.0, Ruling(HOLD))
        return {**said, "reason": f"{task} is not judged on {where}: {why}"}
    if not found["varies"]:
        reason = f"{task} is dead: on {where} it predicts the same for all {rows:,} rows"
        return missing(LEARNED, task, RULE_LEARNED, reason)
    low, high = interval
    verdict = PASS if low > 0 else REFUSE if high < 0 else HOLD
    needed = None
    if verdict == HOLD:
        times = (high - gain) / abs(gain) if gain else 1000.0
        needed = round(rows * min(times**2, 1000.0))
    ruling = Ruling(verdict, (low, high), needed)
    said = result(LEARNED, task, RULE_LEARNED, gain, 0.0, ruling)
    measure, word, chance = _words(found, verdict)
    by = "" if verdict == HOLD else f"{abs(gain):.4f} "
    said["reason"] = (
        f"{task} on {where}: {measure} is {by}{word} {chance} (95 % interval of the gain "
        f"{low:.4f} to {high:.4f})"
    )
    return said


def _words(found: Mapping, verdict: str) -> tuple[str, str, str]:
    """What was measured, how it lies to what a constant would have, and that."""
    better, worse = "below", "above"
    measure = f"its loss {found['loss']:.4f}"
    chance = f"that of always predicting the mean, {found['constant_loss']:.4f}"
    if found["kind"] == "next_item":
        better, worse = worse, better
        measure = f"its MRR@20 {found['loss']:.4f}"
        chance = f"that of a random order, {found['constant_loss']:.4f}"
    return measure, {PASS: better, REFUSE: worse, HOLD: "not told from"}[verdict], chance
