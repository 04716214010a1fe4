"""The verdict on a model, told to the run of MLflow that it was trained as."""

from collections.abc import Mapping

from steadyrank.pipeline.gates.verdicts import PASS
from steadyrank.pipeline.tracking.tracked import Tracked
from steadyrank.pipeline.train.reporter import SHOWN


def tell_verdict(config, training: Mapping, metrics: Mapping, verdict: Mapping) -> str:
    """Tell what was measured, and how it was judged.

    Args:
        config: The config that it was judged with.
        training: Of the model's card.
        metrics: What ``metrics.json`` holds.
        verdict: What ``verdict.json`` holds.

    Returns:
        Why that was not taken; ``""``: it was, or nobody asked for it.
    """
    split = metrics["split"]
    with Tracked.of_model(config, training) as tracked:
        values = {
            f"{split}_{name}/{task}": found[name]
            for task, found in metrics["tasks"].items()
            for name in sorted(SHOWN & found.keys())
            if found[name] is not None
        }
        tracked.scalars(training["steps"], values)
        tracked.tags(
            {
                "verdict": verdict["verdict"],
                "verdict.split": split,
                "verdict.forced": (verdict["forced"] or {}).get("reason", ""),
                "verdict.reasons": "\n".join(_reasons(verdict)),
            }
        )
    return tracked.warning()


def _reasons(verdict: Mapping) -> list[str]:
    return [gate["reason"] for gate in verdict["gates"] if gate["verdict"] != PASS]
