"""Every kind of feature is encoded in the exported graph as preprocessing encoded it,
whatever its values are."""

import datetime
import types
import zoneinfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.models.build import build_model
from steadyrank.models.features import MISSING_INTEGER, Feature
from steadyrank.models.hashed import hashed_ids
from steadyrank.models.inputs import share_below, standardise
from steadyrank.models.score_numbers import raw_mean
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.codes import code_tensor
from steadyrank.pipeline.export.raw_rows import kept_files
from steadyrank.pipeline.export.signatures import ServingModule
from steadyrank.pipeline.export.skew import differences, largest
from steadyrank.pipeline.export.warmup import plausible_rows, serialize_rows
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess.codes import code_ids
from steadyrank.pipeline.preprocess.vocabulary import Moments, _shares
from steadyrank.pipeline.raw_log.zones import CYCLE_FROM_MS, offsets_of
from tests.helpers import tiny

NAN, INF = float("nan"), float("inf")
TEXTS = [
    "",
    None,
    "ä",
    "a\u0301",
    "東京",
    "👩\u200d🚀",
    " x ",
    "NaN",
    "null",
    "0",
    "-0",
    "1.0",
]
TEXTS += [
    "x" * 5000,
    "a\x1f1",
    "a",
    "a|b",
    "\ufeffb",
    "\u2028",
    "1e5",
    "TRUE",
    "\x00",
    "a\x00",
]
WHOLE = [0, None, 1, -1, 2**63 - 1, -(2**63), -(2**63) + 1, 2**53 + 1, 7]
REALS = [0.0, -0.0, None, NAN, INF, -INF, 1e-45, 3.4e38, -3.4e38, 1e39, 0.1, 2**24 + 1, 17]
DATES = [
    None,
    datetime.date(1970, 1, 1),
    datetime.date(1999, 12, 31),
    datetime.date(2024, 2, 29),
]
TIMES = [
    "2024-03-31T00:59:59.999Z",
    "",
    None,
    "2024-03-31T01:00:00Z",
    "1900-01-02",
    "9996-12-31",
]
TIMES += ["1969-12-31T23:59:59.999Z", "2024-10-27 02:30:00", "1711846800000", "2150-07-01"]
LISTS = [None, [], [None], ["a", "", None, "ä", "a"], ["👩"], ["x", "y", "z", "w"]]
VECTORS = [None, [0.0, -0.0], [1e-45, -1e18], [0.1, 7.0]]
COLUMNS = {
    "text": (TEXTS, pa.string()),
    "whole": (WHOLE, pa.int64()),
    "real": (REALS, pa.float64()),
    "flag": ([True, False, None], pa.bool_()),
    "date": (DATES, pa.date32()),
    "when": (TIMES, pa.string()),
    "list": (LISTS, pa.list_(pa.string())),
    "split": (["a|b", "", None, "|", "a||ä|c", "b|b|b|b"], pa.string()),
    "vector": (VECTORS, pa.list_(pa.float32())),
    "id": ([1.0, 2.0, None, NAN, -0.0, 9e15], pa.float64()),
}
FEATURES = [
    {"name": "text", "kind": "categorical", "min_count": 2},
    {"name": "text_buckets", "column": "text", "kind": "categorical", "min_count": 99}
    | {"oov_buckets": 7},
    {"name": "whole", "kind": "categorical", "oov_buckets": 3, "min_count": 50},
    {"name": "id", "kind": "categorical"},
    {"name": "flag", "kind": "categorical"},
    {"name": "date", "kind": "categorical"},
    {"name": "list", "kind": "categorical", "max_values": 3},
    {"name": "split", "kind": "categorical", "max_values": 3, "separator": "|"},
    {"name": "past", "column": "list", "kind": "sequence", "of": "text", "length": 2},
    {"name": "vector", "kind": "vector", "length": 2},
    {"name": "real", "kind": "numeric", "clip": [-5, 1e6], "transform": "log1p"},
    {"name": "real_plain", "column": "real", "kind": "numeric", "scale": "minmax"}
    | {"clip": [-1e9, 1e9]},
    {"name": "real_buckets", "column": "real", "kind": "numeric", "buckets": [-1, 0, 0.1]},
    {"name": "real_quantiles", "column": "real", "kind": "numeric", "buckets": 4},
    {"name": "real_shares", "column": "real", "kind": "numeric", "transform": "quantile"}
    | {"quantiles": 20},
    {"name": "whole_number", "column": "whole", "kind": "numeric", "buckets": 4},
    {"name": "flag_number", "column": "flag", "kind": "numeric"},
    {"name": "text_hash", "column": "text", "kind": "hash", "buckets": 50},
    {"name": "whole_hash", "column": "whole", "kind": "hash", "hashes": 3, "buckets": 9},
    {"name": "id_hash", "column": "id", "kind": "hash", "hashes": 1},
    {"name": "flag_hash", "column": "flag", "kind": "hash"},
    {"name": "date_hash", "column": "date", "kind": "hash"},
    {"name": "hour", "column": "when", "kind": "hour", "zone": "Europe/Berlin"},
    {"name": "weekday", "column": "when", "kind": "weekday", "zone": "Asia/Kathmandu"},
    {"name": "date_weekday", "column": "date", "kind": "weekday"},
    {"name": "log_hour", "column": "time_ms", "kind": "hour"},
    {"name": "text_x_whole", "kind": "cross", "of": ["text", "whole"], "buckets": 90},
    {"name": "of_three", "kind": "cross", "of": ["id", "flag_hash", "hour"], "hashes": 1},
    {"name": "of_moments", "kind": "cross", "of": ["weekday", "date", "log_hour"]},
    {"name": "text_x_hour", "kind": "cross", "of": ["text_hash", "hour"], "hashes": 3},
]
SHARED = ["id", "flag_hash", "hour"]  # of the one user that candidates have
ROWS = 600


