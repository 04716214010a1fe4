"""Files appear whole: who reads one meanwhile sees the old one, or the new one."""

import json
import math
import os

import pytest

from steadyrank.pipeline.files.errors import ExistsError
from steadyrank.pipeline.files.publish import publish, refuse_existing, write_json
from steadyrank.pipeline.files.scratch import scratch


def test_a_json_file_is_replaced_not_written_over(tmp_path):
    """A second name of the old file is what one who has opened it would read on."""
    path, opened = tmp_path / "train.json", tmp_path / "opened.json"
    write_json(path, {"steps": 1})
    os.link(path, opened)
    write_json(path, {"steps": 2})
    assert json.loads(opened.read_text()) == {"steps": 1}
    assert json.loads(path.read_text()) == {"steps": 2}
    assert sorted(tmp_path.iterdir()) == [opened, path]


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"auc": math.nan, "loss": [math.inf, 0.5], 3: "é"})
    assert path.read_bytes().decode() == (
        '{\n "auc": null,\n "loss": [\n  null,\n  0.5\n ],\n "3": "é"\n}\n'
    )
    with pytest.raises(TypeError):
        write_json(path, {"auc": object()})
    assert json.loads(path.read_text())["loss"] == [None, 0.5]


def test_a_refusal_sweeps_what_dead_ones_left_beside_and_no_other(tmp_path):
    out = tmp_path / "out"
    with publish(out) as partial:
        (partial / "manifest.json").write_text("{}")
    dead = tmp_path / f".out.partial-{'0' * 16}"
    with scratch(tmp_path, ".out.partial-") as alive:
        dead.mkdir()
        (dead / "spilled").write_text("")
        with pytest.raises(ExistsError):
            refuse_existing(out, overwrite=False)
        assert alive.exists() and not dead.exists()
