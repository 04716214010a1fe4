"""How near the edge: the arithmetic on hand-made probes, and a real ladder, tiny."""

import json
import math

import pytest
from typer.testing import CliRunner

from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.studies.short_runs import Method, Probe, Prober, Watch, method_of
from steadyrank.pipeline.studies.stability import (
    advice,
    areas_by_rate,
    best_rate,
    conclude,
    good_range,
    ladder,
    largest_stable,
    margin,
    mean_auc,
    page,
    stability,
    summarise,
)
from tests.helpers import tiny

NONE, CLIPPY = Method("none", "none"), Method("clippy", "clippy")


def outcome(rate, auc=None, seed=1, method="none"):
    """A probe with one task's AUC; without one, it diverged."""
    final = {} if auc is None else {"click": auc, "like": math.nan}
    return Probe(method, rate, seed, auc is None, final=final)


LADDER = [
    outcome(0.1, 0.60),
    outcome(0.2, 0.70),
    outcome(0.4, 0.695),
    outcome(0.8),
    outcome(1.6, 0.65),  # by luck
]


def test_what_survives_above_an_edge_is_not_stable():
    assert largest_stable(LADDER) == 0.4
    assert margin(LADDER, 0.2) == 4
    assert margin(LADDER, 1.6) == 0.5


def test_one_seed_that_diverges_is_enough():
    probes = [outcome(0.1, 0.6), outcome(0.2, 0.7), outcome(0.2, seed=2)]
    assert largest_stable(probes) == 0.1
    assert margin(probes, 0.1) == 2
    assert areas_by_rate(probes) == {0.1: 0.6}


def test_no_edge_and_nothing_but_the_edge():
    assert margin(LADDER[:3], 0.2) is None and largest_stable(LADDER[:3]) == 0.4
    assert largest_stable([outcome(0.1), outcome(0.2)]) is None
    assert largest_stable([]) is None and margin([], 1.0) is None


def test_areas_are_means_over_seeds_and_defined_tasks():
    probes = [outcome(0.1, 0.6), outcome(0.1, 0.7, seed=2)]
    assert areas_by_rate(probes) == {0.1: pytest.approx(0.65)}
    assert mean_auc({"click": 0.6, "like": math.nan}) == 0.6
    assert math.isnan(mean_auc({}))
    assert best_rate({0.1: 0.7, 0.2: 0.7, 0.4: 0.6}) == 0.1
    assert best_rate({}) is None


def test_the_good_range_is_contiguous():
    rates = [probe.rate for probe in LADDER]
    assert good_range(areas_by_rate(LADDER), rates) == 2
    areas = {0.1: 0.7, 0.2: 0.6, 0.4: 0.701, 0.8: 0.699}
    assert good_range(areas, areas) == 2
    assert good_range({0.1: 0.7}, [0.1, 0.2]) == 1
    assert good_range({}, [0.1]) == 0


def test_a_summary_is_of_one_method():
    row = summarise("none", [*LADDER, outcome(3.2, 0.9, method="clippy")], 0.2)
    assert row == {
        "method": "none",
        "largest_stable": 0.4,
        "margin": 4,
        "highest_tried": 1.6,
        "best_auc": 0.70,
        "best_rate": 0.2,
        "good_rate": 0.2,
        "auc_in_use": 0.70,
        "range": 2,
        "diverged": 1,
        "tried": 5,
    }


def said(in_use, *probes, methods=("none", "clippy")):
    rows = [summarise(method, probes, in_use) for method in methods]
    return advice(rows, "none", in_use)


def test_advice_names_the_method_that_has_room():
    text = said(0.4, *LADDER, outcome(6.4, 0.7, method="clippy"))
    assert "at 2 times the rate in use" in text
    assert "Set train.dense.clip to clippy: no probe of it diverged." in text
    text = said(
        0.4, *LADDER, outcome(1.6, 0.7, method="clippy"), outcome(3.2, method="clippy")
    )
    assert "clippy: it diverges at 8 times that rate." in text


def test_advice_to_lower_the_rate():
    text = said(0.4, *LADDER, methods=("none",))
    assert text.endswith("Lower train.dense.learning_rate to 0.2.")
    assert "Every rate tried did" in said(0.1, outcome(0.1), methods=("none",))


def test_advice_with_room():
    assert said(0.2, *LADDER).endswith("Nothing needs to change.")
    text = said(0.1, *LADDER)
    assert (
        "8 times" in text
        and "none at 0.2 gave 0.100 more AUC" in text
        and "try 0.2 first" in text
    )
    text = said(0.2, *LADDER[:3])
    assert text == "With none no probe diverged up to 0.4. Nothing needs to change."


