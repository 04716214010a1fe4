"""Training with a trunk that computes in bfloat16: nothing that is kept knows of it."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers.dense import DenseOptimizer
from steadyrank.pipeline.kinds import export, train
from tests.helpers.training import log_of, smaller_config

FULL, HALF = "float32", "bfloat16"


@pytest.fixture(scope="module")
def runs(examples, tmp_path_factory):
    """Config and folder of a run in each precision, and of what its clips saw."""
    found = {}
    for precision in (FULL, HALF):
        config, seen = smaller_config(precision=precision, epochs=2, patience=None), set()
        folder = tmp_path_factory.mktemp("precision") / precision
        with pytest.MonkeyPatch.context() as patch:
            update = DenseOptimizer.update_step

            def update_step(optimizer, gradient, variable, _update=update, _seen=seen):
                _seen.add((gradient.dtype, variable.dtype))
                return _update(optimizer, gradient, variable)

            patch.setattr(DenseOptimizer, "update_step", update_step)
            train(config, examples, folder)
        found[precision] = config, folder, seen
    return found


def losses(folder) -> np.ndarray:
    return np.array([line["loss"] for line in log_of(folder) if "loss" in line])


def test_it_learns_about_as_in_float32(runs):
    full, half = (losses(runs[precision][1]) for precision in (FULL, HALF))
    assert np.any(full != half)
    np.testing.assert_allclose(half, full, rtol=0.02)
    assert half[-13:].mean() < 0.97 * half[:13].mean()


def test_clips_see_gradients_of_float32(runs):
    for _, _, seen in runs.values():
        assert seen == {(tf.float32, tf.float32)}


def test_what_is_kept_is_float32(runs):
    shapes = []
    for _, folder, _ in runs.values():
        for path in (folder / "checkpoints", folder / "best"):
            latest = tf.train.latest_checkpoint(path) or str(path / "weights")
            reader = tf.train.load_checkpoint(latest)
            kinds = reader.get_variable_to_dtype_map()
            assert tf.bfloat16 not in kinds.values() and tf.float32 in kinds.values()
            shapes.append(reader.get_variable_to_shape_map())
    assert shapes[0] == shapes[2] and shapes[1] == shapes[3]


def test_the_export_computes_in_float32(runs, tmp_path):
    config, folder, _ = runs[HALF]
    path = export(config, folder, tmp_path / "export")
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    graphs = [served.graph, *(f.graph for f in served.graph._functions.values())]
    kinds = {t.dtype for g in graphs for op in g.get_operations() for t in op.outputs}
    assert tf.float32 in kinds and tf.bfloat16 not in kinds
