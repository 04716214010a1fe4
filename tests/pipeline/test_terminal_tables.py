"""Tables of the terminal: each figure over its 95 % interval, chance marked, 80 columns."""

import io

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
              "intervals": {"rmse": [11000.4, 13000.6]}},
}  # fmt: skip
METRICS = {"split": "test", "rows": 26556, "tasks": TASKS}


def shown(table) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue().splitlines()


def test_every_figure_stands_over_its_interval():
    lines = shown(tables.metrics_table(METRICS))
    first = next(i for i, line in enumerate(lines) if "is_profile_enter" in line)
    assert lines[first].split() == ["is_profile_enter", "26,556", "0.7499", "0.8", "0.51*",
                                    "1.02"]  # fmt: skip
    assert lines[first + 1].split() == [".743–.756", ".490–.530", "1.010–1.040"]
    assert lines[first + 2].split() == ["watch", "400", "12,346", "1"]
    assert lines[first + 3].split() == ["11,000–13,001"]
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
    assert {"123,456,789", *(f"{values[n]:.4g}" for n in names)} <= {*said}
    bounds = [f"{b:.5f}".removeprefix("0") for n in names for b in task["intervals"][n]]
    assert all(any(w.strip("–") == b for w in said) for b in bounds)
    assert any(line.startswith("is_profile_en") for line in lines)


def test_the_served_score_has_a_table_of_the_tasks_that_it_orders():
    lines = shown(tables.score_table(METRICS))
    (line,) = (line for line in lines if "is_profile_enter" in line)
    assert line.split() == ["is_profile_enter", "0.6", "0.4*", "0.39"]
    assert not any("watch" in line for line in lines)
    assert tables.score_table({**METRICS, "tasks": {"watch": TASKS["watch"]}}) is None


def test_a_night_tells_what_was_gained():
    night = {"day": "2024-03-05", "auc": {"click": 0.75}, "base_auc": {"click": 0.74}}
    night |= {"intervals": {"auc": {"click": [0.7, 0.8]}, "base_auc": {}}}
    night["gain"] = {"click": {"difference": 0.01, "interval": [-0.001, 0.021]}}
    lines = [line.replace("│", "") for line in shown(tables.night_table(night))]
    at = next(i for i, line in enumerate(lines) if "click" in line)
    assert lines[at].split() == ["click", "0.74", "0.75", "+0.0100*"]
    assert lines[at + 1].split() == [".700–.800", "-0.001", "to", "+0.021"]
    assert shown(tables.night_table({"day": "d", "auc": {}, "base_auc": None}))
