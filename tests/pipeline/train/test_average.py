"""An average of the dense weights is kept in their place where it does better."""

import contextlib
from types import SimpleNamespace

import pytest
import tensorflow as tf

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.train.run import TrainingRun
from steadyrank.pipeline.train.workers import ALONE
from tests.helpers import tiny

NAN = float("nan")


def weighed(last, average, steps=3):
    """What is weighed where the weights, and their average, do so well."""
    within = []

    @contextlib.contextmanager
    def averaged():
        within.append(True)
        yield
        within.pop()

    run = SimpleNamespace(
        model=SimpleNamespace(
            average=SimpleNamespace(steps=tf.Variable(steps)), averaged=averaged
        ),
        strategy=SimpleNamespace(scope=contextlib.nullcontext),
        workers=ALONE,
        _measure=lambda split: {split: average if within else last},
        _value=lambda results: results["validation"],
        _weigh=lambda epoch, results, of=None: (results["validation"], of, bool(within)),
    )
    return TrainingRun._weigh_both(run, 0)


@pytest.mark.parametrize(
    ("last", "average", "wanted"),
    [
        (0.6, 0.7, (0.7, True, True)),
        (0.7, 0.6, (0.7, False, False)),
        (0.7, 0.7, (0.7, False, False)),
        (0.7, NAN, (0.7, False, False)),
    ],
)
def test_the_better_of_both_is_weighed_with_its_weights_in_place(last, average, wanted):
    assert weighed(last, average) == wanted


def test_what_no_step_made_is_no_average():
    assert weighed(0.6, 0.7, steps=0) == (0.6, None, False)


def test_an_average_of_all_or_of_none_is_refused():
    for decay in (0, 1):
        with pytest.raises(InputError, match=r"train.average"):
            parse_config(tiny.config_document(train__average=decay), "c")
