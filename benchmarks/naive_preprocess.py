"""The preprocess job as a Beam user writes it: a dict and a ``tf.train.Example`` a row.

It does what ``pipeline.preprocess.stage`` does for the demo's config, with Beam's own
transforms and nothing that is slow on purpose: only the needed columns of side tables
are read, duplicates are grouped before the join, workers import TensorFlow once, and
the TFRecord sink is left without ``num_shards``, which would shuffle every record.  It
does less in places: no standard deviations, quantiles, rejected rows or manifest.
"""

import math
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.io.parquetio import ReadFromParquet
from apache_beam.io.textio import WriteToText
from apache_beam.io.tfrecordio import WriteToTFRecord
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.raw_log.split import SPLITS


def preprocess(config: Config, folder: Path, output: Path, flags: list[str]) -> None:
    """Turn the log into TFRecords of one row each, by split, and vocabularies.

    Args:
        config: The demo's config: one log file, joins without prefix, split by time.
        folder: What the config's paths are relative to.
        output: ``<split>/rows-*.tfrecord`` and ``vocabularies-*`` are written there.
        flags: Passed to Beam.
    """
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        rows = read_distinct(pipeline, folder / config.data.input[0])
        for join in config.data.join:
            side = read_side(pipeline, folder / join.input, join.on, config)
            rows |= f"join {join.input}" >> beam.Map(add_side, join.on, AsDict(side))
        rows |= "type" >> beam.Map(type_row, config)
        splits = rows | "split" >> beam.Partition(split_of, len(SPLITS), config.data)
        vocabularies = learn_vocabularies(splits[0], config)
        _ = (
            vocabularies
            | "to lines" >> beam.FlatMapTuple(vocabulary_lines)
            | "write vocabularies" >> WriteToText(f"{output}/vocabularies")
        )
        means = learn_means(splits[0], config)
        _ = means | "write means" >> WriteToText(f"{output}/means")
        for split, part in zip(SPLITS, splits, strict=True):
            _ = (
                part
                | f"encode {split}" >> beam.ParDo(Encode(), AsDict(vocabularies))
                | f"write {split}"
                >> WriteToTFRecord(f"{output}/{split}/rows", file_name_suffix=".tfrecord")
            )


def read_distinct(pipeline: beam.Pipeline, path: Path) -> beam.PCollection:
    """The rows of a Parquet file as dicts, each exact duplicate once."""
    names = pq.read_schema(path).names
    return (
        pipeline
        | "read" >> ReadFromParquet(str(path))
        | "row as key" >> beam.Map(lambda row: (freeze(row), None))
        | "group" >> beam.GroupByKey()
        | "key as row" >> beam.Map(lambda item: dict(zip(names, item[0], strict=True)))
    )


def freeze(row: dict) -> tuple:
    """A row's values as something that can be a key."""
    return tuple(tuple(v) if isinstance(v, list) else v for v in row.values())


def read_side(pipeline: beam.Pipeline, path: Path, on: str, config: Config):
    """A side table as (key, dict of the columns that the config uses)."""
    used = {column(item) for item in [*config.features, *config.tasks]}
    used |= {task.truth for task in config.tasks}
    names = [n for n in pq.read_schema(path).names if n in used and n != on]
    return (
        pipeline
        | f"read {path.name}" >> ReadFromParquet(str(path), columns=[on, *names])
        | f"key {path.name}" >> beam.Map(lambda row: (row.pop(on), row))
    )


def add_side(row: dict, on: str, side: dict) -> dict:
    """Join one side table."""
    return {**row, **side.get(row[on], {})}


def type_row(row: dict, config: Config) -> dict:
    """A raw row as lists of known values, floats with NaN for missing, and its time."""
    typed = {"time": row[config.data.time], "group": row[config.data.group]}
    for feature in config.features:
        value = row[column(feature)]
        if feature.kind == "numeric":
            typed[feature.name] = math.nan if value is None else float(value)
        elif feature.max_values:
            typed[feature.name] = list_of(value, feature.separator)
        else:
            typed[feature.name] = [] if value in (None, "") else [value]
    for task in config.tasks:
        typed[task.name] = float(row[column(task)])
        if task.truth:
            typed[task.truth] = float(row[task.truth])
    return typed


def list_of(value, separator: str) -> list:
    """The values of a multi-valued column, without the missing ones."""
    if separator and value:
        value = value.split(separator)
    return [item for item in value or () if item not in (None, "")]


def split_of(row: dict, _, data) -> int:
    """Number of a row's split, by time."""
    bounds = data.moment_ms(data.split.validation), data.moment_ms(data.split.test)
    return sum(row["time"] >= bound for bound in bounds)


def learn_vocabularies(rows: beam.PCollection, config: Config) -> beam.PCollection:
    """(feature, {value: id}) for each categorical feature: the most frequent first."""
    least = {f.name: f.min_count for f in config.features if f.kind == "categorical"}
    return (
        rows
        | "values" >> beam.FlatMap(lambda row: [(f, v) for f in least for v in row[f]])
        | "count" >> beam.combiners.Count.PerElement()
        | "frequent" >> beam.Filter(lambda item: item[1] >= least[item[0][0]])
        | "by feature" >> beam.Map(lambda item: (item[0][0], (-item[1], item[0][1])))
        | "gather" >> beam.GroupByKey()
        | "number" >> beam.MapTuple(lambda name, found: (name, number_values(found)))
    )


def number_values(found) -> dict:
    """Value -> id; 0 is missing, 1 out of vocabulary."""
    return {value: number for number, (_, value) in enumerate(sorted(found), start=2)}


def vocabulary_lines(name: str, numbers: dict) -> list[str]:
    """Lines ``feature TAB value``, in the order of the ids."""
    return [f"{name}\t{value}" for value in numbers]


def learn_means(rows: beam.PCollection, config: Config) -> beam.PCollection:
    """(feature, mean of its transformed values) for each numeric feature."""
    numeric = [(f.name, f.transform) for f in config.features if f.kind == "numeric"]
    return (
        rows
        | "numbers"
        >> beam.FlatMap(
            lambda row: [
                (name, math.log1p(row[name]) if transform == "log1p" else row[name])
                for name, transform in numeric
                if row[name] == row[name]
            ]
        )
        | "means" >> beam.combiners.Mean.PerKey()
    )


class Encode(beam.DoFn):
    """A typed row to a serialised ``tf.train.Example``."""

    def setup(self):
        import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

        # isort: split
        import tensorflow as tf

        self.train = tf.train

    def process(self, row: dict, vocabularies: dict):
        train, features = self.train, {}
        for name, value in row.items():
            if isinstance(value, float):
                numbers = train.FloatList(value=[value])
                features[name] = train.Feature(float_list=numbers)
                continue
            if name in vocabularies:
                numbers = vocabularies[name]
                value = [numbers.get(item, 1) for item in value]
            elif not isinstance(value, list):
                value = [value]
            ids = train.Int64List(value=value)
            features[name] = train.Feature(int64_list=ids)
        example = train.Example(features=train.Features(feature=features))
        yield example.SerializeToString()
