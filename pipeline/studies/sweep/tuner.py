"""The tuner: asks for a trial, has it run, says how it went.

It is the same alone and as one of several workers; then the oracle that it asks is a chief
in another process, which KerasTuner reaches by ``KERASTUNER_ORACLE_IP`` and ``_PORT``.
"""

import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path

import grpc
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FailedTrialError, FatalRuntimeError
from keras_tuner.src import config as keras_tuner_config

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.studies.sweep.oracles import NAME
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import COMPLETED, Outcome, read_outcome

keras_tuner_config.DEBUG = False  # no traceback for every trial that diverges

FATAL = "fatal.json"  # why the whole sweep must stop, from a worker to its chief
PROJECT = "trials"
BEAT_SECONDS = 5.0  # between a worker's signs of life
IDLE_SECONDS = 1.0  # before asking again, where there is nothing to do yet
FROM = "tuner/trial_id"  # Hyperband's: the trial that this one continues
EPOCHS = "tuner/epochs"

# folder, values, epochs or None, folder to continue from or None, beat -> outcome
# of a folder, values, epochs and the trial to go on from, and by keyword ``beat``
TrialFunction = Callable[..., Outcome]


class SweepTuner(BaseTuner):
    """Runs trials through a function.

    Args:
        oracle: From ``make_oracle``.
        space: The sweep's space.
        run: Runs one trial.
        output: The sweep's folder.
    """

    def __init__(self, oracle, space: Space, run: TrialFunction, output: Path):
        self.space, self.run, self.output = space, run, Path(output)
        self._asked, self._beaten = False, 0.0
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it reloads
            super().__init__(oracle, directory=str(output), project_name=PROJECT)

    def _get_tuner_fname(self) -> str:
        # one name, whoever runs: a sweep of two workers may be resumed by one
        return str(Path(self.project_dir) / "tuner.json")

    def save(self) -> None:
        """Save the oracle and that there is one; that is the chief's, not a worker's."""
        if not self._is_worker():
            super().save()

    def reload(self) -> None:
        """Read the oracle back, likewise."""
        if not self._is_worker():
            super().reload()

    def pre_create_trial(self) -> None:
        """Wait where the last answer was that there is nothing to do yet."""
        if self._asked:
            time.sleep(IDLE_SECONDS)
        self._asked = True

    def on_trial_begin(self, trial) -> None:
        self._asked = False

    def on_trial_end(self, trial) -> None:
        self._asked = False
        super().on_trial_end(trial)

    def run_trial(self, trial):
        """Run a trial to its outcome, which stays in its folder.

        Returns:
            KerasTuner's metrics.

        Raises:
            FailedTrialError: It diverged, or did not keep the constraint: no retry.
            FatalRuntimeError: Its config or its input was refused: the sweep stops.
            RuntimeError: It crashed, and may be tried once more.
        """
        folder, drawn = self.trial_folder(trial.trial_id), trial.hyperparameters.values
        source = self.trial_folder(drawn[FROM]) if FROM in drawn else None
        values = self.space.decode(drawn)
        outcome = _ended(folder) or _inherited(source)
        if outcome is None:
            try:
                outcome = self.run(
                    folder,
                    values,
                    drawn.get(EPOCHS),
                    source,
                    beat=lambda: self._beat(trial),
                )
            except grpc.RpcError:
                raise  # the chief is gone; what was trained stays for --resume
            except Exception as error:  # KerasTuner would call any fault a bad trial
                said = str(error)
                if isinstance(error, PassingError):  # another worker may try it
                    raise FatalRuntimeError(said) from error
                if not isinstance(error, InputError):
                    said = f"trial {trial.trial_id}: {type(error).__name__}: {said}"
                write_json(self.output / FATAL, {"message": said})
                raise FatalRuntimeError(said) from error
        outcome.write(folder)
        if outcome.status == "crashed":
            raise RuntimeError(outcome.message)
        if outcome.status != COMPLETED:
            raise FailedTrialError(outcome.message)
        return {NAME: outcome.value}

    def trial_folder(self, trial_id: str) -> Path:
        """Where a trial's files are."""
        return Path(self.get_trial_dir(trial_id)).absolute()

    def _beat(self, trial) -> None:
        """Let the chief know that this worker lives."""
        if self._is_worker() and time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.oracle.get_trial(trial.trial_id)


def _ended(folder: Path) -> Outcome | None:
    """The outcome of a trial that ended just before its worker did."""
    before = read_outcome(folder)
    return before if before and before.status != "crashed" else None


def _inherited(source: Path | None) -> Outcome | None:
    """The outcome of a trial that goes on from one that failed: the same."""
    before = source and read_outcome(source)
    return before if before and before.status != COMPLETED else None
