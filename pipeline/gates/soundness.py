"""What every model must keep, whatever its gates: finite, better than a constant, judged
on rows that can tell, and served as it was judged.

No config asks for it and none lifts it; ``--force`` alone lets such a model through.
"""

from collections.abc import Mapping

from steadyrank.pipeline.gates.result import is_number, missing, result, simple
from steadyrank.pipeline.gates.rules import HOLD, MOST_ROWS, PASS, REFUSE, Ruling

CHANCE = 0.5  # of a GAUC
ORDERS = 0.6  # an AUC on validation that is no accident of so few rows
FEW_STEPS = 300  # of training, in which hardly any model learns much
FEWEST_ROWS = 30  # of the scarcer class, below which a task is told of, not judged
FINITE, LEARNED, ROWS, SERVED = "finite", "learned", "rows", "served"
STEPS = "steps"
FEWEST_STEPS = 10  # of training: in fewer no divergence can be told from a start
MOST_APART = 0.01  # of a signature's answers from those that are judged; see ``skew``
DEFINED = ("auc", "pr_auc", "log_loss", "normalized_entropy", "calibration")
DEFINED_VALUES = ("mse", "rmse", "mae")
RULE_FINITE = "every prediction is a number"
RULE_DEFINED = "every metric is a number"
RULE_LEARNED = "better than always predicting the mean"
RULE_SCORE = "rows have different scores"
RULE_ORDER = "the score is not told to be against all tasks"
RULE_ROWS = "a task with rows that can tell"
RULE_STEPS = f"at least {FEWEST_STEPS} steps of training"
RULE_SERVED = f"every signature answers as the judged one, within {MOST_APART:g}"


def soundness_gates(metrics: Mapping) -> list[dict]:
    """Judge what needs no limit.

    Args:
        metrics: As ``metrics.json`` has them, with ``finite`` and ``learned``.

    Returns:
        The results; of rows, signatures, steps and the score only what does not pass.
    """
    return [
        *_finite(metrics),
        *_defined(metrics),
        *_rows(metrics),
        *_served(metrics),
        *_score(metrics),
        *_steps(metrics),
        *_learned(metrics),
    ]


def _finite(metrics: Mapping) -> list[dict]:
    """Of every prediction of every signature, the score's among them."""
    found, skew = metrics.get("finite"), metrics.get("skew") or {}
    if not found or not found.get("rows"):
        return [missing(FINITE, None, RULE_FINITE, "no row was scored")]
    empty = [place for place, rows in found["rows"].items() if not rows]
    results = [
        missing(FINITE, None, RULE_FINITE, f"no row of {place} was scored")
        for place in empty
    ]
    results += [_weights(n, bad) for n, bad in (found.get("weights") or {}).items()]
    for place, by_output in found["nonfinite"].items():
        for output, rows in by_output.items():
            if rows:
                said = simple(FINITE, output, RULE_FINITE, rows, limit=0, passed=False)
                said["reason"] = (
                    f"{output} is NaN or infinite in {rows:,} of {found['rows'][place]:,} "
                    f"rows of {place}"
                )
                results.append(said)
    for signature, outputs in (skew.get("nonfinite") or {}).items():
        for output in outputs:
            said = missing(FINITE, output, RULE_FINITE, "")
            said["reason"] = (
                f"{output} is NaN or infinite in some of the raw rows of "
                f"{metrics.get('where')} that were sent to signature {signature}"
            )
            results.append(said)
    if results:
        return results
    said = simple(FINITE, None, RULE_FINITE, 0, limit=0, passed=True)
    places = ", ".join(f"{rows:,} rows of {place}" for place, rows in found["rows"].items())
    said["reason"] = f"every prediction and score is a number: {places}"
    return [said]


