"""An export is served where nothing of this project, nor tf_keras, is installed.

The environment is a real one: a virtual environment that holds the installed TensorFlow
with what it depends on, folder by folder, and nothing else.  ``STEADYRANK_BARE_PYTHON`` may
name an interpreter with TensorFlow alone to take in its place.
"""

import importlib.metadata
import json
import os
import subprocess
import venv

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.kinds import export
from tests.helpers import tiny

SCRIPT = """
import importlib.util, json, sys

REFUSED = {
    "steadyrank", "tf_keras", "tensorflow_recommenders",
    "tensorflow_io", "tensorflow_serving", "pydantic", "pyarrow", "apache_beam", "pip",
}

found = [name for name in sorted(REFUSED) if importlib.util.find_spec(name)]
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
outputs = {s: {k: v.numpy().tolist() for k, v in o.items()} for s, o in outputs.items()}
print(json.dumps({"found": found, "version": tf.__version__, "outputs": outputs}))
"""


@pytest.fixture(scope="module")
def moved(trained, tmp_path_factory):
    """An export, away from the folder it was written to."""
    document = tiny.config_document(serving={"shared": ["user", "country", "age"]})
    written = export(
        parse_config(document, "c"), trained, tmp_path_factory.mktemp("bare") / "export"
    )
    return written.rename(tmp_path_factory.mktemp("elsewhere") / "model")


def closure(name: str) -> dict[str, importlib.metadata.Distribution]:
    """A distribution and all that it depends on here, by name."""
    found, waiting = {}, [name]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def place_of(file) -> str:
    """The file's folder that no other distribution has a part in."""
    return "/".join(file.parts[: 2 if file.parts[0] in ("google", "__pycache__") else 1])


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """An interpreter that finds TensorFlow and its dependencies alone."""
    if "STEADYRANK_BARE_PYTHON" in os.environ:
        return os.environ["STEADYRANK_BARE_PYTHON"]
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, symlinks=True, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    # With what was compiled, or compiling it anew would take longer than all else.
    for distribution in closure("tensorflow").values():
        for place in sorted({place_of(file) for file in distribution.files or []}):
            if place.startswith(".."):  # a script
                continue
            link = packages / place
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(distribution.locate_file(place))
    return str(folder / "bin" / "python")


def test_plain_tensorflow_serves_the_export(moved, bare_python, tmp_path):
    script = tmp_path / "serve.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [bare_python, "-I", str(script), str(moved)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["found"] == []
    outputs = result["outputs"]
    for name, values in outputs["serving_default"].items():
        assert len(values) == 3 and np.isfinite(values).all()
        np.testing.assert_allclose(outputs["candidates"][name], values, rtol=1e-5)
        np.testing.assert_allclose(outputs["tf_example"][name], values[:1], rtol=1e-5)
