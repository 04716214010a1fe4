"""Sending by a thread of its own: what is sent, and that nobody waits for it."""

import threading
import time

import pytest

from steadyrank.pipeline.tracking import sender as module
from steadyrank.pipeline.tracking.sender import Sender
from steadyrank.pipeline.tracking.server import Fresh, Point
from tests.helpers.tracked_runs import KeptRun, curve

FRESH = Fresh("e", "n", {"a": "b"}, {"p": "1"})


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.01)


def points(*steps, name="loss") -> list[Point]:
    return [Point(name, step / 2, 7, step) for step in steps]


def test_all_is_sent_in_order_and_the_run_ends():
    runs = {}
    sender = Sender(KeptRun(runs, "u", "", FRESH))
    sender.points(points(*range(2500)))
    sender.tags({"t": "1"})
    sender.tags({"t": "2"})
    sender.close("FINISHED")
    run = runs["run-0"]
    assert curve(run, "loss") == [(step, step / 2) for step in range(2500)]
    assert run["tags"] == {"a": "b", "t": "2"} and run["status"] == "FINISHED"
    assert sender.sent == {"loss": 2499} and not sender.failure


def test_what_an_earlier_process_sent_is_not_sent_again():
    runs = {}
    Sender(KeptRun(runs, "u", "", FRESH)).close("KILLED")
    sender = Sender(KeptRun(runs, "u", "run-0", FRESH), {"loss": 3})
    sender.points(points(2, 3, 4) + points(3, name="other"))
    sender.close("FINISHED")
    assert curve(runs["run-0"], "loss") == [(4, 2.0)]
    assert curve(runs["run-0"], "other") == [(3, 1.5)]
    assert sender.sent == {"loss": 4, "other": 3}


def test_a_run_that_is_no_longer_there_is_made_anew_with_all_of_it():
    runs = {}
    sender = Sender(KeptRun(runs, "u", "gone", FRESH), {"loss": 3})
    sender.points(points(2))
    sender.close("FINISHED")
    assert curve(runs["run-0"], "loss") == [(2, 1.0)] and sender.sent == {"loss": 2}


def test_steps_that_are_taken_again_are_sent_again():
    runs = {}
    Sender(KeptRun(runs, "u", "", FRESH)).close("KILLED")
    sender = Sender(KeptRun(runs, "u", "run-0", FRESH), {"loss": 3})
    sender.take_again()
    sender.points(points(2))
    sender.close("FINISHED")
    assert curve(runs["run-0"], "loss") == [(2, 1.0)]


class Silent(KeptRun):
    """Of a server that takes long to answer."""

    def open(self):
        self.answers = threading.Event()
        self.answers.wait(20)
        raise AssertionError("nobody asks any more")


def test_nobody_waits_for_a_server_that_does_not_answer():
    sender = Sender(run := Silent({}, "u", "", FRESH))
    began = time.monotonic()
    sender.points(points(1))
    sender.close("FINISHED", 0.1)
    assert time.monotonic() - began < 5
    assert sender.failure == "no answer within 0.1 s"
    run.answers.set()


class Failing(KeptRun):
    """Of a server that fails at the second request."""

    def send(self, points, tags):
        if self.runs[self.id]["points"]:
            raise OSError("HTTP\n  500")
        super().send(points, tags)


def test_what_fails_once_is_not_tried_again_and_costs_nothing():
    runs = {}
    sender = Sender(Failing(runs, "u", "", FRESH))
    for step in (1, 2, 3):
        sender.points(points(step))
        until = time.monotonic() + 5
        while step not in sender.sent.values() and not sender.failure:
            assert time.monotonic() < until
            time.sleep(0.001)
    sender.close("FINISHED")
    assert sender.failure == "HTTP 500" and sender.sent == {"loss": 1}
    assert runs["run-0"]["status"] == "RUNNING"


def test_a_server_that_falls_behind_is_left_and_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    sender = Sender(run := Silent({}, "u", "", FRESH))
    for step in range(4):
        sender.points(points(step, step, step))
    assert sender.failure == "it falls behind"
    assert len(sender._points) == 9
    run.answers.set()


class ReadTimeout(OSError):
    """Named as those of requests."""


class ConnectTimeout(ReadTimeout):
    pass


ReadTimeout.__name__ = "Timeout"


def test_no_answer_is_said_in_few_words():
    try:
        try:
            raise ConnectTimeout("long")
        except ConnectTimeout as error:
            raise RuntimeError("API request to http://... failed") from error
    except RuntimeError as error:
        assert module._in_a_line(error) == "it does not answer"
    assert module._in_a_line(KeyError()) == "KeyError"
    assert len(module._in_a_line(ValueError("x" * 1000))) == 303
