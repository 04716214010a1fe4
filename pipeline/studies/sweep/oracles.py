"""KerasTuner's three search methods, with what they lack for trials that fail.

They begin with the config's own values, learn from trials that diverged, and hand the
trial of a worker that died to another one.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner as kt
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src.engine import conditions

from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.files.errors import InputError

conditions.print = lambda *_: None  # 1.4.8 prints each condition that it sends

NAME = "objective"
RETRIES = 1  # of a trial that crashed, or whose worker died
NO_LIMIT = 10**9  # KerasTuner gives up after three trials that failed in a row


class _Sweeping:
    """What all three share; it stands before KerasTuner's class.

    Attributes:
        first: KerasTuner's values of the first trial, or None.
    """

    first: Mapping | None = None
    # KerasTuner's
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    start_order: list[str]
    end_order: list[str]
    tuner_ids: set[str]
    objective: Any
    _run_times: dict[str, int]
    _retry_queue: list[str]
    _save_trial: Callable[..., None]
    save: Callable[[], None]

    def _random_values(self):
        if self.first and not self.start_order:
            return dict(self.first)
        return super()._random_values()

    def populate_space(self, trial_id: str) -> dict:
        with self._failed_as_worst():
            return super().populate_space(trial_id)

    @contextlib.contextmanager
    def _failed_as_worst(self) -> Iterator[None]:
        """Failed trials count as somewhat worse than the worst.

        Left out, as KerasTuner does, a Gaussian process would draw near them again, and
        a rung of Hyperband with too few others would never be filled.
        """
        scores = [t.score for t in self.trials.values() if t.status == "COMPLETED"]
        failed = [t for t in self.trials.values() if t.status == "FAILED"]
        better = 1 if self.objective.direction == "max" else -1
        ends = (min(scores), max(scores)) if scores else (0.0, 0.0)
        worst = (ends[0] if better == 1 else ends[1]) - better * (ends[1] - ends[0] or 0.1)
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, worst
        try:
            yield
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None

    @kt.synchronized
    def create_trial(self, tuner_id: str):
        """A trial; IDLE, not the end, as long as another worker may yet lose its own."""
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE
            self.tuner_ids.add(tuner_id)
        return trial

    @kt.synchronized
    def end_trial(self, trial) -> None:
        """End a trial once: a worker that was given up may report it a second time."""
        if trial.trial_id in {t.trial_id for t in self.ongoing_trials.values()}:
            trial.hyperparameters = self.trials[trial.trial_id].hyperparameters
            super().end_trial(trial)

    @kt.synchronized
    def give_up(self, tuner_id: str) -> str | None:
        """Take its trial from a worker that died, for another one to run.

        Args:
            tuner_id: The worker.

        Returns:
            The trial's id; None: it had none.
        """
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is None:
            return None
        self._run_times[trial.trial_id] += 1
        if self._run_times[trial.trial_id] > RETRIES:
            trial.status = TrialStatus.FAILED
            self.end_order.append(trial.trial_id)
        else:
            self._retry_queue.append(trial.trial_id)
        self._save_trial(trial)
        self.save()
        return trial.trial_id


class RandomSearch(_Sweeping, kt.oracles.RandomSearchOracle):
    """Values drawn at random."""


class BayesianOptimization(_Sweeping, kt.oracles.BayesianOptimizationOracle):
    """Values where a Gaussian process hopes for the most."""


class Hyperband(_Sweeping, kt.oracles.HyperbandOracle):
    """Many trials of few epochs, of which the best go on."""


def make_oracle(sweep: Sweep, space: kt.HyperParameters, first: Mapping | None):
    """The oracle of a sweep.

    Raises:
        InputError: A package that it needs is missing.
    """
    common = {
        "objective": kt.Objective(NAME, sweep.objective.direction),
        "hyperparameters": space,
        "seed": sweep.seed,
        "max_retries_per_trial": RETRIES,
        "max_consecutive_failed_trials": NO_LIMIT,
    }
    try:
        if sweep.method == "hyperband":
            common |= {"max_epochs": sweep.max_epochs, "factor": sweep.factor}
            oracle = Hyperband(**common)
        elif sweep.method == "bayesian":
            initial = max(2, sweep.trials // 3)  # KerasTuner: 3 a parameter, mostly all
            common |= {"max_trials": sweep.trials, "num_initial_points": initial}
            oracle = BayesianOptimization(**common)
        else:
            oracle = RandomSearch(max_trials=sweep.trials, **common)
    except ImportError as error:
        raise InputError(
            f"sweep.method {sweep.method}: {error}. Install it, or take random."
        ) from None
    oracle.first = first
    oracle.verbose = 0
    return oracle
