"""Where a config and an example set meet: what training may choose, what it may not."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from models.features import Feature, Task
from pipeline.config import Config, load_any_config
from pipeline.errors import InputError
from pipeline.example_set import Schema

FROM_DATA = {  # fixed when the log was preprocessed
    "feature": ("kind", "separator", "max_values", "oov_buckets", "transform", "table"),
    "task": ("kind", "given", "transform", "sample_weight"),
}


def agree(config: Config, schema: Schema) -> Schema:
    """The schema of a model: the examples' own, with the config's choices in it.

    Widths, pooling, task weights and the score are the config's; vocabularies, means
    and boundaries the examples'.  A config may leave features and tasks out.

    Args:
        config: The run's config.
        schema: The example set's schema.

    Raises:
        InputError: The config wants what the examples do not hold, or otherwise.
    """
    features = {feature.name: feature for feature in schema.features}
    tasks = {task.name: task for task in schema.tasks}
    return dataclasses.replace(
        schema,
        features=tuple(
            _feature(item, _known(item, features, "feature"), config)
            for item in config.features
        ),
        tasks=tuple(_task(item, _known(item, tasks, "task")) for item in config.tasks),
        score=config.score_formula,
    )


def require_same(config, trained: Path, keys: Iterable[str]) -> None:
    """Raise unless a config says of some keys what a trained model's config says.

    Args:
        config: A config of either kind.
        trained: The ``config.yaml`` that ``train`` wrote.
        keys: Top-level keys; those that the kind lacks are left out.

    Raises:
        InputError: They differ; the first key that does is named.
    """
    ours, theirs = (
        each.model_dump(mode="json") for each in (config, load_any_config(trained))
    )
    for key in keys:
        found = _difference(key, ours.get(key), theirs.get(key))
        if found:
            name, wanted, was = found
            raise InputError(
                f"{name} is {wanted!r} in the config, but the model was trained with "
                f"{was!r}; {trained} has its config. Take that, or train again "
                "(--overwrite, or another --output)."
            )


def _difference(key: str, ours, theirs) -> tuple | None:
    """The first key at which two values differ, and both."""
    ours, theirs = _by_name(ours), _by_name(theirs)
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return None if ours == theirs else (key, ours, theirs)
    pairs = ((n, ours.get(n), theirs.get(n)) for n in dict.fromkeys([*theirs, *ours]))
    differences = (_difference(f"{key}.{n}", a, b) for n, a, b in pairs)
    return next((found for found in differences if found), None)


def _by_name(value):
    """A list of named sections as a dictionary; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return {item.get("name", i): item for i, item in enumerate(value)}
    return value


def _known(item, known: dict[str, Feature | Task], what: str) -> Feature | Task:
    if item.name not in known:
        raise InputError(
            f"the examples hold no {what} {item.name!r}, which the config names; they "
            f"hold {sorted(known)}. Preprocess the log with this config."
        )
    for field in FROM_DATA[what]:
        wanted, found = getattr(item, field, None), getattr(known[item.name], field)
        if wanted is not None and wanted != found:
            raise InputError(
                f"{what} {item.name}: {field} is {wanted!r} in the config, but the "
                f"examples were made with {found!r}. Preprocess the log with this config."
            )
    return known[item.name]


def _feature(item, feature: Feature, config: Config) -> Feature:
    dim = (config.owner(item).dim or config.model.embedding_dim) if feature.rows else 0
    pooling = getattr(item, "pooling", feature.pooling)
    return dataclasses.replace(feature, dim=dim, pooling=pooling)


def _task(item, task: Task) -> Task:
    return dataclasses.replace(
        task, weight=item.weight, positive_weight=item.positive_weight
    )
