"""Trials of a ranking score: its formula on the predictions of one trained model."""

import time
from functools import cached_property
from pathlib import Path

import numpy as np

from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics import bootstrap, grouped
from steadyrank.models.score import evaluate_score, names_in, parse_score, score_names
from steadyrank.models.score_numbers import raw_mean
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.kinds.ranking.model import best_model
from steadyrank.pipeline.metrics.negative_sampling import row_weights
from steadyrank.pipeline.metrics.scored import Scored, score_split
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import COMPLETED, Beat, Outcome, weights_of

METRICS = ("auc", "pr_auc", "gauc")
FUNCTIONS = {
    "exp": np.exp,
    "log1p": np.log1p,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sqrt": np.sqrt,
}


def ranking(metric: str, label, score, groups, *, rate: float) -> float:
    """How well a score ranks rows, in the whole log.

    Args:
        metric: Of ``METRICS``.
        label: ``[rows]``, 0 or 1.
        score: ``[rows]``.
        groups: ``[rows]``, or None.
        rate: Fraction of the negatives that was kept.
    """
    if metric == "auc":  # each negative weighs the same
        return float(grouped.auc(label, score))
    stands = row_weights(label, rate)
    if metric == "pr_auc":
        return float(grouped.pr_auc(label, score, stands))
    return float(grouped.gauc(label, score, groups, stands))


class ScoreTrials:
    """Measures how well a formula's score ranks the rows of each task.

    The tasks' metrics are of the score in place of the task's own prediction, over the
    task's sample space.  The model predicts once, at the first trial.

    Args:
        space: The sweep's.
        examples: The example set; its validation split is ranked.
        train: What ``train`` published.

    Raises:
        InputError: The objective's metric is not one of a ranking.
    """

    def __init__(self, space: Space, examples: ExampleSet, train: Path):
        self.space, self.examples, self.train = space, examples, train
        config = space.config
        self.names = score_names(config.tasks, config.features)
        objective = space.sweep.objective
        if objective.metric not in METRICS:
            raise InputError(
                f"sweep.objective.metric: a score is judged by {sorted(METRICS)}. "
                f"Received: {objective.metric!r}."
            )
        kinds = {task.name: task.kind for task in config.tasks}
        self.metric, self.weights = objective.metric, weights_of(objective, kinds)
        self.rates = {task.name: task.negative_rate for task in examples.schema.tasks}

    def __call__(self, folder: Path, values, epochs, source, *, beat: Beat) -> Outcome:
        """One trial; see ``TrialFunction``."""
        started = time.monotonic()
        found = self.areas(self.space.formula(values))
        value, seconds = self.mean(found), round(time.monotonic() - started, 3)
        measured = {task: {self.metric: area} for task, area in found.items()}
        drawn = self.drawn(self.space.formula(values))
        if not np.isfinite(value):
            said = f"{self.metric} of the score is not defined"
            return Outcome("refused", None, said, measured, seconds)
        return Outcome(COMPLETED, value, "", measured, seconds, **drawn)

    def of_config(self) -> Outcome:
        """Of the config's own score."""
        formula = self.space.config.score_formula
        found = self.areas(formula)
        return Outcome(COMPLETED, self.mean(found), **self.drawn(formula))

    def drawn(self, formula: str) -> dict:
        """What an outcome holds of the samples of a formula's objective."""
        score, drawn, groups = self._score(formula), {}, []
        if not np.isfinite(score).all():
            return {}
        for task in self.weights:
            label, own, group = self._inside(task, score)
            how = {"negative_rate": self.rates[task]}
            drawn[task] = bootstrap.resample(label, [own], group, **how)[self.metric][0]
            groups.append(bootstrap.scarcest(label, group))
        origin = " ".join(self.scored.drawn_from(task) for task in self.weights)
        values = {"drawn": self.mean(drawn).tolist(), "drawn_from": origin}
        return {**values, "groups": min(groups)}

    def mean(self, areas: dict):
        """Weighted mean over tasks, of numbers or of arrays."""
        total = sum(weight * areas[task] for task, weight in self.weights.items())
        return total / sum(self.weights.values())

    def areas(self, formula: str) -> dict[str, float]:
        """Task -> metric of a formula's score."""
        score = self._score(formula)
        return {task: self._area(task, score) for task in self.weights}

    def _score(self, formula: str) -> np.ndarray:
        tree = parse_score(formula, self.names)
        with np.errstate(all="ignore"):  # what is not finite is not defined
            score = evaluate_score(tree, self._columns(names_in(tree)), FUNCTIONS)
        return np.broadcast_to(np.asarray(score, np.float64), (self._rows,))

    def _area(self, task: str, score: np.ndarray) -> float:
        label, own, groups = self._inside(task, score)
        return ranking(self.metric, label, own, groups, rate=self.rates[task])

    def _inside(self, task: str, score: np.ndarray) -> tuple:
        """Labels, scores and groups of a task's sample space."""
        inside, groups = self.scored.masks[task] > 0, self.scored.groups
        groups = None if groups is None else groups[inside]
        return self.scored.labels[task][inside], score[inside], groups

    @property
    def _rows(self) -> int:
        return len(next(iter(self.scored.labels.values())))

    def _columns(self, used: set[str]) -> dict:
        columns = {}
        for name in used & set(self.scored.outputs):
            columns[name] = self.scored.outputs[name].astype(np.float64)
        for name in used - set(columns):
            feature = next(f for f in self.schema.features if f.name == name)
            values = self.scored.features[name].astype(np.float64)
            columns[name] = np.where(np.isfinite(values), values, raw_mean(feature))
        return columns

    @cached_property
    def schema(self) -> Schema:
        """The trained model's schema."""
        path = self.train / "schema.json"
        return Schema.from_dict(read_json(path, "a trained model"), path)

    @cached_property
    def scored(self) -> Scored:
        """The validation split, as the trained model predicts it."""
        if self.schema.fingerprint != self.examples.schema.fingerprint:
            raise InputError(
                f"{self.train} was trained on examples with fingerprint "
                f"{self.schema.fingerprint[:12]}; {self.examples.path} has "
                f"{self.examples.schema.fingerprint[:12]}. Pass --train of a model of "
                "these examples."
            )
        config = load_config(self.train / "config.yaml")  # the model as it was trained
        model = best_model(config, self.schema, self.train)
        predict = BatchFunction(model.head.predict_tasks)
        numbers = [
            f.name for f in self.schema.features if f.kind == "numeric" and not f.width
        ]
        return score_split(predict, self.examples, "validation", numbers)
