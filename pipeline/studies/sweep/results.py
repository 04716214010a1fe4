"""What the trials of a sweep came to."""

import copy
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.files.publish import finite
from steadyrank.pipeline.metrics.uncertainty import error_of, interval_of
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import COMPLETED, Outcome, read_outcome
from steadyrank.pipeline.studies.sweep.tuner import EPOCHS, FROM, SweepTuner

TAIL_BYTES = 4096
OF_SAMPLES = ("drawn", "drawn_from")  # of an outcome, which no table shows
STEP = re.compile(rb'"step": (\d+)')


def rows_of(oracle, tuner: SweepTuner) -> list[dict]:
    """One row a trial, in the order in which they began.

    Returns:
        Of each: ``trial``, ``status``, ``value``, ``values`` (by key), ``epochs`` (of
        Hyperband, else None), ``from`` (the trial it continues), ``seconds``,
        ``message``, ``metrics``, ``step`` (of a training that runs), ``interval`` (of
        the objective, of 95 %).
    """
    return [_row(oracle.trials[trial_id], tuner) for trial_id in list(oracle.start_order)]


def _row(trial, tuner: SweepTuner) -> dict:
    folder, drawn = tuner.trial_folder(trial.trial_id), trial.hyperparameters.values
    outcome = read_outcome(folder)
    row = {
        "trial": trial.trial_id,
        "status": "running",
        "value": None,
        "values": tuner.space.decode(drawn),
        "epochs": drawn.get(EPOCHS),
        "from": drawn.get(FROM),
        "seconds": None,
        "message": "",
        "metrics": {},
        "step": None,
        "interval": None,
    }
    if outcome is not None:
        told = {name: v for name, v in vars(outcome).items() if name not in OF_SAMPLES}
        return row | finite(told) | {"interval": interval_of_outcome(outcome)}
    if trial.status == "FAILED":
        return row | {"status": "crashed", "message": "its worker died"}
    return row | {"step": _last_step(folder / "train.partial" / "log.jsonl")}


