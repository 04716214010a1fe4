"""The report page: what it says, that names cannot break it, that gaps do not."""

import json
import math
import re

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.pipeline.files.printable import printable
from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report import write_report
from steadyrank.pipeline.report.curves import clipping_by_layer, smooth, thin
from steadyrank.pipeline.report.elements import embedded_json, number, text
from steadyrank.pipeline.report.metrics import share_of_lift
from steadyrank.pipeline.report.sections import skew
from steadyrank.pipeline.report.slices import importance
from steadyrank.pipeline.report.summary import run_of, title_of
from tests.helpers.report_page import HOSTILE, Page, page_of, recorded


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("report") / "report.html")


def test_the_verdict_comes_first_with_the_reason(page):
    before_contents = page.seen.split("Gates", 1)[0]
    assert "REFUSE" in before_contents and "PASS" not in before_contents
    assert "1 of 2 gates passed" in before_contents
    assert "auc is_click: 0.7000 is below 0.72" in before_contents


def test_a_passed_run_says_so(tmp_path):
    verdict = {"verdict": "PASS", "gates": [recorded()["verdict"]["gates"][1]]}
    seen = page_of(tmp_path / "report.html", verdict=verdict).seen
    assert "PASS It may be released: 1 of 1 gates passed." in seen and "REFUSE" not in seen


@pytest.mark.parametrize("verdict", [{}, {"verdict": "pass"}, {"verdict": None}])
def test_anything_but_a_pass_is_a_refusal(tmp_path, verdict):
    assert "REFUSE" in page_of(tmp_path / "report.html", verdict=verdict).seen


def test_a_hold_has_its_own_word_and_colour_and_a_force_its_reason(tmp_path):
    gate = {**recorded()["verdict"]["gates"][0], "verdict": "HOLD", "passed": False}
    forced = {"reason": f"why {HOSTILE}", "time": "2024-01-01"}
    verdict = {"verdict": "HOLD", "gates": [gate], "forced": forced}
    page = page_of(tmp_path / "report.html", verdict=verdict)
    said = "HOLD It is not released: the data cannot tell yet. 0 of 1 gates passed."
    assert said in page.seen and "REFUSE" not in page.seen
    assert "? on hold" in page.seen
    assert f"Forced at 2024-01-01: why {HOSTILE}" in page.seen
    assert ("div", {"class": "verdict on-hold"}) in page.tags


def test_refusals_stand_before_holds_and_many_are_counted(tmp_path):
    refused = recorded()["verdict"]["gates"][0]
    held = {**refused, "verdict": "HOLD", "reason": "too few"}
    verdict = {"verdict": "REFUSE", "gates": [held] * 9 + [refused]}
    seen = page_of(tmp_path / "report.html", verdict=verdict).seen
    assert "0 of 10 gates passed." in seen
    assert "What did not pass auc is_click: 0.7000 is below 0.72 on hold, auc" in seen
    assert "and 2 more, see below" in seen


def test_the_first_screen_names_the_run_and_four_numbers(page):
    first = page.seen.split("Gates", 1)[0]
    assert "1,234 rows of test, compared with the baseline" in first
    for said in (
        "AUC of is_click 0.7000 0.6900 to 0.7100",
        "AUC of is_click, gain +0.0100",
    ):
        assert said in first, said
    assert "Calibration of is_click 1.0200" in first and "RMSE of watch_time_ms 3" in first
    assert first.count("What did not pass") == 1
    assert page.seen.rstrip().endswith("Examples f")  # fingerprints stand last


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("runs/monday/export/1", "monday"),
        ("/a/store/nights/2026-01-02/export/3", "night 2026-01-02"),
        ("s3://b/runs/monday/export/12", "monday"),
        (None, "a model"),
    ],
)
def test_a_run_is_called_by_its_folder(model, named):
    assert run_of({"model": model}) == named
    title = title_of({"model": model, "where": "test (a day)"}, {"verdict": "HOLD"})
    assert title == f"HOLD: {named}, test (a day)"


def test_without_a_release_there_is_no_gain(tmp_path):
    metrics = recorded()["metrics"]
    metrics["tasks"] = {"is_click": {**metrics["tasks"]["is_click"], "gain": {}}}
    seen = page_of(tmp_path / "r.html", metrics={**metrics, "baseline": None}).seen
    assert "compared with nothing that was released" in seen
    assert "Gain over what is released –" in seen


