"""Signatures agree; warm-up, stored types and sampling are what they say they are."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.split_dense import SplitInput
from steadyrank.models.build import build_model
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.export.warmup import serialize_rows
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import export
from tests.helpers import tiny
from tests.helpers.served_rows import SHARED, assert_same, raw_of

USERS = {row["user"]: row["country"] for row in tiny.make_users()}


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    document = tiny.config_document(serving={"shared": SHARED})
    output = tmp_path_factory.mktemp("serving") / "export"
    return export(parse_config(document, "c"), trained, output)


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


def some_rows(count=40):
    rows = tiny.make_rows(count, seed=7)
    rows[3] |= {"item": "never seen", "tags": "t1|new|t2"}
    rows[4] |= dict.fromkeys(("user", "item", "tags", "price", "age"))
    return rows


def test_candidates_score_as_the_repeated_user(signatures):
    items = some_rows()
    for user in (items[0], items[4]):
        shared = {name: user[name] for name in ("user", "age")}
        whole = raw_of([row | shared for row in items], USERS)
        split = {n: v[:1] if n in SHARED else v for n, v in whole.items()}
        found = signatures["candidates"](**split)
        assert_same(found, signatures["serving_default"](**whole))
        assert found["score"].shape == [len(items)] and np.std(found["score"]) > 1e-4


@pytest.mark.parametrize("count", [0, 1])
def test_few_candidates(signatures, count):
    whole = raw_of(some_rows(), USERS)
    split = {n: v[:1] if n in SHARED else v[:count] for n, v in whole.items()}
    assert signatures["candidates"](**split)["score"].shape == [count]


def test_examples_score_as_raw_rows_and_missing_keys_are_missing(signatures):
    raw = raw_of(some_rows(), USERS)
    wanted = signatures["serving_default"](**raw)
    serialized = serialize_rows({name: values.numpy() for name, values in raw.items()})
    assert_same(signatures["tf_example"](examples=tf.constant(serialized)), wanted)
    empty = signatures["tf_example"](examples=tf.constant([b""]))
    nothing = dict.fromkeys(("user", "item", "tags", "price", "age"))
    assert_same(empty, signatures["serving_default"](**raw_of([nothing], {})))


def test_the_score_reads_numbers_in_every_signature(trained, tmp_path):
    """The formula by hand: price is sent raw, age is the one user's; some are missing."""
    formula = "click * sigmoid(price / 50) + log1p(age) * 0.1"
    document = tiny.config_document(score=formula, serving={"shared": SHARED})
    schema = json.loads((trained / "schema.json").read_text())
    assert schema["score"] != formula  # which is not learned: the export takes its config's
    folder = export(parse_config(document, "c"), trained, tmp_path / "export")
    served = tf.saved_model.load(str(folder)).signatures
    rows = [{**row, "age": 33} for row in some_rows()]
    whole = raw_of([{**row, "user": rows[0]["user"]} for row in rows], USERS)
    found = served["serving_default"](**whole)
    fields = {f["name"]: f for f in schema["features"]}
    mean = np.sign(fields["price"]["mean"]) * np.expm1(abs(fields["price"]["mean"]))
    prices = np.array([mean if r["price"] is None else r["price"] for r in rows])
    click = found["click"].numpy().astype(np.float64)
    expected = click / (1 + np.exp(-prices / 50)) + 0.1 * np.log1p(33)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    shared = {n: v[:1] if n in SHARED else v for n, v in whole.items()}
    assert_same(served["candidates"](**shared), found)
    empty = served["tf_example"](examples=tf.constant([b""]))
    click = float(empty["click"][0])
    expected = click / (1 + np.exp(-mean / 50)) + 0.1 * np.log1p(fields["age"]["mean"])
    assert float(empty["score"][0]) == pytest.approx(expected, rel=1e-4)


def test_an_export_with_another_model_than_was_trained_is_refused(trained, tmp_path):
    config = parse_config(tiny.config_document(model__tower_units=[5]), "c")
    with pytest.raises(InputError, match="model.tower_units is .5. in the config, but"):
        export(config, trained, tmp_path / "export")
    assert not (tmp_path / "export").exists()


