"""Exports and their evaluation: served equals offline, metrics equal scikit-learn's."""

import json
import math
import shutil

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from typer.testing import CliRunner

from steadyrank.models.build import build_model
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.evaluate.release import release
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.export.latency import measure_latency
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.skew import measure_skew
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.kinds import evaluate, export, preprocess
from steadyrank.pipeline.kinds.ranking import measure
from steadyrank.pipeline.metrics.samples import read_samples
from steadyrank.pipeline.train.weights import load_weights
from tests.helpers import tiny
from tests.helpers.served_rows import OUTPUTS

LOOSE = {"divergence": {"max_micro": 9}, "skew": {"max_difference": 1e-5}}


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


@pytest.fixture(scope="module")
def with_candidates(trained, tmp_path_factory):
    document = tiny.config_document(serving={"shared": ["user", "country", "age"]})
    output = tmp_path_factory.mktemp("with candidates") / "export"
    return export(parse_config(document, "c"), trained, output)


def with_gates(gates):
    return parse_config(tiny.config_document(gates=gates), "c")


@pytest.fixture(scope="module")
def evaluation(examples, exported, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluation") / "e"
    verdict = evaluate(with_gates(LOOSE), examples, exported, output)
    return output, verdict


def test_metrics_are_those_of_scikit_learn(evaluation, examples, offline):
    labels, masks, outputs = ({name: [] for name in OUTPUTS} for _ in range(3))
    for features, label, mask in evaluation_dataset(ExampleSet.open(examples), "test", 33):
        predicted = offline.head.predict_tasks(features)
        for name in label:
            labels[name] += label[name].numpy().tolist()
            masks[name] += mask[name].numpy().tolist()
            outputs[name] += predicted[name].numpy().astype(float).tolist()
    metrics = json.loads((evaluation[0] / "metrics.json").read_text())
    for task, found in metrics["tasks"].items():
        inside = np.array(masks[task]) > 0
        y, p = np.array(labels[task])[inside], np.array(outputs[task])[inside]
        assert found["rows"] == inside.sum() > 5
        assert found["calibration"] == pytest.approx(p.sum() / y.sum(), rel=1e-5)
        if task == "watch":
            assert found["mse"] == pytest.approx(mean_squared_error(y, p), rel=1e-5)
            continue
        assert found["positives"] == y.sum()
        assert found["auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
        assert found["log_loss"] == pytest.approx(log_loss(y, p), rel=1e-5)
        assert found["gauc"] is not None


def test_rows_are_those_of_the_manifest(evaluation, examples):
    metrics = json.loads((evaluation[0] / "metrics.json").read_text())
    manifest = json.loads((examples / "manifest.json").read_text())
    assert metrics["rows"] == manifest["splits"]["test"]["rows"] == 100
    assert metrics["tasks"]["click"]["rows"] == 100
    data = metrics["data"]
    assert data["rows_in"] == data["rows_out"] + data["rejected"] + data["duplicates"]
    assert metrics["fingerprint"] == manifest["fingerprint"]
    assert metrics["skew"]["rows"] == 100
    assert metrics["skew"]["max_difference"] < 1e-6
    assert set(metrics["skew"]["outputs"]) == OUTPUTS
    assert evaluation[1]["verdict"] == "PASS"
    assert (evaluation[0] / "report.html").stat().st_size > 1000


def test_how_sure_it_is_and_what_matters_is_measured_without_being_asked(
    evaluation, examples
):
    metrics = json.loads((evaluation[0] / "metrics.json").read_text())
    click = metrics["tasks"]["click"]
    figures = ("auc", "gauc", "pr_auc", "log_loss", "normalized_entropy", "calibration")
    for name in (*figures, "score_gauc", "score_ndcg"):
        low, high = click["intervals"][name]
        assert low < click[name] < high, name
    assert metrics["score"] == "click * like"
    verdict = json.loads((evaluation[0] / "verdict.json").read_text())
    ndcg = verdict["under_score"]["click"]["ndcg"]
    assert ndcg["value"] == click["score_ndcg"]
    assert ndcg["interval"] == click["intervals"]["score_ndcg"]
    assert "watch" not in verdict["under_score"]
    samples = read_samples(evaluation[0])
    assert set(figures) < set(samples.values["click"])
    error = np.std(samples.values["click"]["auc"], ddof=1)
    assert error == pytest.approx(click["errors"]["auc"])
    parts = {part["name"]: part for part in metrics["standard_slices"]}
    assert set(parts) == {"new user", "Wednesday"}  # the one day; 40 items are not many
    assert parts["Wednesday"] == {"name": "Wednesday", "rows": 100,
                                  "why": "these are all rows"}  # fmt: skip
    found = metrics["importance"]
    assert found["rows"] == found["of"] == 100
    assert found["units"][0]["features"] == ["price"]
    assert evaluation[1]["metrics"]["importance"]["units"] == found["units"]


def test_a_baseline_is_measured_on_the_same_rows(examples, exported, tmp_path):
    gates = {"auc": {"click": {"min_gain": 0.0}}}
    verdict = evaluate(
        with_gates(gates), examples, exported, tmp_path / "e", baseline_path=exported.parent
    )
    ours, theirs = verdict["metrics"]["tasks"], verdict["metrics"]["baseline"]["tasks"]
    for task, base in theirs.items():
        assert {name: ours[task][name] for name in base} == base
    assert verdict["metrics"]["drift"]["score"]["psi"] == 0.0
    assert verdict["metrics"]["tasks"]["click"]["gain"]["auc"]["interval"] == [0.0, 0.0]
    assert verdict["verdict"] == "PASS"
    again = evaluate(with_gates(gates), examples, exported, tmp_path / "e", overwrite=True)
    assert again["verdict"] == "REFUSE"


def test_slices_are_measured_by_name_and_the_small_ones_named(examples, exported, tmp_path):
    limits = {"auc": {"click": {"min": 0.0}}, "calibration": {"watch": {"min": 0.01,
              "max": 100}}}  # fmt: skip
    rules = [
        {"by": ["country"], "min_rows": 20, **limits},
        {"by": ["country", "age"], "min_rows": 9, **limits},
        {"by": ["user"], "min_rows": 90, **limits},
    ]
    verdict = evaluate(with_gates({"slices": rules}), examples, exported, tmp_path / "e")
    country, crossing, user = verdict["metrics"]["slices"]
    names = {part["slice"]["country"] for part in country["judged"]}
    assert names == {"de", "fr", "(missing)"}
    assert sum(part["rows"] for part in country["judged"]) == 100
    clicks = [part["tasks"]["click"] for part in country["judged"]]
    assert (
        sum(found["positives"] for found in clicks)
        == (verdict["metrics"]["tasks"]["click"]["positives"])
    )
    rows = [part["rows"] for part in crossing["judged"]]
    assert min(rows) >= 9 and sum(rows) + crossing["small"]["rows"] == 100
    assert user["judged"] == [] and user["small"]["slices"] > 15
    refused = [g for g in verdict["gates"] if g["verdict"] == "REFUSE"]
    said = "slices on test (2024-03-06): no slice has 90 rows, so none was judged"
    assert [g["reason"] for g in refused] == [said]
    assert {g["gate"] for g in verdict["gates"]} == {
        "finite", "learned", "slice auc", "slice calibration", "slices"
    }  # fmt: skip


def test_a_forced_verdict_stays_and_says_why(examples, exported, tmp_path):
    gates = with_gates({"auc": {"click": {"min": 1.0}}, "size": {"max_mb": 50}})
    verdict = evaluate(gates, examples, exported, tmp_path / "e", force=" a trial ")
    written = json.loads((tmp_path / "e" / "verdict.json").read_text())
    assert written["verdict"] == verdict["verdict"] == "REFUSE"
    assert written["forced"]["reason"] == "a trial" and written["forced"]["time"]
    asked = {gate["gate"]: gate["verdict"] for gate in written["gates"]}
    assert asked == {"finite": "PASS", "learned": "PASS", "auc": "REFUSE", "size": "PASS"}
    with pytest.raises(InputError, match="must say why"):
        evaluate(gates, examples, exported, tmp_path / "other", force=" ")
    served = release(exported.parent, tmp_path / "e", tmp_path / "served")
    assert served["forced"]["reason"] == "a trial"
    assert tf.saved_model.load(str(tmp_path / "served" / "1")).signatures["encoded"]


@pytest.mark.parametrize(("force", "status"), [([], 1), (["--force", "a trial"], 0)])
def test_anything_but_a_pass_is_a_status_of_1(examples, exported, tmp_path, force, status):
    document = tiny.config_document(gates={"auc": {"click": {"min": 1.0}}})
    (tmp_path / "c.json").write_text(json.dumps(document))
    flags = {"config": tmp_path / "c.json", "examples": examples, "model": exported}
    flags["output"] = tmp_path / "e"
    arguments = [str(part) for k, v in flags.items() for part in (f"--{k}", v)]
    done = CliRunner().invoke(app, ["evaluate", *arguments, *force])
    assert done.exit_code == status, done.output


def without(name):
    """Exports, of which those in a folder of that name have no such task."""

    class Lacking(Export):
        def __init__(self, path):
            super().__init__(path)
            self.lacks = name in self.path.parent.name

        def kept(self, found):
            return {n: v for n, v in found.items() if not (self.lacks and n == name)}

        def encoded(self, features):
            return self.kept(super().encoded(features))

    return Lacking


def test_a_baseline_that_left_a_task_out_is_measured_on_the_others(
    examples, exported, tmp_path, monkeypatch
):
    monkeypatch.setattr(measure, "Export", without("like"))
    baseline = shutil.copytree(exported, tmp_path / "no like" / "1")
    gain = {"min_gain": -0.001}
    gates = with_gates(
        {
            "auc": {"click": gain, "like": gain},
            "drift": {"max_psi": 0.1},
            "slices": [{"by": ["country"], "min_rows": 5, "auc": {"like": gain}}],
        }
    )
    found = evaluate(gates, examples, exported, tmp_path / "e", baseline_path=baseline)
    metrics = found["metrics"]
    assert set(metrics["baseline"]["tasks"]) == {"click", "watch"}
    assert set(metrics["tasks"]) == {"click", "like", "watch"}
    assert "gain" in metrics["tasks"]["click"] and "gain" not in metrics["tasks"]["like"]
    assert metrics["slices"][0]["judged"]
    refused = [g for g in found["gates"] if g["verdict"] == "REFUSE"]
    assert {g["task"] for g in refused} == {"like"}
    assert {g["gate"] for g in refused} == {"auc", "drift", "slice auc"}
    assert all("the baseline has no task 'like'" in g["reason"] for g in refused)
    assert "like" in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")


def test_a_slice_of_a_task_that_the_model_left_out_is_refused(
    examples, exported, tmp_path, monkeypatch
):
    model = shutil.copytree(exported, tmp_path / "no like" / "1")
    card = json.loads((model / "assets.extra" / "card.json").read_text())
    card["schema"]["tasks"] = [t for t in card["schema"]["tasks"] if t["name"] != "like"]
    (model / "assets.extra" / "card.json").write_text(json.dumps(card))
    monkeypatch.setattr(measure, "Export", without("like"))
    limits = {"by": ["country"], "min_rows": 5, "auc": {"like": {"min": 0.1}}}
    verdict = evaluate(with_gates({"slices": [limits]}), examples, model, tmp_path / "e")
    assert verdict["verdict"] == "REFUSE"
    refused = [gate for gate in verdict["gates"] if not gate["passed"]]
    assert refused and all("not measured" in gate["reason"] for gate in refused)


def test_the_training_split_is_measured_but_vouches_for_no_skew(
    examples, exported, tmp_path
):
    verdict = evaluate(with_gates(LOOSE), examples, exported, tmp_path / "e", split="train")
    assert verdict["metrics"]["rows"] == 400
    assert verdict["verdict"] == "REFUSE"


def test_what_cannot_be_evaluated_is_refused(examples, exported, tmp_path, config):
    gates = with_gates(LOOSE)
    with pytest.raises(InputError, match="split must be one of .*'tset'"):
        evaluate(gates, examples, exported, tmp_path / "e", split="tset")
    with pytest.raises(InputError, match="neither an export nor"):
        evaluate(gates, examples, tmp_path, tmp_path / "e")
    with pytest.raises(InputError, match="exists already"):
        evaluate(gates, examples, exported, examples)
    tiny.write_log(tmp_path / "log", tiny.make_rows(seed=5))
    preprocess(config, tmp_path / "log", tmp_path / "other")
    for arguments in (
        {"model_path": exported, "examples_path": tmp_path / "other"},
        {"model_path": exported.parent, "examples_path": tmp_path / "other"},
    ):
        with pytest.raises(InputError, match="fingerprint .*Ids would mean other"):
            evaluate(gates, **arguments, output=tmp_path / "e")
    copy = shutil.copytree(exported, tmp_path / "export" / "1")
    (copy / "saved_model.pb").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="cannot be loaded"):
        evaluate(gates, examples, copy, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_flipped_byte_in_the_test_split_is_named(examples, exported, tmp_path):
    copy = shutil.copytree(examples, tmp_path / "copy")
    path = sorted(copy.glob("test/*.tfrecord"))[0]
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{path.name} is corrupt"):
        evaluate(with_gates(LOOSE), copy, exported, tmp_path / "e")


def crooked(path, signature, gap):
    """An export of which one signature is off by ``gap`` in the last row of one output."""
    export = Export(path)
    honest = export.call[signature]

    def bent(inputs):
        outputs = honest(inputs)
        outputs["like"][-1] += gap
        return outputs

    export.call[signature] = bent
    return export


@pytest.mark.parametrize("gap", [0.01, math.nan])
@pytest.mark.parametrize("signature", ["serving_default", "tf_example", "candidates"])
def test_skew_sees_one_row_of_one_output(examples, with_candidates, signature, gap):
    export = crooked(with_candidates, signature, gap)
    skew = measure_skew(export, ExampleSet.open(examples), "test")
    for found in (
        skew["max_difference"],
        skew["outputs"]["like"],
        skew["signatures"].pop(signature),
    ):
        assert found == pytest.approx(gap, abs=1e-6, nan_ok=True)
    assert skew["outputs"]["click"] < 1e-6
    if signature == "serving_default":  # what candidates answer is held against it
        assert skew["signatures"].pop("candidates") == pytest.approx(gap, 1e-4, nan_ok=True)
    assert skew["signatures"] and max(skew["signatures"].values()) < 1e-6


def test_requests_are_timed_and_judged(examples, exported, tmp_path):
    gates = {"latency": {"signature": "encoded", "rows": 7, "max_p50_ms": 1e4}}
    verdict = evaluate(with_gates(gates), examples, exported, tmp_path / "e")
    found = verdict["metrics"]["latency"]
    assert (found["signature"], found["rows"]) == ("encoded", 7)
    assert 0.05 < found["p50_ms"] <= found["p99_ms"]  # less than this is no model
    assert verdict["verdict"] == "PASS"
    gates["latency"]["max_p50_ms"] = 1e-3
    assert (
        judge(verdict["metrics"], with_gates(gates).gates.model_dump())["verdict"]
        == "REFUSE"
    )


def latency_of(model, rows, split, gate):
    def requests(size):
        return measure.requests(model, rows, split)(size)

    return measure_latency(model.path, gate, requests)


def test_what_cannot_be_timed_is_refused(examples, exported):
    gate = {"signature": "candidates", "rows": 7, "max_p50_ms": 1e4, "max_p99_ms": None}
    model, rows = Export(exported), ExampleSet.open(examples)
    assert latency_of(model, rows, "test", gate) is None  # it has no such signature
    gate["signature"] = "serving_default"
    assert latency_of(model, rows, "test", gate)["rows"] == 7
    assert latency_of(model, rows, "train", gate) is None  # no rows were kept raw
    assert latency_of(model, rows, "test", None) is None
