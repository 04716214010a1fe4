"""Predictions of all batches become columns, and the batches are let go of."""

import weakref

import numpy as np

from steadyrank.pipeline.metrics import predict


class Watched(np.ndarray):
    """An array that may be watched as it goes."""


def test_columns_are_in_the_order_of_the_batches():
    batches = [{"a": np.array([1, 2]), "b": np.array([5])}, {"a": np.array([3])}]
    batches[1]["b"] = np.array([6, 7])
    found = predict._stack(batches)
    assert {name: list(values) for name, values in found.items()} == {
        "a": [1, 2, 3],
        "b": [5, 6, 7],
    }
    assert predict._stack([]) == {}


def test_a_column_of_the_batches_is_gone_before_the_next_is_made(monkeypatch):
    batches = [{name: np.zeros(3).view(Watched) for name in "ab"} for _ in range(2)]
    firsts = [weakref.ref(batch["a"]) for batch in batches]
    made, plain = [], np.concatenate

    def concatenate(parts):
        made.append([each() is None for each in firsts])
        return plain(parts)

    monkeypatch.setattr(predict.np, "concatenate", concatenate)
    predict._stack(batches)
    assert made == [[False, False], [True, True]]
