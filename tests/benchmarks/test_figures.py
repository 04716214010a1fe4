"""Some tables of the pages, read and compared with the results by hand."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
STACKING = {
    "cl": {
        "StackA (adjacent)": "adjacent",
        "StackC (cross)": "cross",
        "unchanged (ours)": "unchanged",
        "StackR (control)": "random",
        "StackE (control)": "embedding",
    },
    "ts": {
        "StackA, twice": "adjacent",
        "StackA, softmax and LayerNorm copied too": "adjacent_softmax",
        "StackA, all copied, alphas too": "adjacent_all",
        "unchanged (ours), twice": "unchanged",
        "StackA, shallow nets to convergence, seed 1": "converged",
    },
    "tf": {"StackA": "adjacent", "unchanged (ours)": "unchanged"},
}
SECONDS = {"cl": 1, "ts": 1, "tf": 2}  # their column
HEADINGS = {
    "cl": "<!-- figures: stacking.continual stacking_cl_quick",
    "ts": "<!-- figures: stacking.stages",
    "tf": "<!-- figures: stacking.transfer",
}


def table(document, heading):
    """Cells by the first one, of the first table below a heading."""
    text = (
        (ROOT / "docs" / "measured" / document)
        .read_text(encoding="utf-8")
        .replace("**", "")
    )
    lines = text[text.index(f"\n{heading}") :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    found = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            return found
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        found[first] = rest
    return found


def headline(name):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["headline"]


def number(cell):
    return float(re.match(r"[−+]?[\d.]+", cell).group().replace("−", "-"))


@pytest.mark.parametrize("part", STACKING)
def test_seconds_of_stacking(part):
    rows, last = table("stacking.md", HEADINGS[part]), headline(f"stacking_{part}_quick")
    for row, name in STACKING[part].items():
        values = last[f"{part}_seconds_speedup_nextitnet_{name}"]
        cell = rows[row][SECONDS[part]]
        unit = 10.0 ** -len(cell.partition(".")[2])
        assert number(cell) == pytest.approx(sum(values) / len(values), abs=unit / 2), row


def test_gains_of_synthetic_regressions():
    rows, last = (
        table("multitask.md", "## Synthetic"),
        headline("multitask_synthetic_quick"),
    )
    names = {"shared bottom": "shared_bottom", "MMoE": "mmoe", "PLE, one level": "ple"}
    for row, name in names.items():
        cells = next(cells for first, cells in rows.items() if first.startswith(row))
        gains = list(last["synthetic_gains"][name].values())
        assert [number(cell) for cell in cells[:3]] == pytest.approx(gains, abs=5.1e-5)


def results(name):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def test_headlines_of_the_readme():
    """Each from the runs themselves, not from what a study says of them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if "docs/measured/" in line and "|" in line]
    said = {re.search(r"measured/([\w-]+)\.md", row)[1]: row.split("|")[2] for row in rows}
    batch = results("large_batch_decay_momentum_64x_shaped")["runs"]
    large, small = (mean(r["test"] for r in batch if r["batch_size"] == size)
                    for size in (65536, 1024))  # fmt: skip
    assert f"+{large - small:.4f} (".replace("0.", ".") in said["large-batches"]
    runs = results("multitask_kuairand_quick")["runs"]
    ple, single = (mean(mean(r["test"].values()) for r in runs if r["model"] == name)
                   for name in ("ple", "single"))  # fmt: skip
    assert f"+{ple - single:.4f} (".replace("0.", ".") in said["multitask"]
    runs = results("history_quick")["runs"]
    known, unknown = (
        mean(r["test"]["is_click"] for r in runs[n]) for n in ("mean", "none")
    )
    assert f"+{known - unknown:.4f} (".replace("0.", ".") in said["histories"]
    costs = [one["costs"] for one in results("stacking_cl_quick")["nextitnet"]]
    less = mean(one["scratch"]["flops"] / one["unchanged"]["flops"] for one in costs)
    assert f"{less:.1f} times after the growth, 1.3 with all" in said["stacking"]
    edges = results("stability_quick")["models"]["large_dcn"]["methods"]
    stable = {row["method"]: row["largest_stable"] for row in edges}
    assert f"{stable['clippy'] / stable['none']:g} times, the highest" in said["stability"]
