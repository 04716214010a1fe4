"""Poisoned batches and diverging rates: what training does, and what it never saves."""

import functools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.components.metrics.early_warning import EarlyWarning
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import TrainingPasses
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import DivergenceError, InputError
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.gates.rules import worst
from steadyrank.pipeline.kinds import kind_of, replay, train
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.kinds.ranking import learner
from steadyrank.pipeline.train import run as training_run
from steadyrank.pipeline.train.diagnosis import first_clipped
from steadyrank.pipeline.train.log import divergence_of, foretell, read_lines
from steadyrank.pipeline.train.run import TrainingRun
from steadyrank.pipeline.train.stage import write_inputs
from steadyrank.pipeline.train.strategy import make_strategy
from tests.helpers import tiny

POISONED = 5  # the batch that is spoiled, counted from 0


@pytest.fixture
def settings(config):
    """The tiny config with 25 steps an epoch, and a trunk that is quick to trace."""
    model = {"trunk": "shared_bottom", "embedding_dim": 4, "bottom_units": [8]}
    small = parse_config(tiny.config_document(model=model | {"tower_units": []}), "tiny")

    def change(**train_settings):
        fields = {"batch_size": 16, "epochs": 3, "checkpoint_every": 10, **train_settings}
        return small.model_copy(update={"train": config.train.model_copy(update=fields)})

    return change


@pytest.fixture
def impatient(monkeypatch):
    """A detector that gives a loss up after five steps instead of two hundred."""
    detector = functools.partial(DivergenceDetector, patience=5, window=20)
    monkeypatch.setattr(training_run, "DivergenceDetector", detector)


def poison(monkeypatch, spoils):
    """Put ``spoil(features, labels, masks)`` in the way of batches of each epoch.

    Args:
        spoils: Number of a batch in its epoch -> what is done to it.
    """
    original = TrainingPasses.__call__

    def poisoned(self, epoch, skip_batches=0):
        dataset = original(self, epoch, skip_batches)

        def maybe(index, batch):
            *data, window = batch
            for number, spoil in spoils.items():
                chosen = tf.equal(index + skip_batches, number)
                pick = functools.partial(tf.where, chosen)
                data = tf.nest.map_structure(pick, spoil(*data), tuple(data))
            return (*data, window)

        return dataset.enumerate().map(maybe)

    monkeypatch.setattr(TrainingPasses, "__call__", poisoned)


def huge_features(features, labels, masks):
    features = {
        name: tf.fill(tf.shape(x), 1e30) if x.dtype == tf.float32 else x
        for name, x in features.items()
    }
    return features, labels, masks


def missing_features(features, labels, masks):
    features = {
        name: tf.fill(tf.shape(x), float("nan")) if x.dtype == tf.float32 else x
        for name, x in features.items()
    }
    return features, labels, masks


def flipped_labels(features, labels, masks):
    return features, {**labels, "click": 1.0 - labels["click"]}, masks


def infinite_labels(features, labels, masks):
    return features, {**labels, "watch": tf.fill(tf.shape(labels["watch"]), np.inf)}, masks


def weights_of(folder):
    reader = tf.train.load_checkpoint(str(folder / "best" / "weights"))
    names = [name for name in reader.get_variable_to_shape_map() if "VALUE" in name]
    return {name: reader.get_tensor(name) for name in names}


def test_poisoned_batches_never_end_in_bad_weights(
    settings, examples, tmp_path, monkeypatch
):
    spoils = (huge_features, missing_features, flipped_labels, infinite_labels)
    poison(monkeypatch, dict(zip((3, 8, 13, 18), spoils, strict=True)))
    train(settings(), examples, tmp_path / "train")
    weights = weights_of(tmp_path / "train")
    assert len(weights) > 5
    assert all(np.isfinite(values).all() for values in weights.values())
    lines = list(read_lines(tmp_path / "train" / "log.jsonl"))
    assert sum(line.get("nonfinite", 0) > 0 for line in lines) == 3  # one an epoch
    validation = [line["validation"] for line in lines if "validation" in line]
    assert all(np.isfinite(result["click"]["log_loss"]) for result in validation)


def test_a_non_finite_batch_is_skipped_counted_and_refused(
    settings, examples, tmp_path, monkeypatch
):
    poison(monkeypatch, {POISONED: infinite_labels})
    train(settings(epochs=1), examples, tmp_path / "train")
    lines = list(read_lines(tmp_path / "train" / "log.jsonl"))
    spoilt = [line for line in lines if line.get("nonfinite")]
    assert [line["batch"] for line in spoilt] == [POISONED]
    assert spoilt[0]["loss"] is None
    found = divergence_of(lines, sum("loss" in line for line in lines))
    assert found["nonfinite_steps"] == 1 and not found["diverged"]
    gates = {"divergence": {"max_micro": 1, "max_rollbacks": 0}}
    assert judge({"divergence": found}, gates)["verdict"] == "REFUSE"


