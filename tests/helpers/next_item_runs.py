"""Next-item runs of a tiny log."""

from steadyrank.pipeline.config import parse_sequence_config
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSet
from steadyrank.pipeline.kinds.next_item.model import (
    build,
)
from steadyrank.pipeline.train.weights import load_weights
from tests.helpers import event_log

GATES = {
    "divergence": {"max_micro": 0},
    "metrics": {
        "mrr@5": {"min": 0.2, "min_gain_over_popularity": 0.05},
        "hr@20": {"min": 0.3},
    },
    "skew": {"max_difference": 1e-4},
    "latency": {"rows": 5, "max_p99_ms": 60_000},
}


def parsed(**changes):
    changes = {"serving__k": 1000, "gates": GATES, **changes}
    return parse_sequence_config(event_log.config_document(**changes), "c")


def weights(folder, trained) -> dict:
    schema = SequenceSet.open(folder / "examples").schema
    model = build(parsed(), schema, 2)
    load_weights(model, trained / "best")
    return {name: v.numpy() for name, v in model.saved_weights().items()}
