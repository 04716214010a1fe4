"""One training step on all replicas, and its line in the log."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.ranker import RankingModel


class LoggedStep:
    """Runs a model's ``train_step`` and packs all it reports into one small tensor.

    The numbers are fetched later, many steps at once: asking for each would make the
    host wait for the device at every step.

    Args:
        model: A compiled model.
        strategy: The strategy that it was built under.
    """

    def __init__(self, model: RankingModel, strategy: tf.distribute.Strategy):
        self.model, self.strategy = model, strategy
        self.tasks = [task.name for task in model.tasks]
        self.dense = [_short(v) for v in model.dense_variables]
        self.tables = [_short(v) for v in model.embedding_variables]
        self._nonfinite = 0
        self._function = BatchFunction(self._run)

    def reset(self) -> None:
        """Read the count of skipped updates anew, after a checkpoint was restored."""
        self._nonfinite = self._skipped_so_far()

    def _skipped_so_far(self) -> int:
        optimizers = (self.model.dense_optimizer, self.model.embedding_optimizer)
        return sum(int(optimizer.nonfinite_count) for optimizer in optimizers)

    def __call__(self, batch) -> tf.Tensor:
        """Take a step on ``(features, labels, masks, window)``; see ``line``."""
        return self._function(*batch)

    def _run(self, features, labels, masks, window):
        strategy = self.strategy
        logs = strategy.run(self.model.train_step, ((features, labels, masks),))
        windows = strategy.experimental_local_results(window)
        rows = tf.add_n([tf.size(w) for w in windows])
        latest = tf.reduce_max(tf.concat(windows, 0))

        def total(value):
            return strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)

        def first(value):
            return strategy.experimental_local_results(value)[0]

        losses = {task.name: total(logs["losses"][task.name]) for task in self.model.tasks}
        # what is watched for divergence: weights that move with the losses would hide it
        by_own_weights = [task.weight * losses[task.name] for task in self.model.tasks]
        numbers = [tf.add_n(by_own_weights), *losses.values()]
        numbers += [first(value) for value in logs["clipping"]]
        numbers += [first(value) for value in logs["clipped_rows"]]
        numbers += [first(logs["nonfinite"]), rows, latest, *self._rates()]
        return tf.stack([tf.cast(number, tf.float64) for number in numbers])

    def norms(self) -> dict[str, dict[str, float]]:
        """L2 norm of each dense variable and of its last update; the tasks' weights."""
        optimizer = self.model.dense_optimizer
        weights = [tf.norm(v) for v in self.model.dense_variables]
        updates = [v.read_value() for v in optimizer.update_norms]
        shares = map(float, self.model.weighting.weights())
        return {
            "task_weights": dict(zip(self.tasks, shares, strict=True)),
            "weight_norm": dict(zip(self.dense, map(float, weights), strict=True)),
            "update_norm": dict(zip(self.dense, map(float, updates), strict=True)),
        }

    def _rates(self) -> list:
        return [
            self.model.dense_optimizer.learning_rate,
            self.model.embedding_optimizer.learning_rate,
        ]

    def line(self, values: tf.Tensor, windows: Sequence[str]) -> dict:
        """The log's line for a step; steps must come in their order.

        Args:
            values: What the call gave.
            windows: Names of the training windows, by number.
        """
        numbers = iter(np.asarray(values).tolist())
        line = {
            "loss": next(numbers),
            "losses": {task: next(numbers) for task in self.tasks},
            "clipping": {name: next(numbers) for name in self.dense},
            "clipped_rows": {name: next(numbers) for name in self.tables},
        }
        skipped = int(next(numbers))
        line["nonfinite"] = skipped - self._nonfinite
        self._nonfinite = skipped
        line["examples"] = int(next(numbers))
        line["window"] = windows[int(next(numbers))]
        line["learning_rate"] = {"dense": next(numbers), "embedding": next(numbers)}
        return line


def _short(variable: tf.Variable) -> str:
    return variable.name.split(":")[0].removeprefix("ranking_model/")
