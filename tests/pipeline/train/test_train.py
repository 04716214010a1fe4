"""Training: resumed equals uninterrupted, refusals, devices, damage."""

import json
import shutil

import numpy as np
import pytest
import yaml

from steadyrank.pipeline.config import load_config, parse_config
from steadyrank.pipeline.examples.compatibility import agree, require_made_for
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.kinds import preprocess, train
from steadyrank.pipeline.kinds.ranking.kind import Ranking
from steadyrank.pipeline.kinds.ranking.model import compiled_model
from steadyrank.pipeline.train.weights import load_best_or_latest
from tests.helpers import tiny
from tests.helpers.training import (
    SETTINGS,
    Interrupted,
    assert_same,
    best_of,
    config_of,
    interrupt,
    log_of,
    smaller_config,
    state_of,
)

SETTINGS |= {"task_weights": {"method": "pcgrad"}}  # whose step must be resumed, too
STEPS = 26  # 400 rows in batches of 32, twice


@pytest.fixture(scope="module")
def whole(examples, tmp_path_factory):
    output = tmp_path_factory.mktemp("train") / "whole"
    train(config_of(), examples, output)
    return output


def test_what_a_run_leaves(whole, examples):
    steps = [line for line in log_of(whole) if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert [line["epoch"] for line in steps] == [0] * 13 + [1] * 13
    assert [line["examples"] for line in steps] == ([32] * 12 + [16]) * 2
    manifest = json.loads((examples / "manifest.json").read_text())
    windows = [line["window"] for line in steps[:13]]
    assert windows == sorted(windows)
    assert set(windows) == set(manifest["splits"]["train"]["windows"])
    for line in steps:
        losses = line["losses"]
        total = losses["click"] + losses["like"] + 0.1 * losses["watch"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    validations = [line for line in log_of(whole) if "validation" in line]
    assert [line["step"] for line in validations] == [13, 26]
    assert [line["validation"]["click"]["rows"] for line in validations] == [100, 100]
    summary = json.loads((whole / "train.json").read_text())
    assert (summary["steps"], summary["epochs"]) == (STEPS, 2)
    assert summary["fingerprint"] == manifest["fingerprint"]
    areas = [
        np.mean([line["validation"][task]["auc"] for task in ("click", "like")])
        for line in validations
    ]
    assert summary["best"] == pytest.approx(max(areas), abs=1e-12)
    best = max(validations, key=lambda line: areas[validations.index(line)])
    assert summary["averaged"] == best["averaged"]
    # of the last epoch's average, if it is the best: that is in the last checkpoint
    state, kept = state_of(whole), best_of(whole)
    averages = {n: v for n, v in state.items() if "model/average/weights/" in n}
    assert len(averages) == sum("dense" in n or "bias" in n for n in kept)
    if best is validations[-1] and best["averaged"]:
        found = {value.tobytes() for value in kept.values()}
        assert {value.tobytes() for value in averages.values()} <= found
    assert not whole.with_name("whole.partial").exists()


def test_a_resumed_run_ends_as_if_never_stopped(examples, whole, tmp_path):
    output = tmp_path / "resumed"
    for when in (
        lambda step, text: step >= 3,  # before the first checkpoint
        lambda step, text: text.startswith("epoch 1"),  # validated, not yet kept
        lambda step, text: step >= 20,  # in the second epoch, after a checkpoint
    ):
        work = output.with_name("resumed.partial")
        resume, progress = work.exists(), interrupt(when)
        with pytest.raises(Interrupted):
            train(config_of(), examples, output, resume=resume, progress=progress)
        assert not output.exists()
        with (work / "log.jsonl").open("a") as file:
            file.write('{"step": 9')  # the line that was being written
    train(config_of(), examples, output, resume=True)
    assert_same(state_of(output), state_of(whole))
    assert_same(best_of(output), best_of(whole))
    assert log_of(output) == log_of(whole)
    assert len(state_of(output)) > 40


def test_a_run_that_ended_goes_on_with_its_own_config_alone(whole, examples):
    with pytest.raises(InputError, match="train.seed is 2 in the config"):
        train(config_of(epochs=3, seed=2), examples, whole, resume=True)


def test_what_does_not_belong_together_is_not_resumed(config, examples, tmp_path):
    output = tmp_path / "t"
    with pytest.raises(InputError, match="no interrupted run"):
        train(smaller_config(), examples, output, resume=True)
    with pytest.raises(Interrupted):
        train(smaller_config(), examples, output, progress=interrupt(lambda s, t: True))
    with pytest.raises(InputError, match="--resume to go on with it, or --overwrite"):
        train(smaller_config(), examples, output)
    with pytest.raises(InputError, match="train.seed is 2 in the config"):
        train(smaller_config(seed=2), examples, output, resume=True)
    rows = tiny.make_rows(seed=8)
    tiny.write_log(tmp_path / "other", rows)
    preprocess(config, tmp_path / "other", tmp_path / "examples")
    with pytest.raises(InputError, match="trained on other examples"):
        train(smaller_config(), tmp_path / "examples", output, resume=True)
    train(smaller_config(), examples, output, overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        train(smaller_config(), examples, output)


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_that_was_refused_has_not_begun(examples, tmp_path, resume):
    with pytest.raises(InputError, match="warmup_steps must be below the 13 steps"):
        train(smaller_config(warmup_steps=1000), examples, tmp_path / "t")
    how = {"resume": resume, "progress": interrupt(lambda *_: True)}
    with pytest.raises(Interrupted):
        train(smaller_config(), examples, tmp_path / "t", **how)
    assert load_config(tmp_path / "t.partial" / "config.yaml").train.warmup_steps == 0


def test_one_training_at_a_time(examples, tmp_path):
    (tmp_path / "t.partial" / "checkpoints").mkdir(parents=True)
    (tmp_path / "t.partial" / "checkpoints" / "checkpoint").write_text("of the other")
    with locked(tmp_path / ".t.lock"):
        for how in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(PassingError, match="/t is in use by process .* wait"):
                train(smaller_config(), examples, tmp_path / "t", **how)
    assert (tmp_path / "t.partial" / "checkpoints" / "checkpoint").exists()


@pytest.mark.parametrize(("batch_size", "kept"), [(16_383, 0), (16_384, 1)])
def test_freed_memory_is_kept_where_batches_are_large(
    examples, tmp_path, monkeypatch, batch_size, kept
):
    calls = []

    def begin(*_, **__):
        raise Interrupted

    stage = "steadyrank.pipeline.train.stage"
    monkeypatch.setattr(f"{stage}.keep_freed_memory", lambda: calls.append(1))
    monkeypatch.setattr(f"{stage}.TrainingRun", begin)
    with pytest.raises(Interrupted):
        train(smaller_config(batch_size=batch_size), examples, tmp_path / "t")
    assert len(calls) == kept


def test_an_interrupted_run_replaces_what_it_was_to_replace(examples, tmp_path):
    output, how = tmp_path / "t", {"progress": interrupt(lambda *_: True)}
    output.mkdir()
    for name in ("old", "train.json"):
        (output / name).write_text("")
    with pytest.raises(Interrupted):
        train(smaller_config(), examples, output, overwrite=True, **how)
    with pytest.raises(InputError, match="train.seed is 2 in the config"):
        train(smaller_config(seed=2), examples, output, resume=True)
    assert (output / "old").exists()
    train(smaller_config(), examples, output, resume=True)
    assert not (output / "old").exists() and (output / "train.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: d["features"][1].update(oov_buckets=1),
            "feature item: oov_buckets is 1",
        ),
        (
            lambda d: d["features"][4].update(transform="identity"),
            "feature price: transform",
        ),
        (lambda d: d["tasks"][1].update(given=""), "task like: given is ''"),
        (
            lambda d: d["features"].append({"name": "z", "kind": "numeric"}),
            "no feature 'z'",
        ),
        (lambda d: d["tasks"].append({"name": "z"}), "no task 'z'"),
    ],
)
def test_a_config_that_wants_other_examples_is_refused(examples, tmp_path, change, said):
    document = tiny.config_document()
    change(document)
    with pytest.raises(InputError, match=said):
        train(parse_config(document, "c"), examples, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "override",
    [
        "tasks.click.negative_rate=0.1",
        "tasks.click.at_least=0.5",
        "tasks.like.column=click",
        "tasks.click.truth=watch",
        "features.age.buckets=20",
        "features.price.scale=minmax",
        "features.item.min_count=9",
        "features.country.column=user",
        "data.split.test=2024-03-06T12:00:00",
        "data.split.validation=2024-03-04",
        "data.group=null",
        "data.join=[]",
    ],
)
def test_what_preprocessing_alone_reads_may_not_change(examples, tmp_path, override):
    """Nor is it checked where a version before did not write down what it read."""
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(tiny.config_document()))
    config, manifest = load_config(path, [override]), ExampleSet.open(examples).manifest
    with pytest.raises(InputError, match=f"{override.partition('=')[0]}.* is .* made with"):
        require_made_for(config, manifest, examples)
    with pytest.raises(InputError, match="Preprocess the log with this config"):
        train(config, examples, tmp_path / "t")
    require_made_for(config, {k: v for k, v in manifest.items() if k != "config"}, examples)


