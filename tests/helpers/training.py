"""Trainings that are cut off, and what they left."""

import json

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.config import parse_config
from tests.helpers import tiny

SETTINGS = {"batch_size": 32, "shuffle_rows": 64, "epochs": 2, "checkpoint_every": 5}
SETTINGS |= {"average": 0.9}


MODEL = {
    "trunk": "shared_bottom",
    "embedding_dim": 4,
    "bottom_units": [8],
    "tower_units": [],
}


SMALLER = ("user", "price")


def config_of(**changes):
    settings = {f"train__{key}": value for key, value in {**SETTINGS, **changes}.items()}
    document = tiny.config_document(model=MODEL, **settings)
    document["features"] = [f for f in document["features"] if f["name"] in SMALLER]
    return parse_config(document, "c")


def smaller_config(**changes):
    """Two tasks, without PCGrad: less to trace."""
    settings = {"task_weights": {"method": "fixed"}, "epochs": 1, **changes}
    config = config_of(**settings)
    return config.model_copy(update={"tasks": config.tasks[:2]})


class Interrupted(Exception):
    """What a test raises from the progress callback."""


def state_of(folder) -> dict:
    """Every tensor of the last checkpoint: weights, slots, counters, place, best."""
    path = tf.train.latest_checkpoint(folder / "checkpoints")
    reader = tf.train.load_checkpoint(path)
    names = reader.get_variable_to_shape_map()
    skip = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")
    return {n: reader.get_tensor(n) for n in names if not any(s in n for s in skip)}


def log_of(folder) -> list[dict]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def interrupt(when):
    def progress(step, total, text):
        if when(step, text):
            raise Interrupted

    return progress


def best_of(folder):
    reader = tf.train.load_checkpoint(str(folder / "best" / "weights"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("weights/")]
    return {name: reader.get_tensor(name) for name in names}


def assert_same(one: dict, two: dict):
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)
