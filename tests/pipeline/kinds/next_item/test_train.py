"""Next-item models from an event log to a release: phases, resumption, naive metrics."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.evaluate.release import release
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.kinds import (
    evaluate,
    export,
    preprocess,
    serve_check,
    train,
)
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import judge_sequences
from steadyrank.pipeline.kinds.next_item.measure import open_model
from steadyrank.pipeline.kinds.next_item.model import (
    start,
    trained_before,
)
from steadyrank.pipeline.kinds.next_item.skew import measure_skew
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.studies.compare import compare
from steadyrank.pipeline.train import log as train_log
from tests.helpers import event_log, read_keys
from tests.helpers.next_item_runs import parsed, weights


@pytest.fixture(scope="module", autouse=True)
def keys_read():
    """Keys of configs that somebody reads while these tests run."""
    with read_keys.recorded() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    log = tmp_path_factory.mktemp("sequences")
    event_log.write_events(log, event_log.make_events())
    preprocess(parsed(), log, log / "examples")
    return log


@pytest.fixture(scope="module")
def trained(folder):
    """A run of two phases; what a kill in the second would have left is kept."""
    output = folder / "train"

    def keep(step, total, text):
        late = text.startswith("phase 2") and "loss" in text and 3 * step > 2 * total
        if late and not (folder / "killed.partial").exists():
            shutil.copytree(folder / "train.partial", folder / "killed.partial")

    train(parsed(), folder / "examples", output, progress=keep)
    return output


@pytest.fixture(scope="module")
def exported(folder, trained):
    return export(parsed(), trained, folder / "export")


@pytest.fixture(scope="module")
def evaluated(folder, exported):
    found = evaluate(parsed(), folder / "examples", exported, folder / "evaluation")
    return folder / "evaluation", found


def test_phases_grow_and_hand_on_their_best(trained):
    summary = json.loads((trained / "train.json").read_text())
    first, second = summary["phases"]
    assert (first["blocks"], second["blocks"]) == (1, 2)
    assert first["sequences"] == round(0.5 * second["sequences"])
    lines = list(train_log.read_lines(trained / "log.jsonl"))
    measured = {0: [], 1: []}
    for line in lines:
        if "validation" in line:
            measured[line["phase"]].append(line["validation"]["next_item"]["ndcg@10"])
    assert first["best"] == max(measured[0])
    # growth that changes nothing: the second phase begins where the best of the first was
    assert measured[1][0] == pytest.approx(first["best"], abs=1e-9)
    assert summary["best"] == second["best"] == max(measured[1]) > first["best"]
    losses = [line for line in lines if "loss" in line]
    assert [line["step"] for line in losses] == list(range(1, summary["steps"] + 1))
    assert set(losses[-1]["clipped_rows"]) == {"items"}


def test_a_run_that_was_killed_in_a_phase_ends_the_same(folder, trained):
    output = folder / "killed"
    with pytest.raises(InputError, match="--resume"):
        train(parsed(), folder / "examples", output)
    with locked(folder / ".killed.lock"), pytest.raises(PassingError, match="is in use"):
        train(parsed(), folder / "examples", output, resume=True)
    seen = []
    output.mkdir()  # as if it was begun with --overwrite
    again = {"resume": True, "progress": lambda *said: seen.append(said[2])}
    train(parsed(), folder / "examples", output, **again)
    assert all(text.startswith("phase 2") for text in seen)
    assert not any("starts at" in text for text in seen)
    one, two = (weights(folder, path) for path in (trained, output))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    logs = [list(train_log.read_lines(path / "log.jsonl")) for path in (trained, output)]
    for a, b in zip(*logs, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


class Killed(Exception):
    pass


def killed_after(calls):
    """A progress that ends the run at one of its calls."""
    left = iter(range(calls - 1))

    def progress(*_):
        if next(left, None) is None:
            raise Killed

    return progress


def test_five_kills_change_nothing(folder, trained):
    """Wherever they come: before the first checkpoint, between two, in either phase."""
    output, kept = folder / "often", []
    config = parsed(train__checkpoint_every=2)
    for number, calls in enumerate((1, 4, 2, 9, 3)):
        how = {"progress": killed_after(calls), "saved": kept.append}
        with pytest.raises(Killed):
            train(config, folder / "examples", output, resume=number > 0, **how)
    train(config, folder / "examples", output, resume=True)
    one, two = (weights(folder, path) for path in (trained, output))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert len(kept) > 5 and set(kept) == {folder / "often.partial"}
    assert list((output / "tensorboard").glob("events*"))


def naive_metrics(ranks) -> dict:
    """From the definitions of PAPERS 3.7, a rank of None being no answer at all."""
    found = {}
    for k in (5, 10, 20):
        hits = [rank for rank in ranks if rank is not None and rank < k]
        found[f"mrr@{k}"] = sum(1 / (rank + 1) for rank in hits) / len(ranks)
        found[f"hr@{k}"] = len(hits) / len(ranks)
        found[f"ndcg@{k}"] = sum(1 / np.log2(rank + 2) for rank in hits) / len(ranks)
    return found


def raw_test_rows() -> list[tuple]:
    histories = event_log.naive_histories(event_log.make_events())
    return event_log.naive_split(histories, "last")[0]["test"]


def test_sequences_of_another_config_are_refused(folder, tmp_path):
    other = parsed(data__sequences__min_count=3)
    with pytest.raises(InputError, match=r"data.sequences.min_count is 3 in the config"):
        train(other, folder / "examples", tmp_path / "train")


def test_metrics_are_those_of_the_answers_to_raw_histories(exported, evaluated):
    """Each user's last item is looked for in the list that its history is answered with."""
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    ranks = []
    for *history, target in raw_test_rows():
        answer = served(history=tf.constant([history]))["items"].numpy()[0]
        names = [name.decode() for name in answer]
        assert len(set(names)) == len(names)
        ranks.append(names.index(target) if target in names else None)
    metrics = evaluated[1]["metrics"]
    for name, value in naive_metrics(ranks).items():
        assert metrics["tasks"]["next_item"][name] == pytest.approx(value, abs=1e-9)
    assert None in ranks  # an unknown item is missed, not left out
    assert metrics["rows"] == len(ranks)


