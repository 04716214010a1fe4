"""The stability margin as a gate."""

import json

import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.kinds import evaluate
from tests.helpers.tiny import CONFIG, config_document

PROBED = ("batch_size", "dense", "embedding", "base_batch_size", "scaling")
PROBED += ("warmup_steps", "task_weights", "shuffle_rows", "spike_guard", "precision")
SUMMED = [
    {**item, "pooling": "sum"} if item["name"] == "tags" else item
    for item in CONFIG["features"]
]


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        ({"margin": 4.0, "tried_up_to": 4.0}, "PASS", "diverges at 4 times"),
        ({"margin": 9.0, "steps": 99, "windows": 2}, "REFUSE", "of 99 steps over 2 win"),
        ({"margin": 9.0, "steps": None}, "REFUSE", "min_steps is 100"),
        ({"margin": 2.0, "tried_up_to": 2.0}, "REFUSE", "diverges at 2 times"),
        ({"margin": None, "tried_up_to": 1024.0}, "PASS", "no divergence up to 1024"),
        ({"margin": None, "tried_up_to": 2.0}, "REFUSE", "no divergence up to 2 times"),
        ({"margin": float("nan")}, "REFUSE", "not measured"),
        (None, "REFUSE", "pass --stability"),
    ],
)
def test_margin_against_its_limit(found, verdict, said):
    gates = {"stability": {"min_margin": 4.0, "min_steps": 100}}
    found = found and {"steps": 100, "windows": 1, **found}
    judged = judge({"stability": found}, gates)
    assert judged["gates"][0]["verdict"] == verdict
    assert said in judged["gates"][0]["reason"]


@pytest.fixture
def ladder(config, examples, tmp_path):
    """What ``stability`` left of a config, by hand, as a function of its changes."""

    def write(margin=16.0, leave_out=(), **changes):
        made = parse_config(config_document(**changes), "ladder.yaml")
        used = made.model_dump(mode="json")
        schema = json.loads((examples / "schema.json").read_text(encoding="utf-8"))
        document = {
            "fingerprint": schema["fingerprint"],
            "rate_in_use": used["train"]["dense"]["learning_rate"],
            "method_in_use": used["train"]["dense"]["clip"],
            "margin": margin,
            "tried_up_to": margin,
            "windows": ["2024-03-03", "2024-03-04"],
            "probes": [{"steps": steps} for steps in (7, 200, 200)],  # the first diverged
            "settings": {key: used[key] for key in ("model", "features", "tasks")},
        }
        document["settings"]["train"] = {key: used["train"][key] for key in PROBED}
        kept = {key: v for key, v in document.items() if key not in leave_out}
        (tmp_path / "stability.json").write_text(json.dumps(kept), encoding="utf-8")
        return tmp_path

    return write


def refusal(config, examples, exported, folder) -> str:
    with pytest.raises(InputError) as caught:
        evaluate(config, examples, exported, folder / "e", stability_path=folder)
    assert not (folder / "e").exists()
    return str(caught.value)


def test_a_ladder_of_other_examples_is_refused(config, examples, exported, ladder):
    folder = ladder()
    document = json.loads((folder / "stability.json").read_text(encoding="utf-8"))
    text = json.dumps(document | {"fingerprint": "0" * 64})
    (folder / "stability.json").write_text(text, encoding="utf-8")
    assert "other examples" in refusal(config, examples, exported, folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"train__dense": {"optimizer": "adagrad", "clip": "none"}},
            ("train.dense.clip", "'none'", "'clippy'"),
        ),
        (
            {"train__dense": {"optimizer": "adagrad", "learning_rate": 0.7}},
            ("dense.learning_rate", "0.7", "0.2"),
        ),
        (
            {"train__dense": {"optimizer": "adagrad", "relative_threshold": 0.1}},
            ("relative_threshold", "0.1"),
        ),
        (
            {"train__embedding": {"learning_rate": 1e-3, "l2": 0.25}},
            ("train.embedding.l2", "0.25", "0.0"),
        ),
        ({"train__batch_size": 77}, ("train.batch_size", "77")),
        ({"train__task_weights": {"method": "pcgrad"}}, ("task_weights", "'pcgrad'")),
        ({"model__tower_units": [3, 3]}, ("model.tower_units", "[3, 3]")),
        ({"features": SUMMED}, ("features.tags.pooling", "'sum'", "'mean'")),
        ({"tasks": [{"name": "click"}]}, ("tasks.like", "nothing")),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_ladder_of_another_method_is_refused_by_the_key_that_differs(
    changes, said, config, examples, exported, ladder
):
    message = refusal(config, examples, exported, ladder(**changes))
    assert all(words in message for words in said), message
    assert "Run steadyrank stability again" in message


def test_a_ladder_that_does_not_say_what_it_is_of_is_refused(
    config, examples, exported, ladder
):
    message = refusal(config, examples, exported, ladder(leave_out=["settings"]))
    assert "does not say" in message and "Run steadyrank stability again" in message


def test_the_margin_reaches_the_verdict(examples, exported, ladder, tmp_path):
    """Another length of training, or another seed, is no other method."""
    path = ladder(train__epochs=9, train__patience=2, train__seed=5)
    document = config_document(gates={"stability": {"min_margin": 8}})
    config = parse_config(document, "tiny.yaml")
    found = evaluate(config, examples, exported, tmp_path / "e", stability_path=path)
    assert found["verdict"] == "PASS"
    assert found["metrics"]["stability"]["margin"] == 16.0
    (reason,) = [g["reason"] for g in found["gates"] if g["gate"] == "stability"]
    assert "in probes of 200 steps over 2 windows" in reason
