"""The numbers that a score formula reads from the features of a request."""

import ast
import math
from collections.abc import Iterable, Mapping

import tensorflow as tf

from steadyrank.models.features import Feature
from steadyrank.models.score import names_in


def score_numbers(tree: ast.expr, features: Iterable[Feature], batch: Mapping) -> dict:
    """The numeric features that a formula uses, in raw units.

    A missing number is taken for the mean of the training split (of its logarithm, where
    that is how the feature is transformed): one row without it still gets a score.

    Args:
        tree: From ``parse_score``.
        features: The model's features.
        batch: Feature name -> float32 ``[B]``, or ``[1]`` where a request shares it.

    Returns:
        Feature name -> float32 like the batch's, without NaN.
    """
    used = names_in(tree)
    numbers = {}
    for feature in features:
        if feature.name in used and feature.kind == "numeric":
            values = batch[feature.name]
            known = tf.math.is_finite(values)
            numbers[feature.name] = tf.where(known, values, raw_mean(feature))
    return numbers


def raw_mean(feature: Feature) -> float:
    """A feature's mean before its transform: its geometric mean after ``log1p``.

    Args:
        feature: A number.

    Returns:
        In raw units.
    """
    mean = feature.mean if feature.centre is None else feature.centre
    if feature.transform != "log1p":
        return mean
    return math.copysign(math.expm1(abs(mean)), mean)
