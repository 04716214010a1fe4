"""The body of sequence models: padding, positions, order of its parts, configs."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.sequences.encoder import SequenceEncoder

T, D = 7, 4
KINDS = [
    {"kind": "nextitnet"},
    {"kind": "sasrec"},
    {"kind": "sasrec", "normalize_first": True},
]


def items(length=T, seed=0):
    return np.random.default_rng(seed).normal(size=[2, length, D]).astype(np.float32)


@pytest.mark.parametrize("settings", KINDS)
def test_left_padding_changes_nothing_under_a_mask(settings):
    encoder = SequenceEncoder(**settings, blocks=2, alpha=False, seed=1)
    whole = encoder(items())
    padded = np.concatenate([items(3, 1), items()], axis=1)
    mask = tf.constant([[False] * 3 + [True] * T] * 2)
    found = encoder(padded, mask=mask)
    np.testing.assert_allclose(found[:, 3:], whole, rtol=1e-5, atol=1e-5)


def test_positions_count_from_the_newest():
    encoder = SequenceEncoder("sasrec", blocks=0, max_length=9, normalize_first=True)
    encoder.build([None, None, D])
    positions = encoder._positions.numpy()
    assert positions.shape == (9, D)
    with_them = encoder._newest_positions(tf.constant(items()))
    np.testing.assert_array_equal(with_them, positions[-T:])
    with pytest.raises(ValueError, match=r"shape \(2, 10, 4\)"):
        encoder(items(10))


def test_dilations_alternate_and_starts_differ():
    encoder = SequenceEncoder("nextitnet", blocks=5, seed=1)
    encoder(items())
    assert [block.dilation for block in encoder.block_layers] == [1, 4, 1, 4, 1]
    kernels = [block.trainable_variables[0].numpy() for block in encoder.block_layers]
    gaps = [np.abs(kernels[i] - kernels[j]).max() for i in range(5) for j in range(i)]
    assert min(gaps) > 1e-3


def test_states_are_those_between_the_blocks():
    encoder = SequenceEncoder("nextitnet", blocks=3, alpha=False, seed=1)
    states = encoder.states(tf.constant(items()))
    assert len(states) == 4
    np.testing.assert_array_equal(states[0], items())
    np.testing.assert_array_equal(states[2], encoder.block_layers[1](states[1]))
    np.testing.assert_array_equal(states[3], encoder(items()))


def test_config_round_trips_every_argument():
    arguments = {
        "kind": "sasrec",
        "blocks": 3,
        "alpha": False,
        "alpha_start": 0.5,
        "heads": 2,
        "max_length": 11,
        "dropout": 0.5,
        "normalize_first": True,
        "seed": 4,
    }
    assert set(inspect.signature(SequenceEncoder).parameters) == {*arguments, "kwargs"}
    encoder = SequenceEncoder(**arguments)
    config = encoder.get_config()
    assert {name: config[name] for name in arguments} == arguments
    revived = tf.keras.layers.deserialize(tf.keras.layers.serialize(encoder))
    assert revived.get_config() == config
    np.testing.assert_array_equal(revived(items()), encoder(items()))


@pytest.mark.parametrize(
    ("settings", "value"), [({"kind": "gru"}, "kind='gru'"), ({"blocks": -1}, "blocks=-1")]
)
def test_errors_name_what_was_received(settings, value):
    with pytest.raises(ValueError, match=value):
        SequenceEncoder(**settings)
