"""What a next-item model must pass, beside the gates of every model. No TensorFlow."""

from collections.abc import Collection, Mapping

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.gates.nights import blamed
from steadyrank.pipeline.gates.task_gates import metric_gate
from steadyrank.pipeline.kinds.protocol import NEXT_ITEM

TASK = NEXT_ITEM  # the one task is called as the kind
REFERENCES = ("popularity", "transitions")  # rankings by training counts


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
            results += metric_gate(
                metrics, name, TASK, limits, confidence=gates["confidence"]
            )
        for reference in REFERENCES:
            if gate[f"min_gain_over_{reference}"] is not None:
                results += _over(
                    reference, metrics, name, gate, confidence=gates["confidence"]
                )
    return judge(metrics, gates, results)


def without_baseline(
    config: SequenceConfig, new: Collection[str] | None = None
) -> SequenceConfig:
    """A config without gains over a baseline, where there is none: ``new`` is None."""
    if new is not None:
        return config
    found = config.gates.metrics.items()
    metrics = {name: gate.model_copy(update={"min_gain": None}) for name, gate in found}
    metrics = {
        n: g for n, g in metrics.items() if any(v is not None for v in vars(g).values())
    }
    gates = config.gates.model_copy(update={"metrics": metrics})
    return config.model_copy(update={"gates": gates})


def blame(config: SequenceConfig, result: dict, day: str, windows: tuple[str, ...]) -> dict:
    """See ``pipeline.gates.nights.blamed``."""
    limits = {name: gate.min for name, gate in config.gates.metrics.items()}

    def failing(metrics: dict) -> list[dict]:
        return [
            said
            for name, least in limits.items()
            if least is not None
            for said in metric_gate(metrics, name, TASK, {"min": least}, confidence=None)
        ]

    return blamed(result, day, windows, by_rows=limits, judge=failing)


def _over(
    reference: str, metrics: Mapping, name: str, gate: Mapping, *, confidence
) -> list[dict]:
    """The gain over a ranking by training counts, which is always at hand."""
    found, key = metrics["tasks"][TASK], f"min_gain_over_{reference}"
    tasks = {TASK: {**found, "gain": found.get(f"gain_over_{reference}")}}
    paired = {"tasks": tasks, "baseline": {"tasks": {TASK: metrics[reference]}}}
    (result,) = metric_gate(
        paired, name, TASK, {"min_gain": gate[key]}, confidence=confidence
    )
    against = (result["against"] or "").replace("baseline", reference) or None
    rule = f"{key} {gate[key]:g}"
    reason = result["reason"].replace("gain ", f"gain over {reference} ", 1)
    return [{**result, "against": against, "rule": rule, "reason": reason}]