def test_what_training_reads_may_change(examples, tmp_path):
    path = tmp_path / "c.yaml"
    settings = ["tasks.click.weight=2", "tasks.click.positive_weight=3"]
    settings += ["features.tags.pooling=sum", "features.age.dim=3", "data.max_rejected=0.3"]
    settings += ["data.input=[/elsewhere/log.parquet]", "features.item.column=item"]
    settings += ["data.split.test=2024-03-06T00:00:00"]  # as written into config.yaml
    path.write_text(yaml.safe_dump(tiny.config_document()))
    config = load_config(path, settings)
    require_made_for(config, ExampleSet.open(examples).manifest, examples)


def test_a_config_may_leave_features_and_tasks_out(examples, tmp_path):
    document = tiny.config_document(train__batch_size=200)
    document["features"], document["tasks"] = (
        document["features"][:2],
        document["tasks"][:1],
    )
    summary = train(parse_config(document, "c"), examples, tmp_path / "t")
    assert summary["steps"] == 2


def test_rows_that_wait_are_brought_up_to_date_before_they_are_looked_at(
    examples, tmp_path
):
    """Measured, kept, or read from a checkpoint within an epoch, all rows are where every
    step of a dense optimizer would have taken them."""
    rows = {"optimizer": "adagrad", "learning_rate": 0.3, "l2": 0.03, "clip": "none"}
    kept, within, losses = [], [], []
    for semantics in ("dense", "lazy"):
        how = {"batch_size": 10, "checkpoint_every": 23, "spike_guard": None}
        config = smaller_config(**how, embedding={**rows, "semantics": semantics})

        def look(work, config=config):
            schema = agree(config, ExampleSet.open(examples).schema)
            model = compiled_model(config, schema)
            load_best_or_latest(model, work, ended=False)
            within.extend(v.numpy() for v in model.embedding_variables)

        train(config, examples, tmp_path / semantics, saved=look)
        best = best_of(tmp_path / semantics).items()
        kept += [value for name, value in best if "embedding" in name]
        lines = log_of(tmp_path / semantics)
        results = [x.get("progressive", x.get("validation")) for x in lines]
        losses.append([found["click"]["log_loss"] for found in results if found])
    assert len(kept) == 2 and len(within) == 4  # at step 23, and at the end
    for dense, lazy in (kept, within[::2], within[1::2]):
        assert np.abs(dense).max() > 0.1
        np.testing.assert_allclose(lazy, dense, atol=0.005)
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=3e-4)


