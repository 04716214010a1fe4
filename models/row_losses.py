"""Each task's loss of every row, and how much the row counts in it."""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from steadyrank.components import losses, ranking_losses
from steadyrank.models.features import GROUP, SOFT, Task, transform_numbers


def row_losses(
    tasks: Iterable[Task], labels: Mapping, masks: Mapping, outputs: Mapping
) -> dict:
    """What ``RankingModel.task_losses`` takes the means of.

    Args:
        tasks: The tasks.
        labels: Task name -> float32 ``[B]`` in raw units, NaN: none; ``GROUP`` -> int64
            ``[B]``, each row's group, where a task has a ``ranking``; and ``SOFT`` before a
            task's name -> float32 ``[B]``, its soft labels, where it has some.
        masks: Task name -> float32 ``[B]``, a row's weight inside of the sample space, 0
            outside.
        outputs: Task name -> float32 ``[B]``, logit, standardised value or logarithm.

    Returns:
        Task name -> (float32 ``[B]`` losses, anything where the row does not count,
        float32 ``[B]`` how much it does).
    """
    known = {task.name: task for task in tasks}
    ranked = any(task.ranking != "none" for task in known.values())
    segments = tf.unique(labels[GROUP]).idx if ranked else None
    return {
        task.name: (
            _over_all(_chain(task, known), labels, masks, outputs)
            if task.space == "all"
            else _over_own(
                task,
                labels[task.name],
                masks[task.name],
                outputs[task.name],
                soft=labels.get(SOFT + task.name),
                segments=segments,
            )
        )
        for task in known.values()
    }


def _over_own(task: Task, labels, mask, output, *, soft=None, segments=None) -> tuple:
    w = task.soft_weight
    if task.kind == "binary":
        known = labels
        if soft is not None:
            known = losses.distilled(labels, as_sampled(task, soft), w)
        share = known
        if task.positive_weight != 1:  # of a row that is one by a share
            more = 1.0 + (task.positive_weight - 1.0) * known
            share = known * task.positive_weight / more
            mask = mask * tf.where(tf.math.is_nan(more), 1.0, more)
        loss = losses.binary_cross_entropy(share, output)
        if task.ranking != "none":
            ranked = getattr(ranking_losses, task.ranking)
            loss += task.ranking_weight * ranked(labels, output, segments, mask > 0)
        return loss, mask
    if task.loss == "squared":
        known = transform_numbers(task.transform, labels, tf.math)
        if soft is not None:
            soft = transform_numbers(task.transform, soft, tf.math)
            known = losses.distilled(known, soft, w)
        return losses.squared_error((known - task.mean) / task.std, output), mask
    known = labels if soft is None else losses.distilled(labels, soft, w)
    shares = known / mean_of(task)
    if task.loss == "tweedie":
        return losses.tweedie(shares, output, task.tweedie_power), mask
    return getattr(losses, task.loss)(shares, output), mask


def as_sampled(task: Task, p):
    """Probabilities of the whole log as they are among the rows that it kept.

        q = p / (p + (1 - p) rate)

    with rate the fraction of the negatives that were kept: what ``served`` undoes.

    Args:
        task: A binary task.
        p: float32 ``[B]``, as served.

    Returns:
        float32 ``[B]``.
    """
    return p / (p + (1.0 - p) * task.negative_rate)


def mean_of(task: Task) -> float:
    """What a value is learned relative to where its logarithm is.

    Args:
        task: A regression task.

    Returns:
        The mean of its labels, in raw units; 1 where that is not above 0.
    """
    return task.mean if task.mean > 0 else 1.0


def _chain(task: Task, known: Mapping[str, Task]) -> list[Task]:
    """What a task takes to be, the first first, and itself."""
    chain = [task]
    while chain[0].given:
        chain.insert(0, known[chain[0].given])
    return chain


def _over_all(chain: list[Task], labels: Mapping, masks: Mapping, outputs: Mapping):
    """Of the rows of the first of a chain: that all of it came to be, or not.

    A row in which one came to be whose next has no label is not known to either.
    """
    first = chain[0].name
    mask, reached = masks[first], tf.ones_like(masks[first])
    for task in chain:
        label = labels[task.name]
        unknown = (reached > 0) & ~(masks[task.name] > 0)
        mask = tf.where(unknown, tf.zeros_like(mask), mask)
        reached = reached * tf.cast(label > 0.5, reached.dtype)
    soft = [labels[SOFT + task.name] for task in chain if SOFT + task.name in labels]
    if len(soft) == len(chain):
        foretold = tf.reduce_prod(tf.stack(soft, axis=1), axis=1)
        reached = losses.distilled(reached, foretold, chain[-1].soft_weight)
    logits = tf.stack([outputs[task.name] for task in chain], axis=1)
    return losses.product_cross_entropy(reached, logits), mask
