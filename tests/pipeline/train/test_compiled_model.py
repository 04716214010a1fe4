"""What a config says of the optimizers reaches them, at every batch size, for both kinds
of model."""

import pytest

from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.config import parse_config, parse_sequence_config
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema
from steadyrank.pipeline.kinds.next_item.model import build, compile_model
from steadyrank.pipeline.kinds.ranking.model import compiled_model
from tests.helpers import event_log, tiny

FEATURES = Feature("user", "categorical", dim=2, vocabulary_size=3), Feature("n", "numeric")
SCHEMA = Schema(FEATURES, (Task("click", mean=0.3),), "click", (), False, "")
SEQUENCES = SequenceSchema(items=9, raw="integer", length=6)
LINEAR = {"trunk": "lr"}
BASE = 64


def ranking(settings, **how):
    """The dense and the row optimizer of a ranking model."""
    document = tiny.config_document(model=LINEAR, train={"batch_size": BASE, **settings})
    model = compiled_model(parse_config(document, "c"), SCHEMA, **how)
    return model.dense_optimizer, model.embedding_optimizer


def next_item(settings):
    """Those of a next-item model."""
    changes = {f"train__{name}": value for name, value in settings.items()}
    config = parse_sequence_config(event_log.config_document(**changes), "c")
    model = build(config, SEQUENCES, blocks=1)
    compile_model(model, config)
    return model.dense_optimizer, model.embedding_optimizer


KINDS = pytest.mark.parametrize("optimizers_of", [ranking, next_item])


@pytest.mark.parametrize(
    ("rule", "optimizer", "embedding", "l2", "dense"),
    [
        ("none", "adagrad", 1, 1, 1),
        ("sqrt", "adagrad", 2, 2, 2),
        ("linear", "adagrad", 4, 1, 4),
        ("n2_lambda", "adagrad", 1, 16, 2),
        ("cowclip", "adagrad", 1, 4, 2),
        ("sde", "adagrad", 2, 1, 2),
        ("momentum", "adagrad", 2, 1, 2),
        ("momentum", "adam", 2, 1, 4),
    ],
)
def test_another_batch_size_alone_scales_rates_and_l2(
    rule, optimizer, embedding, l2, dense
):
    """Four times the batch: by hand, as the rules were published."""
    said = {
        "scaling": rule,
        "base_batch_size": BASE,
        "dense": {"optimizer": optimizer, "learning_rate": 0.07},
        "embedding": {"learning_rate": 0.003, "l2": 0.005},
    }
    for batch, factors in ((BASE, (1, 1, 1)), (4 * BASE, (embedding, l2, dense))):
        of_dense, of_rows = ranking({**said, "batch_size": batch})
        found = of_rows.learning_rate, of_rows.l2, of_dense.learning_rate
        expected = [r * f for r, f in zip((0.003, 0.005, 0.07), factors, strict=True)]
        assert [float(x) for x in found] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("rule", "beta_1", "beta_2", "epsilon"),
    [
        ("cowclip", 0.9, 0.999, 1e-7),
        ("sde", 0.6561, 0.996005996, 5e-8),
        ("momentum", 0.9, 0.996005996, 5e-8),
    ],
)
def test_another_batch_size_alone_scales_what_adam_forgets(rule, beta_1, beta_2, epsilon):
    said = {"scaling": rule, "base_batch_size": BASE, "batch_size": 4 * BASE}
    for optimizer in ranking({**said, "dense": {"optimizer": "adam"}}):
        found = optimizer.get_config()
        assert found["beta_1"] == pytest.approx(beta_1, rel=1e-9)
        assert found["beta_2"] == pytest.approx(beta_2, rel=1e-9)
        assert found["epsilon"] == pytest.approx(epsilon, rel=1e-9)


@pytest.mark.parametrize(("batch", "warm"), [(BASE, 8), (4 * BASE, 2)])
def test_the_warm_up_lasts_as_many_examples(batch, warm):
    said = {"base_batch_size": BASE, "batch_size": batch, "scaling": "none"}
    dense, _ = ranking({**said, "warmup_steps": 8, "dense": {"learning_rate": 0.07}})
    rates = [float(dense._learning_rate(step)) for step in range(warm + 1)]
    assert rates == pytest.approx([0.07 * n / warm for n in range(warm + 1)], abs=2e-8)


def test_rates_fall_to_nothing_by_the_last_step():
    for optimizer in ranking({"decay": "linear"}, steps=10):
        rate, half, nothing = (float(optimizer._learning_rate(s)) for s in (0, 5, 10))
        assert (half, nothing) == pytest.approx((rate / 2, 0.0), rel=1e-6) and rate > 0


@KINDS
def test_bounds_of_the_clips_are_the_configs(optimizers_of):
    clippy = {"relative_threshold": 0.31, "absolute_threshold": 0.021}
    rows = {"optimizer": "adagrad", "clip": "clippy", "r": 0.71, "zeta": 0.0031}
    rows |= {"l2": 0.004, "learning_rate": 0.06, "semantics": "touched"}
    dense, of_rows = optimizers_of(
        {"dense": {"clip": "clippy", "learning_rate": 0.05, **clippy}, "embedding": rows}
    )
    assert (dense.clip, dense.relative, dense.absolute) == ("clippy", 0.31, 0.021)
    assert (of_rows.clip, of_rows.r, of_rows.zeta) == ("clippy", 0.71, 0.0031)
    assert (of_rows.l2, of_rows.semantics) == (0.004, "touched")
    assert float(dense.learning_rate) == pytest.approx(0.05)
    assert float(of_rows.learning_rate) == pytest.approx(0.06)
    dense, _ = optimizers_of({"dense": {"clip": "norm", "threshold": 0.041}})
    assert (dense.clip, dense.threshold) == ("norm", 0.041)
