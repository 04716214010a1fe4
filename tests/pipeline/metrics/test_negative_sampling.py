"""A log with fewer negatives: predictions and metrics are those of the whole one."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.features import Task
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from tests.helpers import tiny


def with_rate(rate, kind="binary"):
    document = tiny.config_document()
    document["tasks"][0] |= {"negative_rate": rate}
    if kind == "regression":
        document["tasks"][2] |= {"negative_rate": rate}
    return parse_config(document, "c")


def test_the_sampling_of_negatives_is_undone_by_hand_numbers():
    from steadyrank.models.serving_head import served as predicted

    half = tf.constant([0.0])  # a probability of 1/2 in the sampled log
    served = float(predicted(Task("click", negative_rate=0.25), half)[0])
    assert served == pytest.approx(0.5 / (0.5 + 0.5 / 0.25)) == pytest.approx(0.2)
    assert "negative_rate" not in Task("click").to_dict()
    task = Task("click", negative_rate=0.25)
    assert Task.from_dict(task.to_dict()) == task
    assert with_rate(0.25).tasks[0].negative_rate == 0.25


@pytest.mark.parametrize("rate", [0, 1.5])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(InputError, match="tasks.click.negative_rate"):
        with_rate(rate)
    with pytest.raises(InputError, match="a value is no negative"):
        with_rate(0.5, "regression")


def test_a_sampled_log_measures_as_the_whole_one():
    from steadyrank.pipeline.metrics.tasks import measure
    from steadyrank.pipeline.report.metrics import base_rate

    random = np.random.default_rng(5)
    truth = random.beta(1, 9, 200_000)
    label = (random.random(len(truth)) < truth).astype(float)
    kept = (label == 1) | (random.random(len(truth)) < 0.1)
    # what a perfect model of the sampled log says, corrected as the export does it
    sampled = truth / (truth + (1 - truth) * 0.1)
    corrected = sampled / (sampled + (1 - sampled) / 0.1)
    np.testing.assert_allclose(corrected, truth, rtol=1e-12)

    def measured(rows, output, rate):
        parts = ({"t": label[rows]}, {"t": np.ones(rows.sum())}, {"t": output[rows]})
        return measure([Task("t", negative_rate=rate)], *parts, curves=True)["t"]

    everything = np.ones(len(truth), bool)
    whole, some = measured(everything, truth, 1.0), measured(kept, corrected, 0.1)
    assert some["rows"] < 0.3 * whole["rows"]
    assert some["calibration"] == pytest.approx(1, abs=0.03)
    assert some["log_loss"] == pytest.approx(whole["log_loss"], rel=0.02)
    assert some["base_rate"] == pytest.approx(base_rate(whole), rel=0.02)
    assert base_rate(some) == some["base_rate"]  # which the report shows
    entropies = some["normalized_entropy"], whole["normalized_entropy"]
    assert entropies[0] == pytest.approx(entropies[1], rel=0.02)
    assert some["auc"] == pytest.approx(whole["auc"], abs=0.01)
    curve = some["calibration_curve"]
    np.testing.assert_allclose(curve["predicted"][3:], curve["observed"][3:], rtol=0.15)
    # uncorrected and unweighed, the same model looks badly calibrated in the whole log
    assert measured(everything, sampled, 1.0)["calibration"] > 3
