"""What a step is told of each row: its gradient, and how many samples hold its id."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyrank.components.layers.history import MeanHistory
from steadyrank.components.optimizers.gradients import count_repeats
from steadyrank.models.batch_rows import BatchRows
from steadyrank.models.build import ROW_OPTIMIZERS
from steadyrank.models.features import Feature
from steadyrank.models.inputs import FeatureInputs

FEATURES = (
    Feature("user", "categorical", dim=2, vocabulary_size=5),
    Feature("item", "categorical", dim=2, vocabulary_size=6),
    Feature("tags", "categorical", dim=2, max_values=4, vocabulary_size=3),
    Feature("seen", "sequence", dim=2, max_values=3, vocabulary_size=6, table="item"),
    Feature("brand", "categorical", dim=3, vocabulary_size=4),
)


class Sees:
    """An optimizer that only notes what it is told."""

    def read(self, table, rows):
        return SimpleNamespace(rows=rows, w=tf.gather(table, rows))

    def may_clip(self, table, held, g):
        return tf.ones_like(held.rows, tf.bool)

    def apply_rows(self, updates):
        self.told = [(held.rows, g, counts) for _, held, g, counts in updates]


def naive_counts(group, batch) -> dict[int, int]:
    """Row of the fused table -> samples that hold it."""
    starts, start = {}, 0
    for feature in group:
        if not feature.table:
            starts[feature.name], start = start, start + feature.rows
    counts: dict[int, int] = {}
    for row in range(len(batch["user"])):
        held = {
            starts[feature.table or feature.name] + int(one)
            for feature in group
            for one in np.ravel(batch[feature.name][row])
        }
        for place in held:
            counts[place] = counts.get(place, 0) + 1
    return counts


def batches_of(features):
    def columns(rows):
        shapes = {f.name: (rows, f.max_values) if f.max_values else rows for f in features}
        ids = {f.name: st.integers(0, f.rows - 1) for f in features}
        return st.fixed_dictionaries(
            {n: arrays(np.int32, shape, elements=ids[n]) for n, shape in shapes.items()}
        )

    return st.integers(0, 6).flatmap(columns)


@settings(max_examples=40)
@given(batch=batches_of(FEATURES), linear=st.sampled_from([0, 1]))
def test_an_id_counts_once_in_each_sample_that_holds_it(batch, linear):
    layer = FeatureInputs(FEATURES, 1, linear, encoders={"seen": MeanHistory()})
    layer.build(None)
    tensors = {name: tf.constant(ids) for name, ids in batch.items()}
    located, optimizer = layer.locate(tensors), Sees()
    tables = {name: table.embeddings for name, table in layer.tables.items()}
    rows = BatchRows(tables, located, optimizer, layer.by_sample(tensors))
    rows.apply({name: tf.ones_like(found) for name, found in rows.gathered.items()})
    assert len(tables) == 2 + linear
    for name, (held, g, counts) in zip(tables, optimizer.told, strict=True):
        wanted = naive_counts(layer.readers[name], batch)
        assert (
            dict(zip(held.numpy().tolist(), counts.numpy().tolist(), strict=True)) == wanted
        )
        readings = np.bincount(located[name].numpy(), minlength=1)
        assert g.numpy()[:, 0].tolist() == readings[held.numpy()].tolist()


def test_repeats_by_hand():
    positions = tf.constant([[0, 2, 2, 1, 2], [1, 1, 0, 3, 4]])
    assert count_repeats(positions, tf.ones(6, tf.bool)).numpy().tolist() == [
        0,
        1,
        2,
        0,
        0,
        0,
    ]
    assert count_repeats(positions[:, :1], tf.ones(2, tf.bool)).numpy().tolist() == [0, 0]
    assert count_repeats(positions[:0], tf.ones(2, tf.bool)).numpy().tolist() == [0, 0]
    asked = tf.constant([True, True, False, True, True, True])
    assert count_repeats(positions, asked).numpy().tolist() == [0, 1, 0, 0, 0, 0]


def test_repeats_of_more_pairs_than_int32_can_tell():
    positions = np.random.default_rng(1).integers(0, 40_000, (70_000, 2))
    positions[::3, 1] = positions[::3, 0]
    same = positions[positions[:, 0] == positions[:, 1], 0]
    found = count_repeats(
        tf.constant(positions, tf.int32), tf.ones(40_000, tf.bool)
    ).numpy()
    np.testing.assert_array_equal(found, np.bincount(same, minlength=40_000))


def test_a_step_is_bounded_by_samples_not_by_readings():
    """One id 50 times in a sample: of the paper's bound, not of 50 times as much."""
    features = (Feature("tags", "categorical", dim=2, max_values=50, vocabulary_size=3),)
    layer = FeatureInputs(features, 1)
    layer.build(None)
    (table,) = (t.embeddings for t in layer.tables.values())
    table.assign([[0.0, 0.0], [0, 0], [3, 4], [3, 4], [3, 4]])
    optimizer = ROW_OPTIMIZERS["adagrad"](1.0, clip="cowclip", r=0.1)
    optimizer.build([table])
    batch = {"tags": tf.constant([[2] * 50, [3] * 49 + [4]])}
    rows = BatchRows({"2": table}, layer.locate(batch), optimizer, layer.by_sample(batch))
    rows.apply({"2": tf.ones_like(rows.gathered["2"]) * 100.0})
    clipped = 0.5 / np.sqrt(2)  # of both coordinates: r ||w|| is 0.5
    (sums,) = (v for v in optimizer.state_of(table) if v.shape[0] == 5)
    np.testing.assert_allclose(
        sums.numpy()[2:, 0] - sums.numpy()[0, 0], clipped**2, rtol=1e-5
    )


@pytest.mark.parametrize("scale, l2", [(1e-3, 0.0), (1e-3, 0.3), (1e-2, 0.0)])
def test_counts_that_decide_nothing_are_not_needed(scale, l2, monkeypatch):
    """Where one sample's bound would not clip no count does: the same bits."""
    draw = np.random.default_rng(3)
    batch = {
        f.name: tf.constant(
            draw.integers(0, f.rows, (9, f.max_values) if f.max_values else 9)
        )
        for f in FEATURES
    }
    gradients, found = {}, []
    for every in (True, False):
        layer = FeatureInputs(FEATURES, 1, encoders={"seen": MeanHistory()})
        layer.build(None)
        tables = {name: table.embeddings for name, table in layer.tables.items()}
        optimizer = ROW_OPTIMIZERS["adam"](0.1, clip="cowclip", r=1.0, l2=l2)
        optimizer.build(list(tables.values()))
        if every:
            monkeypatch.setattr(optimizer, "may_clip", Sees().may_clip)
        rows = BatchRows(tables, layer.locate(batch), optimizer, layer.by_sample(batch))
        for name, held in rows.gathered.items():
            some = gradients.setdefault(
                name, draw.normal(size=held.shape) * draw.lognormal(0, 2, (len(held), 1))
            )
            gradients[name] = some
        rows.apply({n: tf.constant(g * scale, tf.float32) for n, g in gradients.items()})
        found.append([table.numpy() for table in tables.values()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
