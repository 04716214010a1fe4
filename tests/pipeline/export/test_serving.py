"""Signatures agree; warm-up, stored types and sampling are what they say they are."""

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import ClassVar

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from typer.testing import CliRunner

from steadyrank.components.layers.split_dense import SplitInput
from steadyrank.models.build import build_model
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.export.warmup import serialize_rows
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import export
from tests.helpers import tiny
from tests.helpers.raw import raw_of

SHARED = ["user", "country", "age"]
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


def assert_same(found, wanted, atol=1e-6):
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=atol)


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


def with_rate(rate, kind="binary"):
    document = tiny.config_document()
    document["tasks"][0] |= {"negative_rate": rate}
    if kind == "regression":
        document["tasks"][2] |= {"negative_rate": rate}
    return parse_config(document, "c")


def test_the_sampling_of_negatives_is_undone_by_hand_numbers():
    from steadyrank.models.serving_head import served as predicted

    half = tf.constant([0.0])  # a probability of 1/2 in the sampled log
    served = float(predicted(Task("click", negative_rate=0.25), half)[0])
    assert served == pytest.approx(0.5 / (0.5 + 0.5 / 0.25)) == pytest.approx(0.2)
    assert "negative_rate" not in Task("click").to_dict()
    task = Task("click", negative_rate=0.25)
    assert Task.from_dict(task.to_dict()) == task
    assert with_rate(0.25).tasks[0].negative_rate == 0.25


@pytest.mark.parametrize("rate", [0, 1.5])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(InputError, match="tasks.click.negative_rate"):
        with_rate(rate)
    with pytest.raises(InputError, match="a value is no negative"):
        with_rate(0.5, "regression")


def test_a_sampled_log_measures_as_the_whole_one():
    from steadyrank.pipeline.metrics.tasks import measure

    random = np.random.default_rng(5)
    truth = random.beta(1, 9, 200_000)
    label = (random.random(len(truth)) < truth).astype(float)
    kept = (label == 1) | (random.random(len(truth)) < 0.1)
    # what a perfect model of the sampled log says, corrected as the export does it
    sampled = truth / (truth + (1 - truth) * 0.1)
    corrected = sampled / (sampled + (1 - sampled) / 0.1)
    np.testing.assert_allclose(corrected, truth, rtol=1e-12)

    def measured(rows, output, rate):
        parts = ({"t": label[rows]}, {"t": np.ones(rows.sum())}, {"t": output[rows]})
        return measure([Task("t", negative_rate=rate)], *parts, curves=True)["t"]

    everything = np.ones(len(truth), bool)
    whole, some = measured(everything, truth, 1.0), measured(kept, corrected, 0.1)
    assert some["rows"] < 0.3 * whole["rows"]
    assert some["calibration"] == pytest.approx(1, abs=0.03)
    assert some["log_loss"] == pytest.approx(whole["log_loss"], rel=0.02)
    entropies = some["normalized_entropy"], whole["normalized_entropy"]
    assert entropies[0] == pytest.approx(entropies[1], rel=0.02)
    assert some["auc"] == pytest.approx(whole["auc"], abs=0.01)
    curve = some["calibration_curve"]
    np.testing.assert_allclose(curve["predicted"][3:], curve["observed"][3:], rtol=0.15)
    # uncorrected and unweighed, the same model looks badly calibrated in the whole log
    assert measured(everything, sampled, 1.0)["calibration"] > 3


def test_serve_check(folder, examples, tmp_path):
    from steadyrank.pipeline.kinds import serve_check as stage

    result = stage(examples, folder, sizes=(1, 7), repeats=2)
    assert result["passed"] and result["rows"] == 100
    assert set(result["differences"]) == {"serving_default", "tf_example", "candidates"}
    timed = {(row["signature"], row["rows"]) for row in result["latency"]}
    names = {*result["differences"], "encoded"}
    assert timed == {(name, rows) for name in names for rows in (1, 7)}
    assert all(0 < r["p50_ms"] <= r["p99_ms"] for r in result["latency"])
    with pytest.raises(InputError, match="kept no raw rows of 'train'"):
        stage(examples, folder, split="train")


def test_serve_check_sees_a_difference(folder, examples, monkeypatch):
    from steadyrank.pipeline.export import loaded
    from steadyrank.pipeline.kinds import serve_check as stage

    honest = loaded.calls_of

    def crooked(model):
        call = honest(model)

        def bent(inputs, plain=call["tf_example"]):
            outputs = plain(inputs)
            outputs["like"][-1] = np.nan
            return outputs

        return {**call, "tf_example": bent}

    monkeypatch.setattr(loaded, "calls_of", crooked)
    result = stage(examples, folder, sizes=(), repeats=1)
    assert not result["passed"] and np.isnan(result["differences"]["tf_example"])


