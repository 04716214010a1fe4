"""Every reason that a gate can give names metric, task, number, limit and data."""

import ast
import math
import re
import sys
from pathlib import Path

import pytest

from steadyrank.pipeline import gates as package
from steadyrank.pipeline.gates.divergence import dying_words
from steadyrank.pipeline.gates.judge import NAMES, OF_NO_ROWS, judge, named
from steadyrank.pipeline.gates.soundness import FINITE, LEARNED, soundness_gates
from steadyrank.pipeline.kinds.next_item import gates as next_item
from tests.helpers import judged as by_hand

WHERE, TRAINED = "test (2024-03-06)", "train (2024-03-01 to 2024-03-04)"
HELD_OUT = "validation (2024-03-05)"
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")
FOLDER = Path(package.__file__).parent
GAIN = {"auc": {"click": {"min_gain": 0.01}}}


def asked():
    """``(metrics, gates)`` of all that is judged by hand, and what is judged by chance."""
    yield from ((found, gates) for found, gates, *_ in by_hand.PASSES + by_hand.REFUSED)
    metrics = by_hand.metrics
    for error, groups in ((0.001, 50), (0.02, 50), (None, 50), (0.01, 3)):
        gain = {"auc": {"error": error}}
        yield metrics(tasks__click__gain=gain, tasks__click__groups=groups), GAIN
    flat = {"auc": by_hand.NAN, "log_loss": 0.3}
    for positives in (0, 40):
        part = by_hand.part("a", positives=positives, **flat)
        yield by_hand.slices(part, min=0.6)
    yield by_hand.deciles([by_hand.NAN] + [1.0] * 9), by_hand.DECILES
    yield by_hand.deciles([1.05] * 10, errors=None), by_hand.DECILES
    diverged = {**by_hand.METRICS["divergence"], "diverged": True}
    dead = {"click": {"auc": 0.494, "on": HELD_OUT, "since": 11}, "like": {}}
    both = {"dead_tasks": ["click", "like"], "dead": dead, "diverged_at": 11}
    yield metrics(divergence=diverged | both), by_hand.STABLE
    yield metrics(divergence=diverged | both | {"loss_diverged_at": 7}), by_hand.STABLE
    lost = {**by_hand.METRICS["divergence"], "logged": 49, "trained": 50}
    yield metrics(divergence=lost), by_hand.STABLE
    spiky = {"divergence": {**by_hand.STABLE["divergence"], "max_spikes": 1}}
    yield metrics(divergence__spikes=2), spiky
    ladder = {"stability": {"min_margin": 4.0, "min_steps": 100}}
    for found in (
        None,
        {"margin": by_hand.NAN},
        {"margin": 3.0, "steps": 90, "windows": 2},
        {"tried_up_to": 8.0, "steps": 100, "windows": 2},
    ):
        yield metrics(stability=found), ladder
    yield metrics(tasks={}, drift={}), by_hand.DRIFT


def sound():
    """Metrics of which what needs no limit says something else each time."""
    finite, learnt = by_hand.METRICS["finite"], by_hand.LEARNT
    yield {}
    yield {"finite": {"rows": {WHERE: 100, HELD_OUT: 0}, "nonfinite": {}}}
    bad = {"nonfinite": {WHERE: {"click": 3}}, "weights": {"table:0": 2}}
    yield {"finite": finite | bad, "skew": {"nonfinite": {"candidates": ["like"]}}}
    task = {"kind": "binary", "rows": 100, "positives": 40}
    yield {"tasks": {"click": task | {"auc": by_hand.NAN}}}
    yield {"tasks": {"click": task | {"auc": by_hand.NAN, "log_loss": math.inf}}}
    yield {"tasks": {"watch": {"kind": "regression", "rows": 9, "mse": math.inf}}}
    yield {"tasks": {"click": task | {"positives": 0}, "like": {"rows": 0}}}
    yield {"finite": finite | {"score_varies": {WHERE: False}}}
    order = {"score_gauc": 0.4, "intervals": {"score_gauc": [0.3, 0.45]}}
    yield {"tasks": {"click": task | order}}
    yield {"divergence": {"steps": 3}}
    for gap in (0.5, by_hand.NAN):
        yield {"skew": {"rows": 9, "signatures": {"candidates": gap}}}
    for change in (
        {},
        {"interval": [-0.2, -0.1], "gain": -0.15},
        {"interval": [-0.1, 0.3]},
        {"interval": [-0.1, 0.1], "gain": 0.0},
        {"interval": None},
        {"scarcer": 3},
        {"kind": "regression", "scarcer": 3},
        {"kind": "next_item", "constant": "popularity"},
        {"kind": "next_item", "constant": "popularity", "surely": False, "worse": False},
        {"varies": False},
        {"gain": 0.0, "interval": [-0.1, 0.1], "auc": 0.7},
        {"gain": by_hand.NAN},
    ):
        told = {"click": learnt | change, "like": learnt | change}
        yield {"learned": {"where": HELD_OUT, "tasks": told}}


