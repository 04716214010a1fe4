"""New users, new items and weekdays: which rows these are, and what is said of few."""

import types

import numpy as np
import pytest

from steadyrank.components.metrics import grouped
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.config.gates import Gates
from steadyrank.pipeline.metrics.scored import Scored
from steadyrank.pipeline.metrics.standard_slices import (
    id_features,
    measure_standard_slices,
    weekdays_of,
)

USER = Feature("user", "categorical", vocabulary_size=9)
ITEM = Feature("item", "categorical", vocabulary_size=500, oov_buckets=3)
ROWS = 900


def rows_of(user, item, days=None):
    random = np.random.default_rng(1)
    click = (random.uniform(size=ROWS) < 0.5).astype(np.float32)
    output = np.clip(0.5 + 0.2 * (click - 0.5) + 0.2 * random.normal(size=ROWS), 0.01, 0.99)
    features = {"user": user, "item": item}
    named = {"click": output, "score": output}
    groups = random.integers(0, 60, ROWS)
    return Scored({"click": click}, {"click": np.ones(ROWS)}, named, groups, {}, features)


def test_the_ids_are_those_of_the_group_and_of_many_values():
    others = [Feature(f"id{n}", "categorical", vocabulary_size=100 + n) for n in range(9)]
    features = [
        Feature("tags", "categorical", vocabulary_size=900, max_values=3),
        Feature("country", "categorical", vocabulary_size=99),
        Feature("price", "numeric"),
        USER, *others, ITEM,
    ]  # fmt: skip
    columns = {f.name: f.name for f in features} | {"user": "user_id"}
    ids = id_features(features, columns, "user_id")
    assert ids == ["user", "item", "id8", "id7", "id6", "id5", "id4"]
    assert "user" not in id_features(features, columns, None)


def test_new_is_what_training_did_not_see_and_few_rows_are_said():
    random = np.random.default_rng(2)
    user, item = random.integers(0, 11, ROWS), random.integers(4, 504, ROWS)
    item[:40], user[user == 1] = np.arange(40) % 3 + 1, 2
    user[100:400], item[500] = 1, 0  # missing is not new
    model = rows_of(user, item)
    weekdays = np.repeat([6, 0, 1], [300, 550, 50])
    how = {"gates": Gates(), "tasks": [Task("click")]}
    found = measure_standard_slices(model, None, [USER, ITEM], weekdays, **how)
    by_name = {part["name"]: part for part in found}
    assert list(by_name) == ["new user", "new item", "Monday", "Tuesday", "Sunday"]
    assert by_name["new user"]["rows"] == 300
    assert by_name["new item"] == {
        "name": "new item", "rows": 40,
        "why": "only 40 rows; 100 are the fewest to measure",
    }  # fmt: skip
    assert by_name["Tuesday"]["rows"] == 50 and "why" in by_name["Tuesday"]
    for name, rows in (("new user", slice(100, 400)), ("Monday", slice(300, 850)),
                       ("Sunday", slice(0, 300))):  # fmt: skip
        click = by_name[name]["tasks"]["click"]
        label, output = model.labels["click"][rows], model.outputs["click"][rows]
        assert click["auc"] == pytest.approx(grouped.auc(label, output)), name
        low, high = click["intervals"]["auc"]
        assert low < click["auc"] < high and "deciles" not in click


def test_all_rows_are_no_slice_and_none_is_said():
    model = rows_of(np.full(ROWS, 5), np.full(ROWS, 9))
    ids, sunday = [USER, ITEM], np.full(ROWS, 6)
    found = measure_standard_slices(
        model, None, ids, sunday, gates=Gates(), tasks=[Task("click")]
    )
    assert [part["why"] for part in found] == [
        *["there is none"] * 2, "these are all rows"
    ]  # fmt: skip


def days(window, **windows):
    """Weekdays of a split of some windows, by their names."""
    names = {name.replace("_", "-").lstrip("d"): rows for name, rows in windows.items()}
    config = types.SimpleNamespace(data=types.SimpleNamespace(window_ms=window))
    examples = types.SimpleNamespace(
        windows=lambda split: dict.fromkeys(sorted(names)),
        manifest={"splits": {"test": {"windows": names}}},
    )
    return weekdays_of(config, examples, "test")


def test_weekdays_are_those_of_the_windows():
    hour = 3_600_000
    found = days(24 * hour, d2024_03_04=2, d2024_03_10=1)
    assert found.tolist() == [0, 0, 6]
    assert days(6 * hour, d2024_03_05T18_00=3).tolist() == [1, 1, 1]
    assert days(7 * hour, d2024_03_05T18_00=3) is None  # a window may hold two days
    assert days(48 * hour, d2024_03_04=3) is None
    assert days(None, all=3) is None and days(24 * hour, all=3) is None
