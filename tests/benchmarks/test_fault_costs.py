"""What protects is really switched off, and the interval is Student's."""

import os

import pytest

from benchmarks import fault_costs
from steadyrank.pipeline.files.checksum import Checksummed
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.train import log, run


def test_the_ratio_and_its_upper_end():
    assert fault_costs.ratio([(1.1, 1.0)] * 4) == pytest.approx((1.1, 1.1))
    mean, upper = fault_costs.ratio([(2.0, 1.0), (1.0, 2.0)])
    assert mean == pytest.approx(1)
    assert upper == pytest.approx(2**12.7062, rel=1e-4)  # t of one degree of freedom


def test_files_are_neither_synced_nor_hashed(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)

    def written(name):
        write_json(tmp_path / name, {})
        with (tmp_path / "x").open("wb") as raw:
            file = Checksummed(raw)
            file.write(b"abc")
        return file.bytes, file.checksum, (tmp_path / "x").read_bytes(), len(synced)

    with fault_costs.switched_off("preprocess"):
        bare = written("a.json")
    whole = written("b.json")
    assert bare[0] == whole[0] == 3 and bare[2] == whole[2] == b"abc"
    assert bare[1].startswith("e3b0c442") and whole[1].startswith("ba7816bf")
    assert bare[3] == 0 and whole[3] == 2


def test_a_log_is_read_back_without_a_look_at_it():
    with fault_costs.switched_off("train"):
        assert log._parsed(b'{"loss": "?"}', "x") == {"loss": "?"}
        assert log.require_steps("x", [], 9) is None
        with run.watching() as is_told:
            assert not is_told()
    with pytest.raises(log.InputError):
        log._parsed(b'{"loss": "?"}', "x")
