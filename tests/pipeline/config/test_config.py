"""Configs: what is refused, and that the message names the key and the fix."""

import datetime
import math
from pathlib import Path

import pytest

from steadyrank.models import task_weighting
from steadyrank.pipeline.config import (
    load_any_config,
    parse_config,
)
from steadyrank.pipeline.config.tasks import column
from tests.helpers.refused_config import refused, with_feature, with_task
from tests.helpers.tiny import config_document

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def test_the_tiny_config_is_good():
    config = parse_config(config_document(), "c.yaml")
    assert [task.name for task in config.tasks] == ["click", "like", "watch"]
    assert column(config.features[3]) == "user_country"
    assert config.score_formula == "click * like"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (config_document(trian={}), ["trian: unknown key", "Did you mean 'train'?"]),
        (
            config_document(train__batchsize=1),
            ["train.batchsize: unknown key", "'batch_size'"],
        ),
        (
            config_document(train__dense={"cilp": "none"}),
            ["train.dense.cilp: unknown key", "'clip'"],
        ),
        (
            config_document(train__embedding={"clp": "none"}),
            ["train.embedding.clp: unknown key", "'clip'"],
        ),
        (
            config_document(model__shared_expert=1),
            ["model.shared_expert: unknown key", "'shared_experts'"],
        ),
        (
            config_document(gates={"auc": {"click": {"mni": 0.5}}}),
            ["gates.auc.click.mni: unknown key", "'min'"],
        ),
        (
            config_document(gates={"skew": {"max_diference": 1}}),
            ["gates.skew.max_diference: unknown key", "'max_difference'"],
        ),
        (with_feature(1, mincount=2), ["features.item.mincount", "'min_count'"]),
        (with_feature(4, transfrom="log1p"), ["features.price.", "'transform'"]),
        (with_task(1, gven="click"), ["tasks.like.gven: unknown key", "'given'"]),
        (
            config_document(data__split={"validaton": "2024-03-05"}),
            ["data.split.validaton: unknown key", "'validation'"],
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_near_match(document, said):
    message = refused(document)
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (config_document(train__batch_size="many"), "train.batch_size"),
        (config_document(gates__latency={"rows": 9}), "gates.latency"),
        (
            config_document(gates__latency={"signature": "candidates", "max_p50_ms": 1}),
            "gates.latency.signature",
        ),
        (config_document(train__batch_size=0), "train.batch_size"),
        (config_document(train__epochs=1.5), "train.epochs"),
        (config_document(train__seed=-1), "train.seed"),
        (config_document(train__seed=2**40), "train.seed"),
        (with_feature(0, dim="wide"), "features.user.dim"),
        (with_feature(0, kind="categorial"), "features.user"),
        (with_feature(0, name="user id"), "features.user id.name"),
        (with_feature(2, max_values=0), "features.tags"),
        (with_feature(4, dim=8), "dim needs buckets"),
        (config_document(data__input=[]), "data.input"),
        (config_document(data__delimiter="a\nb"), "data.delimiter"),
        (config_document(data__delimiter='"'), "delimiter and quote must differ"),
        (config_document(data__escape="ab"), "data.escape"),
        (config_document(data__encoding="utf-7000"), "data.encoding"),
        (config_document(data__decimal=",", data__thousands=","), "decimal and thousands"),
        (config_document(data__time_format="%d/%m"), "data.time_format"),
        (config_document(data__time_format="%d/%m/%Q"), "%Q is not known"),
        (config_document(data__split__test="2023-02-29"), "data.split.test"),
        (config_document(data__timezone="Europe"), "a time zone name"),
        (config_document(data__window="1w"), "data.window"),
        (config_document(data__timezone="Mars/Olympus"), "data.timezone"),
        (config_document(data__max_rejected=2), "data.max_rejected"),
        (config_document(features=[]), "features"),
        (config_document(tasks=[]), "tasks"),
        (config_document(model__trunk="mlp"), "model"),
        (config_document(model__expert_units=[]), "model.ple.expert_units"),
        (config_document(train__dense={"learning_rate": 0}), "learning_rate"),
        (config_document(train__dense={"learning_rate": math.inf}), "learning_rate"),
        (config_document(gates__skew={"max_difference": math.nan}), "max_difference"),
        (with_task(2, at_least=1.0), "at_least makes a binary label"),
        (with_task(0, transform="log1p"), "transform is for regression tasks"),
    ],
)
def test_a_wrong_value_is_named(document, said):
    message = refused(document)
    assert said in message or said.replace(".ple", "") in message