def test_the_ladder_doubles():
    assert ladder(0.4, -1, 2) == [0.2, 0.4, 0.8, 1.6]
    assert ladder(0.1)[-1] == pytest.approx(0.1 * 1024)


def test_methods_by_name():
    assert method_of("agc") == Method("agc 0.01", "agc", 0.01)
    assert method_of(" norm=0.5") == Method("norm 0.5", "norm", 0.5)
    assert method_of("clippy") == CLIPPY
    assert method_of("clippy_unit").absolute == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clipy", "there is no clip 'clipy'. Did you mean 'clippy'"),
        ("none=1", "none takes no threshold. Received: 'none=1'"),
        ("agc=x", "Received: 'agc=x'"),
        ("agc=-1", "above 0. Received: 'agc=-1'"),
    ],
)
def test_methods_that_are_none(text, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        method_of(text)


def test_the_page_needs_nothing_from_elsewhere():
    text = page(conclude([outcome(0.1, 0.6), outcome(0.2)], ["none"], 0.1))
    assert "none diverged" in text and "rate in use" in text
    assert "http://cdn" not in text and "<script src" not in text
    page(conclude([outcome(0.1)], ["none"], 0.1))


@pytest.fixture(scope="module")
def small():
    """A config of few features and tasks: most of a test's time goes into tracing."""
    document = tiny.config_document(
        model={
            "trunk": "shared_bottom",
            "embedding_dim": 4,
            "bottom_units": [32, 32],
            "front": "cross",
            "layer_norm": True,
            "tower_units": [],
        },
        train={
            "batch_size": 8,
            "dense": {"optimizer": "adagrad", "learning_rate": 50.0},
            "embedding": {"learning_rate": 1e-3},
            "task_weights": {"method": "decay", "gamma": {"like": 0.99}, "per": "step"},
        },
    )
    features, tasks = document["features"], document["tasks"]
    document |= {"features": [features[0], features[4]], "tasks": tasks[:2]}
    return parse_config(document, "small")


@pytest.fixture(scope="module")
def prober(small, examples):
    found = ExampleSet.open(examples)
    names = list(found.windows("train"))[:2]
    return Prober(small, agree(small, found.schema), found, names)


def test_a_huge_rate_diverges_without_clip_and_not_with_clippy(prober):
    lost = prober.probe(NONE, 50.0, seed=1)
    assert lost.diverged and lost.why and not lost.final
    kept = prober.probe(CLIPPY, 50.0, seed=1)
    assert not kept.diverged and kept.why == "" and set(kept.final) == {"click", "like"}
    assert kept.steps > lost.steps and min(kept.clipping.values()) < 0.1


def test_a_probe_leaves_nothing_behind(prober):
    first = prober.probe(CLIPPY, 0.1, seed=1)
    prober.probe(NONE, 50.0, seed=2)
    again = prober.probe(CLIPPY, 0.1, seed=1)
    assert again.final == first.final and again.loss == first.loss
    other = prober.probe(CLIPPY, 0.1, seed=2)
    assert other.final != first.final


def test_each_window_but_the_first_is_measured_before_training(prober):
    measured = []
    real = prober.measure
    prober.measure = lambda place: measured.append(place) or real(place)
    prober.probe(CLIPPY, 0.1, seed=1)
    prober.measure = real
    after = [("train", window) for window in prober.windows[1:]]
    assert measured == [*after, ("validation", None)]


def test_thresholds_act_without_a_new_trace(prober):
    tight = prober.probe(Method("norm 1e-6", "norm", 1e-6), 0.1, seed=1)
    loose = prober.probe(Method("norm 1e6", "norm", 1e6), 0.1, seed=1)
    assert max(tight.clipping.values()) < 0.1 and min(loose.clipping.values()) == 1
    assert loose.loss == prober.probe(NONE, 0.1, seed=1).loss


def test_the_stage(small, examples, tmp_path):
    lines = []
    options = {"windows": 2, "steps": 8, "progress": lines.append}
    result = stability(small, examples, tmp_path / "out", [NONE], **options)
    assert result == json.loads((tmp_path / "out/stability.json").read_text())
    assert (tmp_path / "out/stability.html").stat().st_size < 100_000
    own, plain = result["methods"]
    assert (own["method"], plain["method"]) == ("clippy", "none")
    assert result["rate_in_use"] == 50 and result["margin"] == own["margin"]
    assert plain["margin"] is not None and plain["margin"] <= 1
    settings = result["settings"]
    assert set(settings) == {"model", "train", "features", "tasks"}
    assert settings["model"]["bottom_units"] == [32, 32]
    assert settings["train"]["dense"]["learning_rate"] == 50
    assert "epochs" not in settings["train"] and "patience" not in settings["train"]
    assert len(result["windows"]) == 2 and len(lines) == len(result["probes"])
    with pytest.raises(InputError, match="exists already"):
        stability(small, examples, tmp_path / "out")
    with pytest.raises(InputError, match="Received: --windows 0"):
        stability(small, examples, tmp_path / "new", windows=0)


def test_a_name_is_probed_once_and_the_config_goes_first(examples, tmp_path, monkeypatch):
    """``clippy_unit`` with the config's thresholds, and that of --methods with others."""
    asked = []

    class Fake:
        rate_in_use = 0.2

        def __init__(self, *args, **settings):
            pass

        def probe(self, method, rate, seed):
            asked.append(method)
            return outcome(rate, 0.6, seed, method.name)

    monkeypatch.setattr("steadyrank.pipeline.studies.stability.Prober", Fake)
    document = tiny.config_document(
        train__dense={"optimizer": "adagrad", "clip": "clippy_unit"}
    )
    wanted = [method_of(text) for text in ("clippy_unit", "agc", "agc=0.01", "agc=0.02")]
    config, out = parse_config(document, "c"), tmp_path / "out"
    found = stability(config, examples, out, wanted)["methods"]
    assert [row["method"] for row in found] == ["clippy_unit", "agc 0.01", "agc 0.02"]
    assert {row["tried"] for row in found} == {13}  # as many as the ladder has rungs
    assert asked[0] == Method("clippy_unit", "clippy_unit") and len(set(asked)) == 3


@pytest.mark.parametrize("option", ["windows", "steps", "seeds"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(option, value, small, examples, tmp_path):
    with pytest.raises(InputError, match=f"Received: .*--{option} {value}"):
        stability(small, examples, tmp_path / "out", **{option: value})
    folders = ["--config", "c.yaml", "--examples", "e", "--output", str(tmp_path / "out")]
    command = ["stability", *folders, f"--{option}", str(value)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    assert "than or equal to 1" in result.output


def line(loss):
    losses = {"click": loss / 2, "like": loss / 2}
    return {
        "loss": loss,
        "losses": losses,
        "clipping": {"w": 0.5},
        "examples": 8,
        "batch_size": 8,
    }


def results(click, like):
    fixed = {"kind": "binary", "rows": 1000, "positives": 300}
    return {"click": {**fixed, "auc": click}, "like": {**fixed, "auc": like}}


def watched(losses, *areas):
    watch = Watch(patience=5)
    watch.took([line(loss) for loss in losses])
    for each in areas:
        watch.measured(results(*each), last=each is areas[-1])
    return watch.outcome("none", 0.1, 1, 2.0)


def test_a_healthy_probe():
    found = watched([1.5, 1.2, 1.1], (0.6, 0.56), (0.7, 0.6))
    assert not found.diverged and found.why == ""
    assert found.final == {"click": 0.7, "like": 0.6}
    assert found.progressive == {"click": pytest.approx(0.65), "like": pytest.approx(0.58)}
    assert found.loss == {"first": 1.5, "last": 1.1, "highest": 1.5, "micro": 0}
    assert found.clipping == {"w": 0.5} and found.steps == 3


def test_a_loss_that_stays_high_or_is_none_has_diverged():
    found = watched([1.0] * 5 + [80.0, 60.0])
    assert found.diverged and found.why == "loss jumped at step 6, to 80, and stayed high"
    found = watched([1.0] * 5 + [math.nan] * 3)
    assert found.diverged and "not finite" in found.why
    assert watched([1.0] * 5 + [80.0, 1.0], (0.6, 0.6)).loss["micro"] == 1


def test_a_task_that_died_has_diverged_and_one_that_has_not_begun_has_not():
    found = watched([1.0] * 3, (0.6, 0.6), (0.6, 0.5))
    assert found.diverged and found.why.startswith("AUC of like at 0.5")
    found = watched([1.0] * 3, (0.5, 0.5), (0.6, 0.51))
    assert not found.diverged and found.why == "AUC of like still at 0.5: too slow"
    assert not watched([1.0] * 3, (0.5, 0.5)).diverged
    assert watched([1.0, 2.0, 1.2], (0.5, 0.5)).diverged  # the loss rose, and all is lost
