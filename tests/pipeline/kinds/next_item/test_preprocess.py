"""Sequences from an event log: a naive reference, every split, every event counted."""

import json
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_sequence_config
from steadyrank.pipeline.examples.example_set import counts_path
from steadyrank.pipeline.examples.identity import same_task
from steadyrank.pipeline.examples.records import write_records
from steadyrank.pipeline.files.checksum import checksum_of
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds.next_item import example_set
from steadyrank.pipeline.kinds.next_item import preprocess as stage
from steadyrank.pipeline.kinds.next_item.events import key_events, settle_events
from steadyrank.pipeline.kinds.next_item.example_set import (
    ITEM,
    SequenceSet,
    encode_sequences,
    pad_left,
    read_blocks,
)
from steadyrank.pipeline.kinds.next_item.plan import make_plan
from steadyrank.pipeline.kinds.next_item.preprocess import preprocess
from tests.helpers import event_log

MOMENTS = {"validation": "2024-03-05", "test": "2024-03-07"}
SECONDS = [event_log.START.timestamp() + days * 24 * 3600 for days in (4, 6)]
FRACTIONS = {"validation": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def events():
    return event_log.make_events()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, events):
    log = tmp_path_factory.mktemp("events")
    event_log.write_events(log, events)
    return log


@pytest.fixture(scope="module")
def whole(folder):
    """The set that Beam makes, leaving each user's last events out."""
    config = parse_sequence_config(event_log.config_document(), "c")
    manifest = preprocess(config, folder, folder / "examples")
    return SequenceSet.open(folder / "examples"), manifest


def settled(folder, **changes) -> tuple[dict, dict]:
    """Raw sequences of each split without Beam, in two shards, and the counts."""
    config = parse_sequence_config(event_log.config_document(**changes), "c")
    plan = make_plan(config, folder)
    object.__setattr__(plan, "shards", 2)
    (piece,) = plan.log.pieces
    shards, found, counts = {}, {"train": [], "validation": [], "test": []}, {}
    for batch in piece.batches():
        tables, rejected, left_out = key_events(batch, piece.path, plan)
        counts["rejected"] = sum(map(len, rejected))
        counts |= left_out
        for shard, part in tables.items():
            shards.setdefault(shard, []).append(part)
    for tables in shards.values():
        done = settle_events(tables, plan)
        for name, count in done.counts.items():
            counts[name] = counts.get(name, 0) + count
        for key, table in done.sequences.items():
            found[key.partition("/")[0]] += map(tuple, table["items"].to_pylist())
    assert len(shards) == 2
    return found, counts


def decoded(examples, split) -> list[tuple]:
    lines = (examples.path / "vocab" / "item.txt").read_text().split("\n")[:-1]
    names = [None, *lines, "?"]
    rows, _ = examples.read(split)
    return [tuple(names[i] for i in row if i) for row in rows]


def test_beam_gives_what_naive_grouping_gives(whole, events):
    examples, manifest = whole
    counts = {}
    histories = event_log.naive_histories(events, counts)
    expected, lost = event_log.naive_split(histories, "last")
    known = event_log.naive_vocabulary(expected["train"])
    assert (examples.path / "vocab" / "item.txt").read_text().split() == known
    for split, sequences in expected.items():
        masked = [tuple(i if i in known else "?" for i in s) for s in sequences]
        assert sorted(decoded(examples, split)) == sorted(masked)
        assert manifest["splits"][split]["sequences"] == len(sequences)
    rows = manifest["rows"]
    assert rows["read"] == len(events)
    assert rows["duplicates"] == counts["duplicates"] > 0
    assert sum(rows["rejected"].values()) == counts["rejected"] > 0
    assert len(rows["rejected"]) == 3
    assert sum(rows["dropped"].values()) == lost + counts["below"]
    assert min(lost, counts["below"]) > 0
    assert rows["read"] == (
        rows["written"]
        + rows["duplicates"]
        + sum(rows["rejected"].values())
        + sum(rows["dropped"].values())
    )


