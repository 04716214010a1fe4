"""The kinds of model, and which function each stage is for one of them."""

from collections.abc import Callable
from importlib import import_module

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.next_item import SequenceConfig

# imported when asked for: a stage brings TensorFlow, or Beam, which others can do without
FOLDERS = {
    Config: "steadyrank.pipeline.{stage}.stage",
    SequenceConfig: "steadyrank.pipeline.kinds.next_item.{stage}",
}


def stage_of(config, name: str) -> Callable:
    """The stage of a config: for both kinds it takes, writes and returns the same.

    Args:
        config: A ``Config``, or a ``SequenceConfig``.
        name: ``"preprocess"``, ``"train"``, ``"export"`` or ``"evaluate"``.
    """
    return getattr(import_module(FOLDERS[type(config)].format(stage=name)), name)
