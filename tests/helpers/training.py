"""Trainings that are cut off, and what they left."""

import json

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
