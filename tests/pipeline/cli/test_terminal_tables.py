"""Tables of the terminal: each figure over its 95 % interval, chance marked, 80 columns."""

import io

import pytest
from rich.console import Console

from steadyrank.pipeline.cli import tables

TASKS = {
    "is_profile_enter": {
        "kind": "binary", "rows": 26556, "auc": 0.74989, "gauc": 0.51,
        "reachable_auc": 0.8, "calibration": 1.02, "score_gauc": 0.6,
        "score_ndcg": 0.4, "score_ndcg_chance": 0.39,
        "intervals": {"auc": [0.7433, 0.7565], "gauc": [0.49, 0.53],
                      "calibration": [1.01, 1.04], "score_gauc": [0.58, 0.62]},
        "over_chance": {"difference": 0.01, "interval": [-0.01, 0.03]},
    },
    "watch": {"kind": "regression", "rows": 400, "rmse": 12345.6, "calibration": 1.0,
              "intervals": {"rmse": [11000.4, 13000.6], "calibration": [0.95, 1.05]}},
}  # fmt: skip
METRICS = {"split": "test", "rows": 26556, "tasks": TASKS}


def shown(table) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue().splitlines()


def test_every_figure_stands_over_its_interval():
    lines = shown(tables.metrics_table(METRICS))
    first = next(i for i, line in enumerate(lines) if "is_profile_enter" in line)
    assert lines[first].split() == ["is_profile_enter", "26,556", "0.7499", "0.8000",
                                    "0.5100*", "1.0200"]  # fmt: skip
    assert lines[first + 1].split() == [".743–.756", ".490–.530", "1.010–1.040"]
    assert lines[first + 2].split() == ["watch", "400", "12,346", "1.0000"]
    assert lines[first + 3].split() == ["11,000–13,001", ".950–1.050"]
    said = " ".join(lines)
    assert "below each figure its 95 % interval; * not told from chance" in said


def test_no_number_is_broken_at_80_columns():
    names = ("auc", "gauc", "reachable_auc", "calibration", "rmse")
    values = {n: 0.7381 + i / 100 for i, n in enumerate(names)} | {"rows": 123_456_789}
    task = values | {"intervals": {n: [values[n] - 1e-3, values[n] + 1e-3] for n in names}}
    metrics = {"split": "test", "rows": 1, "tasks": {"is_profile_enter_long_name": task}}
    lines = shown(tables.metrics_table(metrics))
    assert max(map(len, lines)) <= 80
    said = " ".join(lines).split()
    assert {"123,456,789", *(f"{values[n]:.4f}" for n in names)} <= {*said}
    bounds = [f"{b:.5f}".removeprefix("0") for n in names for b in task["intervals"][n]]
    assert all(any(w.strip("–") == b for w in said) for b in bounds)
    assert any(line.startswith("is_profile_en") for line in lines)


def test_the_served_score_has_a_table_of_the_tasks_that_it_orders():
    lines = shown(tables.score_table(METRICS))
    (line,) = (line for line in lines if "is_profile_enter" in line)
    assert line.split() == ["is_profile_enter", "0.6000", "0.4000*", "0.3900"]
    assert not any("watch" in line for line in lines)
    assert tables.score_table({**METRICS, "tasks": {"watch": TASKS["watch"]}}) is None


def of_a_task(metric: str, value, interval, **more) -> dict:
    """What a night's record says of a task."""
    base = {"base": None, "base_interval": None, "gain": None}
    return {"metric": metric, "value": value, "interval": interval, **base, **more}


def test_a_night_tells_what_each_task_gained():
    gain = {"difference": 0.01, "interval": [-0.001, 0.021]}
    click = of_a_task("auc", 0.75, [0.7, 0.8], base=0.74, gain=gain)
    gain = {"difference": 155.4, "interval": [101.2, 209.7]}
    watch = of_a_task("rmse", 12345.6, [11000.4, 13000.6], base=12501.0, gain=gain)
    night = {"day": "2024-03-05", "tasks": {"click": click, "watch": watch}}
    lines = [line.replace("│", "") for line in shown(tables.night_table(night))]
    at = next(i for i, line in enumerate(lines) if "click" in line)
    assert lines[at].split() == ["click", "AUC", "0.7400", "0.7500", "+0.0100*"]
    assert lines[at + 1].split() == [".700–.800", "-0.001", "to", "+0.021"]
    assert lines[at + 2].split() == ["watch", "RMSE", "12,501", "12,346", "+155"]
    assert lines[at + 3].split() == ["11,000–13,001", "+101", "to", "+210"]
    assert shown(tables.night_table({"day": "d", "tasks": {}}))


def test_a_chance_figure_of_a_night_is_marked():
    night = {"day": "d", "tasks": {"like": of_a_task("auc", 0.51, [0.49, 0.53])}}
    assert any("0.5100*" in line for line in shown(tables.night_table(night)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""), (0.8, "0.8000"), (0.81234, "0.8123"), (1.0, "1.0000"), (0.0, "0.0000"),
        (12.5, "12.50"), (100.0, "100.0"), (12345.6, "12,346"), (400, "400"),
        (26556, "26,556"), (-0.5, "-0.5000"), (0.000123, "0.00012"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_a_column_has_as_many_places_everywhere(value, said):
    assert tables.cell(value) == said


def test_a_figure_that_lacks_its_interval_is_explained():
    few = {**TASKS["is_profile_enter"], "rows": 40, "intervals": {"auc": None}}
    lines = shown(tables.metrics_table({**METRICS, "tasks": {**TASKS, "few": few}}))
    assert "none where fewer than 10 users" in " ".join(lines)
    assert "none where" not in " ".join(shown(tables.metrics_table(METRICS)))


def test_no_number_of_many_nights_is_broken_at_80_columns():
    click = of_a_task("auc", 0.7, [0.69, 0.71])
    watch = of_a_task("rmse", 12345.6, [11000.4, 13000.6])
    row = {"day": "2026-01-01", "verdict": "REFUSE", "version": 12, "state": "withdrawn"}
    row |= {"figures": {"a_task_with_a_name_that_goes_on_and_on": click, "watch": watch}}
    row |= {"rows": 123_456_789, "seconds": 12_345.0, "bytes": 10**10, "pruned": True}
    row |= {"base": None, "why": ["AUC of click is too low for anything " * 5]}
    lines = shown(tables.nights_table([row, {**row, "figures": {}, "rows": None}]))
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    for word in ("AUC 0.7000 (.690–.710)", "RMSE 12,346 (11,000–13,001)", "123,456,789"):
        assert word in said, word
    assert "12,345 s" in said and "10,000.0 MB" in said and "version 12" in said
    assert "a_task_with_a_name" in said
