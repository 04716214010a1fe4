"""One YAML file says everything about a run; it is checked whole before anything runs."""

from pathlib import Path

from pydantic import ValidationError

from steadyrank.pipeline.config.document import override, read_document, set_key
from steadyrank.pipeline.config.hints import explain
from steadyrank.pipeline.config.next_item import KIND, SequenceConfig
from steadyrank.pipeline.config.ranking import Config
from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.files.errors import InputError

__all__ = [
    "Config",
    "SequenceConfig",
    "load_any_config",
    "load_config",
    "load_same_config",
    "override",
    "parse_any_config",
    "parse_config",
    "parse_sequence_config",
    "read_document",
    "set_key",
]


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read, override and check a config file.

    Args:
        path: A YAML file.
        overrides: ``"train.batch_size=65536"``: a key's path, and its value in YAML.
            Items of a list go by name or number: ``features.user_id.dim=8``.

    Returns:
        The checked config.

    Raises:
        InputError: The file is missing, is not YAML or says what is not possible;
            the message names the key and the fix.
    """
    return parse_config(read_document(path, overrides), str(path))


def load_any_config(path: Path, overrides: list[str] | None = None):
    """The same for a config of either kind: a ``Config``, or a ``SequenceConfig``."""
    return parse_any_config(read_document(path, overrides), str(path))


def parse_any_config(document: dict, source: str) -> Config | SequenceConfig:
    """Check a config of either kind that is already a dictionary; see ``load_config``."""
    return _parse(_kind(document), document, source)


def parse_config(document: dict, source: str) -> Config:
    """Check a config that is already a dictionary; see ``load_config``."""
    if _kind(document) is SequenceConfig:
        raise InputError(
            f"config {source}: model.kind is {KIND}, and this is for ranking models. "
            "Give the config of one."
        )
    return _parse(Config, document, source)


def load_same_config(
    config: Config | SequenceConfig, path: Path
) -> Config | SequenceConfig:
    """Read and check a config file that must be of the kind of another config."""
    return _parse(type(config), read_document(path), str(path))


def parse_sequence_config(document: dict, source: str) -> SequenceConfig:
    """Check a next-item model's config that is already a dictionary."""
    return _parse(SequenceConfig, document, source)


def _kind(document: dict) -> type[Section]:
    """The one place that tells the two kinds of configs apart."""
    model = document.get("model")
    if not isinstance(model, dict) or "kind" not in model:
        return Config
    if model["kind"] != KIND:
        raise InputError(
            f"model.kind must be {KIND}. Received: {model['kind']!r}. Give a ranking "
            "model model.trunk in its place."
        )
    return SequenceConfig


def _parse(section: type[Section], document: dict, source: str):
    try:
        return section.model_validate(document)
    except ValidationError as error:
        lines = [explain(e, document, section) for e in error.errors()]
        raise InputError(f"config {source}:\n  " + "\n  ".join(lines)) from None
