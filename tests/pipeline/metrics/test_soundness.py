"""No model passes that gives what is no number, or that learned nothing."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components import losses
from steadyrank.models.features import Task
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.files.errors import DivergenceError, InputError
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.metrics.soundness import count_nonfinite, measure_learned, varies
from steadyrank.pipeline.preprocess.stage import preprocess
from steadyrank.pipeline.train.log import require_finite_steps

CASES = Path(__file__).resolve().parents[3] / ".." / "shared" / "cases"
PLACE = "test (2024-03-06)"
SOUND = {
    "finite": {"rows": {PLACE: 100}, "nonfinite": {PLACE: {"click": 0, "score": 0}}},
    "learned": {
        "where": "validation (2024-03-05)",
        "tasks": {
            "click": {
                "kind": "binary",
                "rows": 100,
                "scarcer": 40,
                "groups": 50,
                "varies": True,
                "loss": 0.5,
                "constant_loss": 0.6,
                "gain": 0.1,
                "interval": [0.08, 0.12],
            }
        },
    },
    "tasks": {"click": {"kind": "binary", "rows": 100, "positives": 40, "auc": 0.7}},
    "skew": {"rows": 10, "nonfinite": {}},
    "size_mb": 1.0,
}


def judged(task=(), **changes):
    """The verdict where no gate but that of the size was configured."""
    metrics = copy.deepcopy(SOUND) | changes
    metrics["learned"]["tasks"]["click"] |= dict(task)
    return judge(metrics, {"size": {"max_mb": 9.0}})


def reasons(verdict) -> str:
    return " | ".join(g["reason"] for g in verdict["gates"] if not g["passed"])


def test_a_sound_model_passes_and_one_that_was_not_looked_at_does_not():
    assert judged()["verdict"] == "PASS"
    assert judged(finite=None)["verdict"] == "REFUSE"
    assert judged(finite={"rows": {}, "nonfinite": {}})["verdict"] == "REFUSE"
    bare = judge({"size_mb": 1.0}, {"size": {"max_mb": 9.0}})
    assert [g["verdict"] for g in bare["gates"]] == ["PASS", "REFUSE", "REFUSE"]


def test_one_row_of_one_output_that_is_no_number_refuses():
    nonfinite = {PLACE: {"click": 0, "score": 1}}
    verdict = judged(finite={"rows": {PLACE: 100}, "nonfinite": nonfinite})
    assert verdict["verdict"] == "REFUSE"
    assert f"score is NaN or infinite in 1 of 100 rows of {PLACE}" in reasons(verdict)
    verdict = judged(skew={"nonfinite": {"candidates": ["like"]}})
    assert verdict["verdict"] == "REFUSE"
    assert "like is NaN or infinite" in reasons(verdict)
    assert "signature candidates" in reasons(verdict)


def test_weights_that_are_no_numbers_refuse_though_no_scored_row_reads_them():
    verdict = judged(finite={**SOUND["finite"], "weights": {"table:0": 3}})
    assert verdict["verdict"] == "REFUSE"
    assert "weights table:0: 3 of them are NaN or infinite" in reasons(verdict)
    assert judged(finite={**SOUND["finite"], "weights": {}})["verdict"] == "PASS"


def test_a_metric_that_is_no_number_refuses_where_both_classes_are_there():
    found = {"kind": "binary", "rows": 100, "positives": 40, "auc": 0.7, "gauc": None}
    nan = {**found, "calibration": float("nan")}
    verdict = judged(tasks={"click": nan})
    assert verdict["verdict"] == "REFUSE" and "click: calibration of" in reasons(verdict)
    verdict = judged(tasks={"click": {**nan, "positives": 0}})
    assert "not a number" not in reasons(verdict)
    value = {"kind": "regression", "rows": 9, "mse": float("inf")}
    assert judged(tasks={"watch": value})["verdict"] == "REFUSE"


@pytest.mark.parametrize(
    ("task", "verdict", "said"),
    [
        ({"interval": [-0.12, -0.01], "gain": -0.06}, "REFUSE", "0.0600 above that of"),
        ({"interval": [-0.01, 0.03], "gain": 0.01}, "HOLD", "is not told from that of"),
        ({"interval": None}, "HOLD", "click is not judged: only 50 groups"),
        ({"scarcer": 29}, "HOLD", "only 29 rows of the scarcer class"),
        ({"interval": [-0.3, -0.2], "scarcer": 29}, "HOLD", "only 29 rows"),
        ({"varies": False}, "REFUSE", "click is dead"),
        ({"gain": float("nan")}, "REFUSE", "its loss is not a number"),
    ],
)
def test_what_was_not_learned_is_no_pass(task, verdict, said):
    found = judged(task)
    assert found["verdict"] == verdict
    assert said in reasons(found)


def test_a_model_is_held_where_no_judged_row_can_tell_of_any_task():
    click = SOUND["tasks"]["click"]
    none, all_ = {**click, "positives": 0}, {**click, "positives": 100}
    for found, said in (
        (none, "all 100 rows of click are negative"),
        (all_, "all 100 rows of click are positive"),
        ({**click, "rows": 0, "positives": 0}, "with a weight above 0"),
    ):
        verdict = judged(tasks={"click": found}, where=PLACE)
        assert verdict["verdict"] == "HOLD"
        assert f"no task can be judged on {PLACE}: " in reasons(verdict)
        assert said in reasons(verdict)
        assert judged(tasks={"click": found, "like": click})["verdict"] == "PASS"


def test_places_without_rows_refuse():
    verdict = judged(finite={"rows": {PLACE: 100, "validation": 0}, "nonfinite": {}})
    assert verdict["verdict"] == "REFUSE"
    assert "no row of validation was scored" in reasons(verdict)


def test_a_score_that_ranks_nothing_refuses():
    finite = {**SOUND["finite"], "score_varies": {PLACE: False}}
    assert judged(finite=finite)["verdict"] == "REFUSE"
    assert f"score is the same for all rows of {PLACE}" in reasons(judged(finite=finite))
    assert judged(finite={**finite, "rows": {PLACE: 1}})["verdict"] == "PASS"
    assert judged(finite={**finite, "score_varies": {PLACE: True}})["verdict"] == "PASS"
    assert not varies(np.full(9, 0.1)) and varies(np.array([0.1, 0.1001]))


@pytest.mark.parametrize(
    ("click", "like", "verdict"),
    [
        ([0.40, 0.48], [0.3, 0.7], "REFUSE"),
        ([0.40, 0.48], [0.45, 0.49], "REFUSE"),
        ([0.40, 0.48], [0.51, 0.6], "PASS"),  # against a complaint, say
        ([0.40, 0.51], [0.3, 0.7], "PASS"),
        ([0.40, 0.48], None, "REFUSE"),
        (None, None, "PASS"),
    ],
)
def test_a_score_that_is_against_all_tasks_refuses(click, like, verdict):
    def found(interval):
        intervals = {} if interval is None else {"score_gauc": interval}
        task = {**SOUND["tasks"]["click"], "score_gauc": 0.44, "intervals": intervals}
        return task

    said = judged(tasks={"click": found(click), "like": found(like)}, where=PLACE)
    assert said["verdict"] == verdict
    if verdict == "REFUSE":
        assert f"score orders each user's rows of {PLACE} against click" in reasons(said)
        assert "0.4400 (95 % interval 0.4000 to 0.4800)" in reasons(said)


def test_what_is_served_must_be_what_was_judged():
    def skew(gap):
        return {"rows": 9, "signatures": {"serving_default": 0.0, "candidates": gap}}

    assert judged(skew=skew(0.01))["verdict"] == "PASS"
    bad = judged(skew=skew(float("nan")), where=PLACE)
    assert f"candidates gives NaN or infinity on raw rows of {PLACE}" in reasons(bad)
    named = judged(skew=skew(float("nan")) | {"nonfinite": {"candidates": ["like"]}})
    assert "like is NaN" in reasons(named) and "gives NaN" not in reasons(named)
    verdict = judged(skew=skew(0.011), where=PLACE)
    assert verdict["verdict"] == "REFUSE"
    said = "candidates answers otherwise than what is judged, by up to 0.011 on 9 raw rows"
    assert f"{said} of {PLACE}" in reasons(verdict)


def test_one_sentence_tells_of_all_tasks_and_each_has_its_own_in_the_verdict():
    task = SOUND["learned"]["tasks"]["click"]
    untold = {**task, "interval": [-0.01, 0.03]}
    names = {"click": task, "a": untold, "b": untold, "c": untold}
    verdict = judged(learned={"where": "validation", "tasks": names})
    (gate,) = [g for g in verdict["gates"] if g["gate"] == "learned"]
    assert gate["reason"].startswith("1 of 4 tasks learned on validation; a: its loss")
    assert gate["reason"].endswith("; nor is it known of 2 tasks more")
    assert [*gate["tasks"]] == [*names]
    assert all(said.startswith(f"{name} on ") for name, said in gate["tasks"].items())


@pytest.mark.parametrize("interval", [[-0.2, -0.1], [-0.2, 0.1]])
def test_what_learned_nothing_is_told_what_to_do(interval):
    nothing = {"interval": interval, "gain": -0.05}
    short = judged(nothing, divergence={"steps": 3})
    assert "took 3 steps alone: raise train.epochs, or lower train.batch_size" in reasons(
        short
    )
    long = judged(nothing, divergence={"steps": 3000})
    assert "Train on more rows or for longer" in reasons(long)
    warm = judged(nothing, divergence={"steps": 30}, steps_before=500)
    assert "raise train.epochs" not in reasons(warm)  # it took 530
    assert "Train" not in judged(divergence={"steps": 30})["gates"][-1]["reason"]


def test_what_learned_nothing_in_a_training_that_was_not_steady_is_told_to_go_slower():
    nothing, jump = {"interval": [-0.2, -0.1], "gain": -0.05}, {"step": 3, "loss": 9.0}
    seen = {"steps": 30, "warnings": [{}], "micro": [jump] * 2, "nonfinite_steps": 1}
    said = reasons(judged(nothing, divergence=seen))
    wanted = "units died and the loss jumped 2 times and some losses were not finite"
    assert f"In training {wanted}: lower train.dense.learning_rate" in said
    assert "raise train.epochs" not in said


def test_what_is_better_on_too_few_rows_is_told_how_many_would_tell():
    """Half as wide an interval takes four times the rows: 0.05 of 0.02 is 2.5² times."""
    few = judged({"gain": 0.02, "interval": [-0.03, 0.07], "auc": 0.7})
    assert few["verdict"] == "HOLD"
    assert ": 100 rows cannot tell; about 625 would" in reasons(few)
    assert "Validation needs more rows: see data.split" in reasons(few)
    assert "by heart" not in reasons(few) and "raise train.epochs" not in reasons(few)
    tiny = judged({"gain": 1e-5, "interval": [-0.03, 0.07]})
    assert "more than 100,000 would" in reasons(tiny)
    lost = judged({"gain": -0.01, "interval": [-0.03, 0.01], "auc": 0.7})
    assert "cannot tell" not in reasons(lost) and "by heart" in reasons(lost)


def test_fewer_than_ten_steps_are_held():
    for steps, trained, verdict in ((9, 9, "HOLD"), (10, 10, "PASS"), (1, 10, "PASS")):
        found = judged(divergence={"steps": steps, "trained": trained})
        assert found["verdict"] == verdict
    warm = judged(divergence={"steps": 3, "trained": 3}, steps_before=7)
    assert warm["verdict"] == "PASS"  # a night goes on from what was trained before
    said = reasons(judged(divergence={"steps": 3}, trained_on="train (2024-03-01)"))
    assert "training on train (2024-03-01) took 3 steps, and in fewer than 10" in said


def test_one_task_that_learned_is_enough_unless_another_is_worse_than_its_mean():
    tasks = copy.deepcopy(SOUND["learned"]["tasks"])
    tasks["like"] = {**tasks["click"], "interval": [-0.01, 0.03]}
    learned = {"where": "validation", "tasks": tasks}
    verdict = judged(learned=learned)
    assert verdict["verdict"] == "PASS"
    (said,) = [g["reason"] for g in verdict["gates"] if g["gate"] == "learned"]
    assert said.startswith("1 of 2 tasks learned on validation; like: its")
    assert "loss 0.5000 is not told from" in said
    tasks["like"]["interval"] = [-0.03, -0.01]
    assert judged(learned=learned)["verdict"] == "REFUSE"


def columns(labels, outputs, masks=None, groups=None):
    masks = np.ones(len(labels)) if masks is None else masks
    found = {"labels": labels, "masks": masks, "outputs": outputs}
    return {k: {"t": np.asarray(v)} for k, v in found.items()} | {"groups": groups}


def naive_gain(labels, outputs, mean, weights):
    """Weighted mean of (loss of the constant - loss), a row at a time."""
    total = sum(weights)
    loss = [-np.log(p if y else 1 - p) for y, p in zip(labels, outputs, strict=True)]
    flat = [-np.log(mean if y else 1 - mean) for y in labels]
    return sum(w * (b - a) for w, a, b in zip(weights, loss, flat, strict=True)) / total


@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gain_over_the_mean_is_that_of_a_loop(rate, weighted):
    random = np.random.default_rng(3)
    labels = (random.uniform(size=300) < 0.4).astype(float)
    outputs = np.clip(0.1 + 0.3 * labels + 0.4 * random.uniform(size=300), 0.01, 0.99)
    masks = random.choice([0.0, 1.0, 3.0], 300) if weighted else np.ones(300)
    groups = random.integers(0, 40, 300)
    task = Task("t", negative_rate=rate, sample_weight="w" if weighted else "")
    found = measure_learned([task], columns(labels, outputs, masks, groups), {"t": 0.3})
    weights = masks * np.where(labels > 0.5, 1, 1 / rate)
    mean = np.average(labels, weights=weights) if weighted else 0.3 / (0.3 + 0.7 / rate)
    wanted = naive_gain(labels, outputs, mean, weights)
    assert found["t"]["gain"] == pytest.approx(wanted, abs=1e-12)
    low, high = found["t"]["interval"]
    assert low < wanted < high and found["t"]["rows"] == (masks > 0).sum()


def test_a_value_is_measured_in_what_was_trained_on():
    labels, outputs = np.array([0.0, 3.0, 8.0] * 20), np.array([1.0, 2.0, 9.0] * 20)
    task = Task("t", "regression", transform="log1p", std=2.0)
    found = measure_learned([task], columns(labels, outputs), {"t": 1.0})["t"]
    ours = np.mean((np.log1p(labels) - np.log1p(outputs)) ** 2) / 4
    constant = np.mean((np.log1p(labels) - 1.0) ** 2) / 4
    assert found["loss"] == pytest.approx(ours, abs=1e-12)
    assert found["constant_loss"] == pytest.approx(constant, abs=1e-12)


@pytest.mark.parametrize("loss", ["tweedie", "gamma", "weighted_logistic"])
def test_a_mean_is_measured_by_the_loss_that_it_was_trained_by(loss):
    random = np.random.default_rng(4)
    labels, outputs = random.exponential(900.0, 60), random.uniform(300, 2000, 60)
    task = Task("t", "regression", mean=700.0, loss=loss, tweedie_power=1.3)
    found = measure_learned([task], columns(labels, outputs), {"t": 700.0})["t"]
    y = tf.constant(labels / 700)
    for name, mean in (("loss", outputs), ("constant_loss", np.full(60, 700.0))):
        z = tf.constant(np.log(mean / 700))
        by_step = (
            losses.tweedie(y, z, 1.3) if loss == "tweedie" else getattr(losses, loss)(y, z)
        )
        assert found[name] == pytest.approx(float(tf.reduce_mean(by_step)), rel=1e-9)


def test_a_model_that_orders_rows_and_is_too_sure_is_not_told_to_train_longer():
    random = np.random.default_rng(5)
    labels = (random.random(400) < 0.4).astype(float)
    better = random.random(400) < 0.3 * labels
    outputs = np.where(better, 0.999, np.where(random.random(400) < 0.5, 0.02, 0.9))
    found = measure_learned([Task("t")], columns(labels, outputs), {"t": 0.4})["t"]
    assert found["auc"] > 0.6 and found["gain"] < 0
    told = judged(found | {"interval": [-0.1, 0.1]}, divergence={"steps": 36})
    assert f"click (AUC {found['auc']:.3f})" in reasons(told)
    assert "train for fewer epochs" in reasons(told)
    assert "raise train.epochs" not in reasons(told)
    low = judged(found | {"interval": [-0.1, 0.1], "auc": 0.55})
    assert "fewer epochs" not in reasons(low)


def test_a_constant_is_told_as_dead_and_nan_is_counted():
    labels = np.arange(100) % 2
    dead = measure_learned([Task("t")], columns(labels, np.full(100, 0.5)), {"t": 0.5})
    assert not dead["t"]["varies"] and dead["t"]["gain"] == 0
    outputs = np.linspace(0.1, 0.9, 100)
    outputs[7] = np.nan
    found = measure_learned([Task("t")], columns(labels, outputs), {"t": 0.5})["t"]
    assert found["varies"] and np.isnan(found["gain"])
    assert count_nonfinite({"a": outputs, "b": np.array([np.inf, -np.inf, 1])}) == {
        "a": 1, "b": 2
    }  # fmt: skip


def test_the_interval_of_no_gain_holds_nothing_in_nineteen_of_twenty():
    """Shuffled labels: the mean itself is right, and few runs say anything else."""
    told = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        labels = (random.uniform(size=400) < 0.3).astype(float)
        outputs = np.clip(0.3 + 0.02 * random.normal(size=400), 0.01, 0.99)
        groups = random.integers(0, 80, 400)
        found = measure_learned([Task("t")], columns(labels, outputs, groups=groups),
                                {"t": 0.3}, 100)  # fmt: skip
        told += found["t"]["interval"][0] > 0
    assert told <= 10  # 2.5 % of 200 are 5; more than 10 happen once in 70 times


def steps(finite: int, other: int) -> list[dict]:
    return [{"loss": 0.5}] * finite + [{"loss": None}] * other + [{"validation": {}}]


def test_training_without_losses_has_diverged_however_short():
    require_finite_steps(steps(1, 0), "here")
    require_finite_steps(steps(4, 4), "here")
    for finite, other in ((0, 1), (0, 3), (3, 4)):
        with pytest.raises(DivergenceError, match=f"only {finite} of {finite + other}"):
            require_finite_steps(steps(finite, other), "here")


@pytest.fixture
def case(tmp_path):
    """A function from a case's number to its config and a copy of its folder."""

    def copied(number: str):
        (folder,) = CASES.glob(f"{number}-*") if CASES.is_dir() else (None,)
        if folder is None:
            pytest.skip("no shared/cases beside this checkout")
        here = tmp_path / number
        shutil.copytree(folder, here)
        return load_config(here / "c.yaml"), here

    return copied


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("40", r"features.big: column 'big' goes from -3e\+38 .* features.mm: column"),
        ("40f", r"features.big: .* range and variance overflow float32"),
        ("43c", r"tasks.clicked.sample_weight: column 'w' has a weight of 1e\+38"),
    ],
)
def test_a_case_that_could_only_train_to_nan_is_refused_by_name(case, number, said):
    config, folder = case(number)
    with pytest.raises(InputError, match=said):
        preprocess(config, folder, folder / "out")
    assert not (folder / "out").exists()


def test_the_lowest_integer_means_missing_in_training_as_in_serving(case):
    config, folder = case("27b")
    preprocess(config, folder, folder / "out")
    for feature in ("user_id", "item_id"):
        words = (folder / "out" / "vocab" / f"{feature}.txt").read_text().split()
        assert str(-(2**63)) not in words
