"""The benchmark of the data contract on a log of one clean day."""

from benchmarks import contract


def test_a_clean_day_passes_and_what_is_planted_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "CLEAN", 1)
    monkeypatch.setattr(contract, "FEW", 4)
    kinds = ("null rate of a number", "unit of a number, x 1000", "vanished category")
    kinds += ("two texts swapped",)
    monkeypatch.setattr(contract, "PLANTED", {k: contract.PLANTED[k] for k in kinds})
    found = contract.measure(tmp_path, 1, 1500, progress=lambda line: None)
    assert (found["clean_days"], found["refused"], found["missed"]) == (1, 0, [])
    assert found["planted"]["vanished category"] == {"planted": 1, "refused": 1, "named": 1}
