"""Two processes that train together: one's weights, one's decisions, one's files."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from steadyrank.models.batch_rows import BatchRows
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.config.cluster import VARIABLE, cluster
from steadyrank.pipeline.examples.dataset import evaluation_dataset, training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import train
from steadyrank.pipeline.train.workers import ALONE, Workers
from tests.helpers import tiny

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"epoch": 0, "batch_size": 37, "seed": 5, "shuffle_rows": 50}
MODEL = {
    "trunk": "shared_bottom",
    "embedding_dim": 4,
    "bottom_units": [8],
    "tower_units": [],
}
TRAIN = {
    "epochs": 2,
    "batch_size": 57,  # 400 = 7 * 57 + 1: the last batch has a row for one of two
    "checkpoint_every": 4,
    "spike_guard": 3.0,
    "dense": {"optimizer": "adagrad", "clip": "clippy", "learning_rate": 0.3},
    "embedding": {"learning_rate": 1e-2, "l2": 1e-4},
}


def document() -> dict:
    settings = {f"train__{key}": value for key, value in TRAIN.items()}
    found = tiny.config_document(model=MODEL, **settings)
    found["tasks"] = found["tasks"][:2]
    found["features"] = [f for f in found["features"] if f["name"] in ("user", "price")]
    return found


def addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_places_in_order(count):
    machines = tuple(f"m{n}:1" for n in range(count))
    for size in (0, 1, 5, 14):
        texts = [
            {"cluster": {"worker": machines}, "task": {"type": "worker", "index": n}}
            for n in range(count)
        ]
        found = [Workers(None, cluster({VARIABLE: json.dumps(t)})) for t in texts]
        shares = [[*each.own(size)] for each in found]
        assert sum(shares, []) == [*range(size)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_said_to_anybody():
    assert ALONE.exchange({"a": 1}) == [{"a": 1}] and ALONE.of_chief(lambda: 7) == 7
    values = np.arange(3)
    assert ALONE.gather(values) is values and ALONE.is_chief


def test_the_parts_of_a_batch_are_its_rows(examples):
    """Of 400 rows in batches of 37 the last has 30; of 57, one, for three parts."""
    opened = ExampleSet.open(examples)
    for size, workers in ((37, 2), (57, 3)):
        settings = {**SETTINGS, "batch_size": size}
        whole = training_dataset(opened, **settings)
        shares = [
            training_dataset(opened, **settings, parts=4, own=range(n, 4, workers))
            for n in range(workers)
        ]
        for batch, *cut in zip(whole, *shares, strict=True):
            parts = {}
            for n, (own, window) in enumerate(cut):
                parts |= dict(zip(range(n, 4, workers), own, strict=True))
                np.testing.assert_array_equal(window, batch[3])
            joined = tf.nest.map_structure(
                lambda *parts: tf.concat(parts, 0), *(parts[n] for n in range(4))
            )
            for a, b in zip(*map(tf.nest.flatten, (joined, batch[:3])), strict=True):
                np.testing.assert_array_equal(a, b)


def test_shares_of_an_evaluation_are_all_its_rows(examples):
    opened = ExampleSet.open(examples)
    whole = [x["user"].numpy() for x, *_ in evaluation_dataset(opened, "validation", 16)]
    shares = [
        evaluation_dataset(opened, "validation", 16, own=own)
        for own in (range(0, 3), range(3, len(whole)))
    ]
    found = [x["user"].numpy() for share in shares for x, *_ in share]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(whole))


class Sees:
    """An optimizer that sees what is to be applied."""

    def read(self, table, rows):
        class held:
            w = tf.gather(table, rows)

        held.rows = rows
        return held

    def apply_rows(self, updates):
        ((_, held, g, counts),) = updates
        self.seen = held.rows, g, counts


def test_replicas_send_a_row_of_each_id_with_its_count(two_replicas, monkeypatch):
    sent = []
    replica = tf.distribute.ReplicaContext
    real = replica.all_reduce

    def watched(self, op, value, *more, **how):
        sent.extend(tf.nest.flatten(value))
        return real(self, op, value, *more, **how)

    monkeypatch.setattr(replica, "all_reduce", watched)
    ids = [tf.constant([5, 2, 5, 5]), tf.constant([2, 9])]
    gradients = [np.array([[1.0], [2], [4], [8]]), np.array([[16.0], [32]])]
    with two_replicas.scope():
        table = tf.Variable(tf.zeros([10, 1]))

    def step(number):
        own, optimizer = int(number), Sees()
        rows = BatchRows({"t": table}, {"t": ids[own]}, optimizer)
        rows.apply({"t": tf.constant(gradients[own], tf.float32)})
        return optimizer.seen

    numbers = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group)
    )
    found = two_replicas.run(step, (numbers,))
    assert [each.values.shape[0] for each in sent] == [2, 2]  # of 4 and of 2 readings
    for value in two_replicas.experimental_local_results(found[1]):
        assert value.numpy().ravel().tolist() == [13.0, 18.0, 32.0]
    for rows, counts in zip(
        *map(two_replicas.experimental_local_results, (found[0], found[2])), strict=True
    ):
        assert rows.numpy().tolist() == [5, 2, 9] and counts.numpy().tolist() == [3, 2, 1]


def test_what_trains_alone_refuses_several_machines(examples, tmp_path, monkeypatch):
    """A night, a sweep: each of the machines would train on all rows, and say nothing."""
    task = {"type": "worker", "index": 0}
    told = {"cluster": {"worker": ["a:1", "b:1"]}, "task": task}
    monkeypatch.setenv(VARIABLE, json.dumps(told))
    with pytest.raises(InputError, match="TF_CONFIG names 2 machines"):
        train(parse_config(document(), "c"), examples, tmp_path / "train")


TOGETHER = textwrap.dedent(
    """
    import json, os, signal, sys
    import steadyrank.components
    import tensorflow as tf
    from steadyrank.pipeline.config import load_config
    from steadyrank.pipeline.config.cluster import cluster
    from steadyrank.pipeline.files.errors import InputError, PassingError
    from steadyrank.pipeline.kinds import train
    from steadyrank.pipeline.train.workers import join

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    workers = join(cluster())
    given = load_config(sys.argv[1]), sys.argv[2], sys.argv[3]

    def ended(step, total, text):
        if step == 4 and workers.index == 1 and not said:
            said.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    said, found = [], {}
    with workers.together():
        try:
            train(*given, workers=workers, progress=ended)
        except PassingError as error:
            found["ended"] = str(error)
        found["summary"] = train(*given, workers=workers, resume=True)
        try:
            train(*given, workers=workers)
        except InputError as error:
            found["refused"] = str(error)
        many = [[n] * 999 for n in range(workers.index + 1)]
        found["said"] = workers.exchange(many)
    print(json.dumps(found), flush=True)
    os._exit(0)
    """
)


def state_of(folder: Path) -> dict:
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(folder / "checkpoints"))
    names = reader.get_variable_to_shape_map()
    skip = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")
    return {n: reader.get_tensor(n) for n in names if not any(s in n for s in skip)}


def test_two_workers_train_to_the_weights_of_one(examples, tmp_path):
    """They end together when the second is told to, go on, and refuse as one; the second
    sees nothing of the output, which is the chief's."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document()), encoding="utf-8")
    machines, processes = addresses(2), []
    for index in range(2):
        task = {"type": "worker", "index": index}
        told = json.dumps({"cluster": {"worker": machines}, "task": task})
        output = tmp_path / str(index) / "train"
        output.parent.mkdir()
        words = [tmp_path / "c.yaml", examples, output]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", TOGETHER, *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env={**os.environ, VARIABLE: told, "TF_NUM_INTRAOP_THREADS": "1"},
            )
        )
    train(parse_config(document(), "c"), examples, tmp_path / "one")
    said = [process.communicate() for process in processes]
    assert [p.returncode for p in processes] == [0, 0], said
    chief, other = (json.loads(out.splitlines()[-1]) for out, _ in said)
    assert chief["summary"] == other["summary"] and chief["summary"]["replicas"] == 2
    assert chief["summary"]["steps"] == 16
    assert all("told to end (SIGTERM) after step" in w["ended"] for w in (chief, other))
    assert chief["refused"] == other["refused"] and "exists already" in other["refused"]
    assert chief["said"] == [[[0] * 999], [[0] * 999, [1] * 999]] == other["said"]
    assert not [*(tmp_path / "1").iterdir()]
    one, two = tmp_path / "one", tmp_path / "0" / "train"
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}
    wanted, found = state_of(one), state_of(two)
    assert set(wanted) == set(found) and len(found) > 20
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, rtol=1e-6, err_msg=name)
    lines = map(json.loads, (two / "log.jsonl").read_text("utf-8").splitlines())
    assert [n["examples"] for n in lines if "loss" in n] == ([57] * 7 + [1]) * 2
