"""Features of a config that alone tell a label: mostly, what came after the engagement."""

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.features import has_column
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.preprocess.negatives import DRAW_THEM
from steadyrank.pipeline.propose.choose import TELLS, strongest
from steadyrank.pipeline.propose.goes_with import goes_with
from steadyrank.pipeline.propose.look import column_of
from steadyrank.pipeline.raw_log.columns import in_one_piece


def leaks_of(config: Config, table: pa.Table) -> dict[str, tuple[str, float]]:
    """Features that tell a label with an AUC above ``TELLS``: that label, and the AUC.

    Args:
        config: Whose features and tasks; those of side tables are not looked at.
        table: Rows of the log, of one type each.
    """
    labels, found = _labels(config, table), {}
    for feature in filter(has_column, config.features):
        if column(feature) not in table.column_names:
            continue
        values = column_of(column(feature), in_one_piece(table[column(feature)]))
        strong = strongest(values, labels)
        if strong and strong[1] > TELLS:
            found[feature.name] = strong
    return found


def of_one_class(config: Config, table: pa.Table) -> list[str]:
    """A warning of each task that is 1 in every row of some: nothing can be learned."""
    if config.data.negatives:
        return []
    return [
        f"warning: {name} is 1 in every row that was looked at. {DRAW_THEM}"
        for name, label in _labels(config, table).items()
        if len(label) and (label == 1).all()
    ]


def items_columns(config: Config, table: pa.Table) -> list[str]:
    """A warning of columns that look like the item's, where items are drawn."""
    asked = config.data.negatives
    if asked is None or asked.item not in table.column_names:
        return []
    own = [config.data.group, config.data.time, *asked.item_columns]
    own += [column(task) for task in config.tasks]
    read = (column(feature) for feature in filter(has_column, config.features))
    names = [name for name in read if name in table.column_names]
    columns = {name: in_one_piece(table[name]) for name in {*names, asked.item}}
    return [
        f"warning: {name} goes with {asked.item}: if it is the item's, name it in "
        "data.negatives.columns, or drawn items will have the positive's"
        for name in goes_with(columns, asked.item, names)
        if name not in own
    ]


def _labels(config: Config, table: pa.Table) -> dict[str, np.ndarray]:
    """Binary task -> its labels in some rows, NaN where there is none."""
    labels = {}
    for task in config.tasks:
        numbers = _numbers(table, column(task))
        if numbers is None or task.kind != "binary":
            continue
        if task.at_least is not None:
            known = np.where(numbers >= task.at_least, 1.0, 0.0)
            numbers = np.where(np.isnan(numbers), np.nan, known)
        labels[task.name] = numbers
    return labels


def _numbers(table: pa.Table, name: str) -> np.ndarray | None:
    if name not in table.column_names:
        return None
    return column_of(name, in_one_piece(table[name])).numbers
