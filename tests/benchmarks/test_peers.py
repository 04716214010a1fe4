"""The comparison with other libraries: its arithmetic, and what happens without them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import products
from benchmarks.peers.__main__ import summary, turns

ROOT = Path(__file__).resolve().parents[2]
CELLS = {
    "deepfm 260k 1024": {"ours": 30.0, "deepctr": 20.0, "torch_rechub": 60.0},
    "deepfm 8m 1024": {"ours": 30.0, "deepctr": 5.0, "pytorch": 10.0},
    "mmoe 260k 1024": {"ours": 20.0},
    "mmoe 8m 1024": {"ours": 19.0, "pytorch": 19.0},
}


def peers(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.peers", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_ratios_by_hand():
    result = summary(CELLS, {"260k": 20.0, "8m": 19.0}, {}, {})
    assert result["ratio_deepctr"] == 6.0 and result["ratio_pytorch"] == 3.0
    assert result["ratio_torch_rechub"] is None  # it was not timed at 8 M ids
    assert result["worst_ratio"] == 0.5
    assert result["worst_at"] == "deepfm 260k 1024 torch_rechub"
    assert result["mmoe_examples_per_s"] == {"260k": 20.0, "8m": 19.0}
    assert result["mmoe_ratio"] == pytest.approx(0.95)


def test_sides_take_turns():
    order = list(turns({"a": 0, "b": 0, "c": 0}, 3))
    assert order == list("abc") + list("cba") + list("abc")


def test_without_the_peers_it_says_how_to_get_them(tmp_path):
    done = peers("--peers-python", tmp_path / "absent")
    assert done.returncode == 2
    assert "make bench-peers" in done.stderr and "Traceback" not in done.stderr


def test_our_side_trains_and_a_broken_peer_is_reported():
    """This environment has no PyTorch, which is a peer that fails."""
    arguments = ["--models", "mmoe", "--vocabularies", "260k", "--threads", 1]
    arguments += ["--sides", "ours", "pytorch", "--rounds", 1, "--seconds", 0.2]
    done = peers(*arguments, "--peers-python", sys.executable)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    failed = {"mmoe rows-260000 pytorch": "exit status 1: ModuleNotFoundError: "}
    failed["mmoe rows-260000 pytorch"] += "No module named 'torch'"
    assert result["failed"] == failed
    assert set(result["examples_per_s"]["mmoe 260k 1024"]) == {"ours"}
    assert result["mmoe_examples_per_s"]["260k"] > 0


def test_products_are_those_of_our_model():
    """Every product of the model that is timed there, as often as a step has it."""
    from benchmarks.peers import ours

    model = ours.build("mmoe", [12] * 26)
    kernels = [v.shape for v in model.dense_variables if v.shape.rank == 2]
    large = [(int(shape[0]), int(shape[1])) for shape in kernels if shape[1] > 4]
    expected = [layer[:2] for layer in products.LAYERS.values() for _ in range(layer[2])]
    assert sorted(large) == sorted(expected)


def test_summary_of_products_by_hand():
    names = list(products.products())
    rounds = [
        {"tensorflow": dict.fromkeys(names, t), "pytorch": dict.fromkeys(names, 1e-3)}
        for t in (1e-3, 2e-3, 9e-3)
    ]
    found = products.summary(rounds)
    # three products of a layer; 1 + 4 + 2 layers; 2 ms and 1 ms each
    assert found["milliseconds"] == pytest.approx({"tensorflow": 42.0, "pytorch": 21.0})
    assert found["product_ratio"] == pytest.approx(0.5)
    forward = found["gflops"]["pytorch"]["experts: forward"]
    assert forward == pytest.approx(2 * 1024 * 256 * 128 / 1e-3 / 1e9)
