"""Gates from night to night: where there is no baseline, and which day is to blame."""

from collections.abc import Callable, Collection

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.gates.judge import named
from steadyrank.pipeline.gates.rules import REFUSE
from steadyrank.pipeline.gates.task_gates import METRICS, metric_gates
from steadyrank.pipeline.raw_log.split import DAY

JUDGED_BY_ROWS = (*METRICS, "calibration", "slices", "drift")


def without_baseline(config: Config, new: Collection[str] | None = None) -> Config:
    """A config without gates on gains and drift: of the first night, or of new tasks.

    Args:
        config: The run's config.
        new: Tasks that the baseline does not have; None: there is none.
    """
    gates = config.gates
    update = {metric: _absolute(getattr(gates, metric), new) for metric in METRICS}
    slices = [s.model_copy(update={"auc": _absolute(s.auc, new)}) for s in gates.slices]
    update["slices"] = [s for s in slices if s.auc or s.calibration]
    if new is None:
        update["drift"] = None
    return config.model_copy(update={"gates": gates.model_copy(update=update)})


def _absolute(limits: dict, new: Collection[str] | None) -> dict:
    """The limits that need no baseline, by task; those of tasks that it has stay."""
    kept = {
        task: gate.model_copy(update={"min_gain": None})
        if new is None or task in new
        else gate
        for task, gate in limits.items()
    }
    return {task: gate for task, gate in kept.items() if any(gate.model_dump().values())}


def blame(config: Config, result: dict, day: str, windows: tuple[str, ...]) -> dict:
    """The day that no later night of a ranking model shall train on; see ``blamed``."""

    def failing(metrics: dict) -> list[dict]:
        return metric_gates(metrics, _absolute_limits(config, metrics["tasks"]))

    return blamed(result, day, windows, by_rows=JUDGED_BY_ROWS, judge=failing)


def blamed(
    result: dict,
    day: str,
    windows: tuple[str, ...],
    *,
    by_rows: Collection[str],
    judge: Callable[[dict], list[dict]],
) -> dict:
    """The day that no later night shall train on, where there is one, and why.

    What the rows of the day refuse may be the day's own fault.  It is, if the baseline,
    which passed on an earlier day, does not keep the absolute limits on them either.

    Args:
        result: What ``evaluate`` gave.
        day: That was judged on.
        windows: That were trained on, from the weights of the baseline.
        by_rows: Gates whose refusals may be the day's fault.
        judge: Metrics of a model -> what gates without a baseline say of them.
    """
    refused = [gate for gate in result["gates"] if gate["verdict"] == REFUSE]
    baseline = result["metrics"]["baseline"]
    if baseline is None or not any(gate["gate"] in by_rows for gate in refused):
        return {"left_out": None, "left_out_because": None}
    metrics = {"tasks": baseline["tasks"], "where": result["metrics"].get("where")}
    said = [g for g in judge({**metrics, "baseline": None}) if g["verdict"] == REFUSE]
    if said:
        reasons = "; ".join(named(gate, metrics)["reason"] for gate in said)
        why = f"the blessed model fails there as well: {reasons}"
        return {"left_out": day, "left_out_because": why}
    if not windows:
        return {"left_out": None, "left_out_because": None}
    why = "the blessed model keeps its limits there, and this is the newest day trained on"
    return {"left_out": windows[-1][:DAY], "left_out_because": why}


def _absolute_limits(config: Config, tasks: Collection[str]) -> dict:
    """The limits of some tasks that need neither a baseline nor certainty."""
    absolute = without_baseline(config).gates.model_dump()
    bands = {t: g for t, g in absolute["calibration"].items() if g["min"] is not None}
    absolute |= {"confidence": None, "calibration": bands}
    for metric in (*METRICS, "calibration"):
        absolute[metric] = {t: g for t, g in absolute[metric].items() if t in tasks}
    return absolute