@pytest.fixture(scope="module")
def config():
    document = tiny.config_document(features=FEATURES, tasks=[{"name": "click"}])
    document["data"] |= {"join": [], "timezone": "America/New_York", "max_rejected": 0}
    document["data"].pop("group")
    document["model"] |= {"trunk": "shared_bottom", "bottom_units": [4]}
    for key in ("levels", "shared_experts", "expert_units"):
        document["model"].pop(key)
    return parse_config(document, "odd")


@pytest.fixture(scope="module")
def made(config, tmp_path_factory):
    """Columns whose odd values go round, each at a length that no other has."""
    folder = tmp_path_factory.mktemp("odd")
    table = {}
    for lap, (name, (values, kind)) in enumerate(COLUMNS.items()):
        order = np.random.default_rng(lap).integers(len(values), size=ROWS)
        order[: len(values)] = order[-len(values) :] = np.arange(len(values))
        table[name] = pa.array([values[i] for i in order], kind)
    rows = tiny.make_rows(ROWS)
    table |= {n: [row[n] for row in rows] for n in ("time_ms", "click", "number")}
    pq.write_table(pa.table(table), folder / "log.parquet")
    preprocess(config, folder, folder / "examples")
    return ExampleSet.open(folder / "examples")


@pytest.fixture(scope="module")
def module(config, made):
    schema = agree(config, made.schema)
    settings = config.model.model_dump()
    model = build_model(schema.features, schema.tasks, "click", settings, seed=1)
    return ServingModule(model, schema, made.path / "vocab", SHARED)


class Raw:
    """What ``kept_files`` asks of an export."""

    def __init__(self, schema):
        self.schema = schema
        read = [item for item in FEATURES if item["kind"] != "cross"]
        self.columns = {item["name"]: item.get("column", item["name"]) for item in read}


def test_the_graph_encodes_what_preprocessing_did(made, module):
    seen = {item["name"]: set() for item in FEATURES}
    for split in ("validation", "test"):
        for raw, encoded in kept_files(Raw(made.schema), made, split):
            raw = {name: tf.constant(values) for name, values in raw.items()}
            served = module.encode(raw)
            for name, wanted in encoded.items():
                np.testing.assert_array_equal(served[name], wanted, name)
                seen[name].update(map(repr, wanted.tolist()))
    assert min(map(len, seen.values())) > 2, {n: len(s) for n, s in seen.items()}
    assert made.manifest["rows"]["rejected"] == {}


