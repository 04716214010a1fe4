"""Next-item training goes back, gives up, goes on, and is brought up to date."""

import json

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.pipeline.files.errors import DivergenceError, InputError
from steadyrank.pipeline.kinds import (
    preprocess,
    replay,
    train,
)
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.kind import KIND, NextItem
from steadyrank.pipeline.kinds.next_item.learner import batch_of, distributed
from steadyrank.pipeline.kinds.next_item.model import (
    build,
    compile_model,
    grown,
)
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.train import log as train_log
from steadyrank.pipeline.train.logged_step import LoggedStep
from steadyrank.pipeline.train.weights import load_weights, save_weights
from tests.helpers import event_log
from tests.helpers.next_item_runs import parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    log = tmp_path_factory.mktemp("sequences")
    event_log.write_events(log, event_log.make_events())
    preprocess(parsed(), log, log / "examples")
    return log


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