METHODS = {
    "fixed": {},
    "decay": {"gamma": {"like": 0.9}, "per": "step"},
    "uncertainty": {"rate": 0.1},
    "gradnorm": {"alpha": 0.5, "rate": 0.1},
    "dwa": {"temperature": 1.0},
    "pcgrad": {},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_task_weights_is_known(method):
    section = {"method": method, **METHODS[method]}
    config = parse_config(config_document(train__task_weights=section), "c")
    assert config.train.task_weights.model_dump() == section
    assert set(METHODS) == set(task_weighting.METHODS)
    message = refused(config_document(train__task_weights={**section, "rat": 1}))
    assert "train.task_weights.rat: unknown key" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"trunk": "asymmetric"}}, "reads: it is missing"),
        ({"model": {"trunk": "asymmetric", "reads": {}}}, "which task reads which"),
        (
            {"model": {"trunk": "asymmetric", "reads": {"like": ["clik"]}}},
            "model.reads.like: 'clik' is no task. Did you mean 'click'?",
        ),
        (
            {"model": {"trunk": "asymmetric", "reads": {"like": ["like"]}}},
            "reads.like must name other tasks",
        ),
        (
            {"model": {"trunk": "sluice", "bottom_units": [9]}},
            "multiples of subspaces=2. Received: [9]",
        ),
        (
            {"model": {"trunk": "mmoe", "front_layers": 2}},
            "front 'concatenation' has no front_layers",
        ),
        ({"model": {"trunk": "mmoe", "front": "fm"}}, "front"),
        (
            {"train__task_weights": {"method": "decay", "gamma": {"lke": 0.9}}},
            "train.task_weights.gamma.lke: 'lke' is no task. Did you mean 'like'?",
        ),
        (
            {"train__task_weights": {"method": "decay", "gamma": {"like": 0}}},
            "must be above 0",
        ),
        ({"train__task_weights": {"method": "gradnrm"}}, "'gradnorm'"),
        (
            {"data__split": {"files": ["a"], "validation": 0.5, "test": 0.4}},
            "two fractions above 0 that add up to 1",
        ),
        (
            {
                "data__split": {
                    "files": ["a"],
                    "validation": "2024-03-05",
                    "test": "2024-03-06",
                }
            },
            "files needs fractions",
        ),
        ({"score": "click * agee"}, "unknown task or numeric feature 'agee'"),
        ({"score": "click * item"}, "unknown task or numeric feature 'item'"),
    ],
)
def test_what_does_not_go_together_is_named(changes, said):
    assert said in refused(config_document(**changes))


def test_a_score_may_use_a_number_but_not_a_name_that_means_two_things():
    config = parse_config(config_document(score="click * log1p(price) + age"), "c")
    assert config.score_formula == "click * log1p(price) + age"
    document = with_feature(4, name="watch", column="price")
    parse_config(document, "c")
    document["score"] = "click * watch"
    assert "['watch'] is a task and a feature" in refused(document)


def test_a_product_of_probabilities_is_of_what_came_to_be():
    document = with_task(1, space="all")
    assert parse_config(document, "c").tasks[1].space == "all"
    document["tasks"][0]["negative_rate"] = 0.5
    assert "leave out tasks.click.negative_rate" in refused(document)


def test_a_missing_section_is_named():
    document = config_document()
    del document["data"]["split"]
    assert "data.split: it is missing" in refused(document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (with_task(1, given="clik"), ["tasks.like.given", "Did you mean 'click'?"]),
        (with_task(0, given="like"), ["goes round", "click"]),
        (with_task(1, given="like"), ["tasks.like.given: goes round"]),
        (with_task(1, given="watch"), ["tasks.like.given: 'watch' is not binary"]),
        (
            with_feature(0, column="click"),
            ["features.user: column 'click' is a task's label"],
        ),
        (
            {
                **with_task(0, truth="p_click"),
                "features": [{"name": "p_click", "kind": "numeric"}],
            },
            ["features.p_click: column 'p_click' is a task's truth"],
        ),
        (with_task(1, name="click"), ["tasks: names must differ", "click"]),
        (with_feature(1, name="user"), ["features: names must differ", "user"]),
        (with_task(0, name="score"), ["'score' is the name of the combined score"]),
        (config_document(gates={"auc": {"clik": {"min": 0.5}}}), ["gates.auc: 'clik'"]),
        (
            config_document(gates={"auc": {"watch": {"min": 0.5}}}),
            ["gates.auc: 'watch' is no task it can judge"],
        ),
        (
            config_document(gates={"calibration": {"x": {"min": 1, "max": 2}}}),
            ["gates.calibration: 'x'"],
        ),
        (
            config_document(gates={"calibration": {"click": {"min": 2, "max": 1}}}),
            ["min must be below max"],
        ),
        (config_document(gates={"auc": {"click": {}}}), ["needs min, min_gain"]),
        (config_document(train__dense={"clip": "norm"}), ["needs threshold"]),
        (
            config_document(train__dense={"threshold": 1.0}),
            ["clip 'clippy' does not use threshold"],
        ),
        (config_document(train__monitor="mean_acu"), ["Did you mean 'mean_auc'?"]),
    ],
)
def test_an_impossible_combination_is_refused(document, said):
    message = refused(document)
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("split", "time", "said"),
    [
        ({"validation": 0.1, "test": 0.1}, "time_ms", "give moments"),
        (
            {"validation": "2024-03-05", "test": "2024-03-06"},
            None,
            "needs data.time",
        ),
        (
            {"validation": "2024-03-06", "test": "2024-03-05"},
            "time_ms",
            "validation must begin before test",
        ),
        (
            {"validation": "2024-03-05", "test": "2024-03-05"},
            "time_ms",
            "validation must begin before test",
        ),
        ({"validation": "2024-03-05", "test": 0.1}, "time_ms", "must both be"),
        ({"validation": 1.0, "test": "2024-03-05"}, "time_ms", "below 1"),
        ({"validation": 0.1, "test": "2024-03-05"}, None, "needs data.time"),
        ({"validation": 0.5, "test": 0.5}, None, "leave rows to train on"),
        ({"validation": 0.0, "test": 0.5}, None, "above 0"),
    ],
)
def test_a_split_that_cannot_be_is_refused(split, time, said):
    assert said in refused(config_document(data__split=split, data__time=time))


