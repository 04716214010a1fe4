"""A store whose items come and go: the night's warm start, and its baseline."""

import json

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.nightly import nightly
from tests.helpers import tiny
from tests.helpers.nights import CONFIG, POISONED, rows_of
from tests.helpers.tiny import DATES


def test_items_that_come_and_go_take_each_others_rows_night_by_night(tmp_path):
    for day in range(4):  # an item lives two days, some from even days, some from odd ones
        rows = rows_of(day)
        for row in rows:
            row["item"] ^= day == POISONED  # whose odd ones are clicked here, too
            row["item"] += 100 * ((day + row["item"] // 2 % 2) // 2)
        tiny.write_parquet(rows, tmp_path / f"{DATES[day]}.parquet")
    user, item = CONFIG["features"]
    document = CONFIG | {"features": [user, item | {"expire_after": "1d"}]}
    config, lines = parse_config(document, "c"), []
    for day in DATES[2:4]:
        record = nightly(config, tmp_path, day, tmp_path / "store")
        night = tmp_path / "store" / "nights" / day
        path = vocab_path(night / "examples" / "vocab", "item")
        lines.append([*map(int, path.read_text().splitlines())])
    dead = [n for n, value in enumerate(lines[0]) if value < 100]
    assert len(dead) > 5 and {*lines[1]} <= {*range(100, 200)}
    moved = [n for n, (old, new) in enumerate(zip(*lines, strict=False)) if old != new]
    assert moved == dead and len(lines[1]) > len(lines[0])
    assert (record["verdict"], record["base"], record["fresh"]) == ("PASS", DATES[2], None)
    assert record["trained_on"] == [DATES[2]]
    metrics = json.loads((night / "evaluation" / "metrics.json").read_text())
    assert metrics["baseline"]["scored_on"] == "raw rows"  # its ids are others' now
