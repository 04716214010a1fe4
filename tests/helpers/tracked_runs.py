"""What stands in for a run on an MLflow server, and for the package that speaks to one."""

import importlib.machinery
import importlib.util

from steadyrank.pipeline.tracking import tracked


class KeptRun:
    """Keeps what it is told, by the id of the run, as a server does.

    Attributes:
        runs: Id -> its parts; shared, as runs outlive the process that made them.
    """

    def __init__(self, runs: dict, uri, known="", fresh=None):
        self.runs, self.uri, self.known, self.fresh = runs, uri, known, fresh
        self.id, self.is_fresh = "", False

    def open(self):
        self.id, self.is_fresh = self.known, self.known not in self.runs
        if self.is_fresh:
            assert self.fresh is not None, "no run"
            self.id = f"run-{len(self.runs)}"
            self.runs[self.id] = {
                "name": self.fresh.name,
                "experiment": self.fresh.experiment,
                "params": dict(self.fresh.parameters),
                "tags": dict(self.fresh.tags),
                "points": [],
            }
        self.runs[self.id]["status"] = "RUNNING"

    def send(self, points, tags):
        self.runs[self.id]["points"] += points
        self.runs[self.id]["tags"] |= tags

    def end(self, status):
        self.runs[self.id]["status"] = status


def keep_runs(monkeypatch) -> dict:
    """Let what is tracked go to a dictionary, whether or not MLflow is installed."""
    runs: dict = {}
    monkeypatch.setattr(tracked, "Run", lambda *given: KeptRun(runs, *given))
    installed(monkeypatch, True)
    return runs


def installed(monkeypatch, is_there: bool) -> None:
    """Let MLflow seem to be installed, or not to be."""
    find, spec = importlib.util.find_spec, importlib.machinery.ModuleSpec("mlflow", None)

    def found(name, *more):
        if name == "mlflow":
            return spec if is_there else None
        return find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def curve(run: dict, name: str) -> list[tuple]:
    """Step and value of each point of a name, in the order in which they came."""
    return [(point.step, point.value) for point in run["points"] if point.name == name]
