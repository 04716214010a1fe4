"""Which devices train: all GPUs, or the CPU."""

from collections.abc import Sequence

import tensorflow as tf


def make_strategy(devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """A MirroredStrategy over all GPUs, or over the CPU where there is none.

    Args:
        devices: Names such as ``"CPU:0"``, instead of what is found.

    Returns:
        The strategy.  On CPUs the gradients are reduced on one device: the collectives
        gain nothing there.
    """
    gpus = [f"GPU:{i}" for i in range(len(tf.config.list_logical_devices("GPU")))]
    devices = list(devices or gpus or ["CPU:0"])
    on_cpu = any("CPU" in device.upper() for device in devices)
    reduction = tf.distribute.ReductionToOneDevice() if on_cpu else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)
