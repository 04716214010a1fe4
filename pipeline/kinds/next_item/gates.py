"""What a next-item model must pass, beside the gates of every model. No TensorFlow."""

from collections.abc import Mapping

from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.gates.task_gates import metric_gate
from steadyrank.pipeline.kinds.protocol import NEXT_ITEM

TASK = NEXT_ITEM  # the one task is called as the kind
OVER_POPULARITY = "min_gain_over_popularity"


def judge_sequences(metrics: Mapping, gates: Mapping) -> dict:
    """Judge a model; see ``pipeline.gates.judge.judge``.

    Args:
        metrics: As ``metrics.json`` has them.
        gates: The config's ``gates`` section.

    Returns:
        What ``verdict.json`` holds.
    """
    results = []
    for name, gate in gates["metrics"].items():
        limits = {key: gate[key] for key in ("min", "min_gain")}
        if any(limit is not None for limit in limits.values()):
            results += metric_gate(metrics, name, TASK, limits, gates["confidence"])
        if gate[OVER_POPULARITY] is not None:
            results += _over_popularity(metrics, name, gate, gates["confidence"])
    return judge(metrics, gates, results)


def _over_popularity(metrics: Mapping, name: str, gate: Mapping, confidence) -> list[dict]:
    """The gain over a ranking by training counts, which is always at hand."""
    found = metrics["tasks"][TASK]
    tasks = {TASK: {**found, "gain": found.get("gain_over_popularity")}}
    paired = {"tasks": tasks, "baseline": {"tasks": {TASK: metrics["popularity"]}}}
    limits = {"min_gain": gate[OVER_POPULARITY]}
    (result,) = metric_gate(paired, name, TASK, limits, confidence)
    against = (result["against"] or "").replace("baseline", "popularity") or None
    rule = f"{OVER_POPULARITY} {gate[OVER_POPULARITY]:g}"
    return [{**result, "against": against, "rule": rule}]
