"""The README and the pages of docs/measured hold no figure that no result holds."""

import json
import subprocess

import pytest
from scipy import stats

from benchmarks import pages
from benchmarks.pages import form

NOTHING_KEPT = "No result is kept of it yet, so that no figure stands here."


def test_tables_are_those_of_the_results():
    """Else: ``python -m benchmarks.pages``."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages.pages()}
    assert len(texts) > 15
    assert not [page for page, text in texts.items() if pages.filled(text) != text]


def test_every_result_is_in_the_repository():
    """One that git ignores is there for whoever measured it, and for nobody else."""
    inside = ["git", "-C", str(pages.RESULTS), "ls-files"]
    listed = subprocess.run(inside, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("This is no clone of the repository.")
    found = {path.name for path in pages.RESULTS.glob("*.json")}
    ignored = ["git", "-C", str(pages.RESULTS), "check-ignore", "--no-index", *found]
    told = subprocess.run(ignored, capture_output=True, text=True).stdout.split()
    assert not {n for n in told if not n.endswith("_runs.json")}
    assert found - set(told) <= set(listed.stdout.split())


def test_drawings_are_those_of_the_results():
    """Else: ``python -m benchmarks.pages``."""
    drawn = pages.drawn()
    assert set(drawn) == set(pages.MEASURED.glob("*.svg"))
    assert not [path for path, made in drawn.items() if path.read_text("utf-8") != made]


def test_prose_says_nothing_that_the_tables_do_not():
    found = {p.name: pages.stray(p.read_text(encoding="utf-8")) for p in pages.pages()}
    assert not {name: figures for name, figures in found.items() if figures}


def test_every_study_has_a_table_or_says_that_it_has_none():
    for page in pages.pages():
        text = page.read_text(encoding="utf-8")
        if page.name != "index.md":
            assert bool(pages.MARKED.search(text)) != (NOTHING_KEPT in text), page


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page with one table, of a result of its own."""
    trials = [
        {"trial": name, "value": auc, "metrics": {t: {"auc": auc} for t in tasks}}
        for tasks in [("is_click", "long_view", "is_like")]
        for name, auc in (("0", 0.75), ("1", 0.7625))
    ]
    sweep = {"own": "0", "best": "1", "own_value": 0.75, "trials": trials}
    (tmp_path / "mine.json").write_text(json.dumps(sweep), encoding="utf-8")
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    marked = "Before.\n\n<!-- figures: sweeps.trials mine -->\n<!-- end of figures -->\n"
    return pages.filled(marked)


def test_a_table_is_made_from_its_result(page):
    row = next(line for line in page.splitlines() if "trial 1" in line and "six" in line)
    assert [cell.strip() for cell in row.split("|")][2:5] == [".7625", "+.0125", ".7625"]
    assert page.startswith("Before.\n\n<!--") and page.endswith("<!-- end of figures -->\n")
    assert pages.filled(page) == page
    assert pages.filled(page.replace(".7625", ".7925")) == page


@pytest.mark.parametrize(
    "prose, figures",
    [
        ("It has .7625, and +.0125 more.", []),
        ("It has .7626, and −.0126.", [".7626", ".0126"]),
        ("It is 12 times less, 72 % of it, 1,696 ms.", ["12", "72", "1,696"]),
        ("| .1234 |", [".1234"]),  # a table made by hand
        ("A rate of 0.05, 3 seeds, width 32, test_1.py, v2.0.1", []),
        ("```\n.9999\n```", []),
        ("At 99 % of it.\n<!-- settings: 99 %, .5 -->", []),
    ],
)
def test_figures_of_the_prose(page, prose, figures):
    assert pages.stray(page + prose + "\n") == figures


def test_what_is_not_there_is_not_passed_over():
    with pytest.raises(FileNotFoundError):
        pages.table("sweeps.trials", ["nothing"])
    with pytest.raises(AttributeError):
        pages.table("sweeps.nothing", ["sweep_kuairand"])


def test_how_figures_are_written():
    assert [form.share(v) for v in (0.81666, 1.0, 0.5)] == [".8167", "1.0000", ".5000"]
    assert [form.gain(v) for v in (0.00524, -0.00376, 0.00001, -1.25)] == [
        "+.0052", "−.0038", ".0000", "−1.2500"]  # fmt: skip
    assert form.span((-0.0084, 0.0019)) == "−.0084 to +.0019"
    assert [form.times(v) for v in (3.694, 0.849, 0.0, None)] == [
        "3.7", "0.85", "never", "never"]  # fmt: skip
    assert (form.percent(0.0658, 1), form.count(24844.3)) == ("6.6 %", "24,800")
    with pytest.raises(ValueError, match=r"2 cells.*\['a'\]"):
        form.markdown(["x", "y"], [["a"]])


def test_students_interval():
    values = [0.0034, 0.0067, 0.0055]
    mean, low, high = form.student(values)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((wanted.low, wanted.high))
    assert mean == pytest.approx(0.0052)