def test_mean_auc_needs_a_binary_task():
    document = config_document()
    document["tasks"] = [{"name": "watch", "kind": "regression"}]
    assert "mean_auc needs a binary task" in refused(document)
    config = parse_config({**document, "train": {"monitor": "watch"}}, "c.yaml")
    assert config.score_formula == config.tasks[0].name


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("click * lke", "unknown task or numeric feature 'lke'"),
        ("click.real", "score may hold numbers"),
        ("cosh(click)", "unknown function 'cosh'"),
        ("click * '2'", "numbers only"),
        ("click > 0.5", "score may hold numbers"),
        ("click if like else 0", "score may hold numbers"),
        ("click and like", "score may hold numbers"),
        ("not click", "+ - * / **"),
        ("click[0]", "score may hold numbers"),
        ("click % 2", "+ - * / **"),
        ("True * click", "numbers only"),
        ("exp(click, like)", "exp"),
        ("maximum(click)", "maximum"),
        ("exp(x=click)", "plain arguments"),
        ("exp(*[click])", "score may hold numbers"),
        ("(lambda: click)()", "plain arguments"),
        ("__import__('os').system('true')", "plain arguments"),
        ("click *", "must be a formula"),
        ("click; like", "must be a formula"),
        ("exp", "unknown task or numeric feature 'exp'"),
    ],
)
def test_a_score_that_says_more_than_a_formula_is_refused(score, said):
    assert said in refused(config_document(score=score))


@pytest.mark.parametrize(
    ("zone", "moment", "utc"),
    [
        ("UTC", "2024-03-05", "2024-03-05T00:00:00+00:00"),
        ("Asia/Shanghai", "2024-03-05", "2024-03-04T16:00:00+00:00"),
        ("Europe/Berlin", "2024-03-31T12:00:00", "2024-03-31T10:00:00+00:00"),
        ("Europe/Berlin", "2024-03-31T01:30:00", "2024-03-31T00:30:00+00:00"),
        # A moment that says its own zone means that one.
        ("Asia/Shanghai", "2024-03-05T00:00:00+00:00", "2024-03-05T00:00:00+00:00"),
    ],
)
def test_moments_are_read_in_the_time_zone(zone, moment, utc):
    config = parse_config(
        config_document(
            data__timezone=zone,
            data__split={"validation": moment, "test": "2025-01-01" + moment[10:]},
        ),
        "c.yaml",
    )
    expected = datetime.datetime.fromisoformat(utc).timestamp() * 1000
    assert config.data.moment_ms(config.data.split.validation) == expected


@pytest.mark.parametrize(
    ("window", "ms"), [("30m", 1.8e6), ("6h", 2.16e7), ("2d", 1.728e8)]
)
def test_windows_in_milliseconds(window, ms):
    assert parse_config(config_document(data__window=window), "c").data.window_ms == ms


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_the_shipped_configs_are_good(name):
    config = load_any_config(CONFIGS / name)
    assert config.gates.divergence is not None


@pytest.mark.parametrize(("size", "steps"), [(1024, 160), (4096, 40), (512, 320)])
def test_a_warm_up_takes_as_many_examples_at_any_batch_size(size, steps):
    train = {"batch_size": size, "base_batch_size": 1024, "warmup_steps": 160}
    assert parse_config(config_document(train=train), "c").train.warmup == steps
