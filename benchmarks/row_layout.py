"""One ``tf.train.Example`` a row: the layout that packed examples are measured against."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.models.features import sample_space
from steadyrank.pipeline.examples.dataset import file_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema

READ_ROWS = 8192


def write_rows(examples: ExampleSet, folder: Path) -> list[Path]:
    """Write the training split of an example set again, one example a row.

    Returns:
        The files: as many as there were, each with the same rows.
    """
    folder.mkdir(parents=True)
    files = []
    for paths in examples.windows("train").values():
        for path in paths:
            files.append(folder / path.name)
            with tf.io.TFRecordWriter(str(files[-1])) as writer:
                for batch in file_dataset(examples, [path], READ_ROWS, extra=True):
                    for record in encode_rows(*batch):
                        writer.write(record)
    return files


def encode_rows(features: dict, labels: dict, _, extra: dict):
    """Serialise the rows of a batch; multi-valued ids stay padded to one width."""
    columns = {f"feature/{name}": values for name, values in features.items()}
    columns |= {f"label/{name}": values for name, values in labels.items()} | extra
    lists = {
        name: (values.dtype.is_integer, values.numpy().reshape(len(values), -1).tolist())
        for name, values in columns.items()
    }
    for row in range(len(next(iter(lists.values()))[1])):
        example = tf.train.Example()
        for name, (whole, values) in lists.items():
            feature = example.features.feature[name]
            kind = feature.int64_list if whole else feature.float_list
            kind.value.extend(values[row])
        yield example.SerializeToString()


def row_dataset(
    files: list[Path], schema: Schema, batch_size: int, shuffle_rows: int, seed: int
) -> tf.data.Dataset:
    """Shuffled batches of (features, labels, masks), with the usual means.

    Files come in a random order, one after the other: on two cores, interleaving them
    or reading several at once took up to twice the time, since every row passes
    through the queues between threads.

    Args:
        files: From ``write_rows``.
        schema: The example set's.
        batch_size: Rows of a batch.
        shuffle_rows: Rows of the shuffle buffer.
        seed: Of both shuffles.
    """
    spec = parse_spec(schema)

    def parse(records):
        columns = tf.io.parse_example(records, spec)
        features = {
            f.name: as_feature(columns[f"feature/{f.name}"]) for f in schema.features
        }
        labels = {task.name: columns[f"label/{task.name}"] for task in schema.tasks}
        masks = {
            task.name: tf.cast(sample_space(task, schema.tasks, labels), tf.float32)
            for task in schema.tasks
        }
        return features, labels, masks

    order = np.random.default_rng(seed).permutation(len(files))
    records = tf.data.TFRecordDataset([str(files[i]) for i in order])
    batches = records.shuffle(shuffle_rows, seed).batch(batch_size)
    return batches.map(parse, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def parse_spec(schema: Schema) -> dict[str, tf.io.FixedLenFeature]:
    """What ``parse_example`` is to read: the columns that training reads."""
    spec = {}
    for feature in schema.features:
        kind = tf.float32 if feature.kind == "numeric" else tf.int64
        shape = [feature.max_values] if feature.max_values else []
        spec[f"feature/{feature.name}"] = tf.io.FixedLenFeature(shape, kind)
    for task in schema.tasks:
        spec[f"label/{task.name}"] = tf.io.FixedLenFeature([], tf.float32)
    return spec


def as_feature(values: tf.Tensor) -> tf.Tensor:
    """Ids as int32, as a model takes them."""
    return values if values.dtype == tf.float32 else tf.cast(values, tf.int32)
