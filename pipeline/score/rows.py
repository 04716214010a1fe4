"""Some rows of a log, scored; those that cannot be are handed back with a reason."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import raw_features
from steadyrank.pipeline.export.table_scores import TableScorer
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.rows import NO_TIME, not_vector, unreadable
from steadyrank.pipeline.raw_log.columns import (
    Notation,
    convert,
    in_one_piece,
    rejoined,
    to_vectors,
)
from steadyrank.pipeline.raw_log.findings import as_integers
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.join import join_side
from steadyrank.pipeline.raw_log.rejected import PLACE, places, with_reason
from steadyrank.pipeline.raw_log.times import to_moments
from steadyrank.pipeline.score.past import not_in_time, with_past
from steadyrank.pipeline.score.plan import SCORE, VERSION, ScorePlan

NOT_FINITE = "the model's score is not finite"


def score_batch(
    batch: Batch,
    path: str,
    plan: ScorePlan,
    sides: list[pa.Table],
    *,
    scorer: TableScorer,
    held: Sequence[pa.Table] = (),
) -> tuple[pa.Table, list[pa.Table]]:
    """Score some rows.

    Args:
        batch: The rows, with all columns of their file.
        path: The file.
        plan: The plan.
        sides: The side tables.
        scorer: Of the model, whose columns have their features' names.
        held: What came before the rows, from ``read_past``.

    Returns:
        The scored rows in their order: kept columns, tasks, ``score`` and the model's
        version; and the others, as they are stored.
    """
    log = plan.log
    place = places(log.log.files.index(path), batch.lines)
    table = batch.table.select(log.carried).append_column(PLACE, pa.array(place))
    table = as_integers(table, plan.whole)
    for join, side in zip(log.config.data.join, sides, strict=True):
        table, _ = join_side(table, side, join.on, join.prefix)
    early, time = not_in_time(table, plan.past)
    inputs, reasons, about = _readable(with_past(table, plan.past, held), plan)
    reasons = np.where(early != "", early, reasons)
    about |= dict.fromkeys(early, time)
    rejected = [
        with_reason(table.filter(reasons == reason), reason, about[reason], log.log.files)
        for reason in np.unique(reasons[reasons != ""])
    ]
    good = reasons == ""
    table, inputs = table.filter(good), inputs.filter(good)
    outputs = scorer.score(inputs) if len(table) else {}
    finite = np.ones(len(table), bool)
    for values in outputs.values():
        finite &= np.isfinite(values)
    if not finite.all():
        first = next(iter(plan.kept.values()), table.column_names[0])
        rows = table.filter(~finite)
        rejected.append(with_reason(rows, NOT_FINITE, first, log.log.files))
        table = table.filter(finite)
        outputs = {name: values[finite] for name, values in outputs.items()}
    return _scored(table, outputs, plan), rejected


def _readable(
    table: pa.Table, plan: ScorePlan
) -> tuple[pa.Table, np.ndarray, dict[str, str]]:
    """What the model reads, by feature; the reason to reject each row, and its column."""
    notation, reasons = Notation.of(plan.log.config.data), np.full(len(table), "", object)
    about, inputs = {}, {}
    for feature in raw_features(plan.features):
        name = plan.columns[feature.name]
        values = in_one_piece(table[name])
        if pa.types.is_null(values.type) and feature.max_values and not feature.separator:
            values = pa.nulls(len(values), pa.list_(pa.null()))
        raw = "float" if feature.kind == "numeric" else feature.raw
        if feature.width:
            _, bad = to_vectors(values, feature.width)
            typed, wrong = values, not_vector(feature.width)
        elif feature.moments:
            _, bad = to_moments(values, *feature.moments)
            typed, wrong = values, NO_TIME
        else:
            typed, bad = convert(values, raw, feature.separator, notation)
            wrong = unreadable(raw, values.type)
        if bad.any():
            reason = f"feature {feature.name}: {wrong}"
            reasons[bad & (reasons == "")], about[reason] = reason, name
        if feature.separator:
            typed = rejoined(values, feature.separator, notation)
        inputs[feature.name] = typed
    return pa.table(inputs), reasons, about


def _scored(table: pa.Table, outputs: Mapping, plan: ScorePlan) -> pa.Table:
    columns = {new: _kept(table, name, plan) for new, name in plan.kept.items()}
    columns |= {plan.prefix + n: pa.array(values) for n, values in outputs.items()}
    if not outputs:
        return pa.table({})
    version = pa.array([plan.version]).dictionary_encode()
    many = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(table), np.int32)), version.dictionary
    )
    return pa.table({**columns, plan.prefix + VERSION: many})


def _kept(table: pa.Table, name: str, plan: ScorePlan) -> pa.Array:
    """A column in the one type that it has in all files."""
    values = in_one_piece(table[name])
    if name not in plan.log.log.schema.names or name in plan.whole:
        return values
    kind = plan.log.log.schema.field(name).type
    try:
        return values.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"--keep {name}: {values.type} in one file, {kind} in another, "
                         f"which do not go together: {error}") from None  # fmt: skip


def best_rows(table: pa.Table, by: str, top: int) -> pa.Table:
    """The rows with the highest scores of each value, together and the best first.

    Args:
        table: With ``score``; rows of equal score stay in their order.
        by: A column whose values part the rows; null is a value, too.
        top: Rows of each.
    """
    if not len(table):
        return table
    codes = pc.dictionary_encode(in_one_piece(table[by]), null_encoding="encode").indices
    codes = codes.to_numpy(zero_copy_only=False)
    scores = in_one_piece(table[SCORE]).to_numpy(zero_copy_only=False)
    order = np.lexsort((-scores, codes))  # stable
    codes = codes[order]
    begins = np.flatnonzero(np.concatenate([[True], np.diff(codes) != 0]))
    lengths = np.diff([*begins, len(codes)])
    rank = np.arange(len(codes)) - np.repeat(begins, lengths)
    return table.take(pa.array(order[rank < top]))
