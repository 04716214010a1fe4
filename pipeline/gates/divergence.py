"""What the divergence check found, in words, and what its gate makes of it."""

from collections.abc import Mapping

from steadyrank.components.metrics.divergence import DEAD_AUC
from steadyrank.pipeline.gates.result import is_number, missing, simple


def dying_words(warning: Mapping) -> str:
    """What an early warning says, in a sentence.

    Args:
        warning: ``step``, ``layer`` and ``share``.
    """
    return (
        f"{warning['share']:.0%} of the units of {warning['layer']} let no row of a batch "
        f"through from step {warning['step']} on: rates that are too high do this, and a "
        "task may stop learning by it while the loss looks well. Lower "
        "train.dense.learning_rate, or warm up (train.warmup_steps)."
    )


def divergence_words(found: Mapping) -> str:
    """How training ended: its loss, and the tasks that showed no sign of life.

    Args:
        found: As ``metrics.json`` has it.
    """
    if not found["diverged"]:
        return f"no loss diverged in {found['steps']} steps"
    dead, at = found.get("dead_tasks") or [], found.get("loss_diverged_at")
    if at is None and not dead:
        at = found["diverged_at"]
    said = [] if at is None else [f"the loss diverged at step {at} and did not come back"]
    said += [_dead(task, (found.get("dead") or {}).get(task) or {}) for task in dead]
    if dead and at is None:
        said.append(
            "no loss diverged: either this was not learned, or the labels of those rows "
            "are wrong"
        )
    return "; ".join(said)


def _dead(task: str, found: Mapping) -> str:
    where = f" on {found['on']}" if found.get("on") else ""
    area = found.get("auc")
    was = f"was {area:.4f}" if is_number(area) else "was no better"
    since = f" from step {found['since']} on" if found.get("since") is not None else ""
    return f"the AUC of {task}{where} {was}{since}, no more than the {DEAD_AUC:g} of chance"


def divergence_gates(found: Mapping | None, gate: Mapping | None) -> list[dict]:
    """Judge the training log.

    Args:
        found: As ``metrics.json`` has it.
        gate: The config's ``gates.divergence``.
    """
    if gate is None:
        return []
    if not found or not found.get("steps"):
        return [missing("divergence", None, "no divergence", "the training log is empty")]
    if found.get("logged") != found.get("trained"):
        reason = f"the training log holds {found['logged']} of {found['trained']} steps"
        return [missing("divergence", None, "no divergence", reason)]
    at = found["diverged_at"]
    full = simple(
        "divergence",
        None,
        "no full divergence",
        at,
        limit=None,
        passed=not found["diverged"],
    )
    full["reason"] = divergence_words(found)
    skipped = found["nonfinite_steps"]
    finite = simple(
        "divergence", None, "no non-finite loss", skipped, limit=0, passed=skipped == 0
    )
    finite["reason"] = f"{skipped} of {found['steps']} steps had a non-finite loss"
    micro, most = len(found["micro"]), gate["max_micro"]
    few = simple(
        "divergence", None, f"max {most} micro", micro, limit=most, passed=micro <= most
    )
    where = ", ".join(str(event["step"]) for event in found["micro"][:5])
    where += f" and {micro - 5} more" if micro > 5 else ""
    few["reason"] = f"{micro} micro-divergences" + (f", at steps {where}" if micro else "")
    back, limit = found.get("rollbacks", 0), gate["max_rollbacks"]
    survived = simple(
        "divergence",
        None,
        f"max {limit} rollbacks",
        back,
        limit=limit,
        passed=back <= limit,
    )
    survived["reason"] = f"training went back to a healthy checkpoint {back} times"
    return [full, finite, few, survived, *_spikes(found, gate.get("max_spikes"))]


def _spikes(found: Mapping, most: int | None) -> list[dict]:
    if most is None:
        return []
    spikes, limit = found.get("spikes", 0), f"max {most} spikes"
    held = simple("divergence", None, limit, spikes, limit=most, passed=spikes <= most)
    held["reason"] = (
        f"train.spike_guard held back {spikes} of {found['steps']} steps, whose gradient "
        "was far longer than those before"
    )
    return [held]