def test_an_epoch_that_was_measured_but_not_kept_is_logged_once(examples, tmp_path):
    """Its last step has a checkpoint, from which a run that died right after goes on."""
    config, output = smaller_config(checkpoint_every=13), tmp_path / "t"
    when = interrupt(lambda step, text: text.startswith("epoch 1"))
    with pytest.raises(Interrupted):
        train(config, examples, output, progress=when)
    train(config, examples, output, resume=True)
    places = [(x["step"], x["epoch"]) for x in log_of(output) if "validation" in x]
    assert places == [(13, 0)]


def test_training_ends_after_so_many_epochs_without_a_gain(examples, tmp_path, monkeypatch):
    measured = iter([0.5, 0.4, 0.6, 0.5, 0.4, 0.9])
    monkeypatch.setattr(Ranking, "monitored", lambda *_: next(measured, 0.0))
    config = smaller_config(epochs=6, batch_size=400, patience=1, average=None)
    said: list = []
    summary = train(
        config, examples, tmp_path / "t", progress=lambda *told: said.append(told)
    )
    assert summary["epochs"] == 5  # the second one in a row is one too many
    assert summary["best"] == 0.6
    assert said[-1][2] == (
        "ended: mean_auc on validation has not risen for 2 evaluations, and train.patience "
        "bears 1; the weights of its best, 0.6000, are kept"
    )
    steps = [text for _, total, text in said if total]
    assert steps[0].endswith("epoch 1 of 6")  # whose steps were compiled, too
    assert "epoch 2 of 6, " in steps[1] and steps[1].endswith(" left at most")
    # more epochs add nothing to what has converged: it is said, not passed over
    more = config.model_copy(
        update={"train": config.train.model_copy(update={"epochs": 9})}
    )
    said.clear()
    train(
        more,
        examples,
        tmp_path / "t",
        resume=True,
        progress=lambda *told: said.append(told[2]),
    )
    assert said[0].startswith(
        "warning: nothing to train: mean_auc on validation has not risen"
    )


