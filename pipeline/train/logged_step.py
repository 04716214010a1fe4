"""One training step on all replicas, and its line in the log."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.trained import TrainedModel


class LoggedStep:
    """Runs a model's ``train_step`` and packs all it reports into one small tensor.

    The numbers are fetched later, many steps at once: asking for each would make the
    host wait for the device at every step.

    Args:
        model: A compiled model.
        strategy: The strategy that it was built under.
    """

    def __init__(self, model: TrainedModel, strategy: tf.distribute.Strategy):
        self.model, self.strategy = model, strategy
        self._nonfinite, self._form = 0, None
        self._function = BatchFunction(self._run)
        self._norms = tf.function(self._measure_norms, autograph=False)

    def reset(self) -> None:
        """Read the count of skipped updates anew, after a checkpoint was restored."""
        optimizers = (self.model.dense_optimizer, self.model.embedding_optimizer)
        self._nonfinite = sum(int(optimizer.nonfinite_count) for optimizer in optimizers)

    def __call__(self, batch) -> tf.Tensor:
        """Take a step; see ``line``.

        Args:
            batch: What ``train_step`` takes, one value or several, and the number of each
                row's window, ``[B]``; with several workers that of the rows of all.
        """
        return self._function(*batch)

    def _run(self, *batch):
        *data, window = batch
        data = data[0] if len(data) == 1 else tuple(data)
        names = list(self.model.task_weights)

        def step(data):
            logs = self.model.train_step(data)
            return {**logs, "losses": tf.stack([logs["losses"][name] for name in names])}

        logs = self.strategy.run(step, (data,))
        windows = self.strategy.experimental_local_results(window)

        def first(value):
            return self.strategy.experimental_local_results(value)[0]

        weights = self.model.task_weights
        total = self._total(logs["losses"])
        losses = dict(zip(names, tf.unstack(total, len(names)), strict=True))
        report = {
            # what is watched for divergence: weights that move with the losses would
            # hide it
            "loss": tf.add_n([weights[task] * losses[task] for task in weights]),
            "losses": losses,
            "clipping": {name: first(f) for name, f in logs["clipping"].items()},
            "clipped_rows": {name: first(f) for name, f in logs["clipped_rows"].items()},
            "nonfinite": first(logs["nonfinite"]),
            "dead_units": {name: first(n) for name, n in logs["dead_units"].items()},
            **{n: first(logs[n]) for n in ("spike_factor",) if n in logs},
            "examples": tf.add_n([tf.size(w) for w in windows]),
            "window": tf.reduce_max(tf.concat(windows, 0)),
            "learning_rate": {
                "dense": self.model.dense_optimizer.learning_rate,
                "embedding": self.model.embedding_optimizer.learning_rate,
            },
        }
        self._form = tf.nest.map_structure(lambda _: 0.0, report)
        return tf.stack([tf.cast(n, tf.float64) for n in tf.nest.flatten(report)])

    def _total(self, value):
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)

    def _measure_norms(self) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Of each dense variable and of its last update."""
        updates = self.model.dense_optimizer.update_norms
        norms = [tf.norm(variable) for variable in self.model.dense_variables]
        return norms, [update.read_value() for update in updates]

    def norms(self) -> dict[str, dict[str, float]]:
        """L2 norm of each dense variable and of its last update; the tasks' weights."""
        model = self.model
        names = [model.log_name(v) for v in model.dense_variables]
        weights, updates = ([float(n) for n in norms] for norms in self._norms())
        return {
            "task_weights": dict(model.shares()),
            "weight_norm": dict(zip(names, weights, strict=True)),
            "update_norm": dict(zip(names, updates, strict=True)),
        }

    def line(self, values: tf.Tensor, windows: Sequence[str]) -> dict:
        """The log's line for a step; steps must come in their order.

        Args:
            values: What the call gave.
            windows: Names of the training windows, by number.
        """
        line = tf.nest.pack_sequence_as(self._form, np.asarray(values).tolist())
        skipped, line["examples"] = int(line["nonfinite"]), int(line["examples"])
        line["nonfinite"], self._nonfinite = skipped - self._nonfinite, skipped
        line["window"] = windows[int(line["window"])]
        return line