SETTINGS = {
    "bottom": {"trunk": "shared_bottom", "bottom_units": [8, 4]},
    "normed": {"trunk": "shared_bottom", "bottom_units": [8], "layer_norm": True},
    "ple": {
        "trunk": "ple",
        "levels": 2,
        "shared_experts": 2,
        "task_experts": 1,
        "expert_units": [8, 4],
    },
    "single": {"trunk": "single_task", "bottom_units": [8, 4]},
    "stitch": {"trunk": "cross_stitch", "bottom_units": [8, 4], "front": "dot"},
    "ml_mmoe": {
        "trunk": "ml_mmoe",
        "levels": 2,
        "experts": 2,
        "expert_units": [8],
        "front": "cross",
    },
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("keeps", [False, True])
def test_every_trunk_takes_candidates(name, keeps):
    features = (
        Feature("user", "categorical", dim=4, vocabulary_size=9),
        Feature("item", "categorical", dim=4, vocabulary_size=9),
        Feature("seen", "categorical", dim=3, max_values=2, vocabulary_size=9),
        Feature("price", "numeric", mean=1.0, std=2.0),
        Feature("tag", "categorical", dim=4, max_values=2, vocabulary_size=5),
    )
    settings = {"tower_units": [4], **SETTINGS[name]}
    tasks = (Task("click", mean=0.3), Task("like", mean=0.1))
    model = build_model(features, tasks, "click * like", settings, seed=3)
    random = np.random.default_rng(0)
    batch = {
        "user": np.full(6, 4, np.int32),
        "item": random.integers(0, 11, 6).astype(np.int32),
        "seen": np.array([[3, 5]] * 6, np.int32),
        "price": random.normal(size=6).astype(np.float32),
        "tag": random.integers(0, 6, (6, 2)).astype(np.int32),
    }
    shared = ("user", "seen")
    one = {n: tf.constant(v[:1] if n in shared else v) for n, v in batch.items()}
    wanted = model.head.predict_tasks({n: tf.constant(v) for n, v in batch.items()})
    cuts = model.head.cut_kernels(one, shared) if keeps else None
    assert_same(model.head.predict_candidates(one, shared, cuts), wanted)
    if keeps:
        joined = name == "normed" or "front" in settings
        assert bool(cuts.variables) is not joined
    split = model.inputs_layer.split(one, shared)
    assert isinstance(split, SplitInput)
    whole = model.inputs_layer({n: tf.constant(v) for n, v in batch.items()})
    np.testing.assert_array_equal(split.joined(), whole)


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        ({"shared": ["usr"]}, "serving.shared: 'usr' is no feature. Did you mean 'user'"),
        ({"shared": [f["name"] for f in tiny.CONFIG["features"]]}, "differ in some"),
        ({"share": []}, "serving.share: unknown key"),
    ],
)
def test_what_cannot_be_shared_is_refused(serving, said):
    with pytest.raises(InputError, match=said):
        parse_config(tiny.config_document(serving=serving), "c")


def test_the_card_and_the_warm_up(folder, signatures):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    card = json.loads((folder / "assets.extra" / "card.json").read_text())
    assert card["signatures"] == sorted(signatures)
    assert card["versions"]["tensorflow"] == tf.__version__
    assert {"schema", "config", "training", "data", "git_revision"} <= set(card)
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    seen = set()
    for record in tf.data.TFRecordDataset(str(file)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        scores = signatures[name](**inputs)["score"].numpy()
        assert np.isfinite(scores).all()
        seen.add((name, len(scores)))
    names = ("serving_default", "tf_example", "candidates")
    assert seen == {(name, rows) for name in names for rows in (1, 100)}


@pytest.mark.parametrize(
    ("dtype", "error"), [("float16", 1e-4), ("bfloat16", 1e-3), ("int8", 1e-3)]
)
def test_smaller_tables_score_nearly_the_same(dtype, error, trained, signatures, tmp_path):
    document = tiny.config_document(export={"embedding_dtype": dtype})
    path = export(parse_config(document, "c"), trained, tmp_path / "export")
    small = tf.saved_model.load(str(path)).signatures["serving_default"]
    raw = raw_of(some_rows(), USERS)
    wanted, found = signatures["serving_default"](**raw), small(**raw)
    gap = np.abs(found["click"] - wanted["click"]).max()
    assert 0 < gap < error
    stored = tf.train.list_variables(str(path / "variables" / "variables"))
    sizes = [np.prod(shape) for _, shape in stored if len(shape) == 2 and shape[1] == 4]
    assert sizes.count(max(sizes)) == 1  # the table itself is not there as well


def test_int8_rows_are_within_half_a_step():
    from steadyrank.components.layers.embeddings import FusedEmbedding

    layer = FusedEmbedding([50], 8)
    (exact,) = layer([tf.range(50)])
    table, scale = layer.compress("int8")
    (found,) = layer([tf.range(50)])
    assert table.dtype == tf.int8 and np.abs(table.numpy()).max() == 127
    assert (np.abs(found - exact) <= scale.numpy() / 2 + 1e-9).all()


def test_saved_model_cli_runs_the_export(folder, tmp_path):
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    example = '[{"user":[3],"item":["i4"],"tags":["t1|t2"],"price":[9.5]}]'
    arguments = ["run", "--dir", str(folder), "--tag_set", "serve"]
    arguments += ["--signature_def", "tf_example", "--outdir", str(tmp_path)]
    arguments += ["--input_examples", f"examples={example}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*tool, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 < np.load(tmp_path / "click.npy")[0] < 1
