"""MLflow's own client against a server that speaks its REST calls: what arrives there."""

import math

import pytest

from steadyrank.pipeline.tracking import sender as sending
from steadyrank.pipeline.tracking.sender import Sender
from steadyrank.pipeline.tracking.server import Fresh, Point, Run
from tests.helpers.mlflow_server import served

pytest.importorskip("mlflow", reason="pip install 'steadyrank[mlflow]'")
FRESH = Fresh("ours", "monday", {"a": "t" * 6000}, {f"p{n}": str(n) for n in range(250)})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(sending, "GATHER_SECONDS", 0.01)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with served() as server:
        yield server


def test_a_run_arrives_whole_and_ends(server, capfd):
    sender = Sender(Run(server.uri, "", FRESH))
    sender.points([Point("loss", n / 4, 1000 + n, n) for n in range(1200)])
    sender.points([Point("validation_hr_at_10/next_item", math.nan, 1, 7)])
    sender.tags({"steadyrank.verdict": "PASS"})
    sender.close("FINISHED", 60)
    assert not sender.failure
    (run,) = server.runs.values()
    assert (run["name"], run["status"]) == ("monday", "FINISHED")
    assert server.experiments == {"ours": run["experiment"]}
    assert run["params"] == FRESH.parameters
    assert run["metrics"].pop("loss") == [(n, n / 4) for n in range(1200)]
    assert [*run["metrics"]] == ["validation_hr_at_10/next_item"]
    assert run["tags"]["steadyrank.verdict"] == "PASS" and len(run["tags"]["a"]) == 5000
    assert "http" not in capfd.readouterr().out  # MLflow would print where the run is


def test_a_run_goes_on_unless_it_is_gone(server):
    first = Sender(Run(server.uri, "", FRESH))
    first.close("KILLED", 60)
    again = Sender(Run(server.uri, first.run.id, FRESH), {"loss": 2})
    again.points([Point("loss", 1.0, 5, step) for step in (2, 3)])
    again.close("FINISHED", 60)
    assert again.run.id == first.run.id and not again.run.is_fresh
    (run,) = server.runs.values()
    assert run["metrics"] == {"loss": [(3, 1.0)]} and run["status"] == "FINISHED"
    run["stage"] = "deleted"
    for known in (first.run.id, "e" * 32):
        other = Sender(Run(server.uri, known, FRESH))
        other.close("FINISHED", 60)
        assert other.run.is_fresh and not other.failure
    lost = Sender(Run(server.uri, "f" * 32))
    lost.close("FINISHED", 60)
    assert lost.failure == f"it has no run {'f' * 32} any more"


def test_an_experiment_that_another_makes_in_the_meantime_is_taken(server):
    create = server._experiments_create

    def after_another(asked):
        create(asked)
        return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there"}

    server._experiments_create = after_another
    sender = Sender(Run(server.uri, "", FRESH))
    sender.close("FINISHED", 60)
    assert not sender.failure and len(server.runs) == 1


def test_a_server_that_breaks_down_or_is_not_there_is_named_so(server):
    sender = Sender(Run(server.uri, "", FRESH))
    server.broken = True
    sender.close("FINISHED", 60)
    assert sender.failure and "\n" not in sender.failure
    absent = Sender(Run("http://127.0.0.1:9", "", FRESH))
    absent.close("FINISHED", 60)
    assert absent.failure == "it does not answer"
