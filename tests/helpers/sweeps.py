"""Sweeps of a made-up training, and spaces of it."""

import math
from pathlib import Path

import numpy as np

from steadyrank.pipeline.config import read_document
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.studies.sweep import read_sweep
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import (
    Outcome,
)
from tests.helpers import tiny

RATE = {"key": "train.dense.learning_rate", "low": 0.1, "high": 10.0, "scale": "log"}

DIM = {"key": "model.embedding_dim", "values": [2, 4, 8]}

UNITS = {"key": "model.expert_units", "values": [[8], [16, 8], [4]]}


def space_of(path: Path, sweep_path: Path | None, overrides=()) -> Space:
    """Of a config's file, and a sweep's."""
    return read_sweep(read_document(path, overrides), sweep_path, path.parent, str(path))


def make_space(*parameters, **settings) -> Space:
    section = {"space": list(parameters or (RATE, DIM)), "trials": 6, **settings}
    return Space(tiny.config_document(), Sweep.model_validate(section))


class Fake:
    """A trial function: counts its calls, and fails as it is told."""

    def __init__(self, **fails):
        self.calls, self.fails = [], fails

    def __call__(self, folder, values, epochs, source, beat):
        beat()
        self.calls.append((folder.name[-1], dict(values), epochs))
        fail = self.fails.get(f"trial_{folder.name[-1]}")
        if isinstance(fail, BaseException):
            raise fail
        if fail:
            return Outcome(fail, message="<script>")
        return told(score_of(values))


LUCK = np.random.default_rng(1).normal(size=200) / 50


def told(value, own=0.0, groups=50, rows="rows") -> Outcome:
    """A trial whose objective scatters with those of all others, and a bit by itself."""
    drawn = value + LUCK + own * np.random.default_rng(int(1e6 * value)).normal(size=200)
    return Outcome("completed", value, "", {}, 0.1, drawn.tolist(), rows, groups)


def score_of(values) -> float:
    """Best at a rate of 1."""
    return 0.8 - 0.1 * abs(math.log10(values.get("train.dense.learning_rate", 1.0)))