def test_every_expert_has_a_colour_and_shared_ones_come_last():
    use = {f"level_0/task {i}": {f"task {i} 0": 0.5, "shared 0": 0.5} for i in range(9)}
    drawn = draw.experts_figure(use)
    assert [trace["name"] for trace in drawn["data"]][-1] == "shared 0"
    assert len({trace["marker"]["color"] for trace in drawn["data"]}) == 10
    assert drawn["data"][0]["x"] == ["task 0"]


def test_tables_that_were_never_clipped_have_no_chart():
    lines = [{"step": i, "clipped_rows": {"a": 0.0, "b": None}} for i in range(5)]
    assert draw.clipped_rows_figure(lines) is None
    lines[3]["clipped_rows"]["a"] = 0.1
    assert [t["name"] for t in draw.clipped_rows_figure(lines)["data"]] == ["a"]


def test_skew_stands_in_the_order_of_the_tasks():
    found = skew({"rows": 3, "outputs": {"b": 1e-8, "score": 0.0, "a": 2e-7}}, ["a", "b"])
    assert re.findall(r"<td>(\w+)</td>", found) == ["a", "b", "score"]


def test_an_interval_that_is_not_symmetric_is_drawn_as_it_is():
    part = {"tasks": {"a": {"auc": 0.98, "intervals": {"auc": [0.9, 1.0]}}}}
    (trace,) = draw.slices_figure([part], ["a"], lambda _: "x")["data"]
    assert trace["error_x"]["array"] == pytest.approx([0.02])
    assert trace["error_x"]["arrayminus"] == pytest.approx([0.08])


def test_slices_that_passed_are_folded(tmp_path):
    gate = {**recorded()["verdict"]["gates"][1], "slice": {"tab": "home"}}
    verdict = {"verdict": "PASS", "gates": [gate] * 3 + [{**gate, "passed": False}]}
    seen = page_of(tmp_path / "report.html", verdict=verdict).seen
    assert "3 gates on slices, which passed" in seen
    assert seen.count("skew – ✓ passed") == 3 and seen.count("✗ refused") == 1


@pytest.mark.parametrize(
    "words",
    ["auc is_click ✗ refused 0.7000 min 0.72 0.7000 is below 0.72"]
    + ["skew – ✓ passed 3.00e-08 max 1e-05 3.0e-08 is at most 1e-05"]
    + [
        "is_click 1,234 432 0.7000 0.6900 to 0.7100 0.5100 † 0.4900 to 0.5300 0.3100 "
        "0.7500 80.0% 0.6900 +0.0100 +0.0080 to +0.0120"
    ]
    + ["35.01% 0.6000 – 1.0200", "micro divergence 1 time, 2 steps", "Read 2,010"]
    + ["Rejected: no label: is_click 7", "train 766 1 2024-01-01 2024-01-01"]
    + ["is_click 2,000 700 35.00% 1", "tensorflow 2.16.2", "3.00e-08", "- name:"]
    + ["By tab × is_click", "Too small to judge: 1, with 3 rows in all: is_click."]
    + [
        "home · is_click 77 0.7000 0.6900 to 0.7100 1.020",
        "is_click 1.50 1.40 to 1.60 1.50",
    ]
    + [
        "is_click 0.6100 0.6000 to 0.6200 0.4000 † 0.3900 +0.0100 † "
        "-0.0010 to +0.0210 +0.0200"
    ]
    + ["New users and items, weekdays Rows of Rows is_click: AUC is_click: calibr. all"]
    + ["new is_click 77 0.7000 0.6900 to 0.7100 1.020 Sunday 7 only 7 rows; 100 are "]
    + ["On 100 of 1,234 rows", "Exchanged is_click, AUC lost"]
    + ["age + is_click +0.0200 † -0.0100 to +0.0500"]
    + ["watch_time_ms 400 2 1.8 to 2.2 3 9", "† Not told from chance"]
    + ["stability index is_click 0.0500", "Predictions of is_click"],
)
def test_figures_of_the_run_are_on_the_page(page, words):
    assert words in page.seen