# Large enough that the first steps throw the logits far off.
WILD = {"optimizer": "adam", "clip": "none", "learning_rate": 30.0}


def wild(config, rate=30.0):
    dense = config.train.dense.model_copy(update={**WILD, "learning_rate": rate})
    return config.model_copy(
        update={"train": config.train.model_copy(update={"dense": dense})}
    )


@pytest.fixture
def jumping(monkeypatch):
    """A rate that turns wild after twenty steps, the loss being known by then."""
    original = learner.compiled_model

    def compiled(*arguments, **named):
        model = original(*arguments, **named)
        backoff_schedule = model.dense_optimizer._learning_rate
        steady = backoff_schedule.schedule
        backoff_schedule.schedule = lambda step: (
            steady(step) * tf.where(step < 20, 1e-4, 1.0)
        )
        return model

    monkeypatch.setattr(learner, "compiled_model", compiled)


def test_stop_leaves_no_model_but_a_diagnosis(
    settings, examples, tmp_path, impatient, jumping
):
    output, kept = tmp_path / "train", []

    def keep(work):
        kept.append(sorted(path.name for path in work.glob("divergence-*")))

    with pytest.raises(
        DivergenceError, match=r"step 2\d.*window 2024-03-0\d.*pulled hardest"
    ):
        train(wild(settings(on_divergence="stop")), examples, output, saved=keep)
    assert not output.exists()
    assert kept[-1] == ["divergence-1.json", "divergence-1.jsonl"]
    record = json.loads((tmp_path / "train.partial/divergence-1.json").read_text())
    assert record["epoch"] == 0 and record["healthy_step"] == 20
    assert set(record["tasks"]) == {"click", "like", "watch"}
    assert record["window"].startswith("2024-03-")
    assert record["layers"] and record["ids"]
    # through the last checkpoint: its best epoch, if any, came after the jump
    partial, place = tmp_path / "train.partial", ("epoch", "batch")
    place = {name: record[name] for name in place}
    again = replay(wild(settings(on_divergence="stop")), examples, partial, **place)
    for task, found in record["tasks"].items():
        assert again["tasks"][task] == pytest.approx(found, rel=1e-3)
    with pytest.raises(InputError, match="--epoch must be one of the run's"):
        replay(settings(), examples, tmp_path / "train.partial", epoch=99, batch=0)


def test_rollback_gives_up_after_so_many_times(
    settings, examples, tmp_path, impatient, jumping
):
    output = tmp_path / "train"
    config = wild(settings(on_divergence="rollback", max_rollbacks=1, rollback_factor=1.0))
    with pytest.raises(DivergenceError):
        train(config, examples, output)
    found = sorted(
        path.name for path in (tmp_path / "train.partial").glob("divergence-*.json")
    )
    assert found == ["divergence-1.json", "divergence-2.json"]


def test_rollback_lowers_the_rate_and_recovers(
    settings, examples, tmp_path, impatient, jumping
):
    output = tmp_path / "train"
    config = wild(settings(on_divergence="rollback", rollback_factor=1e-5))
    summary = train(config, examples, output)
    assert summary["rollbacks"] == 1 and not summary["divergence"]["diverged"]
    lines = list(read_lines(output / "log.jsonl"))
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(1, len(steps) + 1))  # nothing twice, nothing missing
    places = {(line["epoch"], line["batch"]) for line in lines if "loss" in line}
    record = next(line["rollback"] for line in lines if "rollback" in line)
    around = {(record["epoch"], record["batch"] + offset) for offset in (-1, 0, 1)}
    assert not around & places
    assert len(places) + len(around) == 3 * 25
    found = divergence_of(lines, sum("loss" in line for line in lines))
    assert found["rollbacks"] == 1 and not found["diverged"]
    for allowed, verdict in ((0, "REFUSE"), (1, "PASS")):
        gates = {"divergence": {"max_micro": 0, "max_rollbacks": allowed}}
        results = judge({"divergence": found}, gates)["gates"]
        judged = [gate["verdict"] for gate in results if gate["gate"] == "divergence"]
        assert worst(judged) == verdict


