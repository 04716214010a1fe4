"""An export serves what was trained, in batches of any size, or is refused by name."""

import json
import math
import shutil

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import build_model
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.export.card import find_version, versions_of
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import export
from steadyrank.pipeline.kinds.ranking import measure
from steadyrank.pipeline.train.weights import load_weights
from tests.helpers import naive, tiny
from tests.helpers.served_rows import OUTPUTS, raw_of


@pytest.fixture(scope="module")
def offline(config, trained):
    """The model as training left it, without SavedModel or signature."""
    document = json.loads((trained / "schema.json").read_text())
    schema = Schema.from_dict(document, trained)
    settings = config.model.model_dump()
    model = build_model(schema.features, schema.tasks, schema.score, settings, seed=99)
    load_weights(model, trained / "best")
    return model


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported)).signatures


def encoded_of(rows, users, folder):
    """Ids by the naive reference, from the vocabulary files."""
    names = ("user", "item", "tags", "country")
    lines = {n: (folder / "vocab" / f"{n}.txt").read_text().splitlines() for n in names}
    ids = {name: [] for name in names}
    for row in rows:
        for name, values in naive.values_of(row, users).items():
            width, buckets = naive.WIDTH.get(name, 1), naive.OOV.get(name, 1)
            found = [naive.identify(str(v), lines[name], buckets) for v in values]
            ids[name].append((found + [0] * width)[:width])
    features = {name: np.array(values, np.int32) for name, values in ids.items()}
    for name in ("user", "item", "country"):
        features[name] = features[name][:, 0]
    for name in ("price", "age"):
        features[name] = np.array([naive.number(r[name]) for r in rows], np.float32)
    return {name: tf.constant(values) for name, values in features.items()}


def test_the_served_score_is_the_offline_score(served, offline, trained):
    rows = tiny.make_rows(1000, seed=77)
    for i, row in enumerate(rows):
        if i % 10 == 0:
            row |= {"user": 10**6 + i, "item": f"new {i}", "tags": f"t1|new{i}|t2"}
        if i % 10 == 1:
            row |= dict.fromkeys(("user", "item", "tags", "price", "age"))
        if i % 50 == 2:
            row |= {"price": math.inf, "age": 1e9}
    users = {row["user"]: row["country"] for row in tiny.make_users()}
    encoded = encoded_of(rows, users, trained)
    assert (encoded["item"].numpy() == 0).sum() > 100
    assert ((encoded["item"].numpy() > 0) & (encoded["item"].numpy() < 4)).sum() > 100
    wanted = offline.head.predict_tasks(encoded)
    for signature, features in (
        ("serving_default", raw_of(rows, users)),
        ("encoded", encoded),
    ):
        found = served[signature](**features)
        assert set(found) == set(wanted) == OUTPUTS
        for name, values in wanted.items():
            assert found[name].shape == [1000]
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)
    assert np.std(wanted["score"]) > 1e-3


def test_a_batch_of_one_and_of_none_are_served(served):
    rows, users = tiny.make_rows(5), {}
    many = served["serving_default"](**raw_of(rows, users))
    one = served["serving_default"](**raw_of(rows[2:3], users))
    none = served["serving_default"](**{k: v[:0] for k, v in raw_of(rows, users).items()})
    for name in OUTPUTS:
        np.testing.assert_allclose(one[name], many[name][2:3], rtol=1e-5)
        assert none[name].shape == [0]


def test_versions_count_up_and_the_latest_is_taken(config, trained, exported, tmp_path):
    assert exported.name == "1"
    output = tmp_path / "export"
    shutil.copytree(exported, output / "1")
    (output / "7").mkdir()
    assert export(config, trained, output) == output / "8"
    assert versions_of(output) == [1, 7, 8]
    assert find_version(output) == output / "8"
    assert find_version(output / "1") == output / "1"
    with pytest.raises(InputError, match="neither an export nor a folder of exports"):
        find_version(tmp_path)


def test_a_model_of_another_config_is_not_exported(trained, tmp_path):
    document = tiny.config_document(model__expert_units=[9])
    with pytest.raises(InputError, match=r"model.expert_units is \[9\] in the config"):
        export(parse_config(document, "c"), trained, tmp_path / "export")
    document = tiny.config_document(model__levels=2)
    with pytest.raises(InputError, match="model.levels is 2 in the config"):
        export(parse_config(document, "c"), trained, tmp_path / "export")
    with pytest.raises(InputError, match="is not a trained model"):
        export(parse_config(tiny.config_document(), "c"), tmp_path, tmp_path / "export")
    assert not list(tmp_path.glob("export/*"))


def test_an_export_whose_files_were_cut_is_refused_by_name(examples, exported, tmp_path):
    whole = ExampleSet.open(examples)
    measure.open_model(exported, whole)
    cut = tmp_path / "1"
    shutil.copytree(exported, cut)
    path = cut / "assets" / "item.txt"
    values = path.read_text().splitlines(keepends=True)
    for wrong in (values[1:] + values[:1], ["i999\n", *values[1:]]):
        path.write_text("".join(wrong))
        with pytest.raises(InputError, match=f"{path} must hold the {len(values)} values"):
            measure.open_model(cut, whole)
    path.write_text("".join(values[:-1]))
    with pytest.raises(InputError, match="cannot be loaded|must hold"):
        measure.open_model(cut, whole)
    (data,) = cut.glob("variables/variables.data*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be loaded"):
        Export(cut)


def test_weights_that_were_cut_are_refused_by_name(offline, trained, tmp_path):
    shutil.copytree(trained / "best", tmp_path / "best")
    (data,) = (tmp_path / "best").glob("*.data*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(InputError, match="does not hold this model's weights"):
        load_weights(offline, tmp_path / "best")
    load_weights(offline, trained / "best")


def test_a_weight_that_no_row_reads_is_counted(exported):
    export = Export(exported)
    assert not export.nonfinite_weights()
    variables = export._loaded.signatures["encoded"].variables
    table = max(variables, key=lambda v: np.prod(v.shape))
    values = table.numpy()
    values[1, 0], values[2, :2] = np.nan, np.inf
    table.assign(values)
    assert export.nonfinite_weights() == {table.name: 3}
