"""The benchmark of verdicts: what a case counts as, and a few cases on a small log."""

import pytest

from benchmarks.verdicts import summary
from benchmarks.verdicts_base import Case, Outcome, settle
from benchmarks.verdicts_gain import gain_rates
from steadyrank.pipeline.files.errors import DivergenceError, InputError, PassingError


@pytest.mark.parametrize("error", [InputError, DivergenceError, PassingError])
def test_a_stage_that_refuses_stops_a_case(error):
    def case():
        raise error("what is wrong")

    found = settle(Case("a", case, "is wrong"))
    assert found == Outcome("a", "refused", "what is wrong")
    for said in ("", "is right"):  # a verdict was foreseen, or another reason
        assert settle(Case("a", case, said)).came_to == "astray"


@pytest.mark.parametrize("word", ["PASS", "HOLD", "REFUSE"])
def test_a_verdict_is_for_the_reason_that_was_foreseen(word):
    gates = [{"verdict": word, "reason": reason} for reason in ("first", "what is wrong")]
    gates.insert(0, {"verdict": "other", "reason": "is right"})

    def case():
        return {"verdict": word, "gates": gates}

    assert settle(Case("a", case)) == Outcome("a", word, "first")
    assert settle(Case("a", case, "is wrong")) == Outcome("a", word, "what is wrong")
    other = settle(Case("a", case, "is right"))
    assert other.came_to == ("PASS" if word == "PASS" else "astray")


def test_an_unforeseen_error_is_a_traceback():
    assert settle(Case("a", lambda: {}["verdict"])).came_to == "traceback"


def test_only_a_pass_of_what_is_broken_and_a_refusal_of_what_is_healthy_count():
    words = ("PASS", "HOLD", "REFUSE", "refused", "astray", "traceback")
    each = [Outcome(word, word, "") for word in words]
    found = summary({"broken": each, "gated": each[:1], "healthy": each})
    assert found["broken_tried"] == 7 and found["passed"] == ["PASS", "PASS"]
    assert found["broken_passed"] == 2 and found["tracebacks"] == 2
    assert found["astray"] == 1 and found["broken"]["astray"] == ["astray", ""]
    assert found["healthy_tried"] == 6 and found["held"] == 1
    assert found["healthy_refused"] == 3
    assert found["refused"] == ["REFUSE", "refused", "astray"]


def test_the_gain_gate_seldom_tells_what_is_not_there():
    found = gain_rates([500], 20)
    assert [each["metric"] for each in found][:2] == ["auc", "gauc"]
    for each in found:
        assert each["false_bless"] + each["false_block"] + each["held"] == pytest.approx(1)
        assert each["held"] >= 0.6
