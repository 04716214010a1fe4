"""The multitask study: its data against the recipe, equal budgets, its figures."""

import json
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import multitask, parts
from benchmarks import multitask_synthetic as synthetic
from benchmarks.multitask_drawing import draw
from benchmarks.multitask_ledger import Ledger
from benchmarks.multitask_trials import Contest, interval
from steadyrank.components.layers.mlp import MLP
from steadyrank.pipeline.config import parse_config
from tests.helpers import tiny

STUDY = synthetic.Study(width=8, rows=400, units=(6, 4), experts=4, epochs=2, batch=64)


@pytest.mark.parametrize(("cosine", "pearson"), [(0.0, 0.0), (0.5, 0.33), (1.0, 0.99)])
def test_label_correlations_are_those_of_the_recipe(cosine, pearson):
    """PAPERS 4.5: means of 200 draws; the standard deviation is about .1."""
    found = []
    for seed in range(60):
        _, y = synthetic.generate(cosine, 16, 2000, seed)
        found.append(np.corrcoef(y.T)[0, 1])
    assert np.mean(found) == pytest.approx(pearson, abs=0.06)


def test_labels_follow_the_formula():
    x, y = synthetic.generate(1.0, 5, 4000, 3)
    # both tasks see one direction: they differ by their noise alone
    gap = y[:, 0] - y[:, 1]
    assert np.var(gap) == pytest.approx(2 * synthetic.NOISE_VARIANCE, rel=0.1)
    assert np.abs(np.corrcoef(gap, x[:, 0])[0, 1]) < 0.06
    assert x.mean() == pytest.approx(0, abs=0.03) and x.std() == pytest.approx(1, abs=0.03)


def test_widened_networks_have_so_many_times_the_weights():
    for times in (0.5, 1, 3.7, 8):
        units = synthetic.widened(50, [64, 32], times)
        sizes = []
        for widths in ([64, 32], units):
            mlp = MLP(widths)
            mlp(np.zeros([1, 50], np.float32))
            sizes.append(mlp.count_params())
        assert sizes[1] / sizes[0] == pytest.approx(times, rel=0.05)


def test_the_synthetic_models_are_of_like_size():
    sizes = {}
    for name, make in synthetic.models(STUDY).items():
        network = synthetic.Network(make(synthetic.TASKS, 1), 1)
        network(np.zeros([1, STUDY.width], np.float32))
        sizes[name] = network.count_params()
    assert set(sizes) == {"single", "shared_bottom", "mmoe", "ple"}
    assert max(sizes.values()) < 1.4 * min(sizes.values()), sizes


def test_synthetic_gains_are_over_single_and_no_run_is_done_twice(monkeypatch, tmp_path):
    monkeypatch.setattr(synthetic, "RATES", (3e-3,))
    ledger = Ledger(tmp_path / "runs.json", resume=False)
    runs = synthetic.run(STUDY, (0.5,), (1,), ledger, ("single", "ple"))

    def refuse(*_):
        pytest.fail("trained again")

    monkeypatch.setattr(synthetic.Fitting, "fit", refuse)
    again = Ledger(tmp_path / "runs.json", resume=True)
    assert synthetic.run(STUDY, (0.5,), (1,), again, ("single", "ple")) == runs
    assert not Ledger(tmp_path / "runs.json", resume=False).runs
    single, ple = (run["test"] for run in runs)
    expected = np.mean([single[task] - ple[task] for task in synthetic.TASKS])
    assert synthetic.gains(runs, "ple") == {0.5: [pytest.approx(expected)]}
    _, y = synthetic.generate(0.5, STUDY.width, 560, 1)  # 400 rows and two fifths
    assert runs[0]["pearson"] == pytest.approx(np.corrcoef(y.T)[0, 1], abs=1e-5)


def test_students_interval_by_hand():
    found = interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2 and found["values"] == [1, 2, 3]
    half = 4.303 / 3**0.5
    assert found["interval"] == pytest.approx([2 - half, 2 + half])
    many = interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert many["interval"] == pytest.approx([3.5 - 1.963, 3.5 + 1.963], abs=2e-3)


def test_more_seeds_than_the_table_has_are_refused_before_any_training():
    assert len(multitask.parse(["--seeds", *"0123456789"]).seeds) == 10
    with pytest.raises(SystemExit):
        multitask.parse(["--seeds", *"0123456789", "10"])


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    document = tiny.config_document(train__epochs=2)
    document["tasks"] = [{"name": "click"}, {"name": "like"}]
    document["features"] = [document["features"][i] for i in (0, 4)]  # less to trace
    document["model"] |= {"shared_experts": 2, "levels": 1}
    folder = tmp_path_factory.mktemp("contest")
    tiny.write_log(folder / "log")
    return Contest.prepare(parse_config(document, "c"), folder / "log", folder / "out")


