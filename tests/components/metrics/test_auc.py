"""Streaming AUC is the exact one: to the last bit, in any batches, in any order."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steadyrank.components.metrics import auc as streaming_auc
from steadyrank.components.metrics import grouped as metrics
from steadyrank.components.metrics.auc import StreamingAuc
from tests.helpers import reference

SCORES = st.floats(-4, 4, width=32) | st.sampled_from([0.0, -0.0, 1e-38, -1e-38, 0.5])


def streamed(labels, scores, parts=1):
    area = StreamingAuc()
    for part in np.array_split(np.arange(len(labels)), parts):
        area.update(np.asarray(labels)[part], np.float32(scores)[part])
    return area


@pytest.fixture(autouse=True, params=[4, 1 << 22])
def buffer_rows(request, monkeypatch):
    """With a tiny buffer, every few rows are merged into the state."""
    monkeypatch.setattr(streaming_auc, "BUFFER_ROWS", request.param)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=1, max_size=30))
def test_equals_all_pairs(rows):
    labels, scores = zip(*rows, strict=True)
    found = streamed(labels, scores, 3).result()
    assert found == pytest.approx(reference.auc(labels, scores), nan_ok=True, abs=1e-15)


def test_equals_sorting_with_and_without_ties():
    random = np.random.default_rng(0)
    for scores in (random.normal(size=3000), np.round(random.uniform(size=3000), 2)):
        scores = scores.astype(np.float32)
        labels = random.uniform(size=3000) < 0.1
        wanted = metrics.auc(labels, scores.astype(float))  # which sorts
        assert metrics.auc(labels, scores) == pytest.approx(wanted, abs=1e-15)
        assert streamed(labels, scores, 7).result() == pytest.approx(wanted, abs=1e-15)


def test_states_add_up():
    random = np.random.default_rng(1)
    labels, scores = random.integers(0, 2, 2000), random.normal(size=2000)
    left, right = streamed(labels[:700], scores[:700]), streamed(labels[700:], scores[700:])
    left.merge(right)
    assert left.rows == 2000
    assert left.result() == streamed(labels, scores).result()


def test_neighbouring_scores_are_told_apart():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    assert streamed([0, 1], [low, high]).result() == 1.0
    assert streamed([0, 1], [high, low]).result() == 0.0
    assert streamed([0, 1], [low, low]).result() == 0.5


def test_what_is_not_defined_is_nan():
    for labels, scores in (([1, 1], [0.1, 0.2]), ([], []), ([0, 1], [np.nan, 0.5])):
        assert np.isnan(streamed(labels, scores).result())
    area = streamed([0, 1], [0.1, 0.2])
    area.merge(streamed([0], [np.nan]))
    assert np.isnan(area.result())


def test_what_would_not_be_exact_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="must be float32. Received: dtype=float64"):
        StreamingAuc().update([0, 1], np.array([0.1, 0.2]))
    monkeypatch.setattr(streaming_auc, "MOST_ROWS", 3)
    area = streamed([0, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="at most 3. Received: 4"):
        area.update([0, 1], np.float32([0.1, 0.2]))
