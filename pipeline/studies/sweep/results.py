"""What the trials of a sweep came to."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.files.publish import finite
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import COMPLETED, read_outcome
from steadyrank.pipeline.studies.sweep.tuner import EPOCHS, FROM, SweepTuner

TAIL_BYTES = 4096
STEP = re.compile(rb'"step": (\d+)')


def rows_of(oracle, tuner: SweepTuner) -> list[dict]:
    """One row a trial, in the order in which they began.

    Returns:
        Of each: ``trial``, ``status``, ``value``, ``values`` (by key), ``epochs`` (of
        Hyperband, else None), ``from`` (the trial it continues), ``seconds``,
        ``message``, ``metrics``, ``step`` (of a training that runs).
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
    }
    if outcome is not None:
        return row | finite(vars(outcome))
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
        rows: As ``rows_of`` gives them.
        best: The row of the best objective among the completed trials, or None.
        own: The row of the config's own settings, or None.
    """

    rows: list[dict]
    best: dict | None
    own: dict | None

    @classmethod
    def of(cls, oracle, tuner: SweepTuner, first: Mapping | None) -> "Results":
        """Those of a sweep whose trials have ended."""
        rows = rows_of(oracle, tuner)
        done = [row for row in rows if row["status"] == COMPLETED]
        sign = 1 if tuner.space.sweep.objective.direction == "max" else -1
        best = max(done, key=lambda row: sign * row["value"], default=None)
        same = [row for row in done if first is not None and row["values"] == first]
        return cls(rows, best, same[-1] if same else None)

    def counts(self) -> dict[str, int]:
        """Trials by status."""
        return dict(Counter(row["status"] for row in self.rows))

    def document(self, sweep: Sweep, reference: float | None) -> dict:
        """What ``results.json`` holds.

        Args:
            sweep: The sweep.
            reference: The objective of the config's own score, where one was swept.
        """
        own = self.own["value"] if self.own else reference
        return {
            "objective": name_of(sweep),
            "direction": sweep.objective.direction,
            "method": sweep.method,
            "keys": [parameter.key for parameter in sweep.space],
            "logarithmic": [p.key for p in sweep.space if p.scale == "log"],
            "counts": self.counts(),
            "best": self.best and self.best["trial"],
            "best_value": self.best and self.best["value"],
            "own": self.own and self.own["trial"],
            "own_value": own,
            "trials": self.rows,
        }


def name_of(sweep: Sweep) -> str:
    """The objective in words."""
    of = "of the score for" if sweep.score else "over"
    tasks = sweep.objective.tasks
    named = ", ".join(f"{t} ({weight:g})" for t, weight in tasks.items()) or "all tasks"
    return f"mean {sweep.objective.metric} {of} {named}"


def best_document(space: Space, best: Mapping) -> dict:
    """The config of a trial."""
    document = space.apply(best["values"])
    if best["epochs"] is not None:
        document["train"] = {**document.get("train", {}), "epochs": best["epochs"]}
    return document
