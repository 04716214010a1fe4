"""The margin that ``stability`` found, if it is of this config on these examples."""

from pathlib import Path

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.compatibility import differences
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import Margin

# What no probe hangs on: how long training lasts, what happens around its steps, and the
# seed, over several of which a ladder is climbed.
NOT_PROBED = {
    "average",
    "epochs",
    "seed",
    "decay",
    "patience",
    "monitor",
    "checkpoint_every",
    "on_divergence",
    "max_rollbacks",
    "rollback_factor",
}
KEPT = ("margin", "tried_up_to", "rate_in_use", "method_in_use")
AGAIN = "Run steadyrank stability again, with this config and these examples."


def probed_settings(config: Config) -> dict:
    """What of a config its ladder hangs on, as ``stability.json`` holds it.

    Returns:
        ``model``, ``train``, ``features`` and ``tasks``, in plain values.
    """
    sections = {"model", "train", "features", "tasks"}
    left_out = {"train": NOT_PROBED}
    return config.model_dump(mode="json", include=sections, exclude=left_out)


def read_margin(path: Path, config: Config, fingerprint: str) -> dict:
    """The margin that a ladder has found.

    Args:
        path: What ``stability`` wrote.
        config: The config that the ladder must be of.
        fingerprint: Of the examples that it must be about.

    Returns:
        ``margin``, ``tried_up_to``, ``rate_in_use`` and ``method_in_use``; ``windows`` and
        ``steps``, how many of each the longest probe went through.

    Raises:
        InputError: It is about other examples, or of another config: the first key that
            differs is named.
    """
    found = read_json(Path(path) / "stability.json", "what stability found", Margin)
    if found.get("fingerprint") != fingerprint:
        theirs = str(found.get("fingerprint"))[:12]
        raise InputError(
            f"{path} is about other examples: {theirs}, not {fingerprint[:12]}. {AGAIN}"
        )
    if "settings" not in found:
        raise InputError(f"{path} does not say which settings it is of. {AGAIN}")
    for key, theirs, ours in differences(found["settings"], probed_settings(config)):
        raise InputError(
            f"{path} is of another config: {key} is {theirs!r} in it, and here "
            f"{ours!r}. {AGAIN}"
        )
    steps = max((probe["steps"] for probe in found.get("probes", ())), default=None)
    length = {"windows": len(found.get("windows", ())), "steps": steps}
    return {**{name: found.get(name) for name in KEPT}, **length}
