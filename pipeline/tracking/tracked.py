"""A training, and later its verdict, as one run of MLflow.

``mlflow.json`` in the training's folder says which run that is, and how far it got there:
what goes on with ``--resume`` goes on in the same run.
"""

import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path

from steadyrank import __version__
from steadyrank.pipeline.files.errors import InputError, ToldToEndError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.shapes import TrackedRun
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.tracking.names import name_of, parameters_of
from steadyrank.pipeline.tracking.sender import Sender
from steadyrank.pipeline.tracking.server import Fresh, Point, Run

FILE = "mlflow.json"
NOTE_SECONDS = 5.0  # between notes of how far the run got
STAGE = "train"  # a folder whose parent says more


def require_tracking(config) -> list[str]:
    """Check that a run can be tracked, where its config says so; no server is asked.

    Returns:
        What was looked at.

    Raises:
        InputError: The package that speaks to the server is not there.
    """
    uri = config.tracking.mlflow
    if uri is None:
        return []
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(
            f"tracking.mlflow is {uri}, and MLflow is not installed here. Install it, pip "
            "install 'steadyrank[mlflow]', or leave the key out."
        )
    return [f"tracking: {uri}, experiment {config.tracking.experiment}"]


class Tracked:
    """A run of MLflow, as a training tells it.

    Args:
        sender: Where to; None: nothing is told.
        file: For the note of which run it is; None: none is taken.

    What cannot be sent is said once, by ``warning``; nothing here raises because of it.
    """

    def __init__(self, sender: Sender | None = None, file: Path | None = None):
        self._sender, self._file = sender, file
        self._noted, self._is_told = time.monotonic(), False

    @classmethod
    def of_training(cls, config, work: Path, output: Path, tags: Mapping) -> "Tracked":
        """The run of a training that begins, or goes on.

        Args:
            config: The run's config.
            work: The folder that it writes to.
            output: Where the trained model shall stand, by which the run is named.
            tags: Of the run, beside the version and the folder.
        """
        uri = config.tracking.mlflow
        if uri is None:
            return UNTRACKED
        file, place = work / FILE, original(output.absolute())
        known = read_json(file, "an interrupted run", TrackedRun) if file.exists() else {}
        if known.get("server") != uri:
            known = {}
        own = {"steadyrank.version": __version__, "steadyrank.folder": place}
        fresh = Fresh(
            config.tracking.experiment,
            run_name(output),
            {**own, **{f"steadyrank.{name}": text for name, text in tags.items()}},
            parameters_of(config.model_dump(mode="json", exclude={"tracking"})),
        )
        sender = Sender(Run(uri, known.get("run", ""), fresh), known.get("sent"))
        return cls(sender, file)

    @classmethod
    def of_model(cls, config, training: Mapping) -> "Tracked":
        """The run that a model was trained as; nothing where it is of no such server.

        Args:
            config: The config that the model is judged with.
            training: What ``train.json`` held.
        """
        uri, known = config.tracking.mlflow, training.get("tracked") or {}
        if uri is None or known.get("server") != uri:
            return UNTRACKED
        return cls(Sender(Run(uri, known["run"])))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, each under its name."""
        if self._sender is None:
            return
        now = time.time_ns() // 1_000_000
        self._sender.points(
            [Point(name_of(n), float(v), now, int(step)) for n, v in values.items()]
        )
        if time.monotonic() - self._noted > NOTE_SECONDS:
            self.note()

    def tags(self, texts: Mapping[str, str]) -> None:
        """Texts of the run; of a name that was there, the new one stays."""
        if self._sender is not None:
            self._sender.tags({f"steadyrank.{name}": text for name, text in texts.items()})

    def ended(self, summary: Mapping) -> None:
        """What a training came to.

        Args:
            summary: What ``train.json`` will hold.
        """
        found = {"best": summary["best"], "rollbacks": summary["rollbacks"]}
        self.scalars(summary["steps"], {n: v for n, v in found.items() if v is not None})
        self.tags({"monitor": summary["monitor"], "steps": str(summary["steps"])})

    def note(self) -> None:
        """Write down which run this is, and how far the server has it."""
        self._noted = time.monotonic()
        if self._sender is not None and self._file and (told := self.told()):
            write_json(self._file, {**told["tracked"], "sent": self._sender.sent})

    def told(self) -> dict:
        """For ``train.json``: the server and the run; empty where there is none."""
        run = None if self._sender is None else self._sender.run
        return {"tracked": {"server": run.uri, "run": run.id}} if run and run.id else {}

    def warning(self) -> str:
        """Why the rest goes untracked, once; ``""``: it does not, or that was said."""
        if self._is_told or self._sender is None or not self._sender.failure:
            return ""
        self._is_told = True
        where, why = self._sender.run.uri, self._sender.failure
        return f"warning: MLflow at {where}: {why}. The rest of this run goes untracked."

    def rolled_back(self) -> None:
        """Steps that were sent are taken again, as other ones: they are sent, too."""
        if self._sender is not None:
            self._sender.take_again()

    def __enter__(self) -> "Tracked":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            said = str(error) if isinstance(error, Exception) else ""
            self.tags({"ended": said or kind.__name__})
        if self._sender is not None:
            self._sender.close(_status(error))
            self.note()


UNTRACKED = Tracked()


def _status(error: BaseException | None) -> str:
    if error is None:
        return "FINISHED"
    by_itself = isinstance(error, Exception) and not isinstance(error, ToldToEndError)
    return "FAILED" if by_itself else "KILLED"


def run_name(output: Path) -> str:
    """What a run is called: the run's folder, a night's day, the number of a trial."""
    *above, name = ["run", *filter(None, original(output.absolute()).split("/"))]
    return above[-1] if name == STAGE and len(above) > 1 else name
