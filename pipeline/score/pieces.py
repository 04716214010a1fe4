"""A piece of the log to a part of the scores: what a worker of Beam does."""

import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.findings import as_integers
from steadyrank.pipeline.raw_log.formats.base import Batch, Piece
from steadyrank.pipeline.raw_log.open import read_all
from steadyrank.pipeline.raw_log.rejected import samples
from steadyrank.pipeline.score.past import read_past
from steadyrank.pipeline.score.plan import ScorePlan
from steadyrank.pipeline.score.rows import best_rows, score_batch

PARTS, REJECTED, NOTES = "parts", "rejected", "notes"
SAMPLED = 10_000  # rejected rows of a piece from which examples are taken


class ScorePiece(beam.DoFn):
    """Writes the scores of a piece, its rejected rows, and last a note of both.

    A part has its final name when it is whole; a piece of which there is a note is done.

    Args:
        plan: The plan.
        work: The folder to write into.
    """

    def __init__(self, plan: ScorePlan, work: str):
        self.plan, self.work, self.scorer = plan, work, None

    def _load(self):
        from steadyrank.pipeline.export.loaded import Export
        from steadyrank.pipeline.export.table_scores import TableScorer

        names = {name: name for name in self.plan.columns}
        self.scorer = TableScorer(Export(Path(self.plan.model)), names)
        self.sides, self.held = read_sides(self.plan), read_past(self.plan.past)

    def process(self, item):
        number, piece = item
        note = Path(self.work) / NOTES / f"{number:05d}.json"
        if note.exists():
            return
        try:
            if self.scorer is None:  # here, where what is wrong with it can be said
                self._load()
            write_json(note, self._score(number, piece))
        except (InputError, PassingError) as error:
            yield type(error).__name__, str(error)

    def _score(self, number: int, piece: Piece) -> dict:
        counts, found = Counter(), []
        scored = Part(Path(self.work) / PARTS / f"part-{number:05d}.parquet")
        others = Part(Path(self.work) / REJECTED / f"part-{number:05d}.parquet")
        with scored, others:
            for batch in piece.batches():
                table, rejected = self._batch(batch, piece.path)
                counts["read"] += len(batch.table)
                if batch.malformed is not None:
                    counts["read"] += len(batch.malformed)
                counts["scored"] += len(table)
                if self.plan.top is not None and len(table):
                    table = best_rows(table, self.plan.by, self.plan.top)
                counts["written"] += len(table)
                scored.write(table)
                for rows in rejected:
                    reason = in_one_piece(rows["reason"]).value_counts().to_pylist()
                    counts.update({f"rejected/{r['values']}": r["counts"] for r in reason})
                    others.write(rows)
                    if sum(map(len, found)) < SAMPLED:
                        found.append(rows.select(["reason", "source", "line", "value"]))
        return {
            "path": piece.path,
            "counts": dict(counts),
            "samples": samples(found),
        }

    def _batch(self, batch: Batch, path: str) -> tuple[pa.Table, list[pa.Table]]:
        rejected = []
        if batch.malformed is not None:
            source = pa.array([path] * len(batch.malformed))
            malformed = batch.malformed.append_column("source", source)
            rejected.append(malformed.append_column("value", malformed["text"]))
        given = {"scorer": self.scorer, "held": self.held}
        table, others = score_batch(batch, path, self.plan, self.sides, **given)
        return table, [*rejected, *others]


class Part:
    """A Parquet file that has its name once it is whole; without rows there is none.

    A context manager.

    Args:
        path: Its name.
    """

    def __init__(self, path: Path):
        self._path = path
        self._writer: Any = None
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")

    def __enter__(self) -> "Part":
        return self

    def write(self, table: pa.Table) -> None:
        """Append rows; later ones may lack columns, or have them in a wider type."""
        if not len(table):
            return
        if self._writer is None:
            self._schema = table.schema
            self._writer = pq.ParquetWriter(self._partial, table.schema, compression="zstd")
        if table.schema != self._schema:
            table = _like(table, self._schema)
        self._writer.write_table(table)

    def __exit__(self, kind, *_):
        if self._writer is not None:
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
            else:
                self._partial.unlink(missing_ok=True)


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the columns of those before: of rejected ones, what all have is texts."""
    columns = {
        field.name: table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    }
    return pa.table(columns, schema)


def read_sides(plan: ScorePlan) -> list[pa.Table]:
    """The side tables of a plan, as far as their columns are read."""
    wanted, tables = {*plan.columns.values(), *plan.kept.values()}, []
    joins = plan.log.config.data.join
    wanted |= {join.on for join in joins}
    for join, log in zip(joins, plan.log.sides, strict=True):
        names = [n for n in log.schema.names if join.prefix + n in wanted]
        side = read_all(log, list(dict.fromkeys([join.on, *names])))
        tables.append(as_integers(side, plan.whole))
    return tables


def notes_in(work: Path) -> Iterator[dict]:
    """What was noted of the pieces that are done."""
    for path in sorted((work / NOTES).glob("*.json")):
        note = read_json(path, "an interrupted scoring")
        if not isinstance(note, dict) or not {"counts", "samples"} <= {*note}:
            raise InputError(f"{path} is damaged. Leave out --resume to start again.")
        yield note