def _weights(name: str, bad: int) -> dict:
    """Of a variable: rows that were not scored may read what is no number."""
    said = simple(FINITE, None, RULE_FINITE, bad, limit=0, passed=False)
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
            reason = (
                f"{task}: {', '.join(bad)} of the {rows:,} rows of {metrics.get('where')} "
                f"{_are(bad)} not a number"
            )
            results.append(missing(FINITE, task, RULE_DEFINED, reason))
    return results


def _rows(metrics: Mapping) -> list[dict]:
    """A HOLD where the judged rows can tell of no task: rows of one class, or none."""
    tasks = metrics.get("tasks") or {}
    if not tasks or any(map(_can_tell, tasks.values())):
        return []
    where = metrics.get("where")
    said = "; ".join(_lacking(task, found) for task, found in tasks.items())
    held = result(ROWS, None, RULE_ROWS, 0, limit=1, ruling=Ruling(HOLD))
    return [{**held, "reason": f"no task can be judged on {where}: {said}"}]


def _can_tell(found: Mapping) -> bool:
    rows, positives = found.get("rows"), found.get("positives")
    return bool(rows) and (positives is None or 0 < positives < rows)


def _lacking(task: str, found: Mapping) -> str:
    rows = found.get("rows") or 0
    if not rows:
        return f"{task} has no row of its sample space with a weight above 0"
    kind = "positive" if found["positives"] else "negative"
    return f"all {rows:,} rows of {task} are {kind}"


def _score(metrics: Mapping) -> list[dict]:
    """A refusal of a score that ranks nothing, or everything upside down."""
    finite = metrics.get("finite") or {}
    results = [
        missing(LEARNED, "score", RULE_SCORE, f"score is the same for all rows of {place}")
        for place, tells in (finite.get("score_varies") or {}).items()
        if not tells and finite["rows"][place] > 1  # of one row nothing can be said
    ]
    return results + _upside_down(metrics)


def _upside_down(metrics: Mapping) -> list[dict]:
    """Where each user's rows are ordered against some task, and for the sake of none.

    A score may well stand against a task, such as a complaint, if it is for another.
    """
    by_task = {
        task: (found["score_gauc"], found["intervals"]["score_gauc"])
        for task, found in (metrics.get("tasks") or {}).items()
        if (found.get("intervals") or {}).get("score_gauc")
    }
    against = [(t, *of) for t, of in by_task.items() if of[1][1] < CHANCE]
    if not against or any(of[1][0] > CHANCE for of in by_task.values()):
        return []
    task, value, (low, high) = against[0]
    said = simple(LEARNED, "score", RULE_ORDER, value, limit=CHANCE, passed=False)
    reason = (
        f"score orders each user's rows of {metrics.get('where')} against {task} and for "
        f"the sake of no task: the GAUC of {task} under it is {value:.4f} (95 % interval "
        f"{low:.4f} to {high:.4f}), below the {CHANCE:g} of chance. Look at the formula"
    )
    return [{**said, "reason": reason}]


def _steps(metrics: Mapping) -> list[dict]:
    """A HOLD of what was hardly trained; where no log says so, others refuse."""
    found = metrics.get("divergence") or {}
    steps = max(found.get("trained") or 0, found.get("steps") or 0)
    steps += metrics.get("steps_before") or 0 if steps else 0
    if not steps or steps >= FEWEST_STEPS:
        return []
    held = result(STEPS, None, RULE_STEPS, steps, limit=FEWEST_STEPS, ruling=Ruling(HOLD))
    reason = (
        f"training on {metrics.get('trained_on')} took {steps} steps, and in fewer than "
        f"{FEWEST_STEPS} nothing can be told of its divergence: raise train.epochs, or "
        "lower train.batch_size"
    )
    return [{**held, "reason": reason}]


