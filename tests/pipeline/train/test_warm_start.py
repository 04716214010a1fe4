"""A run that goes on from another's checkpoint, against the checkpoint read by hand."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.skew import measure_skew
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import export, prepare_warm_start, train
from steadyrank.pipeline.kinds.ranking.model import compiled_model, shared_rows
from steadyrank.pipeline.train import warm_start
from steadyrank.pipeline.train.strategy import make_strategy
from steadyrank.pipeline.train.warm_start import WarmStart, continue_from
from tests.helpers import tiny

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
TABLE = "model/inputs_layer/tables/4/embeddings"
L2 = {"l2": 1e-3}  # so that rows have clocks: what they missed is made up for
DECAY = {"method": "decay", "gamma": {"like": 0.9}, "per": "step"}


def config_of(day: int, **changes):
    settings = {"train__embedding": L2, "train__task_weights": DECAY}
    return tiny.config_on(tiny.DATES[day], **settings, **changes)


@pytest.fixture(scope="module")
def before(first):
    output = first.parent / "before"
    train(config_of(3), first, output)
    return output


def rows_of(path) -> list[int]:
    return [feature.rows for feature in ExampleSet.read_schema(path).features]


def old_places(first, second) -> np.ndarray:
    """Where each row of the old table stands in the new one."""
    old, new = rows_of(first), rows_of(second)
    assert sum(new) > sum(old)
    parts = [np.arange(n) + sum(new[:i]) for i, n in enumerate(old)]
    return np.concatenate(parts)


def begin(model, start):
    """As a learner does it."""
    before = Schema.from_dict(start.schema, "schema.json")
    continue_from(model, shared_rows(model, before), start)
    model.weighting.begin_again()


def test_a_table_grows_exactly(first, second, before):
    config, strategy = config_of(5), make_strategy()
    schema = agree(config, ExampleSet.read_schema(second))
    with strategy.scope():
        fresh = compiled_model(config, schema, steps=10)
        model = compiled_model(config, schema, steps=10)
        start = WarmStart.of(before, [tiny.DATES[4]])
        begin(model, start)
    kept = old_places(first, second)
    new = np.setdiff1d(np.arange(sum(rows_of(second))), kept)
    saved = tf.train.load_checkpoint(start.checkpoint)
    (table,), (untouched,) = model.embedding_variables, fresh.embedding_variables
    np.testing.assert_array_equal(table.numpy()[kept], saved.get_tensor(TABLE + VALUE))
    np.testing.assert_array_equal(table.numpy()[new], untouched.numpy()[new])
    assert np.ptp(table.numpy()[new]) > 0
    steps = int(saved.get_tensor("model/embedding_optimizer/_iterations" + VALUE))
    now = int(model.embedding_optimizer.iterations.numpy())
    assert steps == start.steps == now > 0
    grown = 0
    for number, slot in enumerate(model.embedding_optimizer.variables[1:], 1):
        key = f"model/embedding_optimizer/_variables/{number}{VALUE}"
        old, now = saved.get_tensor(key), slot.numpy()
        if slot.shape.rank:
            grown += 1
            np.testing.assert_array_equal(now[kept], old)
            # both moments at 0, and the clocks as of now
            begun = np.r_[np.zeros(old.shape[1] - 2), steps, np.max(old[:, -1])]
            np.testing.assert_array_equal(now[new], np.tile(begun, [len(new), 1]))
        else:
            assert now == old
    assert grown == 1
    for number, variable in enumerate(model.dense_optimizer.variables):
        name = "_iterations" if not number else f"_variables/{number}"
        old = saved.get_tensor(f"model/dense_optimizer/{name}{VALUE}")
        np.testing.assert_array_equal(variable.numpy(), old)
    shares = [task.weight for task in schema.tasks]  # which decay anew
    np.testing.assert_allclose(model.weighting.weights(), shares, rtol=1e-6)
    for mine, fresh_one in zip(model.dense_variables, fresh.dense_variables, strict=True):
        if "kernel" in mine.name:
            assert np.abs(mine.numpy() - fresh_one.numpy()).max() > 0


def test_a_warm_run_sees_its_windows_at_rates_of_its_own(second, before):
    output, day = second.parent / "after", tiny.DATES[4]
    config = config_of(5, train__decay="linear", train__batch_size=10)
    prepare_warm_start(config, second, before, output, windows=[day])
    summary = train(config, second, output, resume=True)
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    steps = [line for line in lines if "loss" in line]
    rows = ExampleSet.open(second).manifest["splits"]["train"]["windows"][day]
    assert {line["window"] for line in steps} == {day}
    assert sum(line["examples"] for line in steps) == rows
    assert summary["steps"] == len(steps) == -(-rows // 10)
    rates = [line["learning_rate"]["dense"] for line in steps]
    whole = [0.2 * (1 - step / len(steps)) for step in range(len(steps))]
    np.testing.assert_allclose(rates, whole, rtol=1e-5)

    # A model of the older vocabulary is scored on the grown set as it would be raw.
    baseline = Export(export(config_of(3), before, before.parent / "export"))
    examples = ExampleSet.open(second)
    baseline.require(examples, "baseline")
    assert baseline.schema.fingerprint != examples.schema.fingerprint
    assert measure_skew(baseline, examples, "test")["max_difference"] < 1e-6
    baseline._ids = {}  # else the ids would be those of other values, or of one bucket
    assert measure_skew(baseline, examples, "test")["max_difference"] > 1e-6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__tower_units": [4, 4]}, "towers/click/layers/2/kernel"),
        ({"model__expert_units": [9]}, "must be of shape"),
        ({"train__dense": {"optimizer": "adam"}}, "dense_optimizer/_variables"),
        ({"model__embedding_dim": 5}, "tables would not fit"),
    ],
)
def test_another_model_is_refused(second, before, tmp_path, changes, said):
    config = config_of(5, **changes)
    with pytest.raises(InputError, match=said):
        prepare_warm_start(config, second, before, tmp_path / "x", windows=tiny.DATES[4:5])
        train(config, second, tmp_path / "x", resume=True)


def test_ids_that_moved_are_refused(second, before, examples, tmp_path):
    other = parse_config(tiny.config_document(train__embedding=L2), "tiny")
    with pytest.raises(InputError, match="did not grow from"):
        prepare_warm_start(other, examples, before, tmp_path / "x")
    forged = tmp_path / "forged"
    shutil.copytree(before, forged)
    path = forged / "vocab" / "item.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    with pytest.raises(InputError, match="moved ids"):
        prepare_warm_start(config_of(5), second, forged, tmp_path / "x")
    with pytest.raises(InputError, match="holds the training windows"):
        prepare_warm_start(
            config_of(5), second, before, tmp_path / "x", windows=["2024-03-09"]
        )


@pytest.mark.parametrize("text", ["", "a\n", "\n", "a\n\nb c\n", "é\nab\n\n"])
def test_a_vocabulary_is_read_as_its_lines(tmp_path, text):
    (tmp_path / "v.txt").write_bytes(text.encode())
    lines = warm_start._lines(tmp_path / "v.txt").to_pylist()
    assert lines == [f"{line}\n".encode() for line in text.split("\n")[:-1]]
