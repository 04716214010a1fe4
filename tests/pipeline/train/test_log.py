"""The training log: what is written, what is dropped, and what a detector makes of it."""

import json
import math

import pytest

from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.components.metrics.early_warning import EarlyWarning
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.train.log import (
    append_lines,
    cut_from,
    divergence_of,
    foretell,
    read_lines,
    watch,
)


def line(step, loss=0.7, examples=64, **more):
    losses = {"click": loss}
    return {"step": step, "loss": loss, "losses": losses, "examples": examples,
            "batch_size": 64, **more}  # fmt: skip


def measured(step, positives, rows=1000, area=0.5, kind="binary"):
    found = {"kind": kind, "positives": positives, "rows": rows, "auc": area}
    return {"step": step, "epoch": 0, "validation": {"click": found}}


HEALTHY = [line(step) for step in range(1, 31)]


@pytest.mark.parametrize(("examples", "jumps"), [(64, True), (32, True), (31, False)])
def test_a_small_remainder_is_not_judged(examples, jumps):
    detector = DivergenceDetector()
    for each in HEALTHY:
        watch(detector, each)
    event = watch(detector, line(31, loss=9.0, examples=examples))
    assert (event is not None) is detector.in_episode is jumps


def test_a_loss_that_json_could_not_hold_is_a_jump():
    lines = [*HEALTHY, line(31, loss=None), *(line(32 + n) for n in range(9))]
    found = divergence_of(lines, len(lines))
    assert found["nonfinite_steps"] == 1
    assert [event["step"] for event in found["micro"]] == [31]


@pytest.mark.parametrize(
    ("measurement", "dead"),
    [
        (measured(31, positives=200), ["click"]),
        (measured(31, positives=199), []),  # chance alone may bring so few to one half
        (measured(31, positives=800), ["click"]),
        (measured(31, positives=801), []),
        (measured(31, positives=500, area=0.6), []),
        ({"step": 31, "validation": {"watch": {"kind": "regression", "rmse": 1.0}}}, []),
    ],
)
def test_an_auc_of_few_rows_is_no_sign_of_death(measurement, dead):
    found = divergence_of([*HEALTHY, measurement], 30)
    assert found["dead_tasks"] == dead and found["diverged"] is bool(dead)


def test_a_log_ends_where_what_goes_on_will_log_again(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [line(1), line(2), line(3)]
    later = [line(4), {"step": 2, "rollback": {}}]  # of a step that is no more
    append_lines(path, [*lines, *later])
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # as the run was killed
    assert cut_from(path, lambda each: each["step"] > 3) == later
    assert list(read_lines(path)) == lines
    assert cut_from(path, lambda each: each["step"] > 3) == []
    assert cut_from(tmp_path / "none.jsonl", lambda _: True) == []
    assert [each.name for each in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_damaged_line_before_the_place_is_refused_and_the_log_left_alone(tmp_path):
    """One after it goes with the rest: a power cut takes any part that was not synced."""
    path = tmp_path / "log.jsonl"
    whole = [json.dumps({"step": n}) + "\n" for n in (1, 2, 3, 4)]
    text = "".join([whole[0], '{"step": 2, "ep\n', *whole[1:]])
    path.write_text(text)
    with pytest.raises(InputError, match="log.jsonl: line 2 is damaged"):
        cut_from(path, lambda each: each["step"] > 3)
    assert path.read_text() == text and [*tmp_path.iterdir()] == [path]
    for tail in ('{"step": 3', "\0\0\0\n" + whole[3], "x\n\n" + whole[3] + "y"):
        path.write_text("".join(whole[:3]) + tail)
        cut_from(path, lambda each: each["step"] > 3)
        assert path.read_text() == "".join(whole[:3])


def test_lines_are_short_and_are_json(tmp_path):
    path = tmp_path / "log.jsonl"
    append_lines(path, [line(1, loss=math.inf, clipping={"a": 1.0, "b": 0.25})])
    (found,) = read_lines(path)
    assert found["loss"] is None and found["losses"] == {"click": None}
    assert found["clipping"] == {"b": 0.25}  # 1 is no clipping
    path.write_text('{"step": 1}\n{"step"\n')
    with pytest.raises(InputError, match="line 2 is corrupt"):
        list(read_lines(path))


def test_a_phase_that_diverged_stays_so_whatever_comes_after():
    phases = [[line(1 + n, loss=9.0 ** (n > 30), phase=0) for n in range(300)]]
    phases.append([line(301 + n, phase=1) for n in range(30)])
    for lines, at in ((sum(phases, []), 32), (phases[1], None)):
        found = divergence_of(lines, len(lines))
        assert (found["diverged"], found["diverged_at"]) == (at is not None, at)
        assert found["steps"] == found["logged"] == found["trained"] == len(lines)


def test_rollbacks_are_counted():
    found = divergence_of([*HEALTHY, {"step": 20, "rollback": {}}, line(31)], 31)
    assert found["rollbacks"] == 1 and found["steps"] == 31 and not found["diverged"]


@pytest.mark.parametrize(
    ("examples", "factor", "spikes"),
    [(64, 0.3, 1), (32, 0.3, 1), (31, 0.3, 0), (31, 0.0, 1), (64, 1.0, 0)],
)
def test_the_gradient_of_a_handful_of_rows_is_no_spike(examples, factor, spikes):
    """But one that is no number is, of however few rows."""
    last = line(31, examples=examples, spike_factor=factor)
    assert divergence_of([*HEALTHY, last], 31)["spikes"] == spikes


WARNING = {"step": 1, "layer": "dense_0", "share": 0.5}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("warning", "x", "warning: must be a section of keys"),
        ("warning", {}, "warning.step: it is missing"),
        ("warning", {**WARNING, "share": "x"}, "warning.share: must be a number"),
        ("warning", {**WARNING, "share": -3.0}, "warning.share: must be 0 or more"),
        ("warning", {**WARNING, "layer": 5}, "warning.layer: must be a text"),
        ("dead_units", {"dense_0": 1.5}, "dead_units.dense_0: must be 1 or less"),
        ("dead_units", {"dense_0": -1.0}, "dead_units.dense_0: must be 0 or more"),
    ],
)
def test_a_log_whose_warnings_are_damaged_is_refused(tmp_path, key, value, said):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({**line(1), key: value}) + "\n")
    with pytest.raises(InputError, match=f"line 1 is corrupt: {said}"):
        list(read_lines(path))


def test_a_warning_that_is_null_is_none(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({**line(1), "warning": None}) + "\n")
    lines = [*read_lines(path), {"step": 1, "warning": WARNING}]
    assert divergence_of(lines, 1)["warnings"] == [WARNING]


def test_batches_without_a_label_say_nothing_of_units():
    early, dead = EarlyWarning(), {"dead_units": {"bottom": 1.0}}
    for step in range(1, 9):
        assert foretell(early, line(step, loss=0.0, **dead)) is None
    said = [foretell(early, line(step, **dead)) for step in (9, 10, 11)]
    assert said[:2] == [None, None] and said[2]["warning"]["step"] == 11
