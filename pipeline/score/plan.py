"""What scoring a table will do, settled before it starts: files, columns, types."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from steadyrank.models.features import Feature
from steadyrank.pipeline.config import Config, parse_config
from steadyrank.pipeline.config.events import given, is_from_events
from steadyrank.pipeline.config.features import is_dropped
from steadyrank.pipeline.config.log import Split
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.export.card import (
    CARD,
    EXTRA,
    columns_of,
    find_version,
    read_card,
    require_unchanged,
)
from steadyrank.pipeline.files.errors import InputError, NoColumnError
from steadyrank.pipeline.files.publish import hash_folder
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.preprocess.plan import Plan, make_plan
from steadyrank.pipeline.raw_log.find import find
from steadyrank.pipeline.raw_log.findings import OTHER
from steadyrank.pipeline.score.past import LatestPast, find_past

SCORE, VERSION = "score", "model_version"  # columns that every row gets
ALL = "*"  # of --keep


@dataclass(frozen=True)
class ScorePlan:
    """Everything that the workers need to know; small, so that it travels.

    Attributes:
        model: The export's folder.
        version: Its name.
        log: The log and side tables of the model's config, of the rows to be scored.
        features: As the model knows them.
        columns: Feature -> the column of the rows that it is read from.
        kept: Name in the output -> column of the rows.
        whole: Columns of texts in which ``107.0`` is ``107``, as in training.
        top: Rows to keep of each value of ``by``, the best first; None: all.
        by: A name in ``kept``.
        prefix: Of the columns that the model gives.
        past: What came before the rows; None: their columns say it, or the model does not
            ask for it.
    """

    model: str
    version: str
    log: Plan
    features: tuple[Feature, ...]
    columns: dict[str, str]
    kept: dict[str, str]
    whole: tuple[str, ...]
    top: int | None = None
    by: str | None = None
    prefix: str = ""
    past: LatestPast | None = None

    def same(self) -> dict:
        """What an interrupted scoring must share with the one that goes on with it."""
        return {
            "model": hash_folder(Path(self.model)),
            "pieces": [[piece.path, piece.part] for piece in self.log.log.pieces],
            "files": {path: _state(path) for path in files_of(self)},
            "kept": self.kept,
            "top": self.top,
            "by": self.by,
            **({"prefix": self.prefix} if self.prefix else {}),
        }


def files_of(plan: ScorePlan) -> list[str]:
    """The files of the rows, of the side tables and of what came before."""
    logs = (plan.log.log, *plan.log.sides)
    past = plan.past.files if plan.past else ()
    return [path for log in logs for path in log.files] + [file.path for file in past]


def _state(path: str) -> list[int]:
    """Size and time of a local file: another one has others."""
    if "://" in path:
        return []
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def plan_scores(
    model: Path,
    inputs: Iterable[str],
    folder: Path,
    *,
    keep: Iterable[str] = (),
    top: int | None = None,
    by: str | None = None,
    prefix: str = "",
    histories: Path | None = None,
) -> ScorePlan:
    """Look at the model's card and at every input file.

    Args:
        model: An export, or a folder of versions, of which the latest is taken.
        inputs: Paths, folders or patterns of the rows, relative to ``folder``.
        folder: What these and the side tables of the model's config are relative to.
        keep: Columns to hand on, each ``NAME`` or ``NEW=NAME``, ``*`` all of the rows';
            none: the group's, where the rows have it.
        top: Rows to keep of each value of ``by``.
        by: A column.
        prefix: Of the columns that the model gives.
        histories: The example set, or its ``histories/latest``, that says what came before
            the rows; None: their columns do.

    Raises:
        InputError: It is no export of a ranking model, or a file, a column or a type
            does not suit.
    """
    path = find_version(Path(model))
    card = read_card(path)
    if card.get("kind", "ranking") != "ranking":
        raise InputError(
            f"{path}: score is for ranking models, and this is a next-item model, which "
            "scores the whole catalogue after a history. Use its serving signature."
        )
    require_unchanged(path, card, "model")
    schema = Schema.from_dict(card["schema"], path / EXTRA / CARD)
    if (top is None) != (by is None):
        raise InputError(
            "--top and --by go together: --top 100 --by user_id. Received: "
            f"{top=}, {by=}. Pass both, or neither."
        )
    if top is not None and top < 1:
        raise InputError(
            f"--top must be at least 1. Received: {top}. Leave it out to keep all rows."
        )
    if prefix and top is not None:
        raise InputError(
            "--prefix names the columns of a whole table, which --top cuts. Received: "
            f"{prefix=}, {top=}. Leave one of them out."
        )
    config = parse_config(card["config"], str(path / EXTRA / CARD))
    past = find_past(histories, config) if histories is not None else None
    if past is not None:
        own = _plan(config, list(inputs), folder, {}, past=past).log.schema.names
        past = past.of_rows(own)
    names = [*keep]
    kept = _named(name for name in names if name != ALL)
    if ALL in names:
        own = _plan(config, list(inputs), folder, kept, past=past).log.schema.names
        kept |= {n: n for n in own if n not in kept and n not in kept.values()}
    if by is not None and by not in kept and by not in kept.values():
        kept = {by: by, **kept}
    plan = _plan(config, list(inputs), folder, kept, past=past)
    if not kept and config.data.group in plan.log.schema.names:
        kept = {config.data.group: config.data.group}
        plan = _plan(config, list(inputs), folder, kept, past=past)
    _require_apart(kept, [*(task.name for task in schema.tasks), SCORE, VERSION], prefix)
    if by is not None and by not in kept:
        by = next(name for name, column in kept.items() if column == by)
    if by is not None:
        _require_value(by, kept[by], plan)
    return ScorePlan(
        model=str(path),
        version=path.name,
        log=plan,
        features=schema.features,
        columns=columns_of(card),
        kept=kept,
        whole=_whole(card, path),
        top=top,
        by=by,
        prefix=prefix,
        past=past,
    )


def _plan(
    config: Config,
    inputs: list[str],
    folder: Path,
    kept: dict[str, str],
    *,
    past: LatestPast | None = None,
) -> Plan:
    """A plan of preprocessing for rows that have no labels and need no split."""
    more = [*past.by, *([past.time] if past.time else [])] if past else []
    _require_files(config, inputs, folder)
    data = config.data.model_copy(
        update={
            "input": inputs,
            "time": None,
            "group": None,
            "key": [],
            "split": Split(validation=0.5, test=0.25),  # any: it is not asked for
            "keep_columns": [*dict.fromkeys([*kept.values(), *more])],
        }
    )
    served = [given(item) for item in config.features if not is_dropped(item)]
    if past is not None:
        served = [item for item in served if item.name not in past.names]
    bare = config.model_copy(update={"data": data, "tasks": [], "features": served})
    try:
        return make_plan(bare, folder)
    except NoColumnError as error:
        raise _of_score(error, config, kept, more) from None


def _of_score(
    error: NoColumnError, config: Config, kept: dict[str, str], more: list[str]
) -> InputError:
    """A missing column as who scores knows it: by an option, or where it is to be had."""
    name, places = error.column, error.places
    if name in kept.values():
        return InputError(f"{places}: no column {name!r}, for --keep or --by. {error.hint}")
    if name in more:
        return InputError(
            f"{places}: no column {name!r}, by which --histories are joined. {error.hint}"
        )
    for item in config.features:
        if is_from_events(item) and item.name == name:
            by = ", ".join(item.by or [config.data.group])
            return InputError(
                f"{places}: no column {name!r}, which features.{name} needs: made from "
                "events in training, it must stand in the rows to be scored. Or let it be "
                f"joined by {by}: --histories DIR, the model's examples; see the section "
                "'A table scored' of docs/serving.md."
            )
    return error


def _require_files(config: Config, inputs: list[str], folder: Path) -> None:
    """Raise where the rows, or a side table of the model, are not there: say the option."""
    find([within(folder, pattern) for pattern in inputs], "--input")
    for join in config.data.join:
        try:
            find([within(folder, join.input)])
        except InputError as error:
            raise InputError(
                f"the model reads the side table {join.input} beside each row's {join.on}. "
                f"{error} Name the folder that holds it: --data DIR."
            ) from None


def _whole(card: dict, path: Path) -> tuple[str, ...]:
    """Columns of texts that were whole numbers, all of them, in training."""
    data = card.get("data")
    spelled = data.get("spellings") if isinstance(data, dict) else None
    try:
        return tuple(n for n, counts in (spelled or {}).items() if not counts[OTHER])
    except (AttributeError, TypeError, KeyError):
        raise InputError(
            f"{path / EXTRA / CARD} is corrupt: data.spellings is not what preprocessing "
            "wrote. Export the model again."
        ) from None


def _require_value(by: str, column: str, plan: Plan) -> None:
    """Raise unless a column has one plain value a row."""
    for schema in (plan.log.schema, *(side.schema for side in plan.sides)):
        kind = schema.field(column).type if column in schema.names else pa.null()
        if pa.types.is_nested(kind):
            raise InputError(
                f"--by {by}: column {column!r} is {kind}; it must hold one value a row, "
                "such as the user's."
            )


def _named(keep: Iterable[str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for text in keep:
        new, mark, name = text.partition("=")
        name = name if mark else new
        if not new or not name:
            raise InputError(
                f"--keep takes columns, each NAME or NEW=NAME. Received: {text!r}."
            )
        if new in kept:
            raise InputError(
                f"--keep names {new!r} twice. Remove one, or "
                "give it another name: NEW=NAME."
            )
        kept[new] = name
    return kept


def _require_apart(kept: dict[str, str], outputs: list[str], prefix: str) -> None:
    """Raise where a kept column would be called as one that the model gives."""
    given = [prefix + name for name in outputs]
    for name, column in kept.items():
        if name in given:
            raise InputError(
                f"--keep {name}: the model's own column is called so. Give the log's "
                f"another name: --keep {free_name(name, given)}={column}; or the model's: "
                "--prefix teacher_."
            )


def free_name(name: str, taken: list[str]) -> str:
    """A name like another that is not taken."""
    while name in taken:
        name = f"log_{name}"
    return name
