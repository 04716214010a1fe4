"""Requests that TensorFlow Serving replays before it takes others: all signatures run
once on plausible values, so that the first real request is as fast as the rest."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from steadyrank.models.features import Feature, raw_features
from steadyrank.models.score_numbers import raw_mean
from steadyrank.pipeline.examples.example_set import Schema, vocab_path
from steadyrank.pipeline.export.signatures import (
    CANDIDATES,
    RAW,
    SERIALIZED,
    TF_EXAMPLE,
    is_listed,
)

WARMUP_FILE = "tf_serving_warmup_requests"
ROWS = (1, 100)
MODEL = "steadyrank"


def write_warmup(path: Path, requests: Iterable[Mapping[str, dict]]) -> None:
    """Write requests as ``PredictionLog`` records.

    Args:
        path: The file, mostly ``assets.extra/tf_serving_warmup_requests``.
        requests: Signature -> its inputs, of each number of rows.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for by_signature in requests:
            for signature, inputs in by_signature.items():
                writer.write(prediction_log(signature, inputs).SerializeToString())


def plausible_requests(
    schema: Schema, vocab: Path, rows: int, shared: Collection[str]
) -> dict[str, dict]:
    """A request to each signature that takes raw features.

    Args:
        schema: The model's schema.
        vocab: Folder of the vocabulary files.
        rows: Of the request.
        shared: The features that candidates share; empty: there is no such signature.
    """
    raw = plausible_rows(schema, vocab, rows)
    requests = {RAW: raw, TF_EXAMPLE: {SERIALIZED: serialize_rows(raw)}}
    if shared:
        one = {name: v[:1] if name in shared else v for name, v in raw.items()}
        requests[CANDIDATES] = one
    return requests


def prediction_log(signature: str, inputs: dict) -> prediction_log_pb2.PredictionLog:
    """One request in the form of TensorFlow Serving's logs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log)


def plausible_rows(schema: Schema, vocab: Path, rows: int) -> dict[str, np.ndarray]:
    """Raw rows: known values in the order of the vocabulary, numbers at their mean."""
    features = raw_features(schema.features)
    return {f.name: _plausible(f, vocab_path(vocab, f.name), rows) for f in features}


def _plausible(feature: Feature, path: Path, rows: int) -> np.ndarray:
    if feature.kind == "numeric":
        shape = (rows, feature.width) if feature.width else rows
        return np.full(shape, raw_mean(feature), np.float32)
    known: list[str] = []
    if feature.has_vocabulary:
        with path.open(encoding="utf-8", newline="\n") as file:
            known = [line.rstrip("\n") for line, _ in zip(file, range(rows), strict=False)]
    known = known or ["" if feature.raw == "string" else "0"]
    values = [known[i % len(known)] for i in range(rows)]
    column = np.array(values, object if feature.raw == "string" else np.int64)
    return column[:, None] if is_listed(feature) else column


def serialize_rows(raw: dict[str, np.ndarray]) -> np.ndarray:
    """Raw rows as serialized ``tf.Example``, for the signature that takes them.

    Args:
        raw: Feature name -> ``[B]`` or ``[B, values]``: strings (or bytes), int64 or
            float32.

    Returns:
        Objects ``[B]`` of bytes.
    """
    rows = len(next(iter(raw.values())))
    serialized = np.empty(rows, object)
    for row in range(rows):
        feature = {name: _feature(values[row]) for name, values in raw.items()}
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        serialized[row] = example.SerializeToString()
    return serialized


def _feature(value) -> tf.train.Feature:
    # NumPy's own texts end before the zeros at their ends
    values = [value] if isinstance(value, str | bytes) else np.atleast_1d(value)
    if isinstance(values, list):
        return _texts(values)
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if values.dtype.kind == "i":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return _texts(values)


def _texts(values) -> tf.train.Feature:
    texts = [v.encode() if isinstance(v, str) else bytes(v) for v in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
