"""What may be searched: refused by key, drawn as configs, conditions held."""

from pathlib import Path

import pytest
import yaml

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.studies.sweep import sweep
from steadyrank.pipeline.studies.sweep.oracles import make_oracle
from tests.helpers import tiny
from tests.helpers.sweeps import RATE, UNITS, Fake, make_space, space_of

CLIP = {"key": "train.dense.clip", "values": ["clippy", "norm", "none"]}

THRESHOLD = {
    "key": "train.dense.threshold",
    "low": 0.01,
    "high": 1.0,
    "scale": "log",
    "when": {"key": "train.dense.clip", "values": ["norm"]},
}


@pytest.fixture
def written(tmp_path):
    """A config's file, and a function that writes a sweep's."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny.config_document()))

    def write(*parameters, **settings):
        other = tmp_path / "sweep.yaml"
        content = {"sweep": {"space": list(parameters), **settings}}
        other.write_text(yaml.safe_dump(content))
        return path, other

    return write


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({"key": "train.epoch", "values": [1]}, "train.epoch: unknown key. Did you mean"),
        ({"key": "train.epoch", "values": [1]}, "'epochs'"),
        ({"key": "features.usr.dim", "values": [4]}, "no 'usr'. Did you mean 'user'"),
        ({"key": "train.epochs", "values": [1, "many"]}, 'train.epochs = "many"'),
        ({"key": "train.epochs", "low": 0, "high": 3}, "train.epochs = 0"),
        ({"key": "train.epochs", "low": 1.5, "high": 2.0}, "train.epochs = 1.5"),
        ({"key": "train.epochs", "low": 3, "high": 3}, "the range is empty"),
        ({"key": "train.epochs", "low": 3}, "give values, or low and high"),
        ({"key": "train.epochs", "values": []}, "must have 1 or more entries"),
        ({"key": "train.epochs", "values": [1, 1]}, "values must differ"),
        ({"key": "train.epochs", "values": [1], "low": 1}, "give values, or"),
        ({**RATE, "low": 0.0}, "low above 0"),
        ({**RATE, "scael": "log"}, "scael: unknown key. Did you mean 'scale'"),
        ({**RATE, "when": {"key": "x", "values": [1]}}, "must name a parameter"),
        ({**CLIP, "values": ["norm"]}, "needs threshold"),
        ({"key": "features.age.buckets", "values": [4, 8]}, "features.age.buckets: prep"),
        ({"key": "tasks.click.negative_rate", "low": 0.1, "high": 1.0}, "rate: prep"),
        ({"key": "data.max_rejected", "values": [0.1, 0.2]}, "data.max_rejected: prep"),
    ],
)
def test_a_wrong_space_is_refused_with_its_key(written, parameter, said):
    with pytest.raises(InputError) as refused:
        space_of(*written(parameter))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "hyperband"}, "max_epochs belongs to"),
        ({"max_epochs": 3}, "max_epochs belongs to"),
        ({"objective": {"metric": "rmse"}}, ""),
        ({"objective": {"tasks": {"watch": 1}}}, "auc is of binary tasks: click, like"),
        ({"objective": {"metric": "mae", "tasks": {"clik": 1}}}, "regression tasks: watch"),
        ({"score": "click ** {b}"}, "names in braces"),
    ],
)
def test_a_sweep_fits_its_config(written, settings, said):
    files = written(RATE, **settings)
    if not said:
        assert space_of(*files).sweep.objective.direction == "min"
        return
    with pytest.raises(InputError, match=said):
        space_of(*files)


def test_hyperband_wants_rates_that_do_not_end_with_a_rung(written):
    files = written(RATE, method="hyperband", max_epochs=4)
    with pytest.raises(InputError, match="Set train.decay to none"):
        space_of(*files, ["train.decay=linear"])


def test_values_reach_the_config_and_come_back():
    space = make_space(UNITS, CLIP, THRESHOLD)
    values = {
        "model.expert_units": [16, 8],
        "train.dense.clip": "norm",
        "train.dense.threshold": 0.25,
    }
    assert space.decode(space.encode(values)) == values
    config = space.checked(values)
    assert config.model.expert_units == [16, 8]
    assert config.train.dense.threshold == 0.25
    # the condition does not hold: what was drawn is left out
    assert space.decode(space.encode(values | {"train.dense.clip": "none"})) == {
        "model.expert_units": [16, 8],
        "train.dense.clip": "none",
    }


@pytest.mark.parametrize("choices", [[10, 1], [10.0, 1.0], ["1e1", "1e0"]])
def test_the_configs_own_value_is_a_choice_however_it_is_written(choices, tmp_path):
    """A choice goes by its JSON text, of which 1, 1.0 and "1e0" have three."""
    key, other = "train.embedding.r", "train.embedding.zeta"
    when = {"key": key, "values": [10]}
    if isinstance(choices[0], str):
        when = {"key": key, "values": ["1e1"]}
    depends = {"key": other, "low": 1e-6, "high": 1e-4, "when": when}
    space = make_space({"key": key, "values": choices}, depends, trials=9, seed=2)
    own = space.own()
    assert own == {key: choices[1]}
    oracle = make_oracle(space.sweep, space.hyperparameters(), space.encode(own))
    oracle._set_project_dir(str(tmp_path), "trials")
    drawn = [oracle.create_trial(f"{n}").hyperparameters.values for n in range(9)]
    assert space.decode(drawn[0]) == own
    assert any(other in space.decode(values) for values in drawn)


def test_every_draw_is_a_config_and_conditions_hold(tmp_path):
    space, fake = make_space(UNITS, CLIP, THRESHOLD, trials=25), Fake()
    sweep(space, None, tmp_path / "out", run=fake)
    for _, values, _ in fake.calls:
        assert ("train.dense.threshold" in values) == (values["train.dense.clip"] == "norm")
        space.checked(values)
    assert {v["train.dense.clip"] for _, v, _ in fake.calls} == set(CLIP["values"])


SHIPPED = sorted((Path(__file__).parents[4] / "configs" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_sweeps_fit_the_shipped_configs(path):
    config = path.parents[1] / "kuairand.yaml"
    space = space_of(config, path, ["train.decay=none", "train.base_batch_size=1024"])
    space.hyperparameters()
    assert space.sweep.space
