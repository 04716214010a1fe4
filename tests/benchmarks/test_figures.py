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