def test_nothing_is_loaded_from_elsewhere(page):
    attributes = [a for _, attributes in page.tags for a in attributes.items()]
    assert not [v for k, v in attributes if k == "src" or "//" in str(v)]
    assert {v[0] for k, v in attributes if k == "href"} == {"#"}
    policy = [a["content"] for _, a in page.tags if "http-equiv" in a]
    assert policy[0].startswith("default-src 'none'")


def test_the_contents_name_every_section(page):
    links = [a["href"][1:] for tag, a in page.tags if tag == "a"]
    assert links == [a["id"] for tag, a in page.tags if tag == "section"]
    assert len(links) == 11


def test_a_report_can_be_sent(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, **recorded())
    assert path.stat().st_size < 100_000


def test_figures_are_valid_plotly(page):
    assert len(page.figures) == 11
    for figure in page.figures:
        go.Figure(figure)


def test_names_from_the_data_cannot_become_markup(tmp_path, page):
    path = tmp_path / "report.html"
    write_report(path, **recorded(HOSTILE))
    source = path.read_text(encoding="utf-8")
    hostile = Page(source)
    assert HOSTILE not in source
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in page.tags]
    assert hostile.seen.count(HOSTILE) >= 6
    names = [trace.get("name") for f in hostile.figures for trace in f["data"]]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in names  # Plotly reads HTML too


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_embedded_json_is_json_and_no_tag(content):
    source = embedded_json({"x": content})
    assert "<" not in source and ">" not in source
    assert json.loads(source) == {"x": written_out(content)}


def written_out(content):
    """What acts on a page or a terminal is written out, wherever it stands."""
    if isinstance(content, list):
        return [written_out(each) for each in content]
    return printable(content)


@given(st.text())
def test_text_is_escaped_once(value):
    escaped = text(value)
    assert not re.search("[<>\"']", escaped)
    assert text(escaped) == escaped


@pytest.mark.parametrize("missing", sorted(recorded()))
def test_a_missing_part_leaves_the_page_whole(tmp_path, missing):
    empty = [] if missing == "log" else {}
    page = page_of(tmp_path / "report.html", **{missing: empty})
    sections = [tag for tag, _ in page.tags if tag == "section"]
    assert len(sections) == (8 if missing == "metrics" else 11)


@pytest.mark.parametrize(
    "missing",
    ["tasks", "skew", "divergence", "data", "baseline", "split", "model"]
    + ["slices", "drift"],
)
def test_a_missing_metric_leaves_the_page_whole(tmp_path, missing):
    metrics = recorded()["metrics"] | {missing: None}
    assert "REFUSE" in page_of(tmp_path / "report.html", metrics=metrics).seen


def test_columns_without_truth_or_baseline_are_left_out(tmp_path):
    metrics = recorded()["metrics"] | {"baseline": None}
    del metrics["tasks"]["is_click"]["reachable_auc"]
    seen = page_of(tmp_path / "report.html", metrics=metrics).seen
    assert not any(word in seen for word in ("Reachable", "lift", "Baseline", "Gain"))


def test_one_epoch_is_a_table_not_a_curve_of_one_point(tmp_path):
    page = page_of(tmp_path / "report.html", log=recorded()["log"][:-1])
    assert "After the only epoch is_click 0.6800" in page.seen
    assert len(page.figures) == 10


def test_a_divergence_is_told_and_marked(tmp_path):
    divergence = {"steps": 30, "micro": [], "diverged": True, "diverged_at": 21}
    metrics = recorded()["metrics"] | {"divergence": divergence}
    page = page_of(tmp_path / "report.html", metrics=metrics)
    assert "Training diverged at step 21" in page.seen
    marks = [t for t in page.figures[0]["data"] if t["name"] == "divergence"]
    assert marks[0]["x"] == [21]


def test_a_failed_write_leaves_the_old_page(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(AttributeError):
        write_report(path, **(recorded() | {"verdict": {"gates": ["no gate"]}}))
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "value, shown",
    [(0.12345, "0.1235"), (3, "3.0000"), (None, "–"), (math.nan, "–")]
    + [(math.inf, "–"), ("0.5", "–"), (True, "–")],
)
def test_numbers_show_or_say_that_they_are_none(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    "auc, reachable, share",
    [(0.7, 0.9, 0.5), (0.5, 0.8, 0), (0.8, 0.8, 1), (0.4, 0.6, -1)],
)
def test_share_of_lift(auc, reachable, share):
    assert share_of_lift(auc, reachable) == pytest.approx(share)


