"""Two models of other features, tasks and vocabularies, judged on the same rows."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from steadyrank.models.features import MISSING_INTEGER, Feature
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.evaluate.baseline import keep_for, require_baseline, score_raw
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.raw_inputs import raw_inputs
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, train
from steadyrank.pipeline.metrics.scored import score_split
from steadyrank.pipeline.preprocess.stage import preprocess
from tests.helpers import tiny

DOCUMENT = tiny.config_document(
    features=[
        {"name": "user", "kind": "categorical"},
        {"name": "thing", "column": "item", "kind": "categorical"},
        {"name": "age", "kind": "numeric"},
        {"name": "number", "kind": "numeric"},  # which the baseline does not read
    ],
    tasks=[{"name": "click"}, {"name": "cheap", "column": "price", "kind": "regression"}],
    model={"trunk": "lr"},
    gates={"auc": {"click": {"min_gain": -1}}, "drift": {"max_psi": 99}},
)


@pytest.fixture(scope="module")
def other(exported, log_folder, tmp_path_factory):
    """Config, examples and export of a model with other features, tasks and trunk."""
    folder = tmp_path_factory.mktemp("other")
    config = parse_config(DOCUMENT, "other")
    preprocess(keep_for(config, exported), log_folder, folder / "examples")
    train(config, folder / "examples", folder / "train")
    return config, folder / "examples", export(config, folder / "train", folder / "export")


def test_the_raw_rows_are_scored_as_its_own_records_are(other, exported, examples):
    held, own = ExampleSet.open(other[1]), ExampleSet.open(examples)
    assert held.schema.fingerprint != own.schema.fingerprint
    baseline = Export(exported)
    for split in ("validation", "test"):
        found = score_raw(baseline, held, split)
        wanted = score_split(baseline.encoded, own, split).outputs
        assert {*found} == {*wanted} == {"click", "like", "watch", "score"}
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)


def test_a_baseline_of_other_features_is_measured_as_on_its_own_examples(
    other, exported, examples, tmp_path
):
    config, held, model = other
    found = evaluate(config, held, model, tmp_path / "e", baseline_path=exported)
    metrics = found["metrics"]
    base = Export(exported)
    wanted = score_split(base.encoded, ExampleSet.open(examples), "test")
    wanted = wanted.measure(base.schema.tasks)["click"]
    theirs = metrics["baseline"]["tasks"]
    assert {*theirs} == {"click"} and metrics["baseline"]["scored_on"] == "raw rows"
    for name in ("rows", "positives", "auc", "gauc", "log_loss", "calibration"):
        assert theirs["click"][name] == pytest.approx(wanted[name], abs=1e-6), name
    gain = metrics["tasks"]["click"]["gain"]["auc"]["difference"]
    assert gain == pytest.approx(metrics["tasks"]["click"]["auc"] - wanted["auc"], abs=1e-6)
    assert "gain" not in metrics["tasks"]["cheap"]
    verdicts = {(g["gate"], g["task"]): g["verdict"] for g in found["gates"]}
    assert verdicts["auc", "click"] == verdicts["drift", "click"] == "PASS"
    assert verdicts["drift", "cheap"] == "REFUSE"  # the baseline has no such task
    identity = ExampleSet.open(held).manifest["identity"]["test"]
    assert metrics["identity"] == identity


def changed(exported, folder, **columns):
    """An export of which the features read other columns, as its card says."""
    folder = shutil.copytree(exported, folder / "changed")
    path = folder / "assets.extra" / "card.json"
    card = json.loads(path.read_text())
    for feature in card["config"]["features"]:
        feature["column"] = columns.get(feature["name"], feature["column"])
    card["schema"]["format"] = 1  # as versions before wrote it
    path.write_text(json.dumps(card))
    return folder


def test_what_a_baseline_needs_and_rows_lack_is_named(other, exported, tmp_path):
    held = ExampleSet.open(other[1])
    assert require_baseline(exported, held, "test") == "raw rows"
    assert require_baseline(other[2], held, "test") == "records"
    lacking = changed(exported, tmp_path, price="cost", country="land", age="tags")
    with pytest.raises(InputError) as caught:
        require_baseline(lacking, held, "test")
    assert "column 'land' (feature country) is not there" in str(caught.value)
    assert "column 'cost' (feature price) is not there" in str(caught.value)
    assert "the test rows" in str(caught.value) and str(lacking) in str(caught.value)
    with pytest.raises(InputError, match="kept no raw rows of 'train'"):
        require_baseline(exported, held, "train")


def test_a_baseline_that_cannot_be_is_refused_before_the_first_row(
    exported, log_folder, tmp_path
):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(DOCUMENT))
    lacking = changed(exported, tmp_path, price="cost")
    flags = ["--config", "c.yaml", "--data", log_folder, "--output", "run"]
    flags = [str(tmp_path / f) if f in ("c.yaml", "run") else str(f) for f in flags]
    command = ["run", *flags, "--baseline", str(lacking)]
    for more, said in (
        ([], "gates.drift of cheap is over a baseline"),
        (["--set", "gates.drift=null"], "no column 'cost', which data.keep_columns (or a"),
    ):
        done = CliRunner().invoke(app, [*command, *more], standalone_mode=False)
        assert isinstance(done.exception, InputError)
        assert said in str(done.exception)
        assert not (tmp_path / "run" / "examples").exists()
    tasks = [{"name": "hate", "column": "like"}]
    strange = parse_config(tiny.config_document(tasks=tasks), "c")
    with pytest.raises(InputError, match="predicts click, like, watch, and none .*: hate"):
        keep_for(strange, exported)
    assert not (tmp_path / "run").exists()


def test_a_config_that_reads_all_a_baseline_does_stays_as_it_is(config, exported):
    assert keep_for(config, exported) is config is keep_for(config, None)
    kept = keep_for(parse_config(DOCUMENT, "c"), exported).data.keep_columns
    assert kept == ["tags", "user_country"]


def feature(name, kind="categorical", raw="string", **fields):
    return Feature(name, kind, raw=raw, **fields)


def test_raw_columns_become_what_a_client_would_send():
    table = pa.table(
        {
            "a": pa.array(["x", "", None]),
            "i": pa.array(["7", None, "8"]),  # whole numbers as text: as CSV has them
            "n": pa.array([1, None, 3], pa.int8()),
            "s": pa.array(["p|q", None, "|"]),
            "l": pa.array([["u", None, "v", "w"], None, []], pa.list_(pa.string())),
            "o": pa.array([[1, 2, 3], [4], None], pa.list_(pa.int64())),
            "z": pa.nulls(3),
        }
    )
    features = [
        feature("a"),
        feature("i", raw="integer"),
        feature("n", "numeric", raw="float"),
        feature("s", separator="|", max_values=2),
        feature("l", max_values=2),
        feature("o", "sequence", raw="integer", max_values=2),
        feature("z", raw="integer", max_values=2),
    ]
    found = raw_inputs(table, features, {f.name: f.name for f in features})
    nothing = MISSING_INTEGER
    assert found["a"].tolist() == ["x", "", ""]
    assert found["i"].tolist() == [7, nothing, 8]
    assert found["n"].dtype == np.float32
    np.testing.assert_array_equal(found["n"], [1.0, np.nan, 3.0])
    assert found["s"].tolist() == ["p|q", "", "|"]
    assert found["l"].tolist() == [["u", "v"], ["", ""], ["", ""]]
    assert found["o"].tolist() == [[2, 3], [4, nothing], [nothing, nothing]]
    assert found["z"].shape == (3, 0)
    with pytest.raises(InputError, match="feature a: 2 rows hold what is no integer.*'x'"):
        raw_inputs(
            pa.table({"c": ["x", "y", "1"]}), [feature("a", raw="integer")], {"a": "c"}
        )
