"""What an example set keeps of the raw rows that models are judged on.

Of each file of an evaluation split: the columns of the log that the config reads, as they
came, in the order of the records; and of every side table the rows that these refer to,
once each, so that no user's columns are written again with each of their rows.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.models.features import sample_space
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.examples.identity import WHOLE_ROW, identify
from steadyrank.pipeline.files.checksum import Checksummed
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, group_numbers, read_times
from steadyrank.pipeline.raw_log.columns import (
    in_one_piece,
    is_list,
)
from steadyrank.pipeline.raw_log.fingerprint import hash_together, mix
from steadyrank.pipeline.raw_log.join import (
    ROW,
    carried_name,
    carried_rows,
    rows_of_keys,
)

ROW_GROUP = 65_536  # rows that a reader holds at once
Create = Callable[[str], AbstractContextManager[Checksummed]]


def raw_columns(plan: Plan) -> list[str]:
    """Columns that settled rows must still have: the log's own, and keys of joins."""
    ons = [join.on for join in plan.config.data.join]
    carried = [
        carried_name(number, name)
        for number, join in enumerate(plan.config.data.join)
        if plan.is_spread(number)
        for name in (*plan.side_columns(number), ROW)
        if name != join.on
    ]
    made = plan.past_names
    return list(dict.fromkeys([*plan.carried, *ons, HIGH, LOW, *carried, *made]))


def keep_rows(
    raw: pa.Table,
    typed: pa.Table,
    sides: list[pa.Table | None],
    plan: Plan,
    *,
    name: str,
    create: Create,
) -> dict:
    """Write the raw rows of one file, and say what they are.

    Args:
        raw: The rows, with ``raw_columns``, in the order of the records.
        typed: The same rows, typed.
        sides: The side tables; None: its columns are beside the rows.
        plan: The plan.
        name: Of the file, without ending: ``test/2024-03-06-00000``.
        create: Opens a file by its path in the example set.

    Returns:
        ``name``; ``raw``: path, bytes and checksum, and of each join the same, ``on`` and
        ``prefix``; and the rows' ``identity``.
    """
    path = f"raw/{name}.parquet"
    joins = []
    for number, (join, side) in enumerate(zip(plan.config.data.join, sides, strict=True)):
        if side is None:
            names = plan.side_columns(number)
            kind = plan.sides[number].schema.field(join.on).type
            rows = carried_rows(raw, number, join.on, names, kind=kind)
        else:
            rows = side.take(rows_of_keys(raw[join.on], side[join.on]))
        written = write_table(rows, f"raw/{name}.join-{number}.parquet", create)
        joins.append({**written, "on": join.on, "prefix": join.prefix})
    own = write_table(raw.select([*plan.carried, *plan.past_names]), path, create)
    return {
        "name": name,
        "raw": {**own, "joins": joins},
        "identity": identity_of(raw, typed, plan),
    }


def identity_of(raw: pa.Table, typed: pa.Table, plan: Plan) -> dict:
    """The identity of settled rows; see ``pipeline.examples.identity``."""
    keys = {WHOLE_ROW: mix(raw[HIGH].to_numpy()) + raw[LOW].to_numpy()}
    for columns in keys_of(plan.config, plan.carried):
        keys[columns] = hash_together(
            mix(_key_values(raw, name, plan).view(np.uint64)) for name in columns
        )
    labels = {
        task.name: typed[f"label/{task.name}"].to_numpy().astype(np.float32)
        for task in plan.tasks
    }
    inside = {t.name: sample_space(t, plan.tasks, labels) for t in plan.tasks}
    return identify(keys, {name: (labels[name], inside[name]) for name in labels})


def keys_of(config: Config, own: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The columns of each key of a row, sorted; see ``pipeline.examples.identity``.

    Args:
        config: The run's config.
        own: The columns of the log itself: what side tables say of it is no part of a row.
    """
    data = config.data
    moment = [name for name in (data.time, data.group) if name in own]
    ids = [
        column(item)
        for item in config.features
        if item.kind in ("categorical", "hash")
        and not getattr(item, "max_values", 0)
        and column(item) in own
    ]
    keys = [data.key or [*moment, *ids], moment]
    return list(dict.fromkeys(tuple(sorted({*key})) for key in keys if key))


def _key_values(raw: pa.Table, name: str, plan: Plan) -> np.ndarray:
    """A column of a key as int64, the same in files of other types."""
    if name == plan.config.data.time:
        return read_times(raw[name], plan.config.data)[0]
    return group_numbers(in_one_piece(raw[name])).to_numpy()


def write_table(table: pa.Table, path: str, create: Create) -> dict:
    """Write a table as Parquet, small: ``path``, ``bytes`` and ``checksum``.

    Rows stand in the order of their fingerprints, so values that hardly repeat (times) are
    of no use to a dictionary: their bytes are written by place, which zstd packs well.
    """
    table = table.combine_chunks()
    split = [f.name for f in table.schema if _is_split(table[f.name])]
    leaves = [_leaf(f) for f in table.schema if f.name not in split]
    with create(path) as file:
        with pq.ParquetWriter(
            file,
            table.schema,
            compression="zstd",
            use_dictionary=leaves,
            column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT") or None,
            write_page_checksum=True,
        ) as writer:
            writer.write_table(table, ROW_GROUP)
    return {"path": path, "bytes": file.bytes, "checksum": file.checksum}


def _is_split(values: pa.ChunkedArray) -> bool:
    kind = values.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (number or pa.types.is_timestamp(kind)) or kind.bit_width < 32:
        return False
    return 4 * pc.count_distinct(values).as_py() > len(values)


def _leaf(field: pa.Field) -> str:
    """A column's path in Parquet."""
    return f"{field.name}.list.element" if is_list(field.type) else field.name
