"""Vocabularies, statistics and buckets: by hand, by NumPy, and equal in the export."""

import dataclasses
import json
import math
import tempfile

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.models.features import Feature
from steadyrank.models.score import parse_score
from steadyrank.models.score_numbers import score_numbers
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.export.signatures import ServingModule
from steadyrank.pipeline.preprocess.known import KnownWriter
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import LOW
from steadyrank.pipeline.preprocess.typed import feature_of, task_of
from steadyrank.pipeline.preprocess.vocabulary import (
    Moments,
    analyse,
    learn,
    look_up,
    merge,
)
from tests.helpers.tiny import config_document
from tests.helpers.whole_shards import InMemory, counted, values_of

NUMBERS = st.lists(st.floats(-1e6, 1e6, allow_nan=False, width=32), min_size=1, max_size=60)


def plan_of(features, raws, tasks=({"name": "y"},), rows=0) -> Plan:
    document = config_document(features=list(features), tasks=list(tasks))
    config = parse_config(document, "c")
    learned = []
    for item, raw in zip(config.features, raws, strict=True):
        if item.kind == "numeric":
            learned.append(feature_of(item, {item.name: ("", pa.float64())}, config))
        else:
            several = item.max_values
            learned.append(
                Feature(
                    item.name,
                    "categorical",
                    raw=raw,
                    max_values=several,
                    oov_buckets=item.oov_buckets,
                )
            )
    types = {task["name"]: ("", pa.float64()) for task in tasks}
    log = type("Log", (), {"rows": rows})()
    made = tuple(task_of(item, types, config) for item in config.tasks)
    return Plan(config, log, (), (), tuple(learned), made, {}, 1)


def typed(labels=None, **features) -> pa.Table:
    count = len(next(iter(features.values())))
    columns = {f"feature/{name}": values for name, values in features.items()}
    columns["label/y"] = pa.array(labels or [0.0] * count, pa.float64())
    columns[LOW] = np.arange(count, dtype=np.uint64) << np.uint64(32)
    return pa.table(columns)


def learned(plan, *tables):
    some = [InMemory(table) for table in tables]
    analysis = merge([analyse(table, plan) for table in some])
    with tempfile.TemporaryDirectory() as folder:
        found = learn(analysis, plan, counted(some, plan.features, folder), folder)
        for known in found.vocabularies.values():
            list(known.arrays())  # its files stay open
    return found


@pytest.fixture
def known(tmp_path):
    def make(values, kind=None):
        values = pa.array(values, kind)
        raw = "integer" if pa.types.is_integer(values.type) else "string"
        with KnownWriter(str(tmp_path), raw) as writer:
            writer.add(values)
            return writer.finish()

    return make


def categorical(**keys):
    return plan_of([{"name": "f", "kind": "categorical", **keys}], ["string"])


def test_frequent_values_come_first_and_ties_by_value():
    plan = categorical(min_count=2)
    values = ["b", "c", "a", "c", "b", "a", "c", "once", None]
    result = learned(plan, typed(f=pa.array(values)))
    assert values_of(result, "f") == ["c", "a", "b"]
    assert result.features[0].vocabulary_size == 3
    summary = result.statistics["features"]["f"]
    assert (summary["values_seen"], summary["distinct"]) == (8, 4)
    assert (summary["vocabulary"], summary["out_of_vocabulary"]) == (3, 1)


def test_min_count_counts_over_all_shards():
    plan = categorical(min_count=3)
    parts = [["x", "y"], ["x", "y"], ["x"]]
    tables = [typed(f=pa.array(part)) for part in parts]
    assert values_of(learned(plan, *tables), "f") == ["x"]


def test_integers_are_ordered_as_numbers():
    plan = plan_of([{"name": "f", "kind": "categorical"}], ["integer"])
    result = learned(plan, typed(f=pa.array([10, 9, -1, 10, 9, -1], pa.int64())))
    assert values_of(result, "f") == [-1, 9, 10]


def test_values_within_lists_are_counted():
    plan = categorical(max_values=1)
    table = typed(f=pa.array([["a", "b"], ["b"], [], None]))
    assert values_of(learned(plan, table), "f") == ["b", "a"]


def test_a_value_that_a_vocabulary_line_cannot_hold_is_left_out():
    result = learned(categorical(), typed(f=pa.array(["a\nb", "c\r", "d", "d"])))
    assert values_of(result, "f") == ["d"]


def test_nothing_seen_gives_an_empty_vocabulary():
    result = learned(categorical(), typed(f=pa.array([None, None], pa.string())))
    assert values_of(result, "f") == []
    assert result.features[0].rows == 2