@pytest.mark.parametrize(("split", "kind"), [("leave_last_out", "last"), (MOMENTS, "time")])
def test_each_split_is_the_naive_one(folder, events, split, kind):
    found, counts = settled(folder, data__split=split)
    histories = event_log.naive_histories(events)
    expected, lost = event_log.naive_split(histories, kind, moments=SECONDS)
    for part, sequences in expected.items():
        assert sorted(found[part]) == sorted(sequences) != []
    reasons = ("in sequences shorter than min_length", "alone in a sequence")
    assert sum(counts[f"dropped/{reason}"] for reason in reasons) == lost
    assert min(counts[f"dropped/{reason}"] for reason in reasons) > 0


def test_fractions_draw_whole_pieces_once_and_the_same_ones_again(folder, events):
    found, _ = settled(folder, data__split=FRACTIONS)
    histories = event_log.naive_histories(events)
    expected, _ = event_log.naive_split(histories, "pieces")
    everything = [s for sequences in found.values() for s in sequences]
    assert sorted(everything) == sorted(expected["train"])
    share = len(found["validation"]) / len(everything)
    assert 0.13 < share < 0.27
    again, _ = settled(folder, data__split=FRACTIONS)
    assert {k: sorted(v) for k, v in again.items()} == {
        k: sorted(v) for k, v in found.items()
    }


def test_options_have_an_effect(folder):
    base, _ = settled(folder)
    assert max(map(len, base["train"])) == 6
    longer, _ = settled(folder, data__sequences__length=9)
    assert max(map(len, longer["train"])) == 9
    longer, _ = settled(folder, data__sequences__min_length=6)
    assert 0 < len(longer["train"]) < len(base["train"])
    _, counts = settled(folder, data__sequences__keep=None)
    assert not any("keep" in name for name in counts)
    _, counts = settled(folder, data__drop_duplicates=False)
    assert "duplicates" not in counts


def test_blocks_hold_what_was_encoded():
    random = np.random.default_rng(1)
    lengths = random.integers(1, 7, 5000)
    items, groups = random.integers(1, 50, lengths.sum()), random.integers(0, 9, 5000)
    others = {"own": lengths, "group": groups, "encoding": "e"}
    assert len(list(encode_sequences(items, lengths, **others))) == 2  # of 4096 at most
    matrix, ends = pad_left(items, lengths, 6), np.cumsum(lengths)
    for row in (0, 17, 4999):
        own = items[ends[row] - lengths[row] : ends[row]]
        assert matrix[row].tolist() == [0] * (6 - lengths[row]) + own.tolist()


def test_what_is_held_of_sequences_does_not_grow_by_their_items(whole, monkeypatch):
    """12 bytes a sequence, each for a moment twice; 256 of items lie in a file."""
    examples, blocks, width = whole[0], 50, 64
    lengths, numbers = np.full(4096, width), np.arange(4096)
    one = np.arange(4096 * width, dtype=np.int32), lengths, lengths, numbers
    monkeypatch.setattr(example_set, "read_blocks", lambda *_: iter([one] * blocks))
    long = replace(examples, schema=replace(examples.schema, length=width))
    tracemalloc.start()
    rows, groups = long.read("train")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.shape == (blocks * 4096, width) and rows.nbytes == blocks * one[0].nbytes
    assert peak < rows.nbytes / 4
    np.testing.assert_array_equal(rows[-4096:], one[0].reshape(-1, width))
    np.testing.assert_array_equal(groups, np.tile(numbers, blocks))


def test_popularity_counts_are_those_of_training(whole):
    examples, _ = whole
    rows, _ = examples.read("train")
    expected = np.bincount(rows.ravel(), minlength=examples.schema.items + 2)
    np.testing.assert_array_equal(examples.counts(), expected[1:-1])
    kept = pq.read_table(examples.path / "rejected" / "rows.parquet")
    assert "source" in kept.column_names and len(kept) > 0


def test_a_value_that_is_no_line_of_the_vocabulary_shifts_no_count(whole, tmp_path):
    """It is counted, the most frequent of all, but has no id."""
    examples, _ = whole
    copy = shutil.copytree(examples.path, tmp_path / "examples")
    path = counts_path(copy, ITEM)
    counts = pq.read_table(path)
    broken = {"value": ["two\nlines"], "count": [10**6]}
    first = pa.table(broken).cast(pa.schema([counts.schema.field(n) for n in broken]))
    pq.write_table(pa.concat_tables([first, counts.select(list(broken))]), path)
    found = SequenceSet.open(copy).counts()
    np.testing.assert_array_equal(found, examples.counts())


