"""The stability margin as a gate."""

import json

import pytest

from pipeline.errors import InputError
from pipeline.evaluate import evaluate
from pipeline.gates import judge
from tests.pipeline.tiny import config_document


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        ({"margin": 4.0, "tried_up_to": 4.0}, "PASS", "diverges at 4 times"),
        ({"margin": 2.0, "tried_up_to": 2.0}, "REFUSE", "diverges at 2 times"),
        ({"margin": None, "tried_up_to": 1024.0}, "PASS", "no divergence up to 1024"),
        ({"margin": None, "tried_up_to": 2.0}, "REFUSE", "no divergence up to 2 times"),
        ({"margin": float("nan")}, "REFUSE", "not measured"),
        (None, "REFUSE", "pass --stability"),
    ],
)
def test_margin_against_its_limit(found, verdict, said):
    gates = {"stability": {"min_margin": 4.0}}
    judged = judge({"stability": found}, gates)
    assert judged["verdict"] == verdict
    assert said in judged["gates"][0]["reason"]


def test_a_ladder_of_other_examples_is_refused(config, examples, exported, tmp_path):
    document = {"fingerprint": "0" * 64, "rate_in_use": config.train.dense.learning_rate}
    (tmp_path / "stability.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="other examples"):
        evaluate(config, examples, exported, tmp_path / "e", stability_path=tmp_path)


def test_the_margin_reaches_the_verdict(examples, exported, tmp_path):
    from pipeline.config import parse_config

    document = config_document(gates={"stability": {"min_margin": 8}})
    config = parse_config(document, "tiny.yaml")
    fingerprint = json.loads((examples / "schema.json").read_text())["fingerprint"]
    ladder = {
        "fingerprint": fingerprint,
        "rate_in_use": config.train.dense.learning_rate,
        "margin": 16.0,
        "tried_up_to": 16.0,
    }
    (tmp_path / "stability.json").write_text(json.dumps(ladder), encoding="utf-8")
    found = evaluate(config, examples, exported, tmp_path / "e", stability_path=tmp_path)
    assert found["verdict"] == "PASS"
    assert found["metrics"]["stability"]["margin"] == 16.0
