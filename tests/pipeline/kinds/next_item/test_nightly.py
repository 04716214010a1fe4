"""Sequences that grow by days, and nights that train on what came: a naive reference."""

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline.api.describe import describe
from steadyrank.pipeline.config import parse_sequence_config
from steadyrank.pipeline.evaluate.release import BLESSED
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import prepare_warm_start, preprocess, train
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import blame, without_baseline
from steadyrank.pipeline.kinds.next_item.kind import KIND
from steadyrank.pipeline.kinds.next_item.learner import batch_of
from steadyrank.pipeline.kinds.next_item.measure import (
    once,
    open_baseline,
    open_model,
    scored_by,
)
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.nightly import nightly
from steadyrank.pipeline.preprocess.plan import Addition
from steadyrank.pipeline.train.warm_start import VALUE, variables_by_path
from tests.helpers import event_log

DAYS = [f"2024-03-{day:02d}" for day in range(1, 32)]
NIGHTS = DAYS[5], DAYS[7]  # the night between never ran
LENGTH = 6
DAY = 24 * event_log.HOUR


def document(day, **changes):
    settings = {
        "data__split": {"validation": 0.4, "test": day},
        "data__window": "1d",
        "train__batch_size": 16,  # enough steps to judge
        "train__phases": [
            {"blocks": 1, "epochs": 3},
            {"blocks": 2, "grow": "unchanged", "epochs": 3},
        ],
        "gates": {"metrics": {"hr@5": {"min": 0.3, "min_gain": -0.5}}},
    }
    return event_log.config_document(**settings | changes)


def config_on(day, **changes):
    return parse_sequence_config(document(day, **changes), "c")