def _last_step(log: Path) -> int | None:
    """The last step that a training has logged."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            found = STEP.findall(file.read())
    except OSError:
        return None
    return int(found[-1]) if found else None


@dataclass(frozen=True)
class Results:
    """All trials, and which of them are to be named.

    Attributes:
        rows: As ``rows_of`` gives them; with ``difference`` and ``over_first`` (its 95 %
            interval, all trials together) of those that were compared.
        first: What they are compared with: the row of the config's own settings, of the
            config's own score, or of the first trial that was completed; None: of none.
        highest: The row of the best objective among the completed trials, or None.
        best: The row that is to be taken: the best of those that are told from the first,
            else the first; None where that is no trial, or none was completed.
        own: The row of the config's own settings, or None.
    """

    rows: list[dict]
    first: dict | None
    highest: dict | None
    best: dict | None
    own: dict | None

    @classmethod
    def of(
        cls,
        oracle,
        tuner: SweepTuner,
        own: Mapping | None,
        reference: Outcome | None = None,
    ) -> "Results":
        """Those of a sweep whose trials have ended.

        Args:
            oracle: From ``make_oracle``.
            tuner: That ran the trials.
            own: The config's own values; None: the space does not hold them.
            reference: Of the config's own score, where one was swept.
        """
        rows = rows_of(oracle, tuner)
        done = [row for row in rows if row["status"] == COMPLETED]
        sign = 1 if tuner.space.sweep.objective.direction == "max" else -1
        highest = max(done, key=lambda row: sign * row["value"], default=None)
        same = [row for row in done if own is not None and row["values"] == own]
        first = same[-1] if same else None
        if reference is not None:
            first = {"trial": None, "value": reference.value}
        elif first is None:
            first = done[0] if done else None
        outcomes = {
            row["trial"]: read_outcome(tuner.trial_folder(row["trial"])) for row in done
        } | {None: reference}
        others = [row for row in done if row is not first]
        for row in others:
            against = outcomes[row["trial"]], outcomes[first["trial"]]
            row |= over_first(*against, len(others))
        told = [row for row in others if is_told(row, sign)]
        best = max(told, key=lambda row: sign * row["value"], default=first)
        if best is not None and best["trial"] is None:
            best = None
        return cls(rows, first, highest, best, same[-1] if same else None)

    @property
    def told(self) -> bool:
        """Whether a trial is told from the first."""
        return self.first is not None and self.best not in (None, self.first)

    def counts(self) -> dict[str, int]:
        """Trials by status."""
        return dict(Counter(row["status"] for row in self.rows))

    def document(self, sweep: Sweep) -> dict:
        """What ``results.json`` holds."""
        taken = self.best or self.first
        own = self.own or (self.first if self.first and not self.first["trial"] else None)
        return {
            "objective": name_of(sweep),
            "direction": sweep.objective.direction,
            "method": sweep.method,
            "keys": [parameter.key for parameter in sweep.space],
            "logarithmic": [p.key for p in sweep.space if p.scale == "log"],
            "counts": self.counts(),
            "first": self.first and self.first["trial"],
            "first_value": self.first and self.first["value"],
            "highest": self.highest and self.highest["trial"],
            "told": self.told,
            "best": self.best and self.best["trial"],
            "best_value": taken and taken["value"],
            "own": self.own and self.own["trial"],
            "own_value": own and own["value"],
            "verdict": self.verdict(),
            "trials": self.rows,
        }

    def verdict(self) -> str:
        """Whether a trial is told from the first, in words, and what to do if none is."""
        if self.first is None or self.highest is None:
            return "No trial was completed."
        first = (
            "the config's own score" if self.first["trial"] is None else _name(self.first)
        )
        if self.own is not None and self.own is self.first:
            first += ", the config's own settings"
        if self.told:
            return (
                f"{_name(self.best)} is told from the first ({first}): {_over(self.best)}."
            )
        if self.highest is self.first:
            said = f"No trial is told from the first ({first}), and none is better."
        else:
            said = f"No trial is told from the first ({first}): the highest, "
            said += f"{_name(self.highest)}, is {_over(self.highest)}."
        return said + ADVICE


ADVICE = (
    " best.yaml keeps the first one's settings. To tell more: validate on more days or "
    "users (data.split), sweep keys that matter more, or train the highest with other "
    "seeds (train.seed) and compare the runs."
)


def _name(row: Mapping) -> str:
    return f"trial {row['trial']}"


def _over(row: Mapping) -> str:
    """How far a trial lies off the first one, in words."""
    if row.get("over_first") is None:
        return f"{row['difference']:+.5f} off, and nothing says how sure that is"
    low, high = row["over_first"]
    return (
        f"{row['difference']:+.5f} off (95 % interval {low:+.5f} to {high:+.5f}, all "
        "trials together)"
    )


def over_first(outcome: Outcome, first: Outcome, trials: int) -> dict:
    """How far a trial's objective lies off the first one's, on the same rows.

    Args:
        outcome: The trial's.
        first: Of what it is compared with.
        trials: How many are compared: the more there are, the farther the highest lies off
            by chance alone (Bonferroni).

    Returns:
        ``difference`` and ``over_first``, its 95 % interval; None: nothing was drawn of
        both.
    """
    found = {"difference": outcome.value - first.value, "over_first": None}
    if not outcome.drawn or outcome.drawn_from != first.drawn_from:
        return found
    if len(outcome.drawn) != len(first.drawn):
        return found
    groups = min(outcome.groups, first.groups)
    error = error_of(_drawn(outcome) - _drawn(first), groups)
    interval = interval_of(found["difference"], error, groups, trials)
    return found | {"over_first": interval}


def _drawn(outcome: Outcome) -> np.ndarray:
    return np.array(outcome.drawn, float)  # null in JSON is NaN: not defined


def is_told(row: Mapping, sign: int) -> bool:
    """Whether a trial is better than the first one, by its interval."""
    interval = row["over_first"]
    return interval is not None and min(sign * bound for bound in interval) > 0


def interval_of_outcome(outcome: Outcome) -> list[float] | None:
    """The 95 % interval of a trial's objective; None: nothing was drawn of it."""
    if outcome.value is None or not len(outcome.drawn):
        return None
    groups = outcome.groups
    return interval_of(outcome.value, error_of(_drawn(outcome), groups), groups)


def name_of(sweep: Sweep) -> str:
    """The objective in words."""
    of = "of the score for" if sweep.score else "over"
    tasks = sweep.objective.tasks
    named = ", ".join(f"{t} ({weight:g})" for t, weight in tasks.items()) or "all tasks"
    return f"mean {sweep.objective.metric} {of} {named}"


def best_document(space: Space, best: Mapping | None) -> dict:
    """The config of a trial; None: as it is."""
    if best is None:
        return copy.deepcopy(space.document)
    document = space.apply(best["values"])
    if best["epochs"] is not None:
        document["train"] = {**document.get("train", {}), "epochs": best["epochs"]}
    return document
