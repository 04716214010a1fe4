"""Raw rows to scores: any export on any table, through its own raw signature.

What the examples were encoded with plays no part: the export has its vocabularies itself.
Tables come batch by batch, so memory does not grow with the rows.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.raw_inputs import raw_inputs, require_columns
from steadyrank.pipeline.export.signatures import RAW


class TableScorer:
    """Scores tables of raw columns.

    Args:
        export: The model.
        columns: Feature -> the column that it is read from; None: as its card says.

    Attributes:
        columns: Feature -> the column that it is read from.
    """

    def __init__(self, export: Export, columns: Mapping[str, str] | None = None):
        self.columns = export.columns if columns is None else columns
        self._export, self._features = export, export.schema.features

    def require(self, schema: pa.Schema, role: str, where: str) -> None:
        """Raise InputError unless a table has all columns that the model reads."""
        require_columns(self._features, self.columns, schema, role, where=where)

    def score(self, table: pa.Table) -> dict[str, np.ndarray]:
        """Each task's output and ``score``, float32 ``[rows]``.

        Raises:
            InputError: A value cannot be read as its feature's; the column is named.
        """
        return self._export.call[RAW](raw_inputs(table, self._features, self.columns))

    def score_all(self, tables: Iterable[pa.Table]) -> Iterator[dict[str, np.ndarray]]:
        """The same of several tables, one at a time."""
        return map(self.score, tables)
