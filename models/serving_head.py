"""What a ranking model serves: probabilities, values and the score; candidates together."""

import math
from collections.abc import Collection, Mapping

import tensorflow as tf

from steadyrank.components.layers.split_dense import KernelCuts
from steadyrank.models.features import Task
from steadyrank.models.row_losses import mean_of
from steadyrank.models.score import evaluate_score, parse_score, score_names
from steadyrank.models.score_numbers import score_numbers
from steadyrank.models.smearing import along

SCORE = "score"
FUNCTIONS = {
    "exp": tf.exp,
    "log1p": tf.math.log1p,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "sigmoid": tf.sigmoid,
    "sqrt": tf.sqrt,
}


class ServingHead:
    """From a ranking model's logits to what is served.

    Args:
        model: The ``RankingModel``.
        score: Formula of the ranking score over the tasks' outputs and numbers that the
            features hold.
    """

    def __init__(self, model, score: str):
        self._model, self._features = model, model.inputs_layer.features
        self._score = parse_score(score, score_names(model.tasks, self._features))

    def predict_tasks(self, features: Mapping) -> dict:
        """Every task's prediction and the score.

        Args:
            features: Feature name -> tensor.

        Returns:
            Task name -> probability or value in raw units, float32 ``[B]``, and
            ``"score"`` -> float32 ``[B]``.
        """
        return self._served(self._model(features, training=False), features)

    def predict_logged(self, features: Mapping) -> dict:
        """The same with what biased the log: what it holds is foretold by this alone.

        Args:
            features: Feature name -> tensor, those that are not served among them.

        Returns:
            As ``predict_tasks``, which it equals where nothing biases.
        """
        outputs = self._model(features, training=False)
        return self._served(self._model.biased(outputs, features), features)

    def predict_candidates(
        self, features: Mapping, shared: Collection[str], cuts: KernelCuts | None = None
    ) -> dict:
        """The same for many items and one user, whose part is computed once.

        Args:
            features: Feature name -> tensor; one row of the shared features, B of the
                others.
            shared: Names of the shared features: at least one, and not all.
            cuts: From ``cut_kernels``; None: the kernels are cut in every call.

        Returns:
            As ``predict_tasks``.
        """
        inputs = self._model.inputs_layer.split(features, shared, cuts)
        wide = self._model.wide_logits(features, shared=shared)
        return self._served(self._model.from_inputs(inputs, wide), features)

    def cut_kernels(self, features: Mapping, shared: Collection[str]) -> KernelCuts:
        """Cut what ``predict_candidates`` reads, once the weights are final.

        Args:
            features: As for ``predict_candidates``, any values.
            shared: Likewise.
        """
        cuts, model = KernelCuts(), self._model
        inputs = model.inputs_layer.split(features, shared, cuts)
        model.from_inputs(inputs, model.wide_logits(features, shared=shared))
        if cuts.layers:
            cuts.cut(inputs.columns, inputs.shared_columns)
        return cuts

    def _served(self, raw: Mapping, features: Mapping) -> dict:
        smears = self._model.smears
        outputs = {
            task.name: served(task, raw[task.name], smears.get(task.name, 1.0))
            for task in self._model.tasks
        }
        numbers = score_numbers(self._score, self._features, features)
        score = evaluate_score(self._score, {**numbers, **outputs}, FUNCTIONS)
        rows = tf.shape(next(iter(outputs.values())))
        return {**outputs, SCORE: tf.broadcast_to(tf.cast(score, tf.float32), rows)}


def is_bent(task: Task) -> bool:
    """Whether a value is not learned as it is, so that the mean of a net may be off.

    Args:
        task: A regression task.
    """
    return task.transform != "identity" or task.loss != "squared"


def smeared(task: Task, values, smear):
    """Values times a factor, or along a curve; see ``models.smearing``.

    Args:
        task: A regression task.
        values: float ``[B]``, in raw units.
        smear: A scalar; of ``smearing: levels`` float ``[2, LEVELS + 1]``.

    Returns:
        ``[B]``.
    """
    if task.smearing == "factor":
        return smear * values
    return along(tf.convert_to_tensor(smear), values, tf.maximum)


def served(task: Task, raw, smear=1.0):
    """A task's probability, or value in raw units, from its logit or standardised value.

    A value that was learned transformed, or whose mean's logarithm was, is turned back
    and ``smeared``.

    Where only a part of the negatives was kept (``Task.negative_rate``), the probability
    is that of the whole log: ``p / (p + (1 - p) / rate)``, He et al., ADKDD'14, section
    6.3.

    Args:
        task: The task.
        raw: float32 ``[B]``, what the model gave of it.
        smear: As ``smeared`` has it.

    Returns:
        float32 ``[B]``, 0 to 1 or in raw units.
    """
    if task.kind == "binary":
        # which undoes the sampling: a shift of the logit, as is what undoes the weight of
        # the positives
        shift = math.log(task.negative_rate) - math.log(task.positive_weight)
        return tf.sigmoid(raw + shift)
    if task.loss != "squared":
        return smeared(task, mean_of(task) * tf.exp(raw), smear)
    value = raw * task.std + task.mean
    if task.transform == "log1p":
        return smeared(task, tf.sign(value) * tf.math.expm1(tf.abs(value)), smear)
    return value
