"""Rows that travel by file: every one arrives, and the output is that of whole shards."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.records import BLOCK_ROWS
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess import beam_job, blocks, memory, spill, stage
from steadyrank.pipeline.preprocess.blocks import Block, BlockFile, Store, read_block
from steadyrank.pipeline.preprocess.files import create_checked
from steadyrank.pipeline.preprocess.rows import HIGH
from steadyrank.pipeline.preprocess.spill import Part, Spill, by_range, gather
from tests.helpers import tiny, whole_shards
from tests.helpers.dirty_log import dirty_rows, records
from tests.helpers.small_buffers import shrink


def log_of(folder, rows):
    third = len(rows) // 3
    for name, part in enumerate((rows[:third], rows[third : 2 * third], rows[2 * third :])):
        tiny.write_parquet(part, folder / f"part-{name}.parquet", row_group=37)
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    document = tiny.config_document(data__input=["part-*.parquet"])
    return parse_config(document, "c")


def settled_groups(monkeypatch) -> list[int]:
    """How many rows shards were made final at a time, as it will be."""
    from steadyrank.pipeline.preprocess import settle

    found, plain = [], settle.settle_rows

    def counting(tables, *rest, **named):
        found.append(sum(map(len, tables)))
        return plain(tables, *rest, **named)

    monkeypatch.setattr(settle, "settle_rows", counting)
    return found


def test_shards_that_are_settled_by_ranges_give_the_bytes_of_whole_ones(
    tmp_path, monkeypatch
):
    shrink(monkeypatch)
    groups = settled_groups(monkeypatch)
    config = log_of(tmp_path, dirty_rows())
    preprocess(config, tmp_path, tmp_path / "out")
    files, statistics = whole_shards.records(config, tmp_path, tmp_path / "scratch")
    assert records(tmp_path / "out") == files
    found = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert sum(day["rows"] for day in found.pop("contract")["days"].values()) > 0
    assert found == json.loads(json.dumps(statistics, default=str))
    assert len(groups) >= 2 * len(files) and max(groups) < 120  # in several steps
    assert not [*tmp_path.glob("out/spill*"), *tmp_path.rglob("*.unfinished")]


def test_raw_rows_of_a_shard_in_many_ranges_are_in_the_order_of_its_records(
    tmp_path, monkeypatch
):
    rows = dirty_rows()
    config = log_of(tmp_path, rows)
    whole = preprocess(config, tmp_path, tmp_path / "whole")
    shrink(monkeypatch)
    parts = preprocess(config, tmp_path, tmp_path / "parts")
    assert parts["files"] == whole["files"]
    assert parts["identity"] == whole["identity"]
    for file in parts["files"]:
        if "raw" in file:
            paths = [
                each / file["raw"]["path"]
                for each in (tmp_path / "whole", tmp_path / "parts")
            ]
            assert paths[0].read_bytes() == paths[1].read_bytes()


def keyed(high: list[int]) -> pa.Table:
    return pa.table({HIGH: np.array(high, np.uint64), "row": np.arange(len(high))})


HIGH_BITS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60)


@given(loads=st.lists(HIGH_BITS, min_size=1, max_size=5), least=st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_ranges_follow_one_another_and_hold_equal_rows_together(
    loads, least, tmp_path_factory
):
    folder, old = str(tmp_path_factory.mktemp("spill")), spill.PART_ROWS
    spill.PART_ROWS = 2
    try:
        parts = []
        for high in loads:
            with Spill(folder) as file:
                file.add({"key": keyed(high)})
            parts += [part for _, part in file.parts]
        groups = [whole_shards.fingerprints(tables) for tables in gather(parts, least)]
    finally:
        spill.PART_ROWS = old
    found = np.concatenate(groups)
    assert Counter(found.tolist()) == Counter(value for high in loads for value in high)
    for before, after in zip(groups, groups[1:], strict=False):
        assert before.max() < after.min()
    assert all(len(group) >= least for group in groups[:-1])


def test_a_key_of_few_rows_is_one_part_and_of_many_is_cut():
    assert [part[:2] for part in by_range(keyed([1, 2**63]))] == [(0, 1024)]
    high = (np.arange(spill.PART_ROWS * 4, dtype=np.uint64) << np.uint64(51)).tolist()
    cut = list(by_range(keyed(high)))
    assert [(first, width) for first, width, _ in cut] == [
        (0, 256), (256, 256), (512, 256), (768, 256),
    ]  # fmt: skip
    assert sum(len(table) for *_, table in cut) == len(high)


def test_a_load_holds_some_of_its_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "BUFFER_BYTES", 1000)
    with Spill(str(tmp_path)) as file:
        for start in range(50):
            file.add({start % 3: keyed([start] * 10)})
            assert file._bytes < 1000
    assert sum(part.block.rows for _, part in file.parts) == 500


@pytest.mark.parametrize("lengths", [[3], [16, 16], [5, 40, 1, 0, 7], [0]])
def test_stored_rows_come_in_blocks_of_one_length(tmp_path, monkeypatch, lengths):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 16)
    total, start = sum(lengths), 0
    with BlockFile(str(tmp_path)) as file:
        store = Store(file)
        for length in lengths:
            numbers = np.arange(start, start + length)
            store.add(pa.table({"a": numbers, "b": numbers.astype(str)}))
            start += length
        stored = store.finish()
    assert len(stored) == total
    sizes = [len(table) for table in stored.blocks()]
    assert sizes == [16] * (total // 16) + [total % 16] * (total % 16 > 0)
    values = [value for array in stored.arrays("b") for value in array.to_pylist()]
    assert values == [str(number) for number in range(total)]
    if total:
        assert stored.select(["b"]).column_names == ["b"]
        assert stored.table()["a"].to_pylist() == list(range(total))


def test_blocks_of_several_types_lie_in_one_file(tmp_path):
    some = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()})
    others = pa.table({"a": [1, 2]})
    with BlockFile(str(tmp_path)) as file:
        first, second = file.append(some), file.append(others)
    assert read_block(first) == some and read_block(second) == others
    assert first.path == second.path and second.start == first.bytes


def test_blocks_are_cut_as_records_are():
    assert blocks.BLOCK_ROWS % BLOCK_ROWS == 0


def test_a_file_gets_its_name_when_it_is_whole_and_a_second_try_replaces_it(tmp_path):
    path = tmp_path / "train" / "a.tfrecord"
    with pytest.raises(OSError, match="full"):
        with create_checked(str(path)) as file:
            file.write(b"half")
            raise OSError("the disk is full")
    assert not path.exists()
    for content in (b"whole", b"again"):
        before = path.read_bytes() if path.exists() else None
        with create_checked(str(path)) as file:
            file.write(content)
            assert (path.read_bytes() if path.exists() else None) == before
        assert path.read_bytes() == content
    assert len(list(path.parent.iterdir())) == 2  # what the first try left, to be cleared
    beam_job._clear(tmp_path)
    assert list(path.parent.iterdir()) == [path]


def test_blocks_are_grouped_by_their_rows():
    some = [Block("", number, 0, 4) for number in range(7)]
    groups = [[block.start for block in group] for group in blocks.groups_of(some, 8)]
    assert groups == [[0, 1], [2, 3], [4, 5], [6]]


def test_nothing_to_write_leaves_no_file(tmp_path):
    with BlockFile(str(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


def test_pieces_of_a_log_are_shared_out_in_loads():
    assert [len(load) for load in spill.loads_of(range(5), 100)] == [1] * 5
    loads = spill.loads_of(range(400), 40_000_000)
    assert len(loads) == 40 and [n for load in loads for n in load] == list(range(400))
    assert len(spill.loads_of(range(64), 1_000_000)) == 16


def test_the_launcher_gets_its_pool_and_its_malloc_back(monkeypatch):
    told = []
    monkeypatch.setattr(memory, "_tell_malloc", lambda *option: told.append(option))
    before = pa.default_memory_pool()
    with memory.system_pool():
        memory.give_back_memory()  # a worker in the launcher's own process
        assert pa.default_memory_pool().backend_name == "system"
    assert pa.default_memory_pool().backend_name == before.backend_name != "system"
    assert told == [(-1, 64 << 20), (-3, 32 << 20)]  # and no fewer arenas


def test_what_is_looked_at_before_the_job_is_given_back_as_well(tmp_path, monkeypatch):
    class Looked(Exception):
        pass

    def looks(*_):
        assert pa.default_memory_pool().backend_name == "system"
        raise Looked

    monkeypatch.setattr(stage, "make_plan", looks)
    before = pa.default_memory_pool().backend_name
    with pytest.raises(Looked):
        preprocess(log_of(tmp_path, dirty_rows()), tmp_path, tmp_path / "out")
    assert pa.default_memory_pool().backend_name == before != "system"


def test_within_another_a_pool_is_left_as_it_is(monkeypatch):
    with memory.system_pool():
        monkeypatch.setattr(memory, "_tell_malloc", pytest.fail)
        with memory.system_pool():
            pass
        assert pa.default_memory_pool().backend_name == "system"
        monkeypatch.undo()


def test_gathering_sorts_parts_that_come_in_any_order(tmp_path):
    with BlockFile(str(tmp_path)) as file:
        parts = [
            Part(first, 256, Block(*file.append(keyed([first << 54]))))
            for first in (512, 0, 256, 768)
        ]
    groups = [int(whole_shards.fingerprints(t)[0]) >> 54 for t in gather(parts, 1)]
    assert groups == [0, 256, 512, 768]


def test_what_cannot_be_removed_is_not_published_and_swept_by_the_next(
    tmp_path, monkeypatch
):
    def run(overwrite):
        preprocess(config, tmp_path / "log", tmp_path / "out", overwrite=overwrite)
        return {p.name for p in tmp_path.iterdir()} - {"log", "out"}

    tiny.write_log(tmp_path / "log")
    config = parse_config(tiny.config_document(), "c")
    removed = []
    monkeypatch.setattr(
        beam_job.shutil, "rmtree", lambda path, **_: removed.append(Path(path).name)
    )
    left = run(overwrite=False)
    assert removed.count("spill") == 1 and not (tmp_path / "out" / "spill").exists()
    monkeypatch.undo()
    assert len(left) == 1 and run(overwrite=True) == set()
