"""Features of a config that alone tell a label: mostly, what came after the engagement."""

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.sections import column
from steadyrank.pipeline.propose.choose import TELLS, strongest
from steadyrank.pipeline.propose.look import column_of
from steadyrank.pipeline.raw_log.columns import in_one_piece


def leaks_of(config: Config, table: pa.Table) -> dict[str, tuple[str, float]]:
    """Features that tell a label with an AUC above ``TELLS``: that label, and the AUC.

    Args:
        config: Whose features and tasks; those of side tables are not looked at.
        table: Rows of the log, of one type each.
    """
    labels = {}
    for task in config.tasks:
        numbers = _numbers(table, column(task))
        if numbers is None or task.kind != "binary":
            continue
        if task.at_least is not None:
            known = np.where(numbers >= task.at_least, 1.0, 0.0)
            numbers = np.where(np.isnan(numbers), np.nan, known)
        labels[task.name] = numbers
    found = {}
    for feature in config.features:
        if column(feature) not in table.column_names:
            continue
        values = column_of(column(feature), in_one_piece(table[column(feature)]))
        strong = strongest(values, labels)
        if strong and strong[1] > TELLS:
            found[feature.name] = strong
    return found


def _numbers(table: pa.Table, name: str) -> np.ndarray | None:
    if name not in table.column_names:
        return None
    return column_of(name, in_one_piece(table[name])).numbers
