"""What preprocessing of sequences will do, settled before it starts: files and types."""

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.examples.example_set import check_size
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSet
from steadyrank.pipeline.preprocess.plan import WHOLE_LOG, Addition
from steadyrank.pipeline.raw_log.columns import is_text, raw_type
from steadyrank.pipeline.raw_log.formats.base import Form, Piece
from steadyrank.pipeline.raw_log.formats.parquet import Parquet
from steadyrank.pipeline.raw_log.open import Log, open_log
from steadyrank.pipeline.raw_log.times import require_time

EVENTS_PER_SHARD = 2_000_000  # of a whole log: what one worker holds at once is less
HISTORIES = "histories"  # the folder of each user's last training events


@dataclass(frozen=True)
class SequencePlan:
    """Everything that the workers need to know; small, so that it travels.

    Attributes:
        config: The run's config.
        log: The log's files.
        user, item: The raw types of the two: ``"string"`` or ``"integer"``.
        shards: Parts of the users; a user's events are all in one of them.
        addition: Which events are added to what.
        after: The last window that is not read, the base having it; ``""``: none.
        spelled: How whole numbers are written in the texts of the base.
        histories: Files of the base's users, whose last training events come first.
    """

    config: SequenceConfig
    log: Log
    user: str
    item: str
    shards: int
    addition: Addition = WHOLE_LOG
    after: str = ""
    spelled: dict = field(default_factory=dict)
    histories: tuple[str, ...] = ()

    @property
    def grows(self) -> bool:
        """Whether the set can be added to: training events end with a window."""
        data = self.config.data
        return data.window is not None and data.split.by_moments

    @property
    def pieces(self) -> list[Piece]:
        """What workers read: the log, and what the base keeps of its users."""
        kept = (Piece(path, Parquet(), 0) for path in self.histories)
        return [*self.log.pieces, *kept]

    @property
    def carried(self) -> list[str]:
        """Columns of the log that are needed."""
        return list(_needs(self.config))


def make_plan(
    config: SequenceConfig,
    folder: Path,
    addition: Addition = WHOLE_LOG,
    base: SequenceSet | None = None,
    *,
    after: str = "",
) -> SequencePlan:
    """Look at every input file and check that it can serve.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        addition: Which events are added to what.
        base: What they are added to, open.
        after: The last window that needs no reading: the base holds it.

    Raises:
        InputError: A file or a column is missing or does not suit.
    """
    data, needs = config.data, _needs(config)
    patterns = [within(folder, pattern) for pattern in data.input]
    log = open_log(patterns, Form.of(data), needs, "data.input")
    named = data.sequences

    def found(name: str):
        kind = log.schema.field(name).type
        return kind, f"{needs[name]}: column {name!r} of {log.files[0]}"

    require_time(*found(named.time))
    if named.keep:
        raw_type("numeric", *found(named.keep.column), False)
    plan = SequencePlan(
        config=config,
        log=log,
        user=raw_type("categorical", *found(named.user), False),
        item=raw_type("categorical", *found(named.item), False),
        shards=1 + log.rows // EVENTS_PER_SHARD,
        addition=addition,
        after=after,
        spelled=base.manifest["spellings"] if base else {},
        histories=_histories(base) if base else (),
    )
    if base:
        _require_types(plan, base)
    return plan


def _histories(base: SequenceSet) -> tuple[str, ...]:
    found = base.manifest[HISTORIES]
    for file in found:
        check_size(base.path / file["path"], file["bytes"])
    return tuple(str(base.path / file["path"]) for file in found)


def _require_types(plan: SequencePlan, base: SequenceSet) -> None:
    """Raise where users or items would not be found among the base's."""
    before = {}
    for path in plan.histories[:1]:
        types = pq.read_schema(path)
        before = {n: "string" if is_text(types.field(n).type) else "integer"
                  for n in ("user", "item")}  # fmt: skip
    for name, kind in before.items():
        if getattr(plan, name) != kind:
            raise InputError(
                f"data.sequences.{name}: values are of type {getattr(plan, name)}, and "
                f"were {kind} in {base.path}: none would be found again. Mend the log, or "
                "preprocess the whole log again."
            )


def _needs(config: SequenceConfig) -> dict[str, str]:
    """Column -> the key of the config that wants it."""
    named = config.data.sequences
    keys = ("user", "item", "time")
    needs = {getattr(named, key): f"data.sequences.{key}" for key in keys}
    if named.keep:
        needs.setdefault(named.keep.column, "data.sequences.keep.column")
    return needs
