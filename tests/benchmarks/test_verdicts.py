"""The benchmark of verdicts: what a case counts as, and a few cases on a small log."""

import pytest

from benchmarks.verdicts import summary
from benchmarks.verdicts_base import Outcome, settle
from benchmarks.verdicts_gain import gain_rates
from steadyrank.pipeline.files.errors import DivergenceError, InputError, PassingError


@pytest.mark.parametrize("error", [InputError, DivergenceError, PassingError])
def test_a_stage_that_refuses_stops_a_case(error):
    def case():
        raise error("what is wrong")

    assert settle("a", case) == Outcome("a", "refused", "what is wrong")


def test_an_unforeseen_error_is_a_traceback():
    assert settle("a", lambda: {}["verdict"]).came_to == "traceback"


def test_only_a_pass_of_what_is_broken_and_a_refusal_of_what_is_healthy_count():
    words = ("PASS", "HOLD", "REFUSE", "refused", "traceback")
    each = [Outcome(word, word, "") for word in words]
    found = summary({"broken": each, "gated": each[:1], "healthy": each})
    assert found["broken_tried"] == 6 and found["passed"] == ["PASS", "PASS"]
    assert found["broken_passed"] == 2 and found["tracebacks"] == 2
    assert found["healthy_tried"] == 5 and found["held"] == 1
    assert found["healthy_refused"] == 2 and found["refused"] == ["REFUSE", "refused"]


def test_the_gain_gate_seldom_tells_what_is_not_there():
    found = gain_rates([500], 20)
    assert [each["metric"] for each in found][:2] == ["auc", "gauc"]
    for each in found:
        assert each["false_bless"] + each["false_block"] + each["held"] == pytest.approx(1)
        assert each["held"] >= 0.6