def walk() -> list[dict]:
    assert "90% of the units" in dying_words({"share": 0.9, "layer": "a", "step": 3})
    found = []
    for metrics, gates in asked():
        there = {**metrics, "where": WHERE, "trained_on": TRAINED}
        found += judge(there, gates)["gates"]
    for metrics in sound():
        found += soundness_gates({**metrics, "where": WHERE, "trained_on": TRAINED})
    return found


def lines_with_words(path: Path):
    """First and last line of each statement of a function that holds a sentence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    simple = (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for node in (n for n in ast.walk(function) if isinstance(n, simple)):
            texts = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant)]
            words = any(isinstance(text, str) and " " in text for text in texts)
            if words and not (isinstance(node, ast.Expr) and len(texts) == 1):
                yield node.lineno, node.end_lineno


def test_every_sentence_of_the_gates_is_walked():
    seen = set()

    def trace(frame, event, _):
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        walk()
    finally:
        sys.settrace(before)
    seen = {(Path(name).resolve(), line) for name, line in seen}
    missed = [
        f"{path.name}:{first}"
        for path in FOLDER.resolve().glob("*.py")
        if path.name != "nights.py"  # whose sentences stand in test_nightly
        for first, last in lines_with_words(path)
        if not any((path, line) in seen for line in range(first, last + 1))
    ]
    assert not missed


@pytest.fixture(scope="module")
def walked():
    return walk()


def test_every_reason_names_its_metric_and_its_task(walked):
    for said in walked:
        gate, reason = said["gate"].removeprefix("slice "), said["reason"]
        if said["task"]:
            assert said["task"] in reason, said
        if gate in NAMES:
            assert NAMES[gate] in reason, said


def test_every_reason_names_the_rows_and_their_days(walked):
    places = {
        "divergence": (TRAINED,),
        "steps": (TRAINED,),
        LEARNED: (HELD_OUT, WHERE),
        FINITE: (WHERE, HELD_OUT),
    }
    for said in walked:
        free = said["gate"] in OF_NO_ROWS or "was measured" in said["reason"]
        bare = said["gate"] == FINITE and said["reason"].startswith(("weights", "no row"))
        if not free and not bare:
            wanted = places.get(said["gate"], (WHERE,))
            assert any(place in said["reason"] for place in wanted), said


def test_every_reason_has_what_was_measured_and_the_limit(walked):
    for said in walked:
        numbers = {text.replace(",", "") for text in NUMBER.findall(said["reason"])}
        assert numbers >= {*NUMBER.findall(said["rule"])} or said["gate"] in SOUND, said
        if said["measured"]:  # of nothing there may be words instead
            assert any(is_close(float(n), said["measured"]) for n in numbers), said


SOUND = (FINITE, LEARNED, "rows", "served")  # whose rules are sentences without a limit


def is_close(shown: float, measured: float) -> bool:
    """Whether a number is another, rounded; a tenth is told by its ratio, 1 off."""
    return any(
        math.isclose(shown, value, rel_tol=0.06, abs_tol=1e-4)
        for value in (measured, abs(measured), 1 + measured, 1 - measured)
    )


def test_a_next_item_model_says_what_its_gain_is_over():
    task = {"kind": "next_item", "rows": 9, "groups": 9, "mrr@5": 0.3}
    references = dict.fromkeys(next_item.REFERENCES, {"rows": 9, "mrr@5": 0.4})
    found = {"tasks": {next_item.TASK: task}, "where": WHERE, **references}
    limits = {"min": 0.4, "min_gain": 0.0}
    limits |= {f"min_gain_over_{name}": 0.05 for name in references}
    gates = {"confidence": None, "metrics": {"mrr@5": limits}}
    judged = next_item.judge_sequences(found, gates)["gates"]
    reasons = [g["reason"] for g in judged if g["gate"] == "mrr@5"]
    for reason in reasons:
        assert reason.startswith(f"mrr@5 of {next_item.TASK} on {WHERE}: ")
    assert "0.3000 is below 0.4" in reasons[0]
    for name, reason in zip(references, reasons[2:], strict=True):
        assert f"gain over {name} -0.1000 is not told from the limit 0.05" in reason


def test_a_rule_follows_a_reason_that_does_not_have_its_numbers():
    def reason(said, rule):
        said = {"gate": "auc", "task": "click", "rule": rule, "reason": said}
        return named(said, {"where": WHERE})["reason"]

    begin = f"AUC of click on {WHERE}: "
    assert reason("0.4 is below 0.52", "min 0.52") == f"{begin}0.4 is below 0.52"
    assert reason("not measured", "min 0.52") == f"{begin}not measured (rule: min 0.52)"
    assert reason("-0.2 is below 0", "min_gain -0.0").endswith("(rule: min_gain -0.0)")
