"""Which devices train: all GPUs, or the CPU, of this machine or of several."""

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy as of_machines
from tensorflow.python.eager import context

from steadyrank.pipeline.config.cluster import VARIABLE, Cluster
from steadyrank.pipeline.files.errors import InputError, PassingError

BATCHES_AHEAD = 2  # on the device, beside the one that it works on
SILENT_SECONDS = 20  # of a worker, after which it is lost


def make_strategy(
    devices: Sequence[str] | None = None, cluster: Cluster | None = None
) -> tf.distribute.Strategy:
    """A strategy over all GPUs, or over the CPU where there is none.

    Args:
        devices: Names such as ``"CPU:0"``, instead of what is found.
        cluster: The machines, as ``TF_CONFIG`` names them; None: this one.

    Returns:
        A ``MirroredStrategy``.  On CPUs the gradients are reduced on one device: the
        collectives gain nothing there.  Of a cluster a ``MultiWorkerMirroredStrategy``,
        once all its machines have come.

    Raises:
        InputError: TensorFlow has worked in this process, and can join no cluster.
        PassingError: A machine did not come.
    """
    if cluster:
        return _over_machines(cluster)
    gpus = [f"GPU:{i}" for i in range(len(tf.config.list_logical_devices("GPU")))]
    devices = list(devices or gpus or ["CPU:0"])
    on_cpu = any("CPU" in device.upper() for device in devices)
    reduction = tf.distribute.ReductionToOneDevice() if on_cpu else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def ahead(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy) -> tf.data.Dataset:
    """A dataset whose next batches are copied to a strategy's device while it works.

    Args:
        dataset: Of batches in the host's memory.
        strategy: Of one replica.
    """
    (device,) = strategy.extended.worker_devices
    if tf.DeviceSpec.from_string(device).device_type == "CPU" and device.endswith(":0"):
        return dataset  # which is the host
    return dataset.apply(tf.data.experimental.prefetch_to_device(device, BATCHES_AHEAD))


def _over_machines(cluster: Cluster) -> tf.distribute.Strategy:
    _watch_closely(cluster)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise InputError(
            f"{VARIABLE} names {len(cluster.addresses)} machines, and TensorFlow has "
            "worked in this process before: train first, in a process of its own."
        ) from None
    except tf.errors.OpError as error:
        first = " ".join(str(error.message).split())[:200]
        raise PassingError(
            f"not all of the {len(cluster.addresses)} machines of {VARIABLE} came, or "
            f"one ended ({first}). Start all of them; each must reach the others' ports."
        ) from None


def _watch_closely(cluster: Cluster) -> None:
    """Wait shorter for what is lost than TensorFlow would: it has no public setting."""
    jobs = cluster.jobs
    job = of_machines.coordination_config_pb2.CoordinatedJob
    leader = "chief" if "chief" in jobs else "worker"
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{leader}/replica:0/task:0",
        heartbeat_timeout_in_ms=SILENT_SECONDS * 1000,
        coordinated_jobs=[job(name=name, num_tasks=n) for name, n in jobs.items()],
    )
