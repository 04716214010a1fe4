"""Logs of positives, for which negatives are drawn."""

import collections
import random

import pyarrow as pa

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.preprocess.negatives import Draw
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, key_rows, settle_rows
from steadyrank.pipeline.preprocess.sample import catalogues_of
from steadyrank.pipeline.preprocess.spill import Spill, gather
from steadyrank.pipeline.raw_log.findings import Findings
from tests.helpers import tiny

DAY = 24 * tiny.HOUR

START = int(tiny.START.timestamp() * 1000)


def document(**changes) -> dict:
    asked = {"item": "item", "columns": ["price"], "per_positive": 3}
    return {
        "data": {
            "input": ["log.parquet"],
            "time": "time_ms",
            "split": {"validation": "2024-03-03", "test": "2024-03-04"},
            "group": "user",
            "negatives": asked | changes,
        },
        "features": [
            {"name": "user", "kind": "categorical"},
            {"name": "item", "kind": "categorical"},
            {"name": "price", "kind": "numeric"},
            {"name": "number", "kind": "numeric"},
        ],
        "tasks": [{"name": "click"}],
        "model": {"trunk": "lr"},
    }


def config_of(**changes):
    return parse_config(document(**changes), "c")


def rows_of(count: int, seed: int, items=12, users=5, days=4) -> list[dict]:
    """Users, and items whose price goes with them; sometimes there is none."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        item = None if draw.random() < 0.05 else int(items * draw.random() ** 2)
        found.append(
            {
                "user": None if draw.random() < 0.1 else draw.randrange(users),
                "item": item,
                "price": None if item is None else 10.0 * item,
                "number": number,
                "time_ms": START + number * days * DAY // count + draw.randrange(60_000),
            }
        )
    return found


def settled(config, folder, scratch):
    """Final rows by split, and catalogues: through files, without Beam."""
    plan, counts = make_plan(config, folder), collections.Counter()
    raw = collections.defaultdict(list)
    with Spill(str(scratch)) as written:
        for piece in plan.log.pieces:
            for batch in piece.batches():
                tables, _, found = key_rows(batch, piece.path, plan)
                counts.update(found)
                written.add(tables)
                for key, table in tables.items():
                    raw[key].append(table)
    found, parts = Findings.of(counts, config.data, config.data.time), {}
    for key, part in written.parts:
        parts.setdefault(key, []).append(part)
    windows = catalogues_of(raw, plan, found, str(scratch))
    typed = []
    for key, some in sorted(parts.items()):
        draw = Draw(plan, key.split("/")[0], windows)
        for tables in gather(some):
            rows = settle_rows(tables, [], plan, (), found=found, draw=draw).typed
            split = pa.repeat(key.split("/")[0], len(rows))
            typed.append(rows.append_column("split", split))
    prints = {
        row["number"]: (row[HIGH], row[LOW])
        for tables in raw.values()
        for table in tables
        for row in table.select(["number", HIGH, LOW]).to_pylist()
    }
    return pa.concat_tables(typed).to_pylist(), windows, prints