def test_the_serialized_signature_reads_them_alike(made, module):
    for raw, encoded in kept_files(Raw(made.schema), made, "test"):
        found = module.functions["tf_example"](tf.constant(serialize_rows(raw)))
        wanted = module.functions["encoded"](
            **{n: tf.constant(v) for n, v in encoded.items()}
        )
        np.testing.assert_allclose(found["click"], wanted["click"], atol=1e-6)


def test_hashes_are_those_that_tensorflow_documents():
    texts = tf.constant(["Hello", "TensorFlow", "2.x", ""])
    assert hashed_ids(texts, 1, 3).numpy().tolist() == [1, 3, 3, 0]
    twice = hashed_ids(texts, 2, 3).numpy()
    assert twice[:, 0].tolist() == [1, 3, 3, 0] and twice[3, 1] == 0
    assert set(twice[:3, 1]) <= {4, 5, 6}
    many = tf.constant([f"id{i}" for i in range(3000)])
    rows = hashed_ids(many, 2, 100).numpy()
    pairs = len(np.unique(rows, axis=0))  # of 10,000 pairs some 2,590 should be met
    assert 2500 < pairs < 2700 and len(np.unique(rows)) == 200


def test_a_hash_has_no_unknown_value_and_a_row_for_a_missing_one():
    feature = Feature("f", "hash", raw="integer", hashes=2, hash_buckets=5, pooling="sum")
    assert (feature.rows, feature.ids_per_row) == (11, 2)
    ids = code_ids(pa.array([7, None, 7, -3], pa.int64()), feature)
    assert not feature.ids.is_unknown(ids).any()
    assert ids[1].tolist() == [0, 0] and ids[0].tolist() == ids[2].tolist()
    assert Feature.from_dict(feature.to_dict()) == feature


def test_a_cross_of_what_candidates_share_is_shared_and_others_are_of_each(made, module):
    assert module.shared == (*SHARED, "of_three")
    (raw, encoded), *_ = kept_files(Raw(made.schema), made, "test")
    raw, encoded = ({n: v[:60] for n, v in each.items()} for each in (raw, encoded))
    asked = {n: tf.constant(v[:1] if n in SHARED else v) for n, v in raw.items()}
    served = module.encode(asked)
    assert served["of_three"].shape == (1,) and len(served["text_x_hour"]) == 60
    assert len(np.unique(served["text_x_hour"], axis=0)) > 3
    call = {name: calling(function) for name, function in module.functions.items()}
    found = differences(call, raw, encoded, SHARED)
    assert {*found} == {"serving_default", "tf_example", "candidates"}
    assert max(map(largest, found.values())) < 1e-5


def calling(function):
    def call(inputs):
        return function(**{name: tf.constant(v) for name, v in inputs.items()})

    return call


ZONES = ["UTC", "Europe/Berlin", "Africa/Casablanca", "Asia/Kolkata", "Australia/Lord_Howe"]
ZONES += ["America/Sao_Paulo", "Pacific/Apia", "Antarctica/Troll"]