@pytest.mark.parametrize("model", [*multitask.QUICK_MODELS, *multitask.OTHERS])
def test_every_model_has_a_config_that_can_be_read(contest, model):
    keys = multitask.task_reading(contest.config, model)
    settings = contest.settings(model) | keys
    names = [task.name for task in contest.config.tasks]
    config = contest.variant(settings, 7, names)
    assert config.train.seed == 7 and config.model.trunk == settings["trunk"]


def test_a_contest_ends_in_a_table_and_a_headline(contest, capsys):
    runs = [contest.run(name, 1) for name in ("single", "mmoe", "ple")]
    single, mmoe, ple = (run["parameters"] for run in runs)
    assert single["embedding"] == 2 * ple["embedding"] == 2 * mmoe["embedding"]
    assert single["dense"] == pytest.approx(ple["dense"], rel=0.35)
    assert mmoe["dense"] == pytest.approx(ple["dense"], rel=0.35)
    found = multitask.summary(runs, ("single", "mmoe", "ple"))
    gain = np.mean([runs[2]["test"][t] - runs[0]["test"][t] for t in runs[0]["test"]])
    assert found["models"]["ple"]["mean_gain"]["mean"] == pytest.approx(gain)
    assert found["models"]["single"]["mean_gain"]["mean"] == 0
    last = multitask.headline({"kuairand": found})
    assert last["kuairand_gain_ple"] == pytest.approx(gain)
    over = multitask.mean_auc(runs[2]["test"]) - multitask.mean_auc(runs[1]["test"])
    assert last["kuairand_ple_over_mmoe"] == pytest.approx(over)
    multitask.print_models("tiny", found)
    assert "mmoe" in capsys.readouterr().out


def test_a_second_seed_by_the_same_graphs_ends_as_by_its_own(contest):
    contest.trials.clear()
    own = contest.run("ple", 2)
    contest.trials.clear()
    other = contest.run("ple", 1)
    (trial,) = contest.trials.values()
    again = contest.run("ple", 2)
    assert list(contest.trials.values()) == [trial]
    assert again["test"] == own["test"] != other["test"]
    assert again["validation"] == own["validation"]


def test_the_plot_is_one_and_results_are_written(tmp_path):
    runs = {
        "plain <net>": [
            {"epoch": 1, "test": {"is_click": 0.70, "is_like": 0.75}},
            {"epoch": 2, "test": {"is_click": 0.72, "is_like": 0.79}},
        ]
    }
    root = ET.fromstring(draw(runs))
    assert root.tag.endswith("svg") and "plain <net>" in "".join(root.itertext())
    options = SimpleNamespace(results=tmp_path, quick=True)
    best = {"test": runs["plain <net>"][1]["test"]}
    found = {"seesaw": {"runs": runs, "shipped": best}}
    last = multitask.headline(found)
    assert last == {"is_click": 0.72, "is_like": 0.79}
    multitask.write_all(options, found)
    written = json.loads((tmp_path / "multitask_seesaw_quick.json").read_text())
    assert written["headline"] == last


def test_parts_run_side_by_side_and_their_results_come_together(monkeypatch, tmp_path):
    started = []

    def child(command, check, cwd, env):
        assert check and env["TF_NUM_INTRAOP_THREADS"] == "1"
        options = multitask.parse(command[3:])
        (part,) = options.only
        started.append(part)
        best = {"test": {"is_click": 0.75, "is_like": 0.86}}
        found = {
            "seesaw": {"runs": {}, "shipped": best},
            "synthetic": {"mean_ple_over_mmoe": interval([1.0, 2.0]), "gains": {}},
        }
        multitask.write_json(multitask.results_of(part, options), found[part])

    monkeypatch.setattr(parts.subprocess, "run", child)
    arguments = ["--quick", "--results", str(tmp_path), "--seeds", "4", "5"]
    options = multitask.parse(arguments)
    found = multitask.side_by_side(("seesaw", "synthetic"), options)
    assert sorted(started) == ["seesaw", "synthetic"]
    last = multitask.headline(found)
    assert last["is_like"] == 0.86 and last["synthetic_gain_ple_over_mmoe"] == 1.5
