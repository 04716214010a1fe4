"""Next-item models from an event log to a release: phases, resumption, naive metrics."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from steadyrank.pipeline.config import load_any_config, parse_sequence_config
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.evaluate.release import release
from steadyrank.pipeline.files.errors import DivergenceError, InputError, PassingError
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.kinds import (
    evaluate,
    export,
    preprocess,
    replay,
    serve_check,
    train,
)
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import judge_sequences
from steadyrank.pipeline.kinds.next_item.kind import KIND, NextItem
from steadyrank.pipeline.kinds.next_item.learner import batch_of, distributed
from steadyrank.pipeline.kinds.next_item.measure import open_model
from steadyrank.pipeline.kinds.next_item.model import (
    build,
    compile_model,
    grown,
    start,
    trained_before,
)
from steadyrank.pipeline.kinds.next_item.skew import measure_skew
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.studies.compare import compare
from steadyrank.pipeline.studies.sweep import read_sweep, sweep, trial
from steadyrank.pipeline.train import log as train_log
from steadyrank.pipeline.train.logged_step import LoggedStep
from steadyrank.pipeline.train.weights import load_weights, save_weights
from tests.helpers import event_log, read_keys

GATES = {
    "divergence": {"max_micro": 0},
    "metrics": {
        "mrr@5": {"min": 0.2, "min_gain_over_popularity": 0.05},
        "hr@20": {"min": 0.3},
    },
    "skew": {"max_difference": 1e-4},
    "latency": {"rows": 5, "max_p99_ms": 60_000},
}


def parsed(**changes):
    changes = {"serving__k": 1000, "gates": GATES, **changes}
    return parse_sequence_config(event_log.config_document(**changes), "c")


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


def weights(folder, trained) -> dict:
    schema = SequenceSet.open(folder / "examples").schema
    model = build(parsed(), schema, 2)
    load_weights(model, trained / "best")
    return {name: v.numpy() for name, v in model.saved_weights().items()}


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
    assert {key for _, key in unread} <= {"kind", "sweep"} | nights | sometimes


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


@pytest.mark.parametrize("softmax", ["full", "sampled"])
@pytest.mark.parametrize("block", ["nextitnet", "sasrec"])
def test_weights_of_a_grown_model_are_those_of_one_built_as_deep(block, softmax, tmp_path):
    settings = {"kind": "next_item", "dim": 4, "block": block, "softmax": softmax}
    phases = [{"blocks": 1, "epochs": 1}, {"blocks": 2, "grow": "cross", "epochs": 1}]
    config = parsed(model=settings, train__phases=phases)
    schema = SequenceSchema(items=9, raw="string", length=5)
    deep = grown(build(config, schema, 1), config.train.phases[1])
    random = np.random.default_rng(1)
    for variable in deep.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    save_weights(deep, tmp_path / "weights")
    other, rows = build(config, schema, 2), {"items": tf.constant([[0, 3, 1, 9]])}
    load_weights(other, tmp_path / "weights")
    np.testing.assert_array_equal(other.scores(rows), deep.scores(rows))
    with pytest.raises(InputError, match="does not hold this model's weights"):
        load_weights(build(config, schema, 3), tmp_path / "weights")


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


def test_divergence_goes_back_and_then_gives_up(folder, tmp_path, monkeypatch):
    watch, jumps = train_log.watch, []

    def jumping(detector, line):
        if line["step"] == 5 and "loss" in line:
            jumps.append(line["batch"])
            return {"kind": "full", "step": line["step"], "loss": 9.0, "median": 1.0}
        return watch(detector, line)

    phases = [{"blocks": 1, "steps": 9}]
    settings = {"train__phases": phases, "train__max_rollbacks": 1}
    settings |= {"train__evaluate_every": 3, "train__batch_size": 8}
    monkeypatch.setattr(train_log, "watch", jumping)
    with pytest.raises(DivergenceError, match="phase 0, epoch 0.*next_item pulled hardest"):
        train(parsed(**settings), folder / "examples", tmp_path / "train")
    record = json.loads((tmp_path / "train.partial/phases/0/divergence-1.json").read_text())
    assert record["healthy_step"] == 3 and record["window"] == "all"
    assert 0 < record["tasks"]["next_item"]["rows"] <= 8 * 5
    assert "block_0/kernel_0" in record["layers"]
    assert {found["feature"] for found in record["ids"]} == {"items"}
    place = {name: record[name] for name in ("phase", "epoch", "batch")}
    again = replay(
        parsed(**settings), folder / "examples", tmp_path / "train.partial", **place
    )
    for name in ("tasks", "layers"):
        for key, value in record[name].items():
            assert again[name][key] == pytest.approx(value, rel=1e-4)
    with pytest.raises(InputError, match="--phase must be one of .* \\[0\\]. Received: 1"):
        replay(
            parsed(**settings),
            folder / "examples",
            tmp_path / "train.partial",
            **{**place, "phase": 1},
        )
    lines = list(train_log.read_lines(tmp_path / "train.partial" / "log.jsonl"))
    back = [line for line in lines if "rollback" in line]
    assert [line["step"] for line in back] == [3]
    assert len(jumps) == 2 and jumps[1] == jumps[0] + 3  # around the batches of the jump


def test_a_pass_goes_on_where_it_was(folder, tmp_path):
    """Batches, by a pass's own seed; the unknown item is read, and is no target."""
    config = parsed(train__batch_size=16)
    examples = SequenceSet.open(folder / "examples")
    strategy = tf.distribute.get_strategy()
    setting = Setting(config, examples.schema, examples, tmp_path, strategy)
    learner = KIND.learner(setting, KIND.phases(setting)[0], 1.0)
    whole, rest, other = (
        [data["items"].numpy().tolist() for data, _ in learner.batches(*place)]
        for place in ((1, 0), (1, 2), (0, 0))
    )
    assert len(whole) == learner.batches_in_epoch > 3
    assert rest == whole[2:] and other != whole
    assert sorted(sum(other, [])) == sorted(sum(whole, []))
    data, _ = batch_of(np.array([[0, 1, 7, 2]]), np.array([4]), unknown=7)
    assert data["items"].tolist() == [[0, 1, 7]] and data["targets"].tolist() == [[1, 0, 2]]