def test_popularity_is_a_ranking_by_training_counts(evaluated):
    histories = event_log.naive_histories(event_log.make_events())
    parts = event_log.naive_split(histories, "last")[0]
    known = event_log.naive_vocabulary(parts["train"])
    counts = [sum(s.count(item) for s in parts["train"]) for item in known]
    ranks = []
    for *_, target in parts["test"]:
        own = counts[known.index(target)] if target in known else None
        ranks.append(None if own is None else sum(c >= own for c in counts) - 1)
    for name, value in naive_metrics(ranks).items():
        found = evaluated[1]["metrics"]["popularity"][name]
        assert found == pytest.approx(value, abs=1e-9)


def test_transitions_are_what_most_often_came_next_in_training(evaluated):
    histories = event_log.naive_histories(event_log.make_events())
    parts = event_log.naive_split(histories, "last")[0]
    known = event_log.naive_vocabulary(parts["train"])
    popular = {item: sum(s.count(item) for s in parts["train"]) for item in known}
    followed = dict.fromkeys(((a, b) for a in known for b in known), 0)
    for sequence in parts["train"]:
        for pair in zip(sequence, sequence[1:], strict=False):
            if pair in followed:
                followed[pair] += 1
    ranks = []
    for *history, target in parts["test"]:
        score = {b: (followed.get((history[-1], b), 0), popular[b]) for b in known}
        own = score.get(target)
        ranks.append(None if own is None else sum(s >= own for s in score.values()) - 1)
    for name, value in naive_metrics(ranks).items():
        found = evaluated[1]["metrics"]["transitions"][name]
        assert found == pytest.approx(value, abs=1e-9)


def test_a_run_reads_every_key_of_its_config(evaluated, keys_read):
    """Else a key would be accepted, and do nothing."""
    of_sweeps = read_keys.keys_of(Sweep)
    unread = read_keys.keys_of(SequenceConfig) - of_sweeps - keys_read
    sometimes = {"sample", "validation", "max_rollbacks"}  # sampled, by moments, diverged
    nights = {"nightly", "train_days"}  # which test_sequences_nightly runs
    nights |= {"keep", "nights", "releases"}  # of any kind: test_nightly
    tracked = {"experiment"}  # test_tracked
    assert {key for _, key in unread} <= {"kind", "sweep"} | nights | sometimes | tracked


def test_a_verdict_a_report_and_a_release(folder, exported, evaluated):
    path, found = evaluated
    gates = {(gate["gate"], gate["rule"]): gate for gate in found["gates"]}
    assert found["verdict"] == "PASS", [g["reason"] for g in found["gates"]]
    over = gates["mrr@5", "min_gain_over_popularity 0.05"]
    assert over["interval"][0] > 0.05
    metrics = found["metrics"]
    ours, popular = metrics["tasks"]["next_item"]["mrr@5"], metrics["popularity"]["mrr@5"]
    assert over["measured"] == pytest.approx(ours - popular)
    page = (path / "report.html").read_text(encoding="utf-8")
    assert "phase 2" in page and "ndcg@20" in page and "min_length" in page
    entry = release(exported, path, folder / "served")
    assert entry["metrics"]["next_item"]["mrr@5"] == ours


def test_serve_check_compares_and_times_both_signatures(folder, exported):
    found = serve_check(folder / "examples", exported.parent, sizes=(1, 7), repeats=2)
    assert found["passed"] and found["rows"] == len(raw_test_rows())
    assert set(found["differences"]) == {"serving_default"}
    timed = {(row["signature"], row["rows"]) for row in found["latency"]}
    assert timed == {(s, n) for s in ("serving_default", "encoded") for n in (1, 7)}
    with pytest.raises(InputError, match="kept no raw rows of 'train'"):
        serve_check(folder / "examples", exported, split="train")


def test_warm_up_requests_are_answered(exported):
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    path = exported / "assets.extra" / "tf_serving_warmup_requests"
    rows = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        history = tf.constant(tf.make_ndarray(request.inputs["history"]))
        rows.append(len(served(history=history)["items"]))
    assert rows == [1, 100]