def test_ids_by_hand(known):
    feature = Feature("f", "categorical", raw="string", oov_buckets=1)
    values = pa.array(["b", None, "zzz", "a", "b"])
    ids = look_up(values, known(["a", "b"]), feature)
    assert ids.dtype == np.int32
    assert ids.tolist() == [3, 0, 1, 2, 3]
    wide = dataclasses.replace(feature, oov_buckets=5)
    ids = look_up(values, known(["a", "b"]), wide)
    assert ids[[0, 1, 3, 4]].tolist() == [7, 0, 6, 7]
    assert 1 <= ids[2] <= 5


def test_unknown_values_spread_over_their_buckets(known):
    feature = Feature("f", "categorical", raw="integer", oov_buckets=4)
    ids = look_up(pa.array(range(4000)), known([], pa.int64()), feature)
    counts = np.bincount(ids, minlength=6)
    assert counts[0] == counts[5] == 0
    assert counts[1:5].min() > 800


class _Nothing(tf.Module):
    """A model without weights that gives its inputs back."""

    dense_variables = embedding_variables = ()
    smears: dict = {}
    bias_tower = None

    @property
    def head(self):
        return self

    @property
    def inputs_layer(self):
        return self

    def predict_tasks(self, features):
        return features


@pytest.mark.parametrize("raw", ["string", "integer"])
@pytest.mark.parametrize("buckets", [1, 4])
def test_the_export_looks_up_as_preprocessing_does(tmp_path, raw, buckets):
    known = ["i1", "ä b", " i3", "-7", "\t"] if raw == "string" else [1, -7, 10**15, 0]
    unseen = ["new", "I1", "i3"] if raw == "string" else [2, 99, -(2**62)]
    kind = pa.string() if raw == "string" else pa.int64()
    values = pa.array([*known, *unseen, None, *unseen[::-1]], kind)
    feature = Feature(
        "f",
        "categorical",
        raw=raw,
        oov_buckets=buckets,
        vocabulary_size=len(known),
    )
    (tmp_path / "f.txt").write_bytes("".join(f"{v}\n" for v in known).encode())
    module = ServingModule(_Nothing(), Schema((feature,), (), "0", (), False), tmp_path)
    missing = "" if raw == "string" else -(2**63)
    raw_values = tf.constant(values.fill_null(missing).to_pylist())
    served = module.encode({feature.name: raw_values})[feature.name]
    with KnownWriter(str(tmp_path), raw) as writer:
        writer.add(pa.array(known, kind))
        expected = look_up(values, writer.finish(), feature)
    assert served.numpy().tolist() == expected.tolist()
    assert expected[: len(known)].tolist() == list(
        range(1 + buckets, 1 + buckets + len(known))
    )


@settings(max_examples=80)
@given(NUMBERS, st.data())
def test_moments_are_numpys_whatever_the_partition(numbers, data):
    cuts = data.draw(st.lists(st.integers(0, len(numbers)), max_size=5))
    edges = [0, *sorted(cuts), len(numbers)]
    values = np.array(numbers)
    total = Moments()
    for a, b in zip(edges, edges[1:], strict=False):
        total = Moments.of(values[a:b]) + total
    assert total.count == len(values)
    assert total.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
    assert (total.low, total.high) == (values.min(), values.max())
    if len(set(numbers)) == 1:
        assert total.std == 1.0
    elif values.std() > 1e-3 * abs(values.mean()):
        assert total.std == pytest.approx(values.std(), rel=1e-6)


def test_moments_survive_a_large_offset():
    values = 1.7e12 + 1e6 * np.random.default_rng(1).normal(size=5000)
    parts = [Moments.of(part) for part in np.array_split(values, 7)]
    total = sum(parts, Moments())
    assert total.std == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("value", [5.0, 0.1, 1e-3, 12345.678])
@pytest.mark.parametrize("transform", ["identity", "log1p"])
def test_a_number_that_never_changes_is_divided_by_one(value, transform):
    plan = plan_of([{"name": "f", "kind": "numeric", "transform": transform}], ["float"])
    tables = [typed(f=pa.array([value] * count)) for count in (1000, 7, 333)]
    assert learned(plan, *tables).features[0].std == 1.0


def test_numbers_are_transformed_before_their_moments():
    plan = plan_of([{"name": "f", "kind": "numeric", "transform": "log1p"}], ["float"])
    table = typed(f=pa.array([0.0, math.e - 1, None, -(math.e - 1)]))
    feature = learned(plan, table).features[0]
    assert feature.mean == pytest.approx(0.0, abs=1e-7)
    assert feature.std == pytest.approx(math.sqrt(2 / 3), rel=1e-6)


