"""What TensorBoard reads of a training, and that writing it keeps nothing in memory."""

import os

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from steadyrank.pipeline.train.board import Board


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    return found.Reload()


def test_tensorboard_reads_what_was_written(tmp_path):
    board = Board(tmp_path / "b")
    board.text("settings", "```\na: 1\n```")
    board.scalars(1, {"loss": np.float64(0.5), "losses/click": 0.25})
    board.scalars(2, {"loss": float("nan")})
    board.flush()
    found = read(tmp_path / "b")
    assert set(found.Tags()["tensors"]) == {"settings", "loss", "losses/click"}
    steps = [(event.step, *event.tensor_proto.float_val) for event in found.Tensors("loss")]
    assert steps[0] == (1, 0.5) and steps[1][0] == 2 and np.isnan(steps[1][1])
    (text,) = found.Tensors("settings")
    assert text.tensor_proto.string_val[0] == b"```\na: 1\n```"
    assert found.SummaryMetadata("settings").plugin_data.plugin_name == "text"
    assert found.SummaryMetadata("loss").plugin_data.plugin_name == "scalars"


def test_each_board_has_a_file_of_its_own_and_none_writes_nothing(tmp_path):
    for _ in range(2):
        Board(tmp_path).flush()
    Board(None).scalars(1, {"loss": 1.0})
    Board(None).flush()
    names = os.listdir(tmp_path)
    assert len(names) == 2 and all(
        name.startswith("events.out.tfevents.") for name in names
    )


def test_what_was_written_stays_in_no_memory(tmp_path):
    """``tf.summary`` kept some 1.4 kB of each number: 40 MB here."""

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    board = Board(tmp_path)
    values = {f"weight_norm/{number}": 1.0 for number in range(30)}
    for step in range(200):
        board.scalars(step, values)
    before = resident()
    for step in range(1000):
        board.scalars(step, values)
    assert resident() - before < 8e6
    assert (
        pytest.approx(1)
        == read(tmp_path).Tensors("weight_norm/7")[-1].tensor_proto.float_val[0]
    )