def test_a_phase_ends_after_so_many_evaluations_without_a_gain(
    folder, tmp_path, monkeypatch
):
    measured = iter([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.9])  # the first before any step
    monkeypatch.setattr(NextItem, "monitored", lambda *_: next(measured, 0.0))
    settings = {"train__phases": [{"blocks": 1, "patience": 2}], "train__batch_size": 99}
    summary = train(parsed(**settings), folder / "examples", tmp_path / "train")
    assert summary["epochs"] == 5 and summary["best"] == 0.3


def test_rows_that_wait_are_brought_up_to_date_before_a_model_is_kept(folder, tmp_path):
    """A checkpoint follows a measurement: by then, all rows are where each step of a dense
    optimizer would have taken them."""
    rows = {"optimizer": "adagrad", "learning_rate": 0.1, "l2": 0.03, "clip": "none"}
    settings = {"train__batch_size": 2, "train__phases": [{"blocks": 1, "steps": 20}]}
    tables = []
    for semantics in ("dense", "lazy"):
        settings["train__embedding"] = {**rows, "semantics": semantics}
        train(parsed(**settings), folder / "examples", tmp_path / semantics)
        checkpoints = tmp_path / semantics / "phases" / "0" / "checkpoints"
        reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(checkpoints))
        path = "model/item_embedding/.ATTRIBUTES/VARIABLE_VALUE"
        tables.append(reader.get_tensor(path))
    assert np.abs(tables[0]).max() > 0.05
    np.testing.assert_allclose(tables[1], tables[0], atol=1e-3)


def test_two_replicas_take_the_steps_of_one(two_replicas):
    config, schema = parsed(), SequenceSchema(items=9, raw="integer", length=6)
    rows = np.random.default_rng(1).integers(1, 11, [7, 6]).astype(np.int32)
    rows[:3, :4] = 0  # shorter than the others: replicas hold unequal numbers of targets
    lines, weights = [], []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = build(config, schema, blocks=1)
            compile_model(model, config)
        step = LoggedStep(model, strategy)
        parts = [
            batch_of(part, np.full(7, 6)[: len(part)], 10) for part in (rows, rows[:5])
        ]
        batches = [distributed(part, strategy) for part in parts]
        lines.append([step.line(step(batch), ["all"]) for batch in batches])
        weights.append({name: v.numpy() for name, v in model.saved_weights().items()})
    for one, two in zip(*lines, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        assert one["clipping"] == pytest.approx(two["clipping"], rel=1e-4)
    for name, one in weights[0].items():
        np.testing.assert_allclose(weights[1][name], one, rtol=1e-3, atol=1e-5)


def test_two_runs_stand_side_by_side(folder, evaluated, tmp_path):
    runs = [shutil.copytree(folder, tmp_path / name) for name in ("one", "two")]
    read = compare(runs, tmp_path / "compare.html")
    assert [run["name"] for run in read] == ["one", "two"]
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "MRR@5" in page and "Validation NDCG@10 of next_item" in page
    assert "AUC" not in page.partition("<script")[0]


SWEEP = {
    "trials": 4,
    "objective": {"metric": "ndcg@10"},
    "space": [{"key": "train.dense.learning_rate", "values": [0.03, 0.01, 0.003, 1e-4]}],
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner's own
def test_four_trials_of_a_sweep(folder, tmp_path, monkeypatch):
    """Each trains as `train` does, here in this process."""
    phases = [{"blocks": 1, "epochs": 1, "data_fraction": 0.3}]
    document = event_log.config_document(train__phases=phases, sweep=SWEEP)

    def run_stage(arguments, log, beat):
        config = load_any_config(arguments[2])
        train(config, arguments[4], arguments[6], overwrite=True)
        return 0, ""

    monkeypatch.setattr(trial, "run_stage", run_stage)
    space = read_sweep(document, None, tmp_path, "c.yaml")
    found = sweep(space, folder / "examples", tmp_path / "sweep")
    assert found["counts"] == {"completed": 4} and found["objective"].startswith(
        "mean ndcg@10"
    )
    values = [row["value"] for row in found["trials"]]
    assert max(values) > min(values)
    highest = max(found["trials"], key=lambda row: row["value"])
    assert found["highest"] == highest["trial"] and highest["interval"][0] < max(values)
    assert found["best_value"] == (max(values) if found["told"] else found["first_value"])
    (best,) = (tmp_path / "sweep" / "trials").glob(f"*{found['best']}/train")
    summary = json.loads((best / "train.json").read_text())
    assert summary["best"] == found["best_value"]
    load_any_config(tmp_path / "sweep" / "best.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "hyperband", "max_epochs": 4}, "trains in phases: take random"),
        ({"score": "{train.dense.learning_rate}"}, "of which a next-item model has one"),
        ({"constraint": {"min_margin": 2}}, "constrain a next-item model by max_micro"),
        ({"objective": {"metric": "auc"}}, "auc is of binary tasks: none here"),
    ],
)
def test_what_a_sweep_cannot_do_is_said(tmp_path, changes, said):
    document = event_log.config_document(sweep={**SWEEP, **changes})
    with pytest.raises(InputError, match=said):
        read_sweep(document, None, tmp_path, "c.yaml")
