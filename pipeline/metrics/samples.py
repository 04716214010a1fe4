"""What was drawn of each metric, kept beside an evaluation: any two can be compared.

A group weighs the same in the same sample wherever it is drawn (``bootstrap.draw``).  So
where two evaluations are of the same groups with the same rows, what one drew less what the
other drew is the paired bootstrap of their difference: neither model is needed for it.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from steadyrank.components.metrics import bootstrap
from steadyrank.pipeline.files.errors import unreadable
from steadyrank.pipeline.metrics.uncertainty import (
    HIGHER,
    LOWER,
    difference_of,
    error_of,
    groups_of,
    interval_of,
)

FILE = "samples.npz"
MAIN = {"binary": "auc", "regression": "rmse", "next_item": "ndcg@10"}  # that decide
BETTER, WORSE, NOT_TOLD = "better", "worse", "no difference told"


@dataclass(frozen=True)
class Samples:
    """Metrics of drawn samples, by task.

    Attributes:
        values: Task -> metric -> ``[repetitions]``.
        drawn_from: Task -> a hash of the groups, how many rows each has and how many of
            them are positive: samples of equal ones are of the same rows.
    """

    values: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    drawn_from: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Leave them in an evaluation's folder."""
        names = [[task, metric] for task, found in self.values.items() for metric in found]
        values = [self.values[task][metric] for task, metric in names]
        said = json.dumps({"names": names, "drawn_from": dict(self.drawn_from)})
        with (folder / FILE).open("wb") as file:
            np.savez(file, said=np.array(said), values=np.array(values, float))


def read_samples(folder: Path) -> Samples:
    """What ``Samples.write`` left; nothing where an earlier version evaluated.

    Raises:
        InputError: The file is corrupt.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return Samples()
    try:
        with np.load(path, allow_pickle=False) as found:
            said, values = json.loads(str(found["said"])), found["values"]
        by_task: dict = {}
        for (task, metric), drawn in zip(said["names"], values, strict=True):
            by_task.setdefault(task, {})[metric] = drawn
        return Samples(by_task, said["drawn_from"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise unreadable(path, error, "Evaluate again.") from None


def monitored_interval(kind, results: Mapping, samples: Samples, monitor: str):
    """The 95 % interval of what chooses the weights; None: it is not known.

    Args:
        kind: The model's, a ``kinds.protocol.Kind``.
        results: Task -> metrics.
        samples: Of them.
        monitor: As ``kind.monitored`` takes it.
    """
    drawn = samples.values
    tasks = [monitor] if monitor in results else [t for t in drawn if "auc" in drawn[t]]
    tasks = [task for task in tasks or drawn if task in drawn]
    if not tasks:
        return None
    kinds = {task: results[task]["kind"] for task in tasks}
    values = [
        kind.monitored(
            {t: {"kind": kinds[t]} | {m: v[i] for m, v in drawn[t].items()} for t in tasks},
            monitor,
        )
        for i in range(len(next(iter(drawn[tasks[0]].values()))))
    ]
    groups = min(results[task]["groups"] for task in tasks)
    value = kind.monitored(results, monitor)
    return interval_of(value, error_of(np.array(values, float), groups), groups)


def fingerprint_of(label: np.ndarray, groups: np.ndarray | None) -> str:
    """A hash of what a task's samples are drawn from: see ``Samples``.

    Args:
        label: ``[rows]``.
        groups: ``[rows]``, or None.
    """
    numbers, keys = bootstrap.number_groups(groups, len(label))
    positive = np.bincount(numbers, np.asarray(label) > 0.5, len(keys))
    counts = [keys, np.bincount(numbers, minlength=len(keys)), positive.astype(np.int64)]
    return hashlib.sha256(np.stack(counts).astype("<i8").tobytes()).hexdigest()


def differences(
    tasks: Mapping[str, Mapping],
    samples: Samples,
    other_tasks: Mapping[str, Mapping],
    other_samples: Samples,
) -> Iterator[dict]:
    """How far each metric of each common task differs between two evaluations.

    Args:
        tasks: Task -> metrics, of the first.
        samples: Its samples.
        other_tasks: Task -> metrics, of the other.
        other_samples: Its samples.

    Yields:
        ``task``, ``metric``, ``first``, ``other``, ``difference`` (the other's less the
        first's), ``error`` and ``interval`` (paired, of 95 %; None: unknown), and
        ``verdict``: whether the other is ``BETTER``, ``WORSE`` or ``NOT_TOLD``; None of a
        metric of which neither more nor less is better.
    """
    for task in (task for task in tasks if task in other_tasks):
        first, other = tasks[task], other_tasks[task]
        ours, theirs = samples.values.get(task, {}), other_samples.values.get(task, {})
        origin = samples.drawn_from.get(task)
        paired = origin is not None and origin == other_samples.drawn_from.get(task)
        for metric in (*HIGHER, *LOWER, "calibration"):
            values = first.get(metric), other.get(metric)
            if not all(isinstance(v, int | float) and np.isfinite(v) for v in values):
                continue
            groups = min(groups_of(first, metric), groups_of(other, metric))
            error = None
            if paired and metric in ours and metric in theirs:
                if len(ours[metric]) == len(theirs[metric]):
                    error = error_of(theirs[metric] - ours[metric], groups)
            found = difference_of(values[1] - values[0], error, groups)
            yield {
                "task": task,
                "metric": metric,
                "first": values[0],
                "other": values[1],
                **found,
                "verdict": verdict_of(metric, found["interval"]),
            }


def verdict_of(metric: str, interval: list[float] | None) -> str | None:
    """Whether a difference of a metric is for the better."""
    if metric not in HIGHER and metric not in LOWER:
        return None
    if interval is None or interval[0] <= 0 <= interval[1]:
        return NOT_TOLD
    return BETTER if (interval[0] > 0) == (metric in HIGHER) else WORSE


def decided(against: Iterable[Mapping], kinds: Mapping[str, str]) -> list[dict]:
    """Of the differences of an evaluation those that say which is better, one a task.

    Args:
        against: From ``differences``.
        kinds: Task -> its kind, which names the metric: ``MAIN``.
    """
    return [
        dict(found)
        for found in against
        if found["metric"] == MAIN.get(kinds.get(found["task"], ""))
    ]


def sentence_of(name: str, first: str, found: Iterable[Mapping]) -> str:
    """The verdict on a run in a sentence.

    Args:
        name: The run.
        first: What it is compared with.
        found: From ``decided``.
    """
    tasks: dict[str, list] = {BETTER: [], WORSE: [], NOT_TOLD: []}
    for each in found:
        tasks[each["verdict"]].append(each["task"])
    words = [f"{word} at {', '.join(named)}" for word, named in tasks.items() if named]
    if not words:
        return f"{name} and {first} have no task that compares."
    if not tasks[BETTER] and not tasks[WORSE]:
        return f"No difference is told between {name} and {first}, at any task."
    return f"{name} against {first}: {'; '.join(words)}."
