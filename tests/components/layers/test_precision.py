"""Layers that compute in bfloat16; every trunk with them: models/trunks/test_trunks.py."""

import pytest
import tensorflow as tf

from steadyrank.components.layers.precision import computing_in


def test_layers_made_later_are_as_before_whatever_happened():
    with pytest.raises(ZeroDivisionError), computing_in("bfloat16"):
        raise ZeroDivisionError
    assert tf.keras.layers.Dense(1)(tf.ones([1, 1])).dtype == tf.float32
