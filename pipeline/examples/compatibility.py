"""Where a config and an example set meet: what training may choose, what it may not."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.config import Config, load_same_config
from steadyrank.pipeline.config.ranking import DRAWN
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.files.errors import InputError

SECTIONS = ("data", "features", "tasks")  # what preprocessing reads of a config
TELLS = {"tracking"}  # of a run, and make nothing of it
READ_LATER = {"dim", "pooling", "weight", "positive_weight"}  # of them, in training
READ_LATER |= {"loss", "tweedie_power", "space", "ranking", "ranking_weight"}
READ_LATER |= {"soft_weight", "smearing"}
# paths may be written otherwise, and what is kept of raw rows encodes none
FREE = READ_LATER | {"input", "max_rejected", "key", "keep_columns"}
FROM_DATA = {  # fixed when the log was preprocessed, as far as a schema says it
    "feature": ("kind", "separator", "max_values", "oov_buckets", "transform", "table"),
    "task": ("kind", "given", "transform", "sample_weight", "soft_label"),
}
# of a task
CHOSEN = ("weight", "positive_weight", "loss", "tweedie_power", "space")
CHOSEN += ("ranking", "ranking_weight", "soft_weight", "smearing")


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


def read_by_preprocessing(config) -> dict:
    """The sections of a config that preprocessing reads, for its manifest to keep.

    Args:
        config: A config of either kind.

    Returns:
        Plain values, dates as moments; each feature's and task's column by its name.
    """
    settings = _plain(config)
    for item in [*settings.get("features", ()), *settings.get("tasks", ())]:
        if "column" in item:
            item["column"] = item["column"] or item["name"]
    return {name: settings[name] for name in SECTIONS if name in settings}


def require_made_for(
    config, manifest: dict, path: Path, free: Collection[str] = FREE
) -> None:
    """Raise unless examples were made with what a config says.

    Features and tasks may be left out.  Manifests that versions before wrote do not
    say what they were made with: nothing is raised then.

    Args:
        config: A config of either kind.
        manifest: Of the examples.
        path: Their folder, for the message.
        free: Keys that may differ.

    Raises:
        InputError: They differ; the first key that does is named.
    """
    for name, wanted, was in made_otherwise(config, manifest.get("config", {}), free):
        raise InputError(
            f"{name} is {wanted!r} in the config, but {path} was made with {was!r}, and "
            "preprocessing alone reads it. Preprocess the log with this config, or take "
            "that."
        )


def made_otherwise(config, made_with: dict, free: Collection[str]) -> Iterator[tuple]:
    """What a config says otherwise than ``read_by_preprocessing`` gave of another.

    Yields:
        As ``differences`` does, where both say something.
    """
    ours = without(read_by_preprocessing(config), free)
    for difference in differences(ours, without(made_with, free)):
        if NOTHING not in difference:
            yield difference


def _plain(config) -> dict:
    """A config as what comes back from a file: a date becomes a moment on its way."""
    again = type(config).model_validate(config.model_dump(mode="json"))
    return again.model_dump(mode="json")


def without(value, keys: Collection[str]):
    """A copy without some keys, wherever they stand; of held out files the names alone."""
    if isinstance(value, list):
        return [without(item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {k: without(v, keys) for k, v in value.items() if k not in keys}
    if "files" in kept:
        kept["files"] = [file.rpartition("/")[2] for file in kept["files"]]
    return kept


def what_makes(config) -> dict:
    """All of a config that what is made with it hangs on, as it stands in a file."""
    settings = config.model_dump(mode="json")
    return {key: value for key, value in settings.items() if key not in TELLS}


def require_same(config, trained: Path, keys: Collection[str]) -> None:
    """Raise unless a config says of some keys what a trained model's config says.

    Args:
        config: A config of either kind.
        trained: The ``config.yaml`` that ``train`` wrote.
        keys: Top-level keys; those that the kind lacks are left out.

    Raises:
        InputError: They differ; the first key that does is named.
    """
    both = _plain(config), load_same_config(config, trained).model_dump(mode="json")
    ours, theirs = ({k: v for k, v in each.items() if k in keys} for each in both)
    for name, wanted, was in differences(ours, theirs):
        raise InputError(
            f"{name} is {wanted!r} in the config, but the model was trained with {was!r}; "
            f"{trained} has its config. Take that, or train again (--overwrite, or another "
            "--output)."
        )


def differences(one, other, path: str = "") -> Iterator[tuple]:
    """Path of each setting that differs, and both values; named items go by their name.

    Args:
        one: Plain values, in dictionaries and lists.
        other: What it is compared with.
        path: Of both.

    Yields:
        ``(path, value of one, value of other)``; ``NOTHING`` where there is none.
    """
    one, other = _by_name(one), _by_name(other)
    if not (isinstance(one, dict) and isinstance(other, dict)):
        if one != other:
            yield path, one, other
        return
    for key in dict.fromkeys([*other, *one]):
        values = one.get(key, NOTHING), other.get(key, NOTHING)
        yield from differences(*values, f"{path}.{key}".lstrip("."))


def in_words(name: str, wanted, was) -> str:
    """A difference between what a config says and what another said."""
    if NOTHING in (wanted, was):
        return f"{name} is {'new' if was is NOTHING else 'gone'}"
    if isinstance(wanted, list | dict):
        return f"{name} is another"
    return f"{name} is {wanted!r}, and was {was!r}"


class _Nothing:
    """What only one of two has."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def _by_name(value):
    named = (
        isinstance(value, list)
        and value
        and all(isinstance(item, dict) and "name" in item for item in value)
    )
    return {item["name"]: item for item in value} if named else value


def require_labels(tasks: Iterable[Task], lows: Mapping[str, float | None]) -> None:
    """Raise where a task's loss does not take the labels that there are.

    Args:
        tasks: As the config has them.
        lows: From ``ExampleSet.label_lows``.

    Raises:
        InputError: The loss takes the logarithm of a mean, and a label is below 0, or is
            0 and the loss gamma, which knows no 0.
    """
    if said := label_faults(tasks, lows):
        raise InputError(" ".join(said))


def label_faults(tasks: Iterable, lows: Mapping[str, float | None]) -> list[str]:
    """The same in sentences, of tasks of a config or of a schema."""
    said = []
    for task in tasks:
        low = lows.get(task.name)
        if task.loss == "squared" or low is None:
            continue
        if low < 0 or (low == 0 and task.loss == "gamma"):
            takes = "above 0; tweedie takes 0 as well" if low == 0 else "not below 0"
            said.append(
                f"tasks.{task.name}.loss: {task.loss} takes values {takes}. Received: "
                f"a label of {low:g} in training."
            )
    return said


def _known(item, known: dict[str, Feature | Task], what: str) -> Feature | Task:
    if item.name not in known:
        raise InputError(
            f"the examples hold no {what} {item.name!r}, which the config names; they "
            f"hold {sorted(known)}. Preprocess the log with this config."
        )
    for field in FROM_DATA[what]:
        wanted, found = getattr(item, field, None), getattr(known[item.name], field)
        if found == DRAWN:
            continue
        if wanted == "vector" and known[item.name].width:
            continue
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
    return dataclasses.replace(task, **{name: getattr(item, name) for name in CHOSEN})
