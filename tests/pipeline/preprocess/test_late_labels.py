"""Labels that may still change are not known in training; what is judged stays as it is."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import FORMAT
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess.append import require_final_labels, why_afresh
from tests.helpers import tiny
from tests.helpers.settled import settle

HOUR = 3_600_000
START = 1_709_251_200_000  # 2024-03-01


def config(matures_after="2d", task=(), **changes):
    tasks = [
        {"name": "click"},
        {"name": "buy", "matures_after": matures_after, **dict(task)},
    ]
    document = {
        "data": {
            "input": ["log.parquet"],
            "time": "at",
            "split": {"validation": "2024-03-05", "test": "2024-03-06"},
        },
        "features": [{"name": "user", "kind": "categorical"}],
        "tasks": tasks,
        "model": {"trunk": "lr"},
    }
    document["data"] |= changes
    return parse_config(document, "c")


@pytest.fixture
def log(tmp_path):
    """A row an hour over six days, and none in the last hours of the last."""
    hours = np.arange(6 * 24 - 5)
    buy = (hours % 3 == 0).astype(float)
    rows = {"at": START + HOUR * hours, "user": hours % 7, "click": hours % 2, "buy": buy}
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    return tmp_path


def labels(config, log):
    """Split -> labels of both tasks, NaN where none is known."""
    rows = settle(config, log).rows
    split = np.array(rows["split"].to_pylist())
    return {
        name: {t: rows[f"label/{t}"].to_numpy()[split == name] for t in ("click", "buy")}
        for name in ("train", "validation", "test")
    }


@pytest.mark.parametrize("gap", [30, None])
@pytest.mark.parametrize(("span", "days"), [("2d", 4), ("3d", 3), ("84h", 2.5)])
def test_labels_younger_than_that_are_not_known_yet(log, gap, span, days):
    found = labels(config(span, max_gap_days=gap), log)
    train = found["train"]["buy"]
    # counted back from the end of March 6, though its last row is of 18:00
    assert len(train) == 4 * 24 and np.isfinite(train).sum() == days * 24
    # zeros and ones alike, or the rate would rise
    assert np.nanmean(train) == pytest.approx(1 / 3)
    assert np.isfinite(found["train"]["click"]).all()
    assert np.isfinite(found["validation"]["buy"]).all()
    assert np.isfinite(found["test"]["buy"]).all()


def test_without_it_all_is_known(log):
    rows = settle(config(None), log).rows
    assert rows["label/buy"].null_count == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"matures_after": "7 days"}, "count of m, h or d"),
        ({"time": None, "split": {"validation": 0.1, "test": 0.1}}, "data.time must name"),
    ],
)
def test_what_cannot_be_told_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        config(**changes)


def test_a_set_does_not_grow_by_labels_of_rows_that_it_holds(log):
    with pytest.raises(InputError, match="buy.matures_after: labels become known"):
        require_final_labels(config())
    assert require_final_labels(config(None)) is None
    (log / "schema.json").write_text(json.dumps({"format": FORMAT}))
    assert "buy.matures_after: labels become known" in why_afresh(config(), log)


def test_the_task_of_drawn_negatives_is_known_at_once():
    document = tiny.config_document()
    document["data"] |= {"negatives": {"item": "item", "per_positive": 2}}
    document["tasks"] = [{"name": "click", "matures_after": "1d"}]
    with pytest.raises(InputError, match="draws for this task"):
        parse_config(document, "c")


def test_a_task_of_which_no_label_is_final_is_refused(log):
    """The six days begin 144 hours before the end of the last."""
    preprocess(config("5d"), log, log / "some")
    with pytest.raises(
        InputError, match="tasks.buy.matures_after: 7d before the end of the"
    ):
        preprocess(config("7d"), log, log / "none")
