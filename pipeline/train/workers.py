"""The processes that train one model together, and what they tell each other.

Each runs the same code and takes the same decisions: what decides is all-reduced, or is
the chief's.  The chief alone touches the output.  One worker that is lost ends them all.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from steadyrank.pipeline.config.cluster import Cluster
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    ExistsError,
    InputError,
    PassingError,
    foreseen,
)
from steadyrank.pipeline.train.rendezvous import await_machines
from steadyrank.pipeline.train.strategy import make_strategy

PART = 1 << 20  # numbers that are sent at once
PART_SECONDS = 10  # that one waits at its end for the others'
SHORT = 256  # numbers of a message that needs no other before it to say how long it is
ERRORS = {
    kind.__name__: kind for kind in (ExistsError, InputError, PassingError, DivergenceError)
}
LOST = (  # what a collective ends with where one of the workers does
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class Workers:
    """What a training needs of the other processes; alone by default.

    Args:
        strategy: The one that the model is trained under.
        cluster: The processes; None: there is one.

    Attributes:
        strategy: As given.
        count: How many there are.
        index: Which this one is.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, cluster: Cluster | None = None
    ):
        self.strategy: Any = strategy
        self.count = len(cluster.addresses) if cluster else 1
        self.index = cluster.index if cluster else 0
        number = tf.TensorSpec([None], tf.int32)
        self._total = tf.function(self._sum, [number], autograph=False)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    def _sum(self, values):
        def total(values):
            replica = tf.distribute.get_replica_context()
            # a copy, on this replica's device: there the sum is wanted
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))

        def of_replica(context):
            first = context.replica_id_in_sync_group % self._replicas == 0
            return values if first else tf.zeros_like(values)

        own = self.strategy.experimental_distribute_values_from_function(of_replica)
        return self.strategy.experimental_local_results(self.strategy.run(total, (own,)))[0]

    @property
    def _replicas(self) -> int:
        """Of this process."""
        return self.strategy.num_replicas_in_sync // self.count

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The rows of all workers, in their order; bit for bit.

        Args:
            values: ``[n, ...]``, of a type of 4 or 8 bytes; n may differ, and be 0.
        """
        if self.count == 1:
            return values
        bits = np.ascontiguousarray(values).reshape(-1).view(np.int32)
        sizes = np.zeros(self.count, np.int32)
        sizes[self.index] = len(bits)
        sizes = self._total(sizes).numpy()
        # no two workers write to the same place: the sum is the one that did
        whole = np.zeros(sizes.sum(), np.int32)
        first = sizes[: self.index].sum()
        whole[first : first + len(bits)] = bits
        return self._exact(whole).view(values.dtype).reshape(-1, *values.shape[1:])

    def _exact(self, whole: np.ndarray) -> np.ndarray:
        parts = [whole[n : n + PART] for n in range(0, len(whole), PART)]
        return np.concatenate([whole[:0], *(self._total(part).numpy() for part in parts)])

    def exchange(self, value: Any) -> list:
        """What each of them says, in their order: JSON documents."""
        if self.count == 1:
            return [value]
        text = json.dumps(value, default=lambda number: number.item()).encode() + b"\n"
        text += b" " * (-len(text) % 4)
        own = np.frombuffer(text, np.int32)
        said = np.zeros([self.count, SHORT], np.int32)
        said[self.index, 0] = len(own)
        said[self.index, 1 : 1 + len(own)] = own[: SHORT - 1]
        said = self._total(said.reshape(-1)).numpy().reshape(self.count, SHORT)
        if max(said[:, 0]) < SHORT:
            whole = b"".join(row[1 : 1 + row[0]].tobytes() for row in said)
        else:
            whole = self.gather(own).tobytes()
        return [json.loads(line) for line in whole.decode().split("\n")[: self.count]]

    def of_chief(self, act: Callable[[], Any]) -> Any:
        """What the chief does while the others wait, and what it found: a JSON document.

        Raises:
            InputError, PassingError, DivergenceError: What it raised; all of them do.
        """
        return self.decide(act, None)[0]

    def decide(self, act: Callable[[], Any], said: Any) -> tuple[Any, list]:
        """The same, and what each of them says beside it."""
        if self.count == 1:
            return act(), [said]
        found, raised = None, None
        if self.is_chief:
            try:
                found = act()
            except tuple(ERRORS.values()) as error:
                raised = error
            except Exception as error:
                raised = foreseen(error)
                if raised is None:
                    raise
        kind = next((name for name, k in ERRORS.items() if isinstance(raised, k)), "")
        failed = raised and {"kind": kind, "message": str(raised)}
        here = act.__qualname__
        told = self.exchange({"at": here, "found": found, "failed": failed, "said": said})
        if told[0]["at"] != here:
            raise RuntimeError(f"the chief is at {told[0]['at']}, this worker at {here}")
        if raised is not None:
            raise raised
        if failed := told[0]["failed"]:
            raise ERRORS[failed["kind"]](failed["message"])
        of_all = [each["said"] for each in told]
        return (found if self.is_chief else told[0]["found"]), of_all

    def share(self, variables: Iterable[tf.Variable]) -> None:
        """Give all workers the chief's values of some variables, bit for bit."""
        for variable in variables if self.count > 1 else ():
            rows = variable.shape[0] if variable.shape.rank else 1
            row = max(1, math.prod(variable.shape[1:]) if variable.shape.rank else 1)
            step = max(1, PART // row)
            if rows <= step:
                values = self._of_chief(variable.numpy())
                variable.assign(values)
                continue
            for first in range(0, rows, step):
                places = np.arange(first, min(first + step, rows))
                self._write(variable, places, self._of_chief(tf.gather(variable, places)))

    def _of_chief(self, values) -> np.ndarray:
        values = np.asarray(values)
        bits = np.ascontiguousarray(values).reshape(-1)
        if values.dtype.itemsize < 4:  # a flag, or half precision
            bits = bits.view(np.uint8 if values.dtype.itemsize == 1 else np.uint16)
            wide = bits.astype(np.int32)
        else:
            wide = bits.view(np.int32)
        wide = self._exact(wide if self.is_chief else np.zeros_like(wide))
        if values.dtype.itemsize < 4:
            wide = wide.astype(bits.dtype)
        return wide.view(values.dtype).reshape(values.shape)

    def _write(self, variable, places, values) -> None:
        with self.strategy.scope():
            self.strategy.extended.update(
                variable,
                lambda each, values, places: each.scatter_update(
                    tf.IndexedSlices(values, places)
                ),
                args=(tf.constant(values), tf.constant(places)),
                group=False,
            )

    def own(self, size: int) -> range:
        """This worker's places of so many, which the workers share out in order."""
        return range(size * self.index // self.count, size * (self.index + 1) // self.count)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Around all that they do together: nobody ends before the others can.

        Raises:
            PassingError: One of them was lost.
        """
        if self.count == 1:
            yield
            return
        try:
            yield
            self._part()
        except tuple(ERRORS.values()):
            self._part()
            raise
        except LOST as error:
            raise PassingError(
                f"one of the {self.count} workers of TF_CONFIG was lost, and this one, "
                f"number {self.index}, ends with it: its own output says why "
                f"({_reason(error)}). Start all of them again; --resume goes on from the "
                "last checkpoint."
            ) from None

    def _part(self) -> None:
        """Wait until all have received what was sent last: the others fetch it from this
        process, and would take its end for a loss."""
        told, wait = context.context(), int(PART_SECONDS * 1000)
        with contextlib.suppress(tf.errors.OpError):
            told.set_config_key_value(f"steadyrank/parted/{self.index}", "")
            if not self.is_chief:
                told.get_config_key_value("steadyrank/parted", wait)
                return
            for index in range(self.count):
                told.get_config_key_value(f"steadyrank/parted/{index}", wait)
            told.set_config_key_value("steadyrank/parted", "")


ALONE = Workers()


def _reason(error: tf.errors.OpError) -> str:
    """The words of an error that are not about our own code."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    ours = ("File ", "[[", "Graph execution error", "Detected at node")
    words = [line for line in lines if line and not line.startswith(ours)]
    return (words or [type(error).__name__])[-1][:200]


def join(
    cluster: Cluster | None, told: Callable[[str], None] = lambda text: None
) -> Workers:
    """The processes of a cluster, once all have come; None: this one, alone.

    To be called before TensorFlow has worked in this process.

    Args:
        cluster: Of ``TF_CONFIG``.
        told: Sees for which machines it waits.

    Raises:
        InputError, PassingError: See ``await_machines`` and ``make_strategy``.
    """
    if not cluster:
        return ALONE
    await_machines(cluster, told)
    return Workers(make_strategy(cluster=cluster), cluster)


def variables_of(*roots: tf.train.Checkpoint | tf.Module) -> Sequence[tf.Variable]:
    """All that a checkpoint holds, in an order that is the same in every process."""
    found = (each for root in roots for each in tf.train.TrackableView(root).descendants())
    return [each for each in found if isinstance(each, tf.Variable)]