def day_of(event) -> str:
    return DAYS[int((event["at"] - event_log.START.timestamp()) // DAY)]


@pytest.fixture(scope="module")
def events():
    """Of every day some items are new: those of day d are called after it."""
    made = event_log.make_events(users=150, seed=3)
    for event in made:
        if event["at"] != "yesterday" and event["item"] == "i7" and day_of(event) > DAYS[5]:
            event["item"] = "new"
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory, events):
    log = tmp_path_factory.mktemp("growing")
    event_log.write_events(log, events)
    return log


@pytest.fixture(scope="module")
def base(folder):
    """Trained on five days, tested on the sixth."""
    preprocess(
        config_on(DAYS[5]), folder, folder / "base", addition=Addition(None, DAYS[5])
    )
    return SequenceSet.open(folder / "base")


@pytest.fixture(scope="module")
def grown(folder, base):
    """Two more days to train on, and the eighth to test on."""
    preprocess(
        config_on(DAYS[7]), folder, folder / "grown", addition=Addition(base.path, DAYS[7])
    )
    return SequenceSet.open(folder / "grown")


def lines(examples) -> list[str]:
    return (examples.path / "vocab" / "item.txt").read_text().split("\n")[:-1]


def named(examples, rows) -> list[tuple]:
    names = [None, *lines(examples), "?"]
    return [tuple(names[i] for i in row if i) for row in rows]


def known(history, first, last) -> int:
    """Events of a user that an addition sees: what its base kept of them, and the new."""
    old = [event for event in history if day_of(event) < first][1 - LENGTH :]
    return len(old) + sum(first <= day_of(event) <= last for event in history)


def naive_growth(histories, first, last):
    """Sequences of the events of days from first to before last, each with what was before
    it: ``(items, own)``; the events are cut from the end, the oldest piece goes on."""
    found = []
    for history in histories.values():
        trained = [e for e in history if day_of(e) < last]
        new = [place for place, e in enumerate(trained) if day_of(e) >= first]
        while new:
            new, piece = new[:-LENGTH], new[-LENGTH:]
            start = max(0, piece[-1] + 1 - LENGTH)
            if known(history, first, last) >= 3 and piece[-1] + 1 - start >= 2:
                items = tuple(e["item"] for e in trained[start : piece[-1] + 1])
                found.append((items, len(piece)))
    return found


def test_a_set_grows_by_what_came_since(base, grown, events):
    histories = event_log.naive_histories(events)
    old, new = lines(base), lines(grown)
    assert new[: len(old)] == old and "new" in new[len(old) :] and "i7" in old
    windows = [w for w in grown.windows("train") if w >= DAYS[5]]
    assert windows == DAYS[5:7]
    expected = naive_growth(histories, DAYS[5], DAYS[7])
    rows, own = grown.training(windows)
    found = zip(named(grown, rows), own.tolist(), strict=True)
    masked = [(tuple(i if i in new else "?" for i in s), n) for s, n in expected]
    assert Counter(found) == Counter(masked)
    assert any(n < len(items) for items, n in masked)
    # the eighth day is foretold from all that its users did before, in any set
    tested = [
        s for part in ("validation", "test") for s in named(grown, grown.read(part)[0])
    ]
    for user in histories.values():
        for place, event in enumerate(user):
            sequence = tuple(e["item"] for e in user[: place + 1][-LENGTH:])
            seen = known(user, DAYS[5], DAYS[7]) >= 3 and len(sequence) >= 2
            if day_of(event) == DAYS[7] and seen:
                tested.remove(tuple(i if i in new else "?" for i in sequence))
    assert not tested


def test_what_was_there_stays_and_is_counted_on(base, grown, events):
    for file in base.manifest["files"]:
        if file["split"] == "train":
            assert (grown.path / file["path"]).read_bytes() == (
                base.path / file["path"]
            ).read_bytes()
    assert grown.schema.ancestors == (base.schema.fingerprint,)
    assert grown.has_ids_of(base.schema)
    counts = Counter()
    for rows, own in (base.training(), grown.training(DAYS[5:7])):
        for sequence, n in zip(rows, own, strict=True):
            counts.update(sequence[LENGTH - n :].tolist())
    known = base.schema.items
    found = grown.counts()
    # of items that were unknown in the base, it counted all the same
    assert found[:known].tolist() == [counts[i + 1] for i in range(known)]
    assert (found[known:] >= 2).all() and len(found) > known
    rows = grown.manifest["rows"]
    assert grown.manifest["taken_over"] > 0 and grown.manifest["outside"] > 0
    assert rows["read"] == rows["written"] + rows["duplicates"] + sum(
        [*rows["rejected"].values(), *rows["dropped"].values()]
    )
    # who was unknown then is unknown now, though its id went to a new item
    unknown = sum(f["unknown"] for f in base.manifest["files"] if f["split"] == "train")
    held = list(base.windows("train"))
    assert (grown.training(held)[0] == grown.schema.unknown).sum() == unknown > 0


def test_two_additions_come_to_what_one_does(folder, base, grown):
    preprocess(
        config_on(DAYS[6]), folder, folder / "step", addition=Addition(base.path, DAYS[6])
    )
    again = Addition(folder / "step", DAYS[7])
    preprocess(config_on(DAYS[7]), folder, folder / "stepped", addition=again)
    stepped = SequenceSet.open(folder / "stepped")
    both = [
        Counter(named(each, each.read(part)[0])) for each in (grown, stepped)
        for part in ("validation", "test")
    ]  # fmt: skip
    assert both[:2] == both[2:]
    assert grown.manifest["identity"] == stepped.manifest["identity"]
    preprocess(config_on(DAYS[7]), folder, folder / "again", addition=again)
    for path in stepped.paths():
        other = folder / "again" / path.relative_to(stepped.path)
        assert other.read_bytes() == path.read_bytes()


def test_what_cannot_grow_is_said(folder, base, tmp_path):
    def add(day=DAYS[7], **changes):
        settings = config_on(day, **changes)
        preprocess(settings, folder, tmp_path / "out", addition=Addition(base.path))

    with pytest.raises(InputError, match="data.sequences.length is 5 in the config"):
        add(data__sequences__length=5)
    with pytest.raises(InputError, match="up to 2024-03-05: models have seen them"):
        add(DAYS[4])
    with pytest.raises(InputError, match="only appended to by moments"):
        add(data__split="leave_last_out")
    with pytest.raises(InputError, match="data.window is None in the config"):
        add(data__window=None)


def test_only_own_items_are_learned():
    ids = np.array([[1, 2, 3, 4, 5, 9], [0, 0, 6, 7, 8, 1]])
    data, _ = batch_of(ids, np.array([2, 4]), unknown=9)
    assert data["targets"].tolist() == [[0, 0, 0, 5, 0], [0, 6, 7, 8, 1]]


def test_each_pair_is_counted_once():
    rows = np.array([[1, 2, 3, 4, 5, 9], [0, 0, 6, 7, 8, 1]])
    kept = [[0, 0, 0, 4, 5, 9], [0, 0, 6, 7, 8, 1]]
    assert np.concatenate([*once(rows, np.array([2, 4]))]).tolist() == kept


@pytest.fixture(scope="module")
def store(folder):
    """After two nights."""
    for day in NIGHTS:
        nightly(config_on(day), folder, day, folder / "store")
    return folder / "store"


def night_of(store, day) -> dict:
    return json.loads((store / "nights" / day / "night.json").read_text())


def test_a_night_goes_on_from_the_blessed_one(store):
    first, second = (night_of(store, day) for day in NIGHTS)
    assert [n["verdict"] for n in (first, second)] == ["PASS"] * 2, second["reasons"]
    assert (first["base"], second["base"]) == (None, NIGHTS[0])
    assert (first["trained_on"], second["trained_on"]) == (DAYS[:5], DAYS[5:7])
    told = second["tasks"]["next_item"]
    assert told["metric"] == "ndcg@10" and told["value"] > 0.3 < told["base"]
    path = store / "nights" / NIGHTS[1]
    start = json.loads((path / "train" / "warm_start.json").read_text())
    assert f"nights/{NIGHTS[0]}/train/phases/1/checkpoints/" in start["checkpoint"]
    summary = json.loads((path / "train" / "train.json").read_text())
    assert [phase["blocks"] for phase in summary["phases"]] == [2]
    metrics = json.loads((path / "evaluation" / "metrics.json").read_text())
    assert metrics["baseline"] and metrics["where"] == f"test ({NIGHTS[1]})"
    released = json.loads((store / "served" / BLESSED).read_text())["releases"]
    assert [r["content"] for r in released] == [first["content"], second["content"]]


def test_a_night_done_again_is_the_same_to_the_bit(store, folder):
    last = NIGHTS[1]
    assert nightly(config_on(last), folder, last, store) == night_of(store, last)
    with pytest.raises(InputError, match="go from day to day"):
        nightly(config_on(DAYS[2]), folder, DAYS[2], store)
    nights, again = store / "nights", folder / "again_trained"
    examples, windows = nights / last / "examples", night_of(store, last)["trained_on"]
    before = nights / NIGHTS[0] / "train"
    prepare_warm_start(config_on(last), examples, before, again, windows=windows)
    train(config_on(last), examples, again, resume=True)
    one, two = load_weights_of(nights / last / "train"), load_weights_of(again)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


def load_weights_of(trained) -> dict:
    reader = tf.train.load_checkpoint(str(trained / "phases/1/checkpoints"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}


def test_weights_and_slots_of_a_base_keep_their_items(store):
    """New items come after the known ones; the unknown, the last row, moves on."""
    work, day = store / "nights" / NIGHTS[1], NIGHTS[1]
    examples = SequenceSet.open(work / "examples")
    strategy = tf.distribute.get_strategy()
    setting = Setting(config_on(day), examples.schema, examples, work / "train", strategy)
    (phase,) = KIND.phases(setting)
    learner = KIND.learner(setting, phase, 1.0)
    fresh = learner.model.item_table.numpy()
    learner.begin()
    start = json.loads((work / "train" / "warm_start.json").read_text())
    saved = tf.train.load_checkpoint(start["checkpoint"])
    before, now = start["schema"]["items"], examples.schema.items
    assert before < now
    grown = 0
    for path, variable in variables_by_path(
        tf.train.Checkpoint(model=learner.model)
    ).items():
        old, new = saved.get_tensor(path + VALUE), variable.numpy()
        if np.shape(old) != np.shape(new):
            grown += 1
            assert len(new) - len(old) == now - before
            np.testing.assert_array_equal(new[-1], old[-1])
            old, new = old[:-1], new[: len(old) - 1]
        np.testing.assert_array_equal(new, old)
    assert grown == 5  # the softmax and its two moments, the table and what its rows know
    own = slice(before + 1, now + 1)
    np.testing.assert_array_equal(learner.model.item_table.numpy()[own], fresh[own])


def test_a_grown_sasrec_with_a_tied_softmax_goes_on(base, grown, folder):
    """Its positions stand by themselves, and its softmax has no table."""
    phases = [{"blocks": 1, "steps": 2}, {"blocks": 2, "grow": "unchanged", "steps": 2}]
    model = {"kind": "next_item", "dim": 8, "block": "sasrec", "normalize_first": True}
    first, second = (
        config_on(day, model=model, train__phases=phases) for day in (DAYS[5], DAYS[7])
    )
    train(first, base.path, folder / "sasrec")
    output, windows = folder / "sasrec_on", DAYS[5:7]
    prepare_warm_start(second, grown.path, folder / "sasrec", output, windows=windows)
    summary = train(second, grown.path, output, resume=True)
    assert summary["steps_before"] == 2 and summary["steps"] > 0
    start = {**first.train.model_dump(), "start_from": str(folder / "sasrec")}
    start["phases"] = [{"blocks": 2, "steps": 1}]
    again = config_on(DAYS[5], model=model, train=start)
    assert train(again, base.path, folder / "sasrec_start")["steps"] == 1


def test_the_blessed_one_is_scored_on_the_same_sequences(store):
    """By its own ids: items that came since are unknown to it, and missed."""
    night = store / "nights" / NIGHTS[1]
    examples = SequenceSet.open(night / "examples")
    ours = open_model(night / "export", examples)
    theirs = open_baseline(store / "nights" / NIGHTS[0] / "export", examples, "test")
    assert theirs.schema.items < ours.schema.items == examples.schema.items
    rows, _ = examples.read("test")
    ranks = scored_by(theirs, rows).ranks
    missed = rows[:, -1] > theirs.schema.items
    assert missed.any() and (ranks[missed] > 10**6).all() and (ranks[~missed] < 99).all()
    answers = theirs.call["serving_default"]
    names = [b"", *(line.encode() for line in lines(examples)), b"?"]
    raw = np.array([[names[i] for i in row[:-1]] for row in rows[:40]], object)
    best = answers({"history": raw})["items"][:, 0]
    first = [names[row[-1]] for row in rows[:40]]
    said = [b == f for b, f in zip(best, first, strict=True)]
    assert said == (ranks[:40] == 0).tolist()


def test_the_command_and_inspect(store, folder, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document(DAYS[0])))
    flags = ["--config", tmp_path / "c.yaml", "--data", folder, "--store", store]
    command = ["nightly", *map(str, flags), "--day", NIGHTS[1]]
    assert not cli.app(command, standalone_mode=False)
    said = capsys.readouterr().out
    assert (
        f"trained on {DAYS[5]}, {DAYS[6]}, from {NIGHTS[0]}" in said and "NDCG@10" in said
    )
    rows = dict(describe(store / "nights" / NIGHTS[1] / "examples").popitem()[1])
    assert rows["train"].endswith(f", {DAYS[0]} to {DAYS[6]}")
    cli.app(["inspect", str(store / "nights" / NIGHTS[1])], standalone_mode=False)
    assert "set of sequences" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("theirs", "gate", "blamed"),
    [(0.1, "hr@5", DAYS[2]), (0.9, "hr@5", DAYS[1]), (0.1, "latency", None)],
)
def test_who_is_to_blame(theirs, gate, blamed):
    found = {"rows": 100, "hr@5": theirs, "errors": {"hr@5": 0.01}, "groups": 99}
    result = {
        "gates": [{"gate": gate, "verdict": "REFUSE"}],
        "metrics": {"baseline": {"tasks": {"next_item": found}}, "where": "test"},
    }
    told = blame(config_on(DAYS[2]), result, DAYS[2], tuple(DAYS[:2]))
    assert told["left_out"] == blamed


def test_gains_need_a_baseline():
    gates = {"mrr@5": {"min_gain": 0.0}, "hr@5": {"min": 0.1, "min_gain": 0.0}}
    config = config_on(DAYS[1], gates={"metrics": gates})
    left = without_baseline(config).gates.metrics
    assert [*left] == ["hr@5"] and left["hr@5"].min_gain is None
    assert without_baseline(config, []) == config