@pytest.mark.parametrize(("wrong", "gap"), [(0.0, 0.0), (0.5, 0.5)])
def test_skew_sees_a_signature_that_answers_otherwise(folder, exported, wrong, gap):
    examples = SequenceSet.open(folder / "examples")
    export_ = open_model(exported, examples)
    served = export_.call["serving_default"]

    def answer(inputs):
        found = served(inputs)
        return {**found, "scores": found["scores"] + wrong}

    export_.call["serving_default"] = answer
    found = measure_skew(export_, examples, "test")
    assert found["rows"] == examples.manifest["splits"]["test"]["sequences"]
    assert found["max_difference"] == pytest.approx(gap, abs=1e-4)


def test_gains_are_over_the_baseline_given(folder, exported):
    gates = {"metrics": {"mrr@5": {"min_gain": 0.0}, "hr@5": {"min": 0.99}}}
    config = parsed(gates=gates)
    both = evaluate(
        config, folder / "examples", exported, folder / "both", baseline_path=exported
    )
    gain, least = both["gates"][:2]
    assert (gain["measured"], gain["verdict"]) == (0.0, "PASS")  # over itself, surely
    assert least["verdict"] == "REFUSE"
    metrics = {**both["metrics"], "baseline": None}
    alone = judge_sequences(metrics, config.gates.model_dump())
    assert "no baseline" in alone["gates"][0]["reason"]


def test_seen_items_can_be_left_out(folder, trained):
    config = parsed(serving={"k": 3, "exclude_seen": True})
    path = export(config, trained, folder / "unseen")
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    long = [f"i{i}" for i in range(12)]
    answer = served(history=tf.constant([["", "i3", "i4", *[""] * 9], long]))
    names = [[name.decode() for name in row] for row in answer["items"].numpy()]
    assert [len(row) for row in names] == [3, 3]
    assert not {"i3", "i4"} & set(names[0])
    assert not set(long) & set(names[1])  # also what is too old to be read
    assert "i5" in names[0]
    found = evaluate(config, folder / "examples", path, folder / "unseen_evaluation")
    assert found["metrics"]["skew"]["max_difference"] < 1e-4


def test_padding_changes_no_answer(exported):
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    rows = [["i3", "i4", "", ""], ["", "i3", "", "i4"], ["", "", "i3", "i4"]]
    scores = served(history=tf.constant(rows))["scores"].numpy()
    np.testing.assert_allclose(scores[1:], scores[:1].repeat(2, 0), rtol=1e-5, atol=1e-6)


def test_it_is_served_by_tensorflow_alone(exported, tmp_path):
    moved = shutil.copytree(exported, tmp_path / "model")
    script = (
        "import sys, tensorflow as tf\n"
        f"s = tf.saved_model.load({str(moved)!r}).signatures['serving_default']\n"
        "print(s(history=tf.constant([['i3', 'i4']]))['items'].numpy()[0][0].decode())\n"
        "assert 'steadyrank' not in sys.modules\n"
    )
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["i5"], done.stderr[-1000:]


def test_another_domain_starts_from_blocks_and_shared_items(folder, trained, tmp_path):
    events = event_log.make_events(users=60, seed=9, dirty=False)
    for event in events:
        if int(event["item"][1:]) >= 10:
            event["item"] = event["item"].replace("i", "new")
    event_log.write_events(tmp_path, events)
    phases = [{"blocks": 2, "epochs": 1}]
    settings = {"train__start_from": str(trained), "train__phases": phases}
    config = parsed(data__sequences__keep=None, **settings)
    preprocess(config, tmp_path, tmp_path / "examples")
    schema = SequenceSet.open(tmp_path / "examples").schema
    model = start(Setting(config, schema, None, tmp_path / "examples", None), 0)
    # the softmax is new: every item is about as likely as any other
    rows = SequenceSet.open(tmp_path / "examples").read("test")[0]
    scores = model.scores({"items": tf.constant(rows[:, :-1])}).numpy()
    assert scores.std() < 0.1
    vectors = model.item_table.numpy()
    ours = (tmp_path / "examples/vocab/item.txt").read_text().split()
    theirs = (trained / "vocab/item.txt").read_text().split()
    before = weights(folder, trained)
    old = before["item_embedding"]
    for item in ("i3", "i7"):
        expected = old[theirs.index(item) + 1]
        np.testing.assert_array_equal(vectors[ours.index(item) + 1], expected)
    with pytest.raises(InputError, match="model.dim must be 8"):
        trained_before(
            parsed(model__dim=4, **settings), schema, tmp_path / "examples/vocab"
        )


def test_two_runs_stand_side_by_side(folder, evaluated, tmp_path):
    runs = [shutil.copytree(folder, tmp_path / name) for name in ("one", "two")]
    read = compare(runs, tmp_path / "compare.html")
    assert [run["name"] for run in read] == ["one", "two"]
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "MRR@5" in page and "Validation NDCG@10 of next_item" in page
    assert "AUC" not in page.partition("<script")[0]
