"""Features that preprocessing makes out of the log's own rows: what came before each."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from steadyrank.pipeline.config.section import Section

UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
MOST_EVENTS = 1000  # of one row's history


def length_of_time(value: str | None) -> str | None:
    """A length of time, checked."""
    if value is not None and not re.fullmatch(r"[1-9]\d*[mhd]", value):
        raise ValueError("must be a count of m, h or d, such as 1d or 6h, or null")
    return value


def in_ms(value: str) -> int:
    """Milliseconds of a checked length of time."""
    return int(value[:-1]) * UNITS_MS[value[-1]]


class FromEvents(Section):
    """Where a feature comes from: a column, or the rows of the log before each row."""

    source: Annotated[Literal["column", "events"], Field(alias="from")] = "column"
    """A column of the log or a side table; or events, the log's own rows with an earlier
    time: see [histories](logs.md#histories)."""
    by: list[str] = []
    """Of events: the columns of the log that those share with the row; none:
    `data.group`."""
    where: str = ""
    """Of events: the binary task that is 1 in those that count; of a rate, the one it is
    of. Empty: all count."""
    label_delay: str | None = None
    """Of events with where: after how long a label is known, a count of m, h or d; null:
    at once."""

    @field_validator("label_delay")
    @classmethod
    def _label_delay(cls, value):
        return length_of_time(value)

    @model_validator(mode="after")
    def _of_events(self):
        own = ("by", "where", "label_delay")
        if self.source == "column":
            given = [key for key in own if getattr(self, key)]
            if given:
                raise ValueError(f"{given[0]} is for from: events; set that, or remove it")
            return self
        if getattr(self, "column", ""):
            raise ValueError(
                "column is not for from: events, which makes the values; remove it"
            )
        if self.label_delay and not self.where:
            raise ValueError(
                "label_delay is of labels, which where names; without where an event is "
                "known at once"
            )
        if len(set(self.by)) < len(self.by):
            raise ValueError(f"by: columns must differ. Received: {self.by}")
        return self

    @property
    def delay_ms(self) -> int:
        """How long after an event it is known."""
        return in_ms(self.label_delay) if self.label_delay else 0


def is_from_events(item: object) -> bool:
    """Whether a feature is made out of the log's earlier rows."""
    return getattr(item, "source", "column") == "events"


MADE_BY = ("by", "where", "label_delay", "measure", "window", "of", "length")


def made_as(feature: Mapping) -> dict:
    """What makes a feature from events what it is; nothing of one that comes from a column.

    Args:
        feature: As the config of a card has it.
    """
    if feature.get("from") != "events":
        return {}
    return {key: feature[key] for key in MADE_BY if feature.get(key)}


def given(item):
    """A feature as it is served: what came before is a column of the rows."""
    return item.model_copy(update={"source": "column"}) if is_from_events(item) else item


def require_events(config) -> None:
    """Raise where features from events do not agree with the rest of a config."""
    if config.data.earlier_events and not any(map(is_from_events, config.features)):
        raise ValueError(
            "data.earlier_events is for features from: events, and there is none; remove it"
        )
    tasks = {task.name: task for task in config.tasks}
    labels = {task.column or task.name for task in config.tasks}
    others = ((t.truth, t.sample_weight, t.soft_label) for t in config.tasks)
    labels |= {name for some in others for name in some if name}
    for item in filter(is_from_events, config.features):
        where = f"features.{item.name}"
        if config.data.time is None:
            raise ValueError(f"{where}: from: events needs data.time, which orders events")
        by = item.by or [config.data.group]
        if by == [None]:
            raise ValueError(f"{where}.by: name the columns, or data.group, the user")
        for name in by:
            if name in labels:
                raise ValueError(
                    f"{where}.by: column {name!r} is a task's, and not known before the "
                    "engagement"
                )
        if item.where and getattr(tasks.get(item.where), "kind", "") != "binary":
            binary = sorted(n for n, task in tasks.items() if task.kind == "binary")
            raise ValueError(
                f"{where}.where: {item.where!r} is no binary task. Allowed: {binary}"
            )
        drawn = config.data.negatives
        if drawn and (both := sorted({*by} & {*drawn.item_columns})):
            raise ValueError(
                f"{where}.by: column {both[0]!r} is drawn anew by data.negatives, and what "
                "came before is counted of rows of the log; remove the one or the other"
            )
