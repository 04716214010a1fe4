"""Ask TensorFlow Serving for scores: REST with the standard library, gRPC with
tensorflow-serving-api.  This file needs nothing of steadyrank.

    python docker/client.py --rest http://localhost:8501 < request.json
    python docker/client.py --grpc localhost:8500 < request.json

The request is a JSON object of columns, ``{"user_id": [7], "video_id": [1, 2, 3]}``; it
names every input of the signature.  NaN stands for a missing number.
"""

import argparse
import json
import sys
import urllib.request


def rest_request(columns: dict, signature: str) -> bytes:
    """The body of a REST predict call, in its column form."""
    return json.dumps({"signature_name": signature, "inputs": columns}).encode()


def ask_rest(url: str, model: str, columns: dict, signature: str) -> dict:
    """Output name -> values."""
    request = urllib.request.Request(
        f"{url}/v1/models/{model}:predict",
        rest_request(columns, signature),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["outputs"]


def grpc_request(columns: dict, model: str, signature: str, types: dict):
    """A ``PredictRequest``; types: input name -> tf.DType."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in columns.items():
        kind = types.get(name)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, kind))
    return request


def ask_grpc(address: str, model: str, columns: dict, signature: str) -> dict:
    """Output name -> NumPy array.  The types are asked of the server first."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        prediction_service_pb2_grpc,
    )

    service = prediction_service_pb2_grpc.PredictionServiceStub(
        grpc.insecure_channel(address)
    )
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = model
    metadata.metadata_field.append("signature_def")
    answer = service.GetModelMetadata(metadata, timeout=10)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def[signature].inputs
    types = {name: tf.dtypes.as_dtype(info.dtype) for name, info in inputs.items()}
    request = grpc_request(columns, model, signature, types)
    outputs = service.Predict(request, timeout=10).outputs
    return {name: tf.make_ndarray(values) for name, values in outputs.items()}


def main() -> None:
    """Read columns, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rest", help="http://host:8501")
    parser.add_argument("--grpc", help="host:8500")
    parser.add_argument("--model", default="steadyrank")
    parser.add_argument("--signature", default="serving_default")
    options = parser.parse_args()
    columns = json.load(sys.stdin)
    if options.grpc:
        found = ask_grpc(options.grpc, options.model, columns, options.signature)
        found = {name: values.tolist() for name, values in found.items()}
    else:
        url = options.rest or "http://localhost:8501"
        found = ask_rest(url, options.model, columns, options.signature)
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
