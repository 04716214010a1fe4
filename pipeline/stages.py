"""Which function a stage is, for a config of either kind."""

from collections.abc import Callable
from importlib import import_module


def stage_of(config, name: str) -> Callable:
    """The stage of a config: for both kinds it takes, writes and returns the same.

    Args:
        config: A ``Config``, or a ``SequenceConfig``.
        name: ``"preprocess"``, ``"train"``, ``"export"`` or ``"evaluate"``.
    """
    from pipeline.config.sequences import SequenceConfig

    is_sequence = isinstance(config, SequenceConfig)
    folder = "pipeline.sequences" if is_sequence else "pipeline"
    return getattr(import_module(f"{folder}.{name}"), name)
