"""Training that goes on from another run's checkpoint, on an example set that has grown.

Weights and optimizer slots are matched by their names in the checkpoint, which say where
in the model they stand; one without a partner is an error.  Known values keep their
rows of the embedding tables and of the tables' slots.  Rows of values that came since
stay as the fresh model has them, and so do rows of the dead that are used again.
Tables are read and written a part at a time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from steadyrank.models.trained import TrainedModel
from steadyrank.pipeline.config import load_any_config
from steadyrank.pipeline.examples.compatibility import differences, in_words
from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.shapes import WarmStarted
from steadyrank.pipeline.train.checkpoints import found_in

WARM_START_FILE = "warm_start.json"
STEPS = "model/dense_optimizer/_iterations"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# keys of features and tasks on which no variable hangs
NO_WEIGHTS = {"weight", "positive_weight", "space", "min_count", "column"}
NO_WEIGHTS |= {"ranking", "ranking_weight", "max_size", "expire_after"}
NO_WEIGHTS |= {"matures_after", "soft_label", "soft_weight"}
PART_ROWS = 1 << 16  # of a table, copied at once


@dataclass(frozen=True)
class WarmStart:
    """Where a run starts from.

    Attributes:
        checkpoint: Prefix of the checkpoint's files.
        schema: What the model of that checkpoint was built from, as ``schema.json``.
        steps: Steps that its optimizers took.
        windows: The training windows that this run sees.
        moved: Feature -> lines of its vocabulary that are of another value now.
    """

    checkpoint: str
    schema: dict
    steps: int
    windows: tuple[str, ...]
    moved: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, trained: Path, windows: Sequence[str]) -> "WarmStart":
        """The end of a run that ``train`` published.

        Raises:
            InputError: It has no whole checkpoint.
        """
        document = read_json(trained / "schema.json", "a trained model")
        phases = sorted(trained.glob("phases/*"), key=lambda path: int(path.name))
        folder = [trained, *phases][-1] / "checkpoints"
        latest = next(iter(found_in(folder)), None)
        if latest is None:
            raise InputError(
                f"{folder} holds no whole checkpoint. Train it again, or start from "
                "another run."
            )
        steps = int(tf.train.load_variable(latest, STEPS + VALUE))
        return cls(latest, document, steps, tuple(windows))

    @classmethod
    def read(cls, work: Path) -> "WarmStart | None":
        """What stands in a run's folder; None: it starts from fresh weights."""
        if not (work / WARM_START_FILE).exists():
            return None
        found = read_json(work / WARM_START_FILE, "a training run", WarmStarted)
        return cls(**{**found, "windows": tuple(found["windows"])})

    def write(self, work: Path) -> None:
        write_json(work / WARM_START_FILE, asdict(self))


def why_fresh(config, trained: Path) -> str:
    """Why a config's model cannot take over the weights of another; ``""``: it can.

    Args:
        config: The run's config.
        trained: The ``config.yaml`` of the other model.

    Returns:
        The first difference, in words.
    """
    before = load_any_config(trained)
    for section in ("model", "features", "tasks"):
        both = (c.model_dump(mode="json").get(section) for c in (config, before))
        for name, wanted, was in differences(*both, section):
            if name.rpartition(".")[2] not in NO_WEIGHTS:
                return in_words(name, wanted, was)
    return ""


def require_ancestor(before, schema, folders: tuple[Path, Path]) -> None:
    """Raise unless ids mean now what they meant before.

    Args:
        before: Of the model to start from.
        schema: Of the model to train.
        folders: The two folders of vocabularies.

    Raises:
        InputError: The examples did not grow from those that the model was trained on,
            or the config has other features or labels.
    """
    if before.fingerprint not in schema.line:
        line = ", ".join(f[:12] for f in schema.line)
        raise InputError(
            f"{folders[0].parent} was trained on examples with fingerprint "
            f"{before.fingerprint[:12]}, which these did not grow from: {line}. Ids would "
            "mean other values. Train afresh, or preprocess with --append."
        )
    if not schema.fits(before):
        raise InputError(
            f"features must be those that {folders[0].parent} was trained with, in their "
            "order: its tables would not fit. Train afresh to change them."
        )
    if before.fingerprint not in (schema.fingerprint, *schema.ancestors):
        return  # rows of the dead are used again: see ``moved_lines``
    for name in schema.vocabularies:
        old, new = (vocab_path(folder, name) for folder in folders)
        if not new.read_bytes().startswith(old.read_bytes()):
            raise InputError(f"{new} moved ids: it must begin with {old}. Train afresh.")


def moved_lines(before, schema, folders: tuple[Path, Path]) -> dict[str, list[int]]:
    """Lines of vocabularies that are of another value now, as values before had died.

    Args:
        before: Of the model to start from.
        schema: Of the model to train.
        folders: The two folders of vocabularies.

    Returns:
        Feature -> its lines, rising; of features that have some.
    """
    if before.fingerprint in (schema.fingerprint, *schema.ancestors):
        return {}
    found = {}
    for name in schema.vocabularies:
        old, new = (_lines(vocab_path(folder, name)) for folder in folders)
        differ = pc.not_equal(new[: len(old)], old).to_numpy(zero_copy_only=False)
        if differ.any():
            found[name] = np.flatnonzero(differ).tolist()
    return found


