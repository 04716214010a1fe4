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
from steadyrank.pipeline.export.card import read_card
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds.protocol import RANKING, Kind, require

# imported when asked for: a kind brings TensorFlow, or Beam, which others can do without
KINDS = {
    Config: "steadyrank.pipeline.kinds.ranking.kind",
    SequenceConfig: "steadyrank.pipeline.kinds.next_item.kind",
}


def kind_of(config: Config | SequenceConfig) -> Kind:
    """The kind of a config's model."""
    return _load(KINDS[type(config)])


def _load(module: str) -> Kind:
    return import_module(module).KIND


def stage_of(config: Config | SequenceConfig, name: str) -> Callable:
    """A stage as it is for a config, which is its first argument.

    Args:
        config: The run's.
        name: ``"preprocess"``, ``"train"``, ``"export"`` or ``"evaluate"``.
    """
    kind = kind_of(config)
    if name == "preprocess":
        return kind.preprocess
    stage = getattr(import_module(f"steadyrank.pipeline.{name}.stage"), name)
    return partial(stage, kind=kind)


def kind_of_export(path: Path) -> Kind:
    """The kind of an export, or of the latest version in a folder, from its card."""
    name = read_card(path).get("kind", RANKING)
    kinds = {kind.name: kind for kind in map(_load, KINDS.values())}
    if name not in kinds:
        raise InputError(
            f"{path} is an export of kind {name!r}. There are {', '.join(kinds)}: it was "
            "made by another version of this project."
        )
    return kinds[name]


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


def serve_check(examples: Path, model: Path, **how) -> dict:
    """See ``pipeline.evaluate.serve_check``."""
    from steadyrank.pipeline.evaluate.serve_check import serve_check as stage

    return stage(examples, model, kind=kind_of_export(model), **how)


def importance(examples: Path, model: Path, **how) -> dict:
    """See ``pipeline.evaluate.importance``."""
    from steadyrank.pipeline.evaluate.importance import importance as stage

    kind = kind_of_export(model)
    require(kind.name, "importance")
    return stage(examples, model, kind=kind, **how)
