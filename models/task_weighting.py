"""The weights of the tasks in a model's loss, and how each step changes them."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from steadyrank.components import task_weights
from steadyrank.models.features import Task

METHODS = ("fixed", "decay", "uncertainty", "gradnorm", "dwa", "pcgrad")
BY_GRADIENT = ("gradnorm", "pcgrad")  # need each task's own gradient: K backward passes


class TaskWeighting(tf.Module):
    """Weights each task's loss by one of the methods of ``components.task_weights``.

    The weights from the config (``Task.weight``) multiply whatever the method finds.
    GradNorm and PCGrad look at the gradients of the trunk's weights, which is what tasks
    share beside the tables.  All state is in variables, so that a run can be resumed.

    Args:
        tasks: The tasks.
        method: One of ``METHODS``.
        period: Steps of an epoch, for what changes with epochs.
        settings: Of the method: ``gamma`` (task -> gamma) and ``per`` ("step" or
            "epoch") for decay; ``rate`` for uncertainty; ``alpha`` and ``rate`` for
            gradnorm; ``temperature`` for dwa.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        method: str = "fixed",
        period: int = 1,
        settings: Mapping | None = None,
    ):
        super().__init__(name="task_weighting")
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}. Received: {method!r}.")
        self.names = tuple(task.name for task in tasks)
        self.method, self.period = method, period
        self.settings = dict(settings or {})
        self._fixed = tf.constant([task.weight for task in tasks], tf.float32)
        squared = [task.kind == "regression" and task.loss == "squared" for task in tasks]
        halves = [0.5 if half else 1.0 for half in squared]
        self._halves = tf.constant(halves, tf.float32)
        gamma = self.settings.get("gamma", {})
        self._gamma = tf.constant([gamma.get(n, 1.0) for n in self.names], tf.float32)
        self._state: dict[str, tf.Variable] = {}
        if method != "fixed":
            self._add("step", tf.zeros([], tf.int64))
        starts = {
            "uncertainty": {"s": 0.0},
            "gradnorm": {"w": 1.0, "first": 0.0},
            "dwa": {"sum": 0.0, "count": 0.0, "last": 0.0, "before": 0.0},
        }
        for name, value in starts.get(method, {}).items():
            self._add(name, tf.fill([len(self.names)], value))

    def _add(self, name: str, start) -> None:
        # every replica computes the same: it may keep its own
        self._state[name] = tf.Variable(
            start,
            trainable=False,
            name=name,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def begin_again(self) -> None:
        """Count steps and epochs from 0, as a fresh run does; what was learned stays."""
        for name in ("step", "sum", "count"):
            if name in self._state:
                self._state[name].assign(tf.zeros_like(self._state[name]))

    @property
    def by_gradient(self) -> bool:
        """Whether ``step`` needs a persistent tape."""
        return self.method in BY_GRADIENT

    def weights(self):
        """What each task's loss is multiplied by in the next step: ``[K]``."""
        factor = tf.ones_like(self._fixed)
        if self.method == "decay":
            t = self._state["step"]
            if self.settings["per"] == "epoch":
                t //= self.period
            factor = task_weights.decayed(factor, self._gamma, t)
        elif self.method == "uncertainty":
            factor = task_weights.uncertainty_weights(self._state["s"], self._halves)
        elif self.method == "gradnorm":
            factor = tf.identity(self._state["w"])
        elif self.method == "dwa":
            last, before = self._state["last"], self._state["before"]
            factor = task_weights.dwa(last, before, self.settings["temperature"])
        return self._fixed * factor

    def total(self, losses: Mapping[str, tf.Tensor]):
        """The weighted sum of the tasks' losses.

        Args:
            losses: Task name -> scalar.

        Returns:
            Scalar; no gradient reaches the weights.
        """
        weights = tf.unstack(tf.stop_gradient(self.weights()))
        return tf.add_n(
            [w * losses[name] for w, name in zip(weights, self.names, strict=True)]
        )

    def step(
        self, tape, losses: Mapping[str, tf.Tensor], variables: Sequence, penalty=0.0
    ) -> dict:
        """Move on after a step's losses are known.

        Args:
            tape: The tape that saw them, persistent if ``by_gradient``.
            losses: Task name -> this replica's share of the loss.
            variables: The trunk's weights.
            penalty: What layers add to the loss: a tensor, or 0.0 where none does.

        Returns:
            Gradients to take in place of those of the total, by ``variable.ref()``;
            replicas' add up to the whole.
        """
        if self.method == "fixed":
            return {}
        found = _sum_over_replicas(tf.stack([losses[name] for name in self.names]))
        self._state["step"].assign_add(1)
        if self.method == "uncertainty":
            s, rate = self._state["s"], self.settings["rate"]
            moved = task_weights.uncertainty_step(s, found, self._halves, rate)
            self._keep("s", moved)
        elif self.method == "dwa":
            self._average(found)
        elif self.by_gradient:
            gradients = self._task_gradients(tape, losses, variables)
            if self.method == "gradnorm":
                self._balance(found, tf.norm(gradients, axis=1))
            else:
                return self._without_conflicts(
                    gradients, variables, _of_penalty(tape, penalty, variables)
                )
        return {}

    def _task_gradients(self, tape, losses: Mapping, variables: Sequence):
        """Each task's gradient in the trunk, flat: ``[K, P]``, summed over replicas."""
        rows = []
        for name in self.names:
            parts = tape.gradient(losses[name], variables, unconnected_gradients="zero")
            rows.append(tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0))
        return _sum_over_replicas(tf.stack(rows))

    def _average(self, losses) -> None:
        """DWA: at the end of an epoch its mean losses become the last ones.

        Batches whose losses are not finite are left out.
        """
        names = ("sum", "count", "last", "before")
        total, count, last, before = (self._state[n].read_value() for n in names)
        known = tf.reduce_all(tf.math.is_finite(total + losses))
        total = tf.where(known, total + losses, total)
        count += tf.cast(known, count.dtype)
        ends = self._state["step"].read_value() % self.period == 0
        mean = tf.where(count > 0, tf.math.divide_no_nan(total, count), last)
        self._state["before"].assign(tf.where(ends, last, before))
        self._state["last"].assign(tf.where(ends, mean, last))
        for name, value in (("sum", total), ("count", count)):
            self._state[name].assign(tf.where(ends, tf.zeros_like(value), value))

    def _balance(self, losses, norms) -> None:
        first = self._state["first"].read_value()
        first = tf.where(first > 0, first, losses)
        self._keep("first", first)
        w = task_weights.gradnorm_step(
            self._state["w"].read_value(),
            self._fixed * norms,
            tf.math.divide_no_nan(losses, first),
            self.settings["alpha"],
            rate=self.settings["rate"],
        )
        self._keep("w", w)

    def _keep(self, name: str, new) -> None:
        # a poisoned batch is over in one step: what is not finite would stay for good
        old = self._state[name].read_value()
        finite = tf.reduce_all(tf.math.is_finite(new))
        self._state[name].assign(tf.where(finite, new, old))

    def _without_conflicts(self, gradients, variables: Sequence, of_penalty) -> dict:
        seed = tf.stack([tf.cast(self._state["step"], tf.int32), 0])
        draws = tf.random.stateless_uniform([len(self.names)] * 2, seed)
        gradients *= self._fixed[:, tf.newaxis]
        flat = task_weights.pcgrad(gradients, tf.argsort(draws, axis=1))
        replica = tf.distribute.get_replica_context()
        flat /= float(replica.num_replicas_in_sync if replica else 1)
        sizes = [variable.shape.num_elements() for variable in variables]
        parts = tf.split(flat, sizes)
        return {
            variable.ref(): tf.reshape(part, variable.shape) + more
            for variable, part, more in zip(variables, parts, of_penalty, strict=True)
        }


def _of_penalty(tape, penalty, variables: Sequence) -> list:
    """Its gradient, which is of no task: no conflict is taken out of it."""
    if not tf.is_tensor(penalty):
        return [0.0] * len(variables)
    return tape.gradient(penalty, variables, unconnected_gradients="zero")


def _sum_over_replicas(values):
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)