@pytest.mark.parametrize("reachable", [0.5, None, math.nan])
def test_share_of_lift_needs_something_to_reach(reachable):
    assert math.isnan(share_of_lift(0.7, reachable))


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=300).map(
        np.array
    ),
    st.sampled_from([2, 10, 50]),
)
def test_thinning_keeps_order_ends_of_range_and_the_limit(y, limit):
    x, thinned = thin(np.arange(len(y)), y, limit)
    assert len(x) == len(thinned) <= max(limit, 0) or len(y) <= limit
    assert x == sorted(set(x))
    if not np.isnan(y).all():
        kept = [v for v in thinned if v is not None]
        assert max(kept) == pytest.approx(np.nanmax(y), rel=1e-5)
        assert min(kept) == pytest.approx(np.nanmin(y), rel=1e-5)


@given(st.floats(-100, 100), st.integers(1, 200))
def test_smoothing_keeps_a_constant(value, size):
    assert smooth(np.full(size, value)) == pytest.approx(np.full(size, value))


def test_smoothing_is_a_centred_mean_that_leaves_out_nan():
    y = np.array([1.0, 2.0, math.nan, 4.0, 6.0])
    expected = [1.5, 1.5, math.nan, 5.0, 5.0]
    assert smooth(y, share=0.6) == pytest.approx(expected, nan_ok=True)


def test_a_long_log_is_thinned_and_keeps_its_spike():
    log = [{"step": i, "loss": 50.0 if i == 4321 else 1.0} for i in range(10_000)]
    raw = draw.loss_figure(log, {})["data"][0]
    assert len(raw["x"]) <= 2000
    assert raw["y"][raw["x"].index(4321)] == 50.0


def test_a_loss_is_broken_where_it_is_none_and_not_where_a_line_tells_of_other_things():
    losses = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": None}]
    log = [losses[0], {"step": 1, "validation": {}}, *losses[1:]]
    raw = draw.loss_figure(log, {})["data"][0]
    assert raw["x"] == [1, 2, 3] and raw["y"][:2] == [3.0, 2.0]
    assert raw["y"][2] is None or math.isnan(raw["y"][2])


def test_layers_are_listed_most_clipped_first():
    lines = [{"clipping": {"a": 1.0, "b": 0.5, "c": None}}] * 3
    lines += [{"clipping": {"a": 0.9, "b": 0.1, "c": None}}, {"clipping": {}}]
    layers = clipping_by_layer(lines)
    assert [layer["name"] for layer in layers] == ["b", "a", "c"]
    assert layers[0] == {"name": "b", "minimum": 0.1, "median": 0.5, "clipped": 0.8}
    assert layers[1]["clipped"] == 0.2  # left out of a line: not clipped


def test_an_axis_is_logarithmic_where_it_gets_ticks():
    from steadyrank.pipeline.report.figures import logarithmic

    assert logarithmic([0.65, 1.0]) == {}
    few, many = logarithmic([0.05, 1.0]), logarithmic([1e-4, 1.0])
    assert {0.1, 0.2, 0.5, 1.0} <= set(few["tickvals"])
    assert 0.2 not in many["tickvals"] and {1e-4, 0.1} <= set(many["tickvals"])


def test_small_slices_beyond_the_named_ones_are_counted():
    from steadyrank.pipeline.report.slices import NAMED, sizes

    names = [{"slice": {"tab": str(i)}} for i in range(NAMED + 3)]
    small = {"slices": NAMED + 3, "rows": 9, "names": names[:NAMED]}
    assert str(sizes({"min_rows": 5}, [], small)).endswith(f"; {NAMED - 1} and 3 more.")
    small |= {"slices": NAMED}
    assert str(sizes({"min_rows": 5}, [], small)).endswith(f"; {NAMED - 1}.")


def test_the_order_of_importance_is_explained():
    said = str(importance({}))
    assert "First stands what some task loses most surely" in said
    assert "the largest loss in standard errors" in said
