"""What preprocessing of sequences will do, settled before it starts: files and types."""

from dataclasses import dataclass
from pathlib import Path

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.raw_log.columns import raw_type
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import Log, open_log
from steadyrank.pipeline.raw_log.times import require_time

EVENTS_PER_SHARD = 2_000_000  # of a whole log: what one worker holds at once is less


@dataclass(frozen=True)
class SequencePlan:
    """Everything that the workers need to know; small, so that it travels.

    Attributes:
        config: The run's config.
        log: The log's files.
        user, item: The raw types of the two: ``"string"`` or ``"integer"``.
        shards: Parts of the users; a user's events are all in one of them.
    """

    config: SequenceConfig
    log: Log
    user: str
    item: str
    shards: int

    @property
    def carried(self) -> list[str]:
        """Columns of the log that are needed."""
        return list(_needs(self.config))


def make_plan(config: SequenceConfig, folder: Path) -> SequencePlan:
    """Look at every input file and check that it can serve.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.

    Raises:
        InputError: A file or a column is missing or does not suit.
    """
    data, needs = config.data, _needs(config)
    patterns = [within(folder, pattern) for pattern in data.input]
    log = open_log(patterns, Form.of(data), needs)
    named = data.sequences

    def found(name: str):
        kind = log.schema.field(name).type
        return kind, f"{needs[name]}: column {name!r} of {log.files[0]}"

    require_time(*found(named.time))
    if named.keep:
        raw_type("numeric", *found(named.keep.column), False)
    return SequencePlan(
        config=config,
        log=log,
        user=raw_type("categorical", *found(named.user), False),
        item=raw_type("categorical", *found(named.item), False),
        shards=1 + log.rows // EVENTS_PER_SHARD,
    )


def _needs(config: SequenceConfig) -> dict[str, str]:
    """Column -> the key of the config that wants it."""
    named = config.data.sequences
    keys = ("user", "item", "time")
    needs = {getattr(named, key): f"data.sequences.{key}" for key in keys}
    if named.keep:
        needs.setdefault(named.keep.column, "data.sequences.keep.column")
    return needs