def test_two_replicas_train_to_the_weights_of_one(examples, tmp_path, two_replicas):
    """With a last batch of one row, which leaves one replica without any."""
    config = smaller_config(batch_size=57)  # 400 = 7 * 57 + 1
    one, two = tmp_path / "one", tmp_path / "two"
    train(config, examples, one)
    summary = train(config, examples, two, strategy=two_replicas)
    assert summary["replicas"] == 2
    steps = [[li for li in log_of(folder) if "loss" in li] for folder in (one, two)]
    assert [line["examples"] for line in steps[1]] == [57] * 7 + [1]
    for a, b in zip(*steps, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["window"] == a["window"]
    for name, value in best_of(one).items():
        np.testing.assert_allclose(best_of(two)[name], value, rtol=1e-3, atol=1e-5)


def test_a_validation_split_of_one_class_does_not_stop_training(tmp_path):
    rows = tiny.make_rows(300)
    for row in rows:
        if row["time_ms"] >= tiny.START.timestamp() * 1000 + 4 * 24 * tiny.HOUR:
            row["click"] = row["like"] = 0
    tiny.write_log(tmp_path / "in", rows)
    config = smaller_config()
    preprocess(config, tmp_path / "in", tmp_path / "examples")
    summary = train(config, tmp_path / "examples", tmp_path / "train")
    assert summary["best"] is None  # not defined, which JSON has no number for
    assert (tmp_path / "train" / "best").exists()


def test_a_flipped_byte_ends_training_with_the_name_of_the_file(examples, tmp_path):
    copy = shutil.copytree(examples, tmp_path / "copy")
    path = sorted(copy.glob("train/*.tfrecord"))[2]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=path.name):
        train(smaller_config(), copy, tmp_path / "t")