def _lines(path: Path) -> pa.Array:
    """The lines of a file, which end in a line break each."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    ends = np.flatnonzero(data == ord("\n")) + 1
    offsets = pa.array(np.concatenate([[0], ends]))
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends), [None, offsets.buffers()[1], pa.py_buffer(data)]
    )


@dataclass(frozen=True)
class Stretch:
    """Rows of a table that two models share: where they begin, and how many there are.

    ``moved`` are rows among the old ones, counted from their first, that are of another
    value now: they stay as the fresh model has them.
    """

    old: int
    new: int
    old_size: int
    new_size: int
    moved: tuple[int, ...] = ()


Tables = Sequence[tuple[tf.Variable, Sequence[Stretch]]]


def continue_from(model: TrainedModel, tables: Tables, start: WarmStart) -> None:
    """Give a fresh, compiled model the weights and slots of a checkpoint.

    Args:
        model: Compiled; rows that the checkpoint lacks stay as they are.
        tables: Its variables whose rows grow with vocabularies.
        start: The checkpoint, of an ancestor's model.

    Raises:
        InputError: A weight or a slot is on one side alone, or of another shape.
    """
    found = variables_by_path(tf.train.Checkpoint(model=model))
    saved = saved_names(start.checkpoint)
    _require_same_names(saved, found, start.checkpoint)
    for path, variable in found.items():
        rows = [parts for table, parts in tables if _belongs(variable, table.name)]
        if rows and variable.shape.rank:
            _copy_rows(start.checkpoint, path, variable, rows[0])
        else:
            value = tf.train.load_variable(start.checkpoint, path + VALUE)
            _require_shape(path, value.shape, variable.shape)
            variable.assign(value)
    embedded = {id(variable) for variable in model.embedding_variables}
    for table, parts in tables:
        for part in parts if id(table) in embedded else ():
            fresh = np.arange(part.new + part.old_size, part.new + part.new_size)
            fresh = np.append(fresh, part.new + np.array(part.moved, np.int64))
            fresh = tf.constant(fresh)
            model.embedding_optimizer.begin_rows(table, fresh)


def variables_by_path(root: tf.train.Checkpoint) -> dict[str, tf.Variable]:
    """Variables by the names under which a checkpoint of ``root`` holds them."""
    view, seen, waiting, found = tf.train.TrackableView(root), {id(root)}, [("", root)], {}
    for path, node in waiting:  # which grows: the shortest way to each comes first
        if isinstance(node, tf.Variable):
            found[path[1:]] = node
        for name, child in view.children(node).items():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{path}/{name}", child))
    return found


def saved_names(checkpoint: str) -> dict[str, str]:
    """Where the model's variables stand in a checkpoint -> what they were called."""
    graph = TrackableObjectGraph()
    reader = tf.train.load_checkpoint(checkpoint)
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    saved = [a for node in graph.nodes for a in node.attributes]
    names = {a.checkpoint_key.removesuffix(VALUE): a.full_name for a in saved}
    return {path: name for path, name in names.items() if path.startswith("model/")}


def _require_same_names(saved: Mapping, found: Mapping, checkpoint: str) -> None:
    ours = {f"{path} ({_plain(variable.name)})" for path, variable in found.items()}
    theirs = {f"{path} ({_plain(name)})" for path, name in saved.items()}
    lost, new = (sorted(s, key=_weights_first) for s in (theirs - ours, ours - theirs))
    if lost or new:
        raise InputError(
            f"{checkpoint} is of another model. It alone has "
            f"{', '.join(lost[:5]) or 'none'}; the config's alone has "
            f"{', '.join(new[:5]) or 'none'}. Train with the model, optimizers and task "
            "weights of that run, or afresh."
        )


def _weights_first(path: str) -> tuple[bool, str]:
    return "_optimizer/" in path, path


def _plain(name: str) -> str:
    """A variable's name without the numbers that Keras gives process by process, and the
    layers around it, which those of a grown model lack."""
    name = re.sub(r"_\d+(?=/|$)", "", name.split(":")[0])
    return re.sub(r"(next_item_model|sequence_encoder)/", "", name)


def _require_shape(path: str, found, wanted) -> None:
    if tuple(found) != tuple(wanted):
        raise InputError(
            f"{path} must be of shape {tuple(wanted)}. Received: {tuple(found)} in the "
            "checkpoint. Train with the model of that run, or afresh."
        )


def _belongs(variable: tf.Variable, table: str) -> bool:
    """Whether a variable is a table, or a slot of it: slots end with its name."""
    return f"/{variable.name}".endswith(f"/{table}")


def _copy_rows(
    checkpoint: str, path: str, variable: tf.Variable, parts: Sequence[Stretch]
) -> None:
    shape = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()[path + VALUE]
    rows = sum(part.old_size for part in parts)
    _require_shape(path, shape, [rows, *variable.shape[1:]])
    for part in parts:
        for first in range(0, part.old_size, PART_ROWS):
            count = min(PART_ROWS, part.old_size - first)
            at = part.old + first, count
            values = _read_rows(checkpoint, path, shape, at, dtype=variable.dtype)
            kept = np.setdiff1d(np.arange(first, first + count), part.moved)
            if len(kept) < count:
                values = tf.gather(values, kept - first)
            _write_rows(variable, tf.constant(part.new + kept), values)


def _read_rows(checkpoint: str, path: str, shape, at: tuple[int, int], *, dtype):
    """Some rows of a saved tensor, by first and count, without reading the others."""
    sizes = " ".join(map(str, shape))
    slices = ":".join([f"{at[0]},{at[1]}", *["-"] * (len(shape) - 1)])
    names, wanted = [path + VALUE], [f"{sizes} {slices}"]
    return tf.raw_ops.RestoreV2(
        prefix=checkpoint, tensor_names=names, shape_and_slices=wanted, dtypes=[dtype]
    )[0]


def _write_rows(variable: tf.Variable, rows, values) -> None:
    tf.distribute.get_strategy().extended.update(
        variable,
        lambda table, values, rows: table.scatter_update(tf.IndexedSlices(values, rows)),
        args=(values, rows),
        group=False,
    )
