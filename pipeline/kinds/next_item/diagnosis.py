"""What one batch asks of a next-item model: of its layers and of its tables' rows."""

import numpy as np
import tensorflow as tf

from steadyrank.models.next_item import ITEMS, TARGETS, TASK, NextItemModel
from steadyrank.pipeline.train.diagnosis import largest_first, layer_norms, row_norms


def diagnose(model: NextItemModel, data: dict) -> dict:
    """Measure what a batch asks of a model.

    Args:
        model: Compiled.
        data: As ``train_step`` takes it.

    Returns:
        ``tasks``: loss, rows and gradient norm at the items' vectors of the one task;
        ``layers``: gradient norm of each dense variable, the largest first; ``ids``: the
        rows of the tables with the largest gradients.
    """
    loss, of_dense, located, of_rows = model.gradients(data)
    at_items = np.asarray(of_rows[ITEMS], np.float64)
    found = [
        {"feature": table, "id": row, "gradient_norm": norm}
        for table, gradient in of_rows.items()
        for row, norm in row_norms(located[table], gradient)
    ]
    return {
        "tasks": {
            TASK: {
                "loss": float(loss),
                "rows": int(tf.math.count_nonzero(data[TARGETS])),
                "gradient_norm": float(np.linalg.norm(at_items)),
            }
        },
        "layers": layer_norms(model, of_dense),
        "ids": largest_first(found),
    }
