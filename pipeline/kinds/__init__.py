"""The kinds of model: which is a config's, and the stages for it.

A run, nights, studies, the API and the command line ask here; the stages themselves know
no kind by name.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.kinds.protocol import Kind

# imported when asked for: a kind brings TensorFlow, or Beam, which others can do without
KINDS = {
    Config: "steadyrank.pipeline.kinds.ranking.kind",
    SequenceConfig: "steadyrank.pipeline.kinds.next_item.kind",
}
# stages that a kind has of its own
OWN = {
    SequenceConfig: {
        name: f"steadyrank.pipeline.kinds.next_item.{name}"
        for name in ("preprocess", "evaluate")
    }
}


def kind_of(config: Config | SequenceConfig) -> Kind:
    """The kind of a config's model."""
    return import_module(KINDS[type(config)]).KIND


def stage_of(config: Config | SequenceConfig, name: str) -> Callable:
    """A stage as it is for a config, which is its first argument.

    Args:
        config: The run's.
        name: ``"preprocess"``, ``"train"``, ``"export"`` or ``"evaluate"``.
    """
    own = OWN.get(type(config), {}).get(name)
    stage = getattr(import_module(own or f"steadyrank.pipeline.{name}.stage"), name)
    of_kind = name in ("train", "export")
    return partial(stage, kind=kind_of(config)) if of_kind else stage


def preprocess(config, *places, **how) -> dict:
    """See ``pipeline.preprocess.stage``."""
    return stage_of(config, "preprocess")(config, *places, **how)


def train(config, *places, **how) -> dict:
    """See ``pipeline.train.stage``."""
    return stage_of(config, "train")(config, *places, **how)


def export(config, *places, **how) -> Path:
    """See ``pipeline.export.stage``."""
    return stage_of(config, "export")(config, *places, **how)


def evaluate(config, *places, **how) -> dict:
    """See ``pipeline.evaluate.stage``."""
    return stage_of(config, "evaluate")(config, *places, **how)


def prepare_warm_start(config, *places, **how) -> None:
    """See ``pipeline.train.stage``."""
    from steadyrank.pipeline.train.stage import prepare_warm_start as stage

    stage(config, *places, kind=kind_of(config), **how)


def replay(config, *places, **how) -> dict:
    """See ``pipeline.train.diagnosis``."""
    from steadyrank.pipeline.train.diagnosis import replay as stage

    return stage(config, *places, kind=kind_of(config), **how)