def test_what_is_measured_while_the_loss_is_high_is_not_kept(
    settings, examples, tmp_path, monkeypatch
):
    """A rollback would drop that epoch: the best weights must be of one that stands."""
    config, found = settings(), ExampleSet.open(examples)
    schema = agree(config, found.schema)
    write_inputs(config, schema, found, tmp_path / "work")
    setting = Setting(config, schema, found, tmp_path / "work", make_strategy())
    run = TrainingRun(kind_of(config), setting, kind_of(config).phases(setting)[0])
    areas = iter([0.5, 0.6])
    monkeypatch.setattr(run, "kind", SimpleNamespace(monitored=lambda *_: next(areas)))
    run._evaluate(0)
    best = weights_of(tmp_path / "work")
    for variable in run.model.dense_variables:
        variable.assign_add(tf.ones_like(variable))
    for step, loss in enumerate([1.0] * 20 + [99.0], 1):
        run.detector.update(step, loss)
    assert run.detector.in_episode
    run._evaluate(0)
    for name, values in weights_of(tmp_path / "work").items():
        np.testing.assert_array_equal(values, best[name])
    assert float(run.best) == 0.5


def test_continue_trains_on_and_the_gate_refuses(
    settings, examples, tmp_path, impatient, jumping
):
    output = tmp_path / "train"
    summary = train(wild(settings(on_divergence="continue")), examples, output)
    assert summary["epochs"] == 3 and summary["divergence"]["diverged"]


def test_units_that_die_are_told_and_logged_once(settings, examples, tmp_path):
    """At a rate that shuts the bottom in a few steps; what is told lasts over a resume."""
    output, told = tmp_path / "train", []
    config = wild(settings(on_divergence="continue", epochs=1), rate=1e3)
    train(config, examples, output, progress=lambda *said: told.append(said[2]))
    lines = list(read_lines(output / "log.jsonl"))
    (warning,) = [line["warning"] for line in lines if "warning" in line]
    assert warning["layer"] == "shared_bottom/bottom/dense_0" and warning["share"] > 0.1
    dead = {line["step"]: line.get("dead_units") for line in lines if "loss" in line}
    assert all(dead[warning["step"] - n] for n in range(3)) and not dead.get(
        warning["step"] - 3
    )
    assert sum("let no row of a batch through" in text for text in told) == 1
    found = divergence_of(lines, len(dead))
    assert found["warnings"] == [warning]
    again = EarlyWarning()
    shown = [foretell(again, line) for line in lines]
    assert [line["warning"] for line in shown if line] == [warning]


def test_every_window_but_the_first_is_measured_before_it_is_trained_on(trained):
    lines = list(read_lines(trained / "log.jsonl"))
    measured = [line for line in lines if "weight_norm" in line]
    assert measured and all(min(line["weight_norm"].values()) >= 0 for line in measured)
    assert all(max(line["update_norm"].values()) > 0 for line in measured)
    progressive = [line for line in lines if "progressive" in line]
    assert [line["window"] for line in progressive] == [
        "2024-03-02",
        "2024-03-03",
        "2024-03-04",
    ]
    for line in progressive:
        before = [other for other in lines[: lines.index(line)] if "loss" in other]
        assert max(other["window"] for other in before) < line["window"]
        assert line["step"] == before[-1]["step"]
        assert 0 <= line["progressive"]["click"]["auc"] <= 1


def test_replay_finds_the_batch_and_its_tasks(config, examples, trained):
    result = replay(config, examples, trained, epoch=0, batch=2)
    assert result["window"].startswith("2024-03-0")
    assert result["tasks"]["like"]["rows"] <= result["tasks"]["click"]["rows"] == 64
    assert set(result["cosines"]) == {"click like", "click watch", "like watch"}
    assert all(-1 - 1e-9 <= cosine <= 1 + 1e-9 for cosine in result["cosines"].values())
    norms = list(result["layers"].values())
    assert norms == sorted(norms, reverse=True) and norms[0] > 0
    with pytest.raises(InputError, match="no batch 1000"):
        replay(config, examples, trained, epoch=0, batch=1000)


def test_replay_of_a_next_item_model_says_so(config, examples, tmp_path):
    (tmp_path / "schema.json").write_text('{"format": "sequences 1"}')
    with pytest.raises(InputError, match="is of a next-item model"):
        replay(config, examples, tmp_path, epoch=0, batch=0)


def test_the_layer_whose_factor_fell_first():
    def line(step, **clipping):
        return {"step": step, "clipping": clipping}

    lines = [line(step, low=0.8, top=1.0) for step in range(1, 41)]
    lines += [
        line(41, low=0.7, top=0.9),
        line(42, low=0.3, top=0.8),
        line(43, low=0.3, top=0.1),
    ]
    assert first_clipped(lines, 43) == "low"
    assert first_clipped(lines[:41], 41) is None
    assert first_clipped([], 3) is None