@settings(max_examples=60)
@given(zone=st.sampled_from(ZONES), data=st.data())
def test_hours_and_weekdays_are_those_of_the_clock(zone, data):
    changes = offsets_of(zone)[0][1:] // 1000
    near = st.sampled_from(changes.tolist() or [0]).flatmap(
        lambda at: st.integers(at - 2, at + 2)
    )
    last = CYCLE_FROM_MS // 1000 + 400 * 365 * 86_400
    far = near.map(lambda at: at + 146_097 * 86_400 * (at > CYCLE_FROM_MS // 1000))
    seconds = data.draw(
        st.lists(near | far | st.integers(-2_208_988_700, last), min_size=1, max_size=50)
    )
    ms = np.array(seconds, np.int64) * 1000 + 999
    clock = [
        (datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
         + datetime.timedelta(seconds=s)).astimezone(zoneinfo.ZoneInfo(zone))
        for s in seconds
    ]  # fmt: skip
    for kind in ("hour", "weekday"):
        wanted = [1 + (t.hour if kind == "hour" else t.weekday()) for t in clock]
        feature = Feature("f", kind, raw="integer", zone=zone)
        assert code_ids(pa.array(ms), feature).tolist() == wanted
        assert code_tensor(feature, tf.constant(ms)).numpy().tolist() == wanted


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def learned_shares(sample, quantiles):
    item = types.SimpleNamespace(transform="quantile", quantiles=quantiles)
    found = _shares(np.float32(sample), item, Moments(mean=3.0))
    return Feature("f", "numeric", transform="quantile", **found)


@settings(max_examples=60)
@given(
    sample=st.lists(NUMBERS, min_size=2, max_size=40, unique=True),
    ties=st.integers(0, 9),
    asked=st.lists(NUMBERS, min_size=1, max_size=30),
    quantiles=st.integers(2, 30),
)
def test_shares_go_with_the_numbers_and_from_0_to_1(sample, ties, asked, quantiles):
    sample = sample + sample[:1] * ties
    feature = learned_shares(sample, quantiles)
    if not feature.quantiles:
        return
    values = np.sort(np.float32([*asked, *sample, 3.4e38, -3.4e38, 0.0, -0.0]))
    found = share_below(feature, tf.constant(values)).numpy()
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() <= 1
    assert np.ptp(found) > 0
    wanted = np.interp(values.astype(float), feature.quantiles, feature.levels)
    gaps = np.diff(np.float64(feature.quantiles)).min()
    if gaps > 1e-30:
        np.testing.assert_allclose(found, wanted, atol=2e-5)
    inputs = standardise(feature, tf.constant([NAN, INF, -INF])).numpy()
    np.testing.assert_array_equal(inputs, [[0, 1]] * 3)


def test_shares_are_even_where_training_numbers_were():
    random = np.random.default_rng(1).lognormal(0, 3, 50_000)
    feature = learned_shares(random, 100)
    share = share_below(feature, tf.constant(np.float32(random))).numpy()
    counts = np.histogram(share, 10, (0, 1))[0]
    assert abs(counts - 5000).max() < 100
    inputs = standardise(feature, tf.constant(np.float32(random))).numpy()[:, 0]
    assert (inputs.mean(), inputs.std()) == pytest.approx((0, 1), abs=0.01)
    ties = learned_shares([0.0] * 61 + [1.0] * 40, 10)
    assert share_below(ties, tf.constant([0.0, 0.5])).numpy().tolist() == pytest.approx(
        [0.3, 0.575]
    )
    assert not learned_shares([7.0] * 5, 10).quantiles
    assert raw_mean(feature) == 3.0


def test_a_moment_beyond_all_years_of_a_log_is_missing_in_the_graph():
    feature = Feature("f", "hour", raw="integer", zone="UTC")
    moments = tf.constant([MISSING_INTEGER, 2**63 - 1, -(2**62), 0], tf.int64)
    assert code_tensor(feature, moments).numpy().tolist() == [0, 0, 0, 1]


def test_what_is_no_time_is_rejected_with_the_reason(config, tmp_path):
    document = tiny.config_document(
        features=[{"name": "hour", "column": "item", "kind": "hour"}]
    )
    tiny.write_log(tmp_path)
    with pytest.raises(InputError, match="feature hour: not a time"):
        preprocess(parse_config(document, "c"), tmp_path, tmp_path / "examples")


@pytest.mark.parametrize(
    "item, said",
    [
        ({"kind": "hash", "buckets": 1}, "buckets"),
        ({"kind": "hash", "hashes": 8, "buckets": 2**29}, "below 2"),
        ({"kind": "numeric", "quantiles": 9}, "quantiles is of transform"),
        ({"kind": "numeric", "transform": "quantile", "buckets": 3}, "leave "),
        ({"kind": "hour", "zone": "Mars/Olympus"}, "must be a time zone name"),
        ({"kind": "cross", "of": ["f", "f"]}, "different features"),
        ({"kind": "cross", "of": ["f"]}, "2 or more"),
    ],
)
def test_what_no_table_or_clock_has_is_refused(item, said):
    with pytest.raises(InputError, match=said):
        parse_config(tiny.config_document(features=[{"name": "f", **item}]), "c")


def test_rows_that_a_client_would_send_suit_every_kind(made, module):
    raw = plausible_rows(made.schema, made.path / "vocab", 3)
    raw = {name: tf.constant(values) for name, values in raw.items()}
    assert all(len(values) == 3 for values in module.encode(raw).values())