def serve_check(*arguments):
    return CliRunner().invoke(app, ["serve-check", *map(str, arguments)])


def test_serve_check_on_the_command_line(folder, examples, tmp_path, monkeypatch):
    """The features that candidates share are the export's; the folder is made first."""
    output, there = tmp_path / "new" / "check.json", []

    def timed(*_):
        there.append(output.parent.is_dir())
        return {"p50_ms": 1.0, "p99_ms": 2.0, "rows_per_second": 3.0}

    monkeypatch.setattr("steadyrank.pipeline.evaluate.serve_check.timed", timed)
    places = ("--examples", examples, "--model", folder)
    done = serve_check(*places, "--output", output)
    assert done.exit_code == 0, (done.output, done.exception)
    assert there and all(there)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["passed"] and found["differences"]["candidates"] <= 1e-5


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("s3://bucket/check.json", "local folders only. Received: s3://bucket/check.json"),
        (".", "is a folder"),
        ("file/check.json", "cannot write"),
    ],
)
def test_serve_check_refuses_an_output_that_cannot_be(
    output, said, folder, examples, tmp_path, monkeypatch
):
    monkeypatch.setattr("steadyrank.pipeline.evaluate.serve_check.timed", pytest.fail)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    places = ("--examples", examples, "--model", folder)
    done = serve_check(*places, "--output", output)
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def client_module():
    path = Path(__file__).resolve().parents[3] / "docker" / "client.py"
    spec = importlib.util.spec_from_file_location("client", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server(http.server.BaseHTTPRequestHandler):
    """TensorFlow Serving's REST form of a predict call, on a loaded export."""

    signatures: ClassVar[dict] = {}

    def do_POST(self):  # noqa: N802
        assert self.path == "/v1/models/steadyrank:predict"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        function = self.signatures[body["signature_name"]]
        specs = function.structured_input_signature[1]
        inputs = {n: tf.constant(v, specs[n].dtype) for n, v in body["inputs"].items()}
        outputs = {name: v.numpy().tolist() for name, v in function(**inputs).items()}
        answer = json.dumps({"outputs": outputs}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


COLUMNS = {
    "user": [3],
    "country": ["fr"],
    "age": [float("nan")],
    "item": ["i1", "i2"],
    "tags": ["t1|t2", ""],
    "price": [1.5, float("nan")],
}


def test_the_client_speaks_the_servers_forms(signatures):
    client = client_module()
    function = signatures["candidates"]
    types = {n: s.dtype for n, s in function.structured_input_signature[1].items()}
    wanted = function(**{n: tf.constant(v, types[n]) for n, v in COLUMNS.items()})
    request = client.grpc_request(COLUMNS, "steadyrank", "candidates", types)
    sent = {n: tf.constant(tf.make_ndarray(v)) for n, v in request.inputs.items()}
    assert_same(function(**sent), wanted)
    assert request.model_spec.signature_name == "candidates"
    Server.signatures = signatures
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = client.ask_rest(url, "steadyrank", COLUMNS, "candidates")
        thread.join()
    assert_same(found, wanted)


class GrpcServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """TensorFlow Serving's service, on a loaded export."""

    def __init__(self, folder, signatures):
        self.signatures = signatures
        saved = saved_model_pb2.SavedModel.FromString(
            (folder / "saved_model.pb").read_bytes()
        )
        self.definitions = saved.meta_graphs[0].signature_def

    def GetModelMetadata(self, request, context):  # noqa: N802
        assert request.model_spec.name == "steadyrank"
        known = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self.definitions.items():
            known.signature_def[name].CopyFrom(definition)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(known)
        return answer

    def Predict(self, request, context):  # noqa: N802
        function = self.signatures[request.model_spec.signature_name]
        inputs = {n: tf.constant(tf.make_ndarray(v)) for n, v in request.inputs.items()}
        answer = predict_pb2.PredictResponse()
        for name, values in function(**inputs).items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return answer


def test_the_client_calls_grpc(folder, signatures):
    """Over the wire: types from the server's metadata, an int64 user, missing values."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service = GrpcServer(folder, signatures)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        address, client = f"127.0.0.1:{port}", client_module()
        found = client.ask_grpc(address, "steadyrank", COLUMNS, "candidates")
    finally:
        server.stop(None)
    function = signatures["candidates"]
    types = {n: s.dtype for n, s in function.structured_input_signature[1].items()}
    wanted = function(**{n: tf.constant(v, types[n]) for n, v in COLUMNS.items()})
    assert_same({n: tf.constant(v) for n, v in found.items()}, wanted)


def test_compose_and_batching_agree():
    folder = Path(__file__).resolve().parents[3] / "docker"
    service = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["serving"]
    assert "--batching_parameters_file=/config/batching.config" in service["command"]
    assert (folder / "batching.config").exists()
    assert {"8500:8500", "8501:8501"} == set(service["ports"])
