"""A run on an MLflow server; whatever is asked of it here waits for the server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from steadyrank.pipeline.tracking.names import TAG, cut

# unless the user says otherwise: MLflow would try for minutes, tell its makers of it, and
# print a line
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PARAMETERS, POINTS = 100, 1000  # of a request, at most
GONE = "RESOURCE_DOES_NOT_EXIST"


class Point(NamedTuple):
    """A number of a step, and when it was measured, in milliseconds since 1970."""

    name: str
    value: float
    milliseconds: int
    step: int


@dataclass(frozen=True)
class Fresh:
    """What a run that is yet to be made begins with."""

    experiment: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


class Run:
    """A run: one that is there already, or a fresh one.

    Args:
        uri: The server's.
        known: Of the run that is there; "": none is.
        fresh: What to make where none is, or it was deleted; None: that is an error.

    Attributes:
        id: The run's; "": it is not known yet.
        is_fresh: Whether it was made here.
    """

    def __init__(self, uri: str, known: str = "", fresh: Fresh | None = None):
        self.uri, self.known, self.fresh = uri, known, fresh
        self.id, self.is_fresh = "", False

    def open(self) -> None:
        """Find the run, or make it."""
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, entities  # takes seconds

        self._client, self._entities = MlflowClient(tracking_uri=self.uri), entities
        if self.known and self._is_there():
            self._client.update_run(self.known, status="RUNNING")
            self.id = self.known
        elif self.fresh is None:
            raise LookupError(f"it has no run {self.known} any more")
        else:
            self.is_fresh, self.id = True, self._make(self.fresh)

    def _is_there(self) -> bool:
        try:
            found = self._client.get_run(self.known)
        except Exception as error:
            if getattr(error, "error_code", None) == GONE:
                return False
            raise
        return found.info.lifecycle_stage == "active"

    def _make(self, fresh: Fresh) -> str:
        made = self._client.create_run(
            self._experiment(fresh.experiment),
            run_name=fresh.name,
            tags={name: cut(text, TAG) for name, text in fresh.tags.items()},
        )
        parameters = [self._entities.Param(*each) for each in fresh.parameters.items()]
        for part in _parts(parameters, PARAMETERS):
            self._client.log_batch(made.info.run_id, params=part)
        return made.info.run_id

    def _experiment(self, name: str) -> str:
        for _ in range(2):  # another may make it in the meantime
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                return found.experiment_id
            try:
                return self._client.create_experiment(name)
            except Exception as error:
                if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                    raise
        raise LookupError(f"its experiment {name} neither is there nor can be made")

    def send(self, points: Sequence[Point], tags: Mapping[str, str]) -> None:
        """Add numbers and tags, of which a new text takes the place of an old one."""
        metrics = [self._entities.Metric(*point) for point in points]
        texts = [self._entities.RunTag(n, cut(t, TAG)) for n, t in tags.items()]
        for part in _parts(metrics, POINTS - len(texts)) if metrics else [[]]:
            self._client.log_batch(self.id, metrics=part, tags=texts)
            texts = []

    def end(self, status: str) -> None:
        """Say that it has ended: ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._client.set_terminated(self.id, status)


def _parts(items: Sequence, most: int) -> Iterator[list]:
    for start in range(0, len(items), most):
        yield list(items[start : start + most])