@pytest.mark.parametrize("transform", ["identity", "log1p"])
def test_a_number_that_is_scaled_by_its_range_keeps_its_mean(transform):
    item = {"name": "f", "kind": "numeric", "transform": transform}
    table = typed(f=pa.array([10.0, 20.0, None, 90.0, 1000.0]))
    means = []
    for scale in ("standard", "minmax"):
        feature = learned(plan_of([{**item, "scale": scale}], ["float"]), table).features[0]
        feature = Feature.from_dict(json.loads(json.dumps(feature.to_dict())))
        tree, batch = parse_score("f", ["f"]), {"f": tf.constant([math.nan, 30.0])}
        missing, known = score_numbers(tree, [feature], batch)["f"].numpy()
        assert known == 30
        means.append(missing)
    assert means[0] == means[1] > 10  # the lowest value is what it is scaled by


def test_boundaries_are_quantiles_that_occur():
    plan = plan_of([{"name": "f", "kind": "numeric", "buckets": 4}], ["float"])
    values = np.random.default_rng(3).permutation(np.arange(1, 101)).astype(float)
    halves = np.array_split(values, 2)
    result = learned(plan, *[typed(f=pa.array(half)) for half in halves])
    assert result.features[0].boundaries == (26.0, 51.0, 76.0)
    assert result.features[0].rows == 5  # missing and four buckets


def test_boundaries_that_are_given_are_those():
    plan = plan_of([{"name": "f", "kind": "numeric", "buckets": [-0.5, 18, 65]}], ["float"])
    for values in (np.arange(9.0), np.zeros(0)):
        feature = learned(plan, typed(f=pa.array(values))).features[0]
        assert feature.boundaries == (-0.5, 18.0, 65.0) and feature.rows == 5


def test_a_clipped_number_is_scaled_by_what_it_is_taken_for():
    item = {"name": "f", "kind": "numeric", "clip": [0, 10]}
    table = typed(f=pa.array([-1e30, 4.0, 3e38, None, 6.0]))
    feature = learned(plan_of([item], ["float"]), table).features[0]
    assert (feature.mean, feature.clip) == (5.0, (0.0, 10.0))
    assert feature.std == pytest.approx(np.std([0, 4, 10, 6]))
    scaled = {**item, "scale": "minmax"}
    feature = learned(plan_of([scaled], ["float"]), table).features[0]
    assert (feature.mean, feature.std) == (0.0, 10.0)


def test_equal_quantiles_become_one_boundary():
    plan = plan_of([{"name": "f", "kind": "numeric", "buckets": 10}], ["float"])
    result = learned(plan, typed(f=pa.array([7.0] * 99 + [8.0, None])))
    assert result.features[0].boundaries == (7.0,)


def test_a_label_is_measured_in_its_sample_space():
    tasks = [
        {"name": "y"},
        {"name": "z", "kind": "regression", "given": "y", "transform": "log1p"},
    ]
    plan = plan_of([{"name": "f", "kind": "numeric"}], ["float"], tasks)
    table = typed([1, 1, 0, None, 1], f=pa.array([1.0] * 5))
    z = pa.array([0.0, math.e - 1, 50.0, 60.0, None])
    first, second = learned(plan, table.append_column("label/z", z)).tasks
    assert first.mean == 0.75
    assert second.mean == pytest.approx(0.5)
    assert second.std == pytest.approx(0.5)


def test_the_order_of_the_shards_changes_no_bit():
    features = [
        {"name": "f", "kind": "numeric", "transform": "log1p"},
        {"name": "g", "kind": "numeric", "buckets": 5},
    ]
    plan = plan_of(features, ["float", "float"])
    random = np.random.default_rng(2)
    tables = [
        typed(
            random.integers(0, 2, n).astype(float).tolist(),
            f=pa.array(random.lognormal(size=n)),
            g=pa.array(random.normal(size=n)),
        )
        for n in (3, 50, 17, 400, 1)
    ]
    parts = [analyse(InMemory(table), plan) for table in tables]
    expected = learn(merge(parts), plan, {}, "")
    for _ in range(20):
        order = random.permutation(len(parts))
        cut = random.integers(1, len(parts))
        shuffled = [parts[i] for i in order]
        halves = [merge(shuffled[:cut]), merge(shuffled[cut:])]
        again = learn(merge(halves), plan, {}, "")
        assert again.features == expected.features
        assert again.tasks == expected.tasks
