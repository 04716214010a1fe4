"""The base of optimizers that read and write only the rows of the batch.

The cost of a step depends on the batch, not on the size of the table: there is no op
over the whole variable or its slots.  Order of a step: gradients summed over replicas
(rows concatenated), repeated ids summed and counted, rows brought up to date, L2, clip,
base rule, finite check, rows written in place.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from steadyrank.components.optimizers import clippy
from steadyrank.components.optimizers.base import BaseOptimizer, compute_dtype
from steadyrank.components.optimizers.cowclip import cow_clip, group_clip, threshold
from steadyrank.components.optimizers.gradients import sum_duplicates
from steadyrank.components.optimizers.rules import check_range

CLIPS = ("none", "cowclip", "field", "global", "clippy")
SEMANTICS = ("lazy", "dense", "touched")
CAUGHT_UP_ROWS = 1 << 16  # brought up to date at once by `catch_up`


class Held(NamedTuple):
    """Some rows of a table, each once, before a step.

    Attributes:
        rows: int ``[U]``.
        w: ``[U, D]``, the weights as a forward pass is to see them.
        slots: Their slots, as up to date.
        stored: ``[w, memory]`` as they stand in the table and in the rows' memory.
    """

    rows: tf.Tensor
    w: tf.Tensor
    slots: list
    stored: list


class RowOptimizer(BaseOptimizer):
    """A base rule on the touched rows, after CowClip on their gradients.

    What happens to a row while no batch holds it is a matter of ``semantics``, which make
    a difference where there is L2, or a momentum:

    - ``"dense"``: what the dense optimizer does, in every step, to all rows.  Equals the
      published algorithm step by step; costs what the table costs.  For comparison.
    - ``"lazy"``: the same, but in closed form at the row's return (see ``absence``): a step
      costs what its batch holds.  A forward pass should see the rows as ``read`` gives
      them; ``catch_up`` brings all rows up to date, before the table is used elsewhere.
    - ``"touched"``: nothing happens to it.

    Clips of many rows together (``"field"``, ``"global"``) take the norms of the rows that
    a step sees: all of them where semantics are dense, the batch's otherwise.

    A row whose gradient, or whose accumulated square, is not finite is left wholly
    unchanged, weights and slots, and counted in ``nonfinite_counts``.

    All that is remembered of a row, slots and clocks, lies side by side in one variable:
    a row of a large table is far away in memory, and a step goes there once for its
    weights and once for the rest.

    There are two ways to take a step.  ``apply_gradients`` takes sparse gradients, on any
    number of replicas.  On one replica ``read`` and ``apply_rows`` do the same with a
    single look at the batch's ids: the forward pass starts from the rows that ``read``
    gave, and what it gives back is one gradient a row.

    Args:
        rule: A base rule, see ``rules``.
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        clip: One of ``CLIPS``, see ``RowAdam``.
        r: Bound relative to a row's norm, at least 0.
        zeta: Floor of the bound, at least 0.
        l2: lambda of ``lambda ||w||^2``, at least 0.
        semantics: One of ``SEMANTICS``, as above.
        name: Name of the optimizer and its slots.

    Attributes:
        clipped_fractions: Per model variable a scalar: the fraction of the rows of
            the last batch that were clipped.
    """

    statistic = ("clipped_fraction", 0.0)

    def __init__(self, rule, learning_rate, clip, r, *, zeta, l2, semantics, name):
        if clip not in CLIPS:
            raise ValueError(
                f"clip must be one of {CLIPS}. Received: clip={clip!r}. "
                "Use 'cowclip', or 'none' to switch clipping off."
            )
        if semantics not in SEMANTICS:
            raise ValueError(
                f"semantics must be one of {SEMANTICS}. Received: "
                f"semantics={semantics!r}. Use 'lazy'."
            )
        check_range("r", r, 0.0)
        check_range("zeta", zeta, 0.0)
        check_range("l2", l2, 0.0)
        super().__init__(rule, learning_rate, name)
        self.clip = clip
        self.r = r
        self.zeta = zeta
        self.l2 = l2
        self.semantics = semantics
        self._passed, self._unclipped, self._fields = [], set(), {}

    @property
    def clipped_fractions(self):
        """Scalars in the order of the variables given to ``build``."""
        return self._statistics

    def clipped_fraction(self, variable):
        """The scalar that belongs to one model variable.

        Args:
            variable: A table given to ``build``.

        Returns:
            A float32 scalar variable, 0 to 1.
        """
        return self._statistics[self._index(variable)]

    def leave_unclipped(self, variables):
        """Exempts tables from the clip: CowClip's code exempts linear weights.

        They start at zero, where the clip's bound is at its floor.

        Args:
            variables: Tables, each ``[rows, D]``.
        """
        self._unclipped |= {self._var_key(variable) for variable in variables}

    def tell_fields(self, variable, starts):
        """Says where the fields of a table begin; for ``"field"``.

        A table that nothing was told of is one field.

        Args:
            variable: A table ``[rows, D]``.
            starts: The first row of each field, from 0 upwards.
        """
        self._fields[self._var_key(variable)] = list(starts)

    def _groups(self, variable, clip, rows):
        """``(group of each row, number of groups)`` that share a factor."""
        one = [0]
        starts = self._fields.get(self._var_key(variable), one) if clip == "field" else one
        starts = tf.constant(starts, rows.dtype)
        return tf.searchsorted(starts, rows, side="right") - 1, tf.size(starts)

    def _clip_of(self, variable):
        return "none" if self._var_key(variable) in self._unclipped else self.clip

    @property
    def catches_up(self):
        """Whether rows fall behind, and are brought up to date when they return."""
        return self.semantics == "lazy" and self._rule.moves_absent_rows(self.l2)

    def build(self, var_list):
        """Creates slots and statistics; called by the first ``apply_gradients``."""
        first = not getattr(self, "_built", False)
        super().build(var_list)
        if first and self.catches_up:
            # Since the last `catch_up`, in double precision: a sum of many small rates.
            zero = tf.zeros([], tf.float64)
            self._passed = [self._add(v, "passed", zero) for v in var_list]

    def _start_slots(self, variable):
        """One variable ``[rows, S]``: slots, a row's last step and the rates till then.

        A float is exact to 16 M steps.
        """
        starts = [*self._rule.slots.values()] + [0.0, 0.0] * self.catches_up
        row = np.repeat(starts, self._widths(variable))
        row = tf.constant(row, compute_dtype(variable))
        initial = tf.broadcast_to(row, [variable.shape[0], len(row)])
        return [self._add(variable, "memory", initial)]

    def _widths(self, variable):
        """Columns of each slot, then of both clocks where there are any."""
        width = getattr(self._rule, "width", variable.shape[1])
        return [width] * len(self._rule.slots) + [1, 1] * self.catches_up

    def slots_of(self, variable):
        """The slots of all rows as they stand, for inspection.

        Args:
            variable: A table given to ``build``.

        Returns:
            List of ``[rows, D]``, ``[rows, 1]`` for a slot of one number a row.
        """
        (memory,) = self._slots_of(variable)
        return self._split(variable, memory)[: len(self._rule.slots)]

    def _split(self, variable, memory):
        return tf.split(memory, self._widths(variable), axis=1)

    def state_of(self, variable):
        """The rows' memory, and where rows catch up the sum of rates so far.

        Args:
            variable: A table given to ``build``.

        Returns:
            List of variables: ``[rows, S]``, then perhaps a float64 scalar.
        """
        passed = [self._passed[self._index(variable)]] if self.catches_up else []
        return [*super().state_of(variable), *passed]

    def read(self, variable, rows):
        """Rows as a forward pass is to see them.

        Args:
            variable: A table given to ``build``.
            rows: int ``[U]``, each once.

        Returns:
            ``Held``.
        """
        dtype = compute_dtype(variable)
        w = tf.cast(tf.gather(variable, rows), dtype)
        memory = tf.gather(*self._slots_of(variable), rows)
        stored, slots = [w, memory], self._split(variable, memory)
        if self.catches_up:
            *slots, last, seen = slots
            last, seen = last[:, 0], seen[:, 0]
            steps = tf.cast(self.iterations, dtype) - last
            rates = tf.cast(self._passed[self._index(variable)], dtype) - seen
            l2 = self._l2_of_absent(variable, w)
            w, slots = self._rule.absent(w, slots, steps, rates, last=last, l2=l2)
        return Held(rows, w, slots, stored)

    def _l2_of_absent(self, variable, w):
        """Lambda, or ``[U, 1]`` of them where CowClip's bound may be below their gradient.

        An absent id counts once: of ``2 l2 ||w||`` no more than ``max(r ||w||, zeta)`` is
        left.  Where that is zeta, it stays as it was when the row was last up to date.
        """
        if self._clip_of(variable) != "cowclip" or self.l2 <= self.r / 2:
            return self.l2
        length = tf.maximum(tf.norm(w, axis=1, keepdims=True), 1e-20)
        return tf.minimum(0.5 * tf.maximum(self.zeta / length, self.r), self.l2)

    def may_clip(self, variable, held, g):
        """Where one sample's bound would clip: no count of others decides anything.

        Args:
            variable: A table given to ``build``.
            held: Its rows, from ``read``.
            g: ``[U, D]``, the gradient of each, of the whole batch.

        Returns:
            bool ``[U]``; None where no count is ever asked for.
        """
        if self._clip_of(variable) != "cowclip":
            return None
        w = held.w
        g = tf.cast(g, w.dtype) + 2.0 * self.l2 * w
        bound = 0.999 * threshold(w, 1.0, self.r, self.zeta)  # the norm is rounded
        return tf.norm(g, axis=1) > bound

    def apply_rows(self, updates):
        """Takes a step on rows that ``read`` gave.

        Args:
            updates: List of ``(variable, held, g, counts)``: ``g`` ``[U, D]``, the gradient
                of each row, summed over its occurrences, and ``counts`` ``[U]``, how many
                samples hold its id.  Every replica is to give the same: those of the
                global batch.
        """
        self._compute_current_learning_rate()
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._distributed_apply_rows, tf.distribute.get_strategy(), updates
        )

    def _distributed_apply_rows(self, distribution, updates):
        for variable, held, g, counts in updates:
            args = (held, g, counts)
            distribution.extended.update(variable, self._update, args=args, group=False)
        return self.iterations.assign_add(1)

    @tf.autograph.experimental.do_not_convert  # no tensor decides a branch
    def update_step(self, gradient, variable):
        """One step of the rows named by a sparse gradient."""
        _require_sparse(gradient, variable)
        values = tf.cast(gradient.values, compute_dtype(variable))
        rows, g, counts = sum_duplicates(gradient.indices, values)
        self._update(variable, self.read(variable, rows), g, counts)

    @tf.autograph.experimental.do_not_convert
    def _update(self, variable, held, g, counts):
        batch = held.rows
        if self.semantics == "dense":
            held, g, counts = self._all_rows(variable, held.rows, g, counts)
        dtype = compute_dtype(variable)
        g, counts = tf.cast(g, dtype), tf.cast(counts, dtype)
        delta, new, clipped = self._rows_step(variable, held, g, counts)
        finite = tf.reduce_all(tf.math.is_finite(new[-1]), axis=1)
        updated = held.w - delta, self._remembered(variable, new, self._pass(variable))
        for target, x, y in zip(self._of_rows(variable), updated, held.stored, strict=True):
            # Chooses whole rows: a third of the time of `tf.where`, which broadcasts.
            _write(target, held.rows, tf.raw_ops.Select(condition=finite, x=x, y=y))
        if self.semantics == "dense":
            clipped = tf.gather(clipped, batch)
        self._report(variable, _fraction(clipped), tf.size(finite) - _count(finite))

    def _rows_step(self, variable, held, g, counts):
        w, clip = held.w, self._clip_of(variable)
        eta = tf.cast(self.learning_rate, w.dtype)
        clipped = tf.zeros_like(held.rows, tf.bool)
        if self.l2:
            g += 2.0 * self.l2 * w
        if clip == "cowclip":
            g, clipped = cow_clip(g, w, counts, self.r, zeta=self.zeta)
        if clip in ("field", "global"):
            groups, size = self._groups(variable, clip, held.rows)
            g, clipped = group_clip(g, w, groups, size, r=self.r, zeta=self.zeta)
        delta, slots = self._rule(g, list(held.slots), eta, self.iterations + 1)
        if clip == "clippy":
            delta, sigma = clippy.shrink(delta, w, self.r, self.zeta, axis=[1])
            clipped = sigma[:, 0] < 1.0
        return delta, slots, clipped

    def _all_rows(self, variable, rows, g, counts):
        """The whole table as the published code sees it: an absent id counts once."""
        everything = tf.range(variable.shape[0], dtype=rows.dtype)
        where = rows[:, tf.newaxis]
        g = tf.scatter_nd(where, g, tf.cast(variable.shape, rows.dtype))
        counts = tf.scatter_nd(where, counts, tf.cast(variable.shape[:1], rows.dtype))
        return self.read(variable, everything), g, tf.maximum(counts, 1.0)

    def _of_rows(self, variable):
        """What a step writes rows of: the table and its memory."""
        return [variable, *self._slots_of(variable)]

    def _pass(self, variable):
        """Adds this step's rate to those that passed: the clocks of rows that see it."""
        if not self.catches_up:
            return []
        passed = self._passed[self._index(variable)]
        now = passed.assign_add(tf.cast(self.learning_rate, tf.float64))
        return [self.iterations + 1, now]

    def _remembered(self, variable, slots, clocks):
        """What is to be remembered of some rows: ``[U, S]``."""
        if not clocks:
            return tf.concat(slots, axis=1)
        dtype = compute_dtype(variable)
        both = tf.stack([tf.cast(clock, dtype) for clock in clocks])
        rows = [tf.shape(slots[0])[0], 2]
        return tf.concat([*slots, tf.broadcast_to(both, rows)], axis=1)

    def catch_up(self, variable):
        """Brings all rows up to date, a part of the table at a time.

        To be called outside of a step, before weights are evaluated or saved alone.  It
        changes nothing for later steps: they would have done the same.

        Args:
            variable: A table given to ``build``.
        """
        if not self.catches_up:
            return
        for first in range(0, variable.shape[0], CAUGHT_UP_ROWS):
            end = min(first + CAUGHT_UP_ROWS, variable.shape[0])
            tf.distribute.get_strategy().extended.update(
                variable, self._catch_up_rows, args=(tf.range(first, end),), group=False
            )
        # A row keeps the sum in float32, which would lose small rates beside a large sum.
        passed = self._passed[self._index(variable)]
        tf.distribute.get_strategy().extended.update(
            passed, lambda each: each.assign(tf.zeros_like(each)), group=False
        )

    @tf.autograph.experimental.do_not_convert
    def _catch_up_rows(self, variable, rows):
        held = self.read(variable, rows)
        clocks = [self.iterations, 0.0]
        after = held.w, self._remembered(variable, held.slots, clocks)
        for target, value in zip(self._of_rows(variable), after, strict=True):
            _write(target, rows, value)

    def begin_rows(self, variable, rows):
        """Notes that rows begin now: no step that was taken is one they missed.

        Args:
            variable: A table given to ``build``.
            rows: int ``[U]``, each once.
        """
        if self.catches_up:
            tf.distribute.get_strategy().extended.update(
                variable, self._begin, args=(rows,), group=False
            )

    def _begin(self, variable, rows):
        (memory,) = self._slots_of(variable)
        *slots, _, _ = self._split(variable, tf.gather(memory, rows))
        clocks = [self.iterations, self._passed[self._index(variable)]]
        _write(memory, rows, self._remembered(variable, slots, clocks))

    def _deduplicate_sparse_grad(self, grads):
        return grads  # update_step sums repeated ids itself: it needs their counts

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            **super().get_config(),
            "clip": self.clip,
            "r": self.r,
            "zeta": self.zeta,
            "l2": self.l2,
            "semantics": self.semantics,
        }


def _require_sparse(gradient, variable):
    if isinstance(gradient, tf.IndexedSlices) and variable.shape.rank == 2:
        return
    raise ValueError(
        "gradient must be tf.IndexedSlices of a [rows, dim] table. "
        f"Received: gradient={type(gradient).__name__} of {variable.name} "
        f"{tuple(variable.shape)}. Read the table with tf.gather alone (no penalty "
        "over all of it: use l2), and give other weights to a dense optimizer."
    )


def _write(variable, rows, values):
    values = tf.cast(values, variable.dtype)
    variable.scatter_update(tf.IndexedSlices(values, rows))


def _count(mask):
    return tf.math.count_nonzero(mask, dtype=tf.int32)


def _fraction(mask):
    count = tf.cast(_count(mask), tf.float32)
    return tf.math.divide_no_nan(count, tf.cast(tf.size(mask), tf.float32))