def test_what_was_changed_afterwards_is_refused(whole, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(whole[0].path, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(
        json.dumps(manifest | {"rows": manifest["rows"] | {"read": 1}})
    )
    with pytest.raises(InputError, match="do not add up"):
        SequenceSet.open(copy)
    (copy / "vocab" / "item.txt").write_text("i1\n")
    with pytest.raises(InputError, match="changed after"):
        SequenceSet.open(copy)


def test_events_that_workers_lose_publish_nothing(folder, tmp_path, monkeypatch):
    counts = {"read": 12, "duplicates": 2, "rejected/user: missing": 1, "dropped/few": 2}
    summary = {"counts": counts, "samples": {}, "files": [{"rows": 6}], "kept": []}
    monkeypatch.setattr(stage, "run_job", lambda *_: summary)
    config = parse_sequence_config(event_log.config_document(), "c")
    with pytest.raises(RuntimeError, match="rows were lost: read=12 written=6"):
        preprocess(config, folder, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_by_name(folder, tmp_path):
    def run(**changes):
        document = event_log.config_document(**changes)
        return preprocess(parse_sequence_config(document, "c"), folder, tmp_path / "out")

    with pytest.raises(InputError, match="'itm'.*data.sequences.item.*'item'"):
        run(data__sequences__item="itm")
    late = {"validation": "2031-01-01", "test": "2031-01-02"}
    with pytest.raises(InputError, match="validation split has no sequences"):
        run(data__split=late)


def test_a_byte_that_was_flipped_names_its_file(whole, tmp_path):
    copy = shutil.copytree(whole[0].path, tmp_path / "copy")
    path = sorted(copy.glob("train/*.tfrecord"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{path.name} is corrupt: a record's checksum"):
        SequenceSet.open(copy).read("train")


def test_records_of_another_encoding_are_refused(whole, tmp_path):
    examples, manifest = whole
    copy = shutil.copytree(examples.path, tmp_path / "copy")
    path = sorted(copy.glob("test/*.tfrecord"))[0]
    items, lengths, own, group = next(
        read_blocks(examples, examples.windows("test")["all"])
    )
    others = {"own": own, "group": group, "encoding": "f" * 64}
    with path.open("wb") as file:
        write_records(file, encode_sequences(items, lengths, **others))
    with pytest.raises(InputError, match=f"{path.name}: its records were encoded by a sch"):
        SequenceSet.open(copy).read("test")
    for file in manifest["files"]:
        assert checksum_of(examples.path / file["path"]) == file["checksum"]
        assert file["encoding"] == examples.schema.fingerprint


def test_sets_of_versions_before_are_refused(whole, tmp_path):
    copy = shutil.copytree(whole[0].path, tmp_path / "copy")
    schema = json.loads((copy / "schema.json").read_text())
    del schema["ancestors"]
    (copy / "schema.json").write_text(json.dumps(schema | {"format": "sequences 1"}))
    with pytest.raises(InputError, match="must be 'sequences 2'. Received: 'sequences 1'"):
        SequenceSet.open(copy)


def test_two_runs_are_known_to_be_judged_on_the_same(whole, folder, tmp_path):
    """Whatever items are known; other sequences are told from them."""
    identity = whole[1]["identity"]["test"]
    fewer = event_log.config_document(data__sequences__max_size=7)
    other = preprocess(parse_sequence_config(fewer, "c"), folder, tmp_path / "other")
    known, all_known = (
        (path / "vocab" / "item.txt").read_text().split()
        for path in (tmp_path / "other", whole[0].path)
    )
    assert known == all_known[:7] and len(all_known) > 7  # the most frequent
    assert other["fingerprint"] != whole[1]["fingerprint"]
    assert other["identity"]["test"] == identity != other["identity"]["validation"]
    assert same_task(identity, other["identity"]["test"], "next_item")
    assert identity["keys"][0]["columns"] == ["at", "user"]


def test_a_file_that_is_cut_after_it_was_opened_is_refused(whole, tmp_path):
    copy = shutil.copytree(whole[0].path, tmp_path / "copy")
    opened = SequenceSet.open(copy)
    sorted(copy.glob("train/*.tfrecord"))[0].write_bytes(b"")
    with pytest.raises(InputError, match="cut off or was changed.* blocks .*Received: 0"):
        opened.read("train")
