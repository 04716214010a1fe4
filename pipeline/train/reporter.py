"""What a training run tells as it goes: on the terminal, to TensorBoard and to MLflow."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from steadyrank.pipeline.kinds.protocol import Phase, Setting
from steadyrank.pipeline.tracking.tracked import UNTRACKED, Tracked
from steadyrank.pipeline.train.board import Board

SHOWN = {
    "auc",
    "gauc",
    "log_loss",
    "calibration",
    "rmse",
    "ndcg@10",
    "hr@10",
}  # on the board
# groups for TensorBoard alone: a row of a database for each layer would be most of them
BY_LAYER = ("clipping", "weight_norm", "update_norm")

Progress = Callable[[int, int, str], None]


class Reporter:
    """Tells how far a phase is, how fast it goes, and what was found.

    Args:
        setting: The run's; the chief alone of several workers writes to TensorBoard.
        phase: The phase.
        steps: The most that it can take; 0: unknown.
        offset: Steps of those before it.
        progress: Called with steps done, steps in all (0: unknown, or what is said shall
            stay) and a line about how it goes.
        tracked: The run of MLflow; of all but the chief, nothing.
    """

    def __init__(
        self,
        setting: Setting,
        phase: Phase,
        *,
        steps: int,
        offset: int,
        progress: Progress | None,
        tracked: Tracked = UNTRACKED,
    ):
        self.phase, self.steps, self.offset = phase, steps, offset
        self.progress = progress or (lambda *_: None)
        is_chief = setting.workers is None or setting.workers.is_chief
        self.board = Board(setting.work / "tensorboard" if is_chief else None)
        self.tracked = tracked
        self.looked = time.monotonic()
        self.paced: tuple[int, float] | None = None  # a step and when, past what compiles
        if (setting.work / "config.yaml").exists():
            text = (setting.work / "config.yaml").read_text(encoding="utf-8")
            self.board.text("settings", f"```\n{text}\n```")

    def start(self) -> None:
        """Steps are taken from now on; what came before does not count to their rate."""
        self.looked = time.monotonic()

    def steps_in(self, seconds: float, steps: int) -> int:
        """How many steps are taken in so long, at the rate of those since the last look.

        Args:
            seconds: The time.
            steps: How many were taken since then.
        """
        return int(seconds * steps / max(time.monotonic() - self.looked, 1e-3))

    def say(self, step: int, text: str) -> None:
        """A line that stays.

        Args:
            step: The phase's.
            text: The line.
        """
        self.progress(self.offset + step, 0, f"{self.phase.title}{text}")

    def look(self, lines: list[dict]) -> None:
        """Tell of steps that were taken since the last look.

        Args:
            lines: The log's, of these steps.
        """
        now = time.monotonic()
        loss = np.mean([line["loss"] for line in lines])
        rows = sum(line["examples"] for line in lines)
        rate, self.looked = rows / (now - self.looked), now
        step = lines[-1]["step"]
        self._scalars(step, {"examples_per_second": rate})
        of = f" of {self.phase.epochs}" if self.phase.epochs else ""
        text = f"{self.phase.title}loss {loss:.4f}, {rate:,.0f} examples/s, epoch "
        text += f"{lines[-1]['epoch'] + 1}{of}{self._left(step - self.offset, now)}"
        self.progress(step, self.steps and self.offset + self.steps, text)
        self.paced = self.paced or (step - self.offset, now)
        if lost := self.tracked.warning():
            self.say(step - self.offset, lost)

    def _left(self, step: int, now: float) -> str:
        """How long the phase takes yet, if it goes on as since the first look."""
        if not self.steps or self.paced is None or self.paced[0] >= step:
            return ""
        to_go = self.steps - step
        if not to_go:  # of training: what comes after it is not known
            return ""
        seconds = to_go * (now - self.paced[1]) / (step - self.paced[0])
        left = f"{seconds:,.0f} s" if seconds < 90 else f"{seconds / 60:,.0f} min"
        return f", {left} left at most"

    def draw(self, lines: list[dict]) -> None:
        """Means over steps, and norms as they are after the last.

        Args:
            lines: The log's, of these steps.
        """
        drawn = {"loss": np.mean([line["loss"] for line in lines])}
        for group in ("losses", "clipping", "clipped_rows", "learning_rate"):
            for name in lines[-1][group]:
                drawn[f"{group}/{name}"] = np.mean([line[group][name] for line in lines])
        for group in ("weight_norm", "update_norm", "task_weights"):
            drawn |= {f"{group}/{name}": n for name, n in lines[-1][group].items()}
        self._scalars(lines[-1]["step"], drawn)

    def draw_validation(self, step: int, results: dict, monitor: str, value: float) -> None:
        """A measurement of the validation split.

        Args:
            step: The phase's.
            results: Task -> metric -> value.
            monitor: What the best weights are chosen by.
            value: The measurement's.
        """
        drawn = {f"validation/{monitor}": value}
        for task, found in results.items():
            for name in SHOWN & found.keys():
                if found[name] is not None:
                    drawn[f"validation_{name}/{task}"] = found[name]
        self._scalars(self.offset + step, drawn)
        self.board.flush()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.board.scalars(step, values)
        few = {n: v for n, v in values.items() if n.partition("/")[0] not in BY_LAYER}
        self.tracked.scalars(step, few)

    def ended(self, step: int, why: str) -> None:
        """The phase has ended.

        Args:
            step: The phase's last.
            why: Before its last epoch; "": it came to that, or to its last step.
        """
        how = why.removeprefix(": ") or f"all that was asked for: {step} steps"
        self.tracked.tags({"ended": f"{self.phase.title}{how}"})

    def keep(self) -> None:
        """Let what was told be as far as a checkpoint is that comes now."""
        self.board.flush()
        self.tracked.note()