def _served(metrics: Mapping) -> list[dict]:
    """A refusal of each signature that is served with other answers than were judged."""
    found, where, results = metrics.get("skew") or {}, metrics.get("where"), []
    for signature, gap in (found.get("signatures") or {}).items():
        if (found.get("nonfinite") or {}).get(signature):  # refused for that already
            continue
        if not is_number(gap):
            reason = (
                f"signature {signature} gives NaN or infinity on raw rows of {where}, or "
                "what is judged does"
            )
            results.append(missing(SERVED, None, RULE_SERVED, reason))
        elif gap > MOST_APART:
            said = simple(SERVED, None, RULE_SERVED, gap, limit=MOST_APART, passed=False)
            said["reason"] = (
                f"signature {signature} answers otherwise than what is judged, by up to "
                f"{gap:.2g} on {found['rows']:,} raw rows of {where}; at most "
                f"{MOST_APART:g} is allowed"
            )
            results.append(said)
    return results


def _are(names: list) -> str:
    return "is" if len(names) == 1 else "are"


def _learned(metrics: Mapping) -> list[dict]:
    """A task that is worse than its mean is refused; a model without a good one held."""
    found = metrics.get("learned")
    if not found or not found.get("tasks"):
        return [missing(LEARNED, None, RULE_LEARNED, "no task was measured")]
    where, results, said = found["where"], [], {}
    for task, each in found["tasks"].items():
        said[task] = _learned_task(task, each, where)
        if said[task]["verdict"] == REFUSE:
            results.append(said[task])
    results.append(_whole(said, where))
    untold = [task for task, each in said.items() if each["verdict"] != PASS]
    if untold and all(_lacks_rows(said[task]) for task in untold):
        advice = f". {where.split(' ')[0].capitalize()} needs more rows: see data.split"
    else:
        warm = metrics.get("steps_before")  # whose own steps are few, and not all it took
        seen = metrics.get("divergence") or {}
        steps = None if warm else seen.get("steps")
        advice = _advice(steps, _by_heart(found, said), _unsteady(seen))
    return [r if r["passed"] else {**r, "reason": r["reason"] + advice} for r in results]


def _lacks_rows(said: Mapping) -> bool:
    """Whether a task is better than its mean, as far as so few rows can tell."""
    return said["verdict"] == HOLD and (said["measured"] or 0) > 0


def _by_heart(found: Mapping, said: Mapping[str, dict]) -> list[str]:
    """Tasks that order rows, though their probabilities are no better than the mean."""
    return [
        f"{task} (AUC {each['auc']:.3f})"
        for task, each in found["tasks"].items()
        if is_number(each.get("auc"))
        and each["auc"] >= ORDERS
        and said[task]["verdict"] != PASS
        and not _lacks_rows(said[task])
        and each["scarcer"] >= FEWEST_ROWS
    ]


def _unsteady(seen: Mapping) -> str:
    """What of a training says that its rates were too high; ``""``: nothing does."""
    micro = len(seen.get("micro") or ())
    what = [
        "units died" if seen.get("warnings") else "",
        f"the loss jumped {micro} times" if micro > 1 else "",
        "some losses were not finite" if seen.get("nonfinite_steps") else "",
    ]
    return " and ".join(filter(None, what))


def _advice(steps: int | None, by_heart: list[str], unsteady: str) -> str:
    """What may make a model learn, for the end of a reason."""
    if unsteady:
        return f". In training {unsteady}: lower train.dense.learning_rate"
    if by_heart:
        return (
            f". Rows are in a good order by {by_heart[0]}, so it knows its ids by heart "
            "and is too sure of them: train for fewer epochs (train.epochs), at lower "
            "rates, with train.embedding.l2, or on more rows"
        )
    if steps and steps < FEW_STEPS:
        return (
            f". Training took {steps} steps alone: raise train.epochs, or lower "
            "train.batch_size"
        )
    return (
        ". Train on more rows or for longer, look at labels and features, or leave out "
        "the task"
    )


