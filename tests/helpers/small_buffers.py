"""Buffers of a few rows, so that all that spills does."""

from steadyrank.pipeline.preprocess import blocks, spill

TINY = {  # so that a log of some hundred rows goes through all of it
    (spill, "BUFFER_BYTES"): 9000,
    (spill, "PART_ROWS"): 2,
    (spill, "SETTLED_ROWS"): 16,
    (spill, "LOAD_ROWS"): 150,
}


def shrink(monkeypatch):
    for (module, name), value in TINY.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4096)
