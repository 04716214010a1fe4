"""How TensorFlow runs in every test: two logical CPU devices, graphs as traced."""

import gc
import os
import pathlib

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, settings

from steadyrank.pipeline.config import parse_config
from tests.helpers import tiny
from tests.helpers.read_keys import recorded

_CPU = tf.config.list_physical_devices("CPU")[0]
_DEVICE = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(_CPU, [_DEVICE, _DEVICE])

DATA = "STEADYRANK_DATA"

# How long an example takes says how busy the machine is, not whether it is right.
settings.register_profile(
    "any load", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any load")
# For benchmarks.mutations: that there is a counterexample is all it asks.
settings.register_profile(
    "any example",
    settings.get_profile("any load"),
    phases=[Phase.explicit, Phase.generate],
)


# Grappler's passes take longer than the few steps that a test takes.  What runs in a
# process of its own, such as the command line, runs with them, as users do.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


# Of the files below: those that take twenty seconds and more.
LONG = ("nightly", "train", "preprocess", "evaluate", "release_in_bucket", "task_weighting")
LONG += ("public_logs", "vectors", "objectives", "damaged", "serving", "workers")
LONG += ("ctr_pipeline", "dataset", "learner", "rows")


def pytest_collection_modifyitems(items):
    """Long files first, those of this folder before all: one worker would be left
    alone with the last of them."""
    here, long = pathlib.Path(__file__).parent, {f"test_{name}" for name in LONG}
    items.sort(key=lambda item: (item.path.parent != here, item.path.stem not in long))


def pytest_collection_finish():
    """Modules and graphs live as long as the process: looking at all of them again and
    again for garbage is a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture
def two_replicas():
    """Mirrored over two CPU devices, with a reduction that cannot abort on a CPU."""
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


@pytest.fixture
def as_users_run():
    """With Grappler's passes, as in a process of its own, to the last bit."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session")
def data_folder():
    """Folder with the real data sets; tests that need it skip where it is absent."""
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get(DATA, beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set {DATA} to the folder that holds it")
    return folder


# One tiny log, its examples, a trained model and an export, each made once.


@pytest.fixture(scope="session")
def config():
    return parse_config(tiny.config_document(), "tiny.yaml")


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "log"
    tiny.write_log(folder)
    return folder


@pytest.fixture(scope="session")
def ranking_keys_read():
    """Keys of configs that the stages below read while they run."""
    return set()


@pytest.fixture(scope="session")
def examples(config, log_folder, ranking_keys_read):
    from steadyrank.pipeline.kinds import preprocess

    output = log_folder.parent / "examples"
    with recorded(ranking_keys_read):
        preprocess(config, log_folder, output)
    return output


@pytest.fixture(scope="session")
def trained(examples, ranking_keys_read):
    from steadyrank.pipeline.kinds import train

    output, document = examples.parent / "train", tiny.config_document(**tiny.LONG_ENOUGH)
    with recorded(ranking_keys_read):
        train(parse_config(document, "tiny.yaml"), examples, output)
    return output


@pytest.fixture(scope="session")
def exported(config, trained, ranking_keys_read):
    from steadyrank.pipeline.kinds import export

    with recorded(ranking_keys_read):
        return export(config, trained, trained.parent / "export")
