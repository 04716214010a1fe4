"""The client of the container speaks what a server understands."""

import http.server
import importlib.util
import json
import threading
from concurrent import futures
from pathlib import Path
from typing import ClassVar

import grpc
import pytest
import tensorflow as tf
import yaml
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.kinds import export
from tests.helpers import tiny
from tests.helpers.served_rows import SHARED, assert_same


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    document = tiny.config_document(serving={"shared": SHARED})
    output = tmp_path_factory.mktemp("serving") / "export"
    return export(parse_config(document, "c"), trained, output)


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


def client_module():
    path = Path(__file__).resolve().parents[1] / "docker" / "client.py"
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
    folder = Path(__file__).resolve().parents[1] / "docker"
    service = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["serving"]
    assert "--batching_parameters_file=/config/batching.config" in service["command"]
    assert (folder / "batching.config").exists()
    assert {"8500:8500", "8501:8501"} == set(service["ports"])
