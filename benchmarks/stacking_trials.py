"""Next-item models trained on sequences in memory, from given weights, to a stop.

What costs is built once for each depth: a graph serves all runs of its depth.
"""

import time
from dataclasses import asdict, dataclass

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from steadyrank.components.metrics.top_k import TopKMetrics, target_ranks
from steadyrank.components.optimizers.dense import Adam
from steadyrank.components.optimizers.rows import RowAdam
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.next_item import NextItemModel
from steadyrank.models.stack import EVERYTHING, Copied, grow, grow_unchanged

MRR = "mrr@5"
KEPT = {
    "adjacent_softmax": Copied(softmax=True, layer_norm=True),
    "adjacent_all": EVERYTHING,
}
ENOUGH = 0.99  # of the best validation MRR@5 from scratch: what a run has to reach


@dataclass(frozen=True)
class Settings:
    """Of a run; the same for all that are compared."""

    dim: int = 32
    batch: int = 64
    rate: float = 5e-3
    evaluate_every: int = 50
    patience: int = 5
    max_steps: int = 900
    sampled: float | None = None
    alpha: bool = True
    normalize_first: bool = True  # of SASRec: then growth can leave all scores unchanged
    last_only: bool = False  # whether the last position alone is trained to foretell


@dataclass(frozen=True)
class Split:
    """Sequences, left-padded, ``[N, T]``: the last item is what is to be foretold."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    items: int


class Trials:
    """Runs on one data set with one kind of encoder.

    Args:
        kind: As for ``SequenceEncoder``.
        split: The sequences.
        settings: Of all runs.
    """

    def __init__(self, kind: str, split: Split, settings: Settings):
        self.kind, self.split, self.settings = kind, split, settings
        self._compiled = {}

    def fresh(self, blocks: int, seed: int) -> NextItemModel:
        """A model at its start, not compiled."""
        s = self.settings
        encoder = SequenceEncoder(
            self.kind,
            blocks,
            s.alpha,
            max_length=self.split.train.shape[1],
            normalize_first=s.normalize_first,
            seed=seed * 100_000,
        )
        made = NextItemModel(encoder, self.split.items, s.dim, s.sampled, seed=seed)
        return made

    def grown(self, weights: dict, blocks: int, seed: int, operator: str) -> dict:
        """Weights of a model twice as deep.

        ``unchanged`` is ``grow_unchanged``; ``adjacent_softmax`` is ``adjacent`` with
        softmax and LayerNorm copied too, as the published script declares and its model
        does not; ``adjacent_all`` copies the alphas, too.
        """
        shallow = self.fresh(blocks, seed)
        for name, variable in shallow.saved_weights().items():
            variable.assign(weights[name])
        if operator == "unchanged":
            return values_of(grow_unchanged(shallow))
        if operator in KEPT:
            return values_of(grow(shallow, "adjacent", KEPT[operator]))
        return values_of(grow(shallow, operator))

    def _graph(self, blocks: int):
        if blocks not in self._compiled:
            model = self.fresh(blocks, 1)
            rate = self.settings.rate
            optimizers = Adam(rate, clip="none"), RowAdam(rate, clip="none")
            model.compile(*optimizers)
            state = [v for o in optimizers for v in o.variables]
            step = tf.function(model.train_step, autograph=False)
            ranks = tf.function(
                lambda ids: target_ranks(
                    model.scores({"items": ids[:, :-1]}), ids[:, -1] - 1
                ),
                autograph=False,
            )
            start = [v.numpy() for v in state]
            self._compiled[blocks] = model, step, ranks, state, start
            step(self._batch(self.split.train[: self.settings.batch]))
            ranks(tf.constant(self.split.validation))
        return self._compiled[blocks]

    def _batch(self, sequences):
        if not self.settings.last_only:
            return {"items": tf.constant(sequences)}
        targets = np.zeros_like(sequences[:, 1:])
        targets[:, -1] = sequences[:, -1]
        return {
            "items": tf.constant(sequences[:, :-1]),
            "targets": tf.constant(targets),
        }

    def run(self, blocks, weights, rows, seed, steps=None, until=None):
        """Train to convergence, or for some steps, or until a validation MRR@5.

        Args:
            blocks: Depth.
            weights: Where to start from, by name.
            rows: How many of the training sequences, from the first: parts are nested.
            seed: Of the batches.
            steps: A fixed number; None: until no evaluation of ``patience`` was better.
            until: Stop as soon as validation MRR@5 reaches this.

        Returns:
            ``(found, weights)``: a dict with ``curve`` ``[step, MRR@5]``, ``best`` (on
            validation), its ``best_step``, ``test`` metrics there, ``step_seconds``
            of the processor; and the weights of the best evaluation.
        """
        s = self.settings
        model, step, ranks, state, start = self._graph(blocks)
        variables = model.saved_weights()
        for name, variable in variables.items():
            variable.assign(weights[name])
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        random, curve, spent, losses = np.random.default_rng(seed), [], 0.0, []
        best, kept, done = (-1.0, 0), values_of(model), 0
        curve.append([0, self._mrr(ranks, self.split.validation)])
        while done < (steps or s.max_steps):
            began = time.process_time()
            for _ in range(s.evaluate_every):
                chosen = self.split.train[random.integers(0, rows, s.batch)]
                loss = step(self._batch(chosen))["loss"]
            losses.append(float(loss))
            spent += time.process_time() - began
            done += s.evaluate_every
            model.catch_up()
            mrr = self._mrr(ranks, self.split.validation)
            curve.append([done, mrr])
            if mrr > best[0]:
                best, kept = (mrr, done), values_of(model)
            if until is not None and mrr >= until:
                break
            if steps is None and done - best[1] >= s.patience * s.evaluate_every:
                break
        for name, variable in variables.items():
            variable.assign(kept[name])
        found = {
            "blocks": blocks,
            "curve": curve,
            "best": best[0],
            "best_step": best[1],
            "losses": losses,
            "test": self._metrics(ranks, self.split.test),
            "step_seconds": spent / done,
        }
        return found, kept

    def _metrics(self, ranks, sequences):
        metrics = TopKMetrics(5)
        metrics.update(ranks(tf.constant(sequences)))
        return metrics.result()

    def _mrr(self, ranks, sequences):
        return self._metrics(ranks, sequences)[MRR]

    def similarities(self, blocks: int, weights: dict) -> list[float]:
        """Mean cosine of the outputs of adjacent blocks, over validation positions."""
        model = self._graph(blocks)[0]
        for name, variable in model.saved_weights().items():
            variable.assign(weights[name])
        ids = tf.constant(self.split.validation[:200, :-1])
        x = tf.nn.embedding_lookup(model.item_table, ids)
        mask = (ids > 0).numpy()
        states = [s.numpy()[mask] for s in model.encoder.states(x, ids > 0)]
        states = states[1 : blocks + 1]
        norms = [np.linalg.norm(state, axis=1) for state in states]
        return [
            float(np.mean(np.sum(states[i] * states[i + 1], 1) / (norms[i] * norms[i + 1])))
            for i in range(blocks - 1)
        ]

    def describe(self) -> dict:
        """What a run depends on beside the code."""
        return {
            "kind": self.kind,
            "settings": asdict(self.settings),
            "shape": list(self.split.train.shape),
        }


def values_of(model: NextItemModel) -> dict:
    """The weights by name, as arrays."""
    return {name: v.numpy() for name, v in model.saved_weights().items()}


def steps_to(found: dict, target: float) -> int | None:
    """The first evaluated step at which validation MRR@5 had reached a target.

    At least one evaluation's worth of steps: a model that is there from its start has
    cost something to look at.
    """
    interval = found["curve"][1][0]
    for step, mrr in found["curve"]:
        if mrr >= target:
            return max(step, interval)
    return None
