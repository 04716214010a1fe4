"""An export is served where nothing of this project, nor tf_keras, is installed.

By default a process refuses to import them, and runs isolated and elsewhere.  With
``STEADYRANK_BARE_PYTHON`` naming an interpreter that has TensorFlow alone, it runs there.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.config import parse_config
from pipeline.export import export
from tests.pipeline import tiny

# Fixtures of a folder beside this one.
from tests.pipeline.conftest import config, examples, log_folder, trained  # noqa: F401

SCRIPT = """
import json, sys

REFUSED = {
    "pipeline", "models", "components", "tf_keras", "tensorflow_recommenders",
    "tensorflow_io", "tensorflow_serving", "pydantic", "pyarrow", "apache_beam",
}

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError("refused: " + name, name=name)

sys.meta_path.insert(0, Refusing())
import tensorflow as tf

signatures = tf.saved_model.load(sys.argv[1]).signatures
nan, missing = float("nan"), -(2**63)
whole = {
    "user": tf.constant([3, 3, 3], tf.int64),
    "item": tf.constant(["i1", "never seen", ""]),
    "tags": tf.constant(["t1|t2|t3", "", "t9"]),
    "country": tf.constant(["fr", "fr", "fr"]),
    "price": tf.constant([9.5, nan, -1.0]),
    "age": tf.constant([33.0, 33.0, 33.0]),
}
one = {k: v[:1] if k in ("user", "country", "age") else v for k, v in whole.items()}
rows = [
    tf.train.Example(features=tf.train.Features(feature={
        "user": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),
        "item": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"i1"])),
        "tags": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"t1|t2|t3"])),
        "country": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"fr"])),
        "price": tf.train.Feature(float_list=tf.train.FloatList(value=[9.5])),
        "age": tf.train.Feature(float_list=tf.train.FloatList(value=[33.0])),
    })).SerializeToString()
]
outputs = {
    "serving_default": signatures["serving_default"](**whole),
    "candidates": signatures["candidates"](**one),
    "tf_example": signatures["tf_example"](examples=tf.constant(rows)),
}
loaded = sorted(REFUSED & {name.split(".")[0] for name in sys.modules})
found = {s: {k: v.numpy().tolist() for k, v in o.items()} for s, o in outputs.items()}
print(json.dumps({"loaded": loaded, "outputs": found}))
"""


@pytest.fixture(scope="module")
def moved(trained, tmp_path_factory):  # noqa: F811
    """An export, away from the folder it was written to."""
    document = tiny.config_document(serving={"shared": ["user", "country", "age"]})
    written = export(
        parse_config(document, "c"), trained, tmp_path_factory.mktemp("bare") / "export"
    )
    return written.rename(tmp_path_factory.mktemp("elsewhere") / "model")


def test_plain_tensorflow_serves_the_export(moved, tmp_path):
    python = os.environ.get("STEADYRANK_BARE_PYTHON", sys.executable)
    script = tmp_path / "serve.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [python, "-I", str(script), str(moved)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["loaded"] == []
    outputs = result["outputs"]
    for name, values in outputs["serving_default"].items():
        assert len(values) == 3 and np.isfinite(values).all()
        np.testing.assert_allclose(outputs["candidates"][name], values, rtol=1e-5)
        np.testing.assert_allclose(outputs["tf_example"][name], values[:1], rtol=1e-5)