def _whole(said: Mapping[str, dict], where: str) -> dict:
    """Of all tasks together, in a sentence; ``tasks`` has each one's own."""
    learned = [task for task, each in said.items() if each["verdict"] == PASS]
    held = [each["reason"] for each in said.values() if each["verdict"] == HOLD]
    untold = [reason.replace(f" on {where}", "") for reason in held]
    needed = [each["rows_needed"] for each in said.values() if each["rows_needed"]]
    ruling = Ruling(PASS) if learned else Ruling(HOLD, None, min(needed, default=None))
    whole = result(LEARNED, None, RULE_LEARNED, len(learned), limit=1, ruling=ruling)
    begin = f"{len(learned)} of {_tasks(len(said))} learned on {where}"
    if not learned:
        begin = f"no task is known to have learned on {where}"
    more = f"; nor is it known of {_tasks(len(untold) - 1)} more" if untold[1:] else ""
    whole["reason"] = "; ".join([begin, *untold[:1]]) + more
    return {**whole, "tasks": {task: each["reason"] for task, each in said.items()}}


def _tasks(count: int) -> str:
    return f"{count} task" + "s" * (count != 1)


def _learned_task(task: str, found: Mapping, where: str) -> dict:
    """One task: PASS where it has learned, HOLD where that cannot be told."""
    rows, gain, interval = found["rows"], found["gain"], found["interval"]
    if gain is not None and not is_number(gain):
        reason = f"{task} on {where}: its loss is not a number"
        return missing(LEARNED, task, RULE_LEARNED, reason)
    few = found["scarcer"] < FEWEST_ROWS
    if few or interval is None:
        what = "rows of the scarcer class" if found["kind"] == "binary" else "rows"
        why = f"only {found['scarcer']:,} {what}"
        if not few:
            why = f"only {found['groups']} groups to tell by"
        said = result(LEARNED, task, RULE_LEARNED, gain, limit=0.0, ruling=Ruling(HOLD))
        return {**said, "reason": f"{task} is not judged on {where}: {why}"}
    if not found["varies"]:
        reason = f"{task} is dead: on {where} it predicts the same for all {rows:,} rows"
        return missing(LEARNED, task, RULE_LEARNED, reason)
    low, high = interval
    worse = found.get("worse", high < 0)
    verdict = PASS if found.get("surely", low > 0) else REFUSE if worse else HOLD
    needed = None
    if verdict == HOLD and high >= 0:
        times = max((high - gain) / abs(gain) if gain else MOST_ROWS, 1.0)
        needed = round(rows * min(times**2, MOST_ROWS))
    ruling = Ruling(verdict, (low, high), needed)
    said = result(LEARNED, task, RULE_LEARNED, gain, limit=0.0, ruling=ruling)
    measure, word, chance = _words(found)
    by = "" if low <= 0 <= high else f"{abs(gain):.4f} "
    said["reason"] = (
        f"{task} on {where}: {measure} is {by}{word} {chance} (95 % interval of the gain "
        f"{low:.4f} to {high:.4f})"
    )
    if verdict == HOLD and low > 0:
        said["reason"] += ", as an idle model's is once in so many nights"
    elif verdict == HOLD and gain > 0:
        word = "more than" if needed == MOST_ROWS * rows else "about"
        said["reason"] += f": {rows:,} rows cannot tell; {word} {needed:,} would"
    return said


def _words(found: Mapping) -> tuple[str, str, str]:
    """What was measured, how it lies to what a constant would have, and that."""
    better, worse = "below", "above"
    measure = f"its loss {found['loss']:.4f}"
    chance = f"that of always predicting the mean, {found['constant_loss']:.4f}"
    if found["kind"] == "next_item":
        better, worse = worse, better
        measure = f"its MRR@20 {found['loss']:.4f}"
        chance = f"that of {found['constant']}, {found['constant_loss']:.4f}"
    low, high = found["interval"]
    word = better if low > 0 else worse if high < 0 else "not told from"
    return measure, word, chance
