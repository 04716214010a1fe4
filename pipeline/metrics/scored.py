"""A split with the predictions of an export beside its labels, and what they amount to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steadyrank.models.features import Task
from steadyrank.pipeline.config.gates import Gates, SliceGate
from steadyrank.pipeline.examples.damage import naming_damage
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.metrics.negative_sampling import row_weights
from steadyrank.pipeline.metrics.predict import predict
from steadyrank.pipeline.metrics.samples import Samples, fingerprint_of
from steadyrank.pipeline.metrics.slices import (
    Slice,
    columns_within,
    large_enough,
    slices_of,
    summary_of,
)
from steadyrank.pipeline.metrics.tasks import measure
from steadyrank.pipeline.metrics.uncertainty import add_scatter

BATCH_ROWS = 8192
FEATURE = "feature/"


@dataclass(frozen=True)
class Scored:
    """All rows of a split, scored; columns ``[rows]`` in the order of the files.

    Attributes:
        labels, masks: By task.
        outputs: By task, and ``score``.
        groups: The rows' groups, or None.
        truths: True probabilities by task, where they are known.
        features: Encoded features by name, those that were asked for.
    """

    labels: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    groups: np.ndarray | None
    truths: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]

    @property
    def rows(self) -> int:
        return len(next(iter(self.outputs.values()), ()))

    def stands_for(self, task: Task) -> np.ndarray:
        """How many rows of the whole log each row stands for, as a task samples it."""
        inside = self.masks[task.name] > 0
        weights = row_weights(self.labels[task.name], task.negative_rate)
        return np.where(inside, weights, 1.0)

    def drawn_from(self, task: str) -> str:
        """What the samples of a task are drawn from, see ``metrics.samples``."""
        inside = self.masks[task] > 0
        groups = None if self.groups is None else self.groups[inside]
        return fingerprint_of(self.labels[task][inside], groups)

    def within(self, rows: np.ndarray) -> "Scored":
        """Some of the rows."""
        return Scored(**columns_within(vars(self), rows))

    def measure(self, tasks: Iterable[Task], curves: bool = True) -> dict[str, dict]:
        """Metrics of every task that was predicted: an export may have left some out."""
        tasks = [task for task in tasks if task.name in self.outputs]
        further = {"groups": self.groups, "truths": self.truths, "curves": curves}
        further["score"] = self.outputs.get("score")
        return measure(tasks, self.labels, self.masks, self.outputs, **further)


def score_split(
    encoded: Callable, examples: ExampleSet, split: str, features: Sequence[str] = ()
) -> Scored:
    """Score all rows of a split.

    Args:
        encoded: Encoded features of a batch -> output name -> ``[B]``.
        examples: The example set.
        split: Its split.
        features: Encoded features to keep beside the predictions.

    Returns:
        The scored rows.

    Raises:
        RuntimeError: Rows were lost on the way: a fault of this project.
    """

    def score(batch: Mapping) -> dict:
        return {**encoded(batch), **{FEATURE + name: batch[name] for name in features}}

    dataset = evaluation_dataset(examples, split, BATCH_ROWS, extra=True)
    with naming_damage(examples):
        labels, masks, found, extra = predict(score, dataset)
    rows = len(next(iter(found.values()), ()))
    if rows != examples.rows(split):
        raise RuntimeError(f"scored {rows} of {examples.rows(split)} rows")
    return Scored(
        labels,
        masks,
        {name: v for name, v in found.items() if not name.startswith(FEATURE)},
        extra.get("group"),
        _under(extra, "truth/"),
        _under(found, FEATURE),
    )


def _under(columns: Mapping, prefix: str) -> dict:
    return {
        name.removeprefix(prefix): column
        for name, column in columns.items()
        if name.startswith(prefix)
    }


def compare(
    model: Scored,
    baseline: Scored | None,
    tasks: Iterable[Task],
    gates: Gates,
    *,
    curves: bool = True,
) -> tuple[dict, dict | None, Samples]:
    """Measure a model, and a baseline on the same rows, with their scatter.

    Args:
        model: The model's rows.
        baseline: The baseline's, in the same order; None: there is none.
        tasks: The tasks.
        gates: How many repetitions.
        curves: Whether to give ROC and calibration curves.

    Returns:
        Task name -> metrics, of the model and of the baseline (or None), each of the
        tasks that it has; and what was drawn of the model's.
    """
    results = model.measure(tasks, curves)
    base = None if baseline is None else baseline.measure(tasks, curves)
    drawn = add_scatter(
        results,
        [task for task in tasks if task.name in results],
        vars(model),
        None if baseline is None else baseline.outputs,
        baseline_results=base,
        repetitions=gates.repetitions,
    )
    return results, base, Samples(drawn, {task: model.drawn_from(task) for task in drawn})


def measure_slices(
    model: Scored, baseline: Scored | None, examples: ExampleSet, gates: Gates
) -> list[dict]:
    """The metrics of every slice that the gates name, see ``pipeline.metrics.slices``.

    Returns:
        One entry for each of the config's: ``by``, ``min_rows``, ``judged`` (each with
        its ``slice``, ``rows``, ``tasks`` and ``baseline``) and ``small``.
    """
    by_name = {feature.name: feature for feature in examples.schema.features}
    results = []
    for rule in gates.slices:
        features = [by_name[name] for name in rule.by]
        found = slices_of(features, model.features, examples.path / "vocab")
        large = list(large_enough(found, rule.min_rows))
        results.append(
            {
                "by": rule.by,
                "min_rows": rule.min_rows,
                "judged": [
                    _measure_slice(part, model, baseline, examples, rule=rule, gates=gates)
                    for part in large
                ],
                "small": summary_of(found[len(large) :]),
            }
        )
    return results


def _measure_slice(
    part: Slice, model: Scored, baseline: Scored | None, examples, *, rule: SliceGate, gates
) -> dict:
    wanted = {*rule.auc, *rule.calibration}
    tasks = [task for task in examples.schema.tasks if task.name in wanted]
    ours = model.within(part.rows)
    theirs = None if baseline is None else baseline.within(part.rows)
    results, base, _ = compare(ours, theirs, tasks, gates, curves=False)
    entry = {"slice": part.values, "rows": len(part.rows), "tasks": results}
    return {**entry, "baseline": None if base is None else {"tasks": base}}


def sliced_features(gates: Gates) -> list[str]:
    """The features that slices need, each once."""
    return list(dict.fromkeys(name for rule in gates.slices for name in rule.by))
