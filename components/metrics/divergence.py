"""What counts as divergence, from a stream of losses. No TensorFlow here.

Training feeds each step's loss in as it runs; the gate feeds in the same losses from
the log afterwards.  Both see the same events.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Any

DEAD_AUC = 0.52  # at and below it a binary task has learned nothing


class RunningMedian:
    """Median of the last ``window`` values: O(log n) comparisons a step."""

    def __init__(self, window):
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._window = window

    def add(self, value):
        """Takes one finite value in, and the oldest out."""
        self._recent.append(value)
        insort(self._sorted, value)
        if len(self._recent) > self._window:
            oldest = self._recent.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]

    def value(self):
        """The (lower) median, or infinity before the first value."""
        values = self._sorted
        return values[(len(values) - 1) // 2] if values else math.inf


class DivergenceDetector:
    """Finds micro-divergence and full divergence in a stream of training losses.

    *Jump*: a step whose loss is not finite, or is above ``factor`` times the running
    median of the healthy steps before it, and by ``floor`` at least.  It opens an
    episode.  While one is open the median stands still: otherwise a loss that stays
    high would soon count as normal.

    *Micro-divergence*: the loss is back under the bound within ``patience`` steps.

    *Full divergence*: it is not, or it is non-finite ``nonfinite_patience`` times in a
    row.  The first one is remembered for good, whatever comes after.  A task whose
    AUC stays at 0.5 to the end has diverged as well (``observe_auc``).

    References: Clippy (KDD 2023), section 2, for both words; the factor and the
    windows are ours: the paper judges by eye.

    Args:
        factor: Multiple of the median that is a jump; 3.
        window: Healthy steps in the median; 100.
        patience: Steps after the jump in which the loss may come back; 200.
        nonfinite_patience: Non-finite losses in a row that are final; 10: weights that
            are NaN never recover, while a poisoned batch is over in one step.
        floor: Least rise above the median that is a jump; 0.05, so that the noise of a
            tiny loss is none.
    """

    def __init__(
        self, factor=3.0, window=100, patience=200, nonfinite_patience=10, *, floor=0.05
    ):
        self.factor = factor
        self.patience = patience
        self.nonfinite_patience = nonfinite_patience
        self.floor = floor
        self.steps = 0
        self.nonfinite_steps = 0
        self.micro = []
        self.diverged_at = None
        self._window = window
        self._median = RunningMedian(window)
        self._tasks = {}
        self._episode: Any = None  # a dict, while the loss is high
        self._dead_since = {}
        self._nonfinite_run = 0

    def update(self, step, loss, losses=None):
        """Takes the losses of one step in.

        Args:
            step: Number of the step; rising.
            loss: The total loss.
            losses: Dict, task name to its loss.  A loss of exactly 0 is a batch without
                examples of the task.

        Returns:
            None, or an event: a dict with ``kind`` (``"jump"``, ``"micro"`` or ``"full"``),
            ``step``, ``loss``, ``median``, and ``tasks``, the names of the tasks whose own
            loss jumped as well, the worst first; ``"micro"`` and ``"full"`` have the
            ``step`` of their jump, and ``"micro"`` has ``recovered_at``.
        """
        self.steps += 1
        finite = math.isfinite(loss)
        self.nonfinite_steps += not finite
        self._nonfinite_run = 0 if finite else self._nonfinite_run + 1
        tasks = self._jumped_tasks(losses or {})
        if self._episode is not None:
            return self._continue(step, loss)
        if not self._is_high(loss, self._median):
            self._median.add(loss)
            self._learn(losses or {})
            return None
        self._open(step, loss, tasks)
        return self._event("jump")

    def observe_auc(self, step, areas):
        """Takes AUCs in, whenever they were measured.

        A task can die without its loss leaving the level of the base rate: the
        rectifiers that it reads are shut, and it predicts the same for every row.
        Where a task's AUC is at most ``DEAD_AUC`` from some measurement on to the last
        one, that is full divergence, too.

        Args:
            step: Number of the last step before the measurement.
            areas: Dict, binary task to its AUC; NaN or None where it is not defined.
                Leave tasks out that have too few examples to tell.
        """
        for task, area in areas.items():
            if area is not None and area > DEAD_AUC:
                self._dead_since.pop(task, None)
            elif area is not None and area == area:
                self._dead_since.setdefault(task, step)

    @property
    def in_episode(self):
        """Whether a jump is open: the loss is high and has not come back yet."""
        return self._episode is not None

    @property
    def loss_diverged_at(self):
        """The step at which the loss was lost for good, as if the stream ended here."""
        open_at = self._episode["step"] if self._episode else None
        places = [place for place in (self.diverged_at, open_at) if place is not None]
        return min(places, default=None)

    def summary(self):
        """The verdict on all steps so far, as if the stream ended here.

        Returns:
            Dict as in metrics.json: ``steps``, ``nonfinite_steps``, ``micro`` (a list of
            ``step``, ``loss`` (the highest; null if not finite), ``median``,
            ``recovered_at``), ``diverged``, ``diverged_at``, ``dead_tasks``.  A jump still
            open at the end has not recovered: it counts as divergence.
        """
        places = (self.loss_diverged_at, *self._dead_since.values())
        at = min((place for place in places if place is not None), default=None)
        return {
            "steps": self.steps,
            "nonfinite_steps": self.nonfinite_steps,
            "micro": [dict(each) for each in self.micro],
            "diverged": at is not None,
            "diverged_at": at,
            "dead_tasks": sorted(self._dead_since),
        }

    def _is_high(self, loss, median):
        middle = median.value()
        bound = middle + max((self.factor - 1.0) * abs(middle), self.floor)
        return not (math.isfinite(loss) and loss <= bound)

    def _open(self, step, loss, tasks):
        self._episode = {
            "step": step,
            "loss": loss,
            "median": self._median.value(),
            "tasks": tasks,
            "full": False,
        }

    def _continue(self, step, loss):
        episode = self._episode
        episode["loss"] = _worse(episode["loss"], loss)
        if not self._is_high(loss, self._median):
            self._episode = None
            return None if episode["full"] else self._recover(episode, step)
        late = step - episode["step"] >= self.patience
        lost = late or self._nonfinite_run >= self.nonfinite_patience
        if episode["full"] or not lost:
            return None
        episode["full"] = True
        if self.diverged_at is None:
            self.diverged_at = episode["step"]
        return self._event("full")

    def _recover(self, episode, step):
        finite = {key: _finite(episode[key]) for key in ("step", "loss", "median")}
        self.micro.append({**finite, "recovered_at": step})
        return {"kind": "micro", **self.micro[-1], "tasks": episode["tasks"]}

    def _event(self, kind):
        fields = ("step", "loss", "median")
        shown = {key: _finite(self._episode[key]) for key in fields}
        return {"kind": kind, **shown, "tasks": self._episode["tasks"]}

    def _jumped_tasks(self, losses):
        rises = {}
        for task, loss in losses.items():
            median = self._tasks.setdefault(task, RunningMedian(self._window))
            if self._is_high(loss, median):
                rises[task] = loss - median.value() if math.isfinite(loss) else math.inf
        return sorted(rises, key=rises.__getitem__, reverse=True)

    def _learn(self, losses):
        for task, loss in losses.items():
            if loss != 0 and math.isfinite(loss):
                self._tasks[task].add(loss)


def _worse(a, b):
    return a if not math.isfinite(a) else b if not math.isfinite(b) else max(a, b)


def _finite(value):
    return value if math.isfinite(value) else None
