"""Raw logs to packed examples, as an Apache Beam job.

In: the log and side tables of a config.  Out: an example set (``example_set.py`` says
what it holds).  Arrow tables go from end to end; between workers they travel in Arrow's
own stream format.

    steadyrank preprocess --config C --output DIR [--append] [-- BEAM FLAGS]

    pieces ─ read, fingerprint, key ─ group by split/window/shard ─ dedupe, join, type ┐
       ┌───────────────────────────────────────────────────────────────────────────────┘
       ├ training split: analyse ─ merge ─ learn ┐ (side input; with --append the
       │                                         │ base's counts and vocabularies, too)
       └───────────────────────────────── encode ┴ write ─ summary
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from models.features import sample_space
from pipeline import growth, vocab
from pipeline.columns import is_list
from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.example_set import ExampleSet, Schema, counts_path, seal, vocab_path
from pipeline.examples import Layout, encode_blocks, write_records
from pipeline.growth import require_same_kind
from pipeline.plan import WHOLE_LOG, Addition, Plan, make_plan
from pipeline.readers import Piece, read_all
from pipeline.rows import key_rows, settle_rows
from pipeline.split import SPLITS, last_training_window
from pipeline.storage import link_or_copy, publish, refuse_existing, write_json

RAW_ROWS = 1000  # of each evaluation file, kept raw for the check of the raw signature
DEFAULT_RUNNER = "--runner=FnApiRunner"  # local; DirectRunner would download an engine


def preprocess(
    config: Config,
    folder: Path,
    output: Path,
    beam_flags: Iterable[str] = (),
    overwrite: bool = False,
    addition: Addition = WHOLE_LOG,
) -> dict:
    """Turn a raw log into an example set, or add to one what came since.

    An addition takes over the training windows of its base as they are, to the byte.
    The windows after them are read from the log: split by the config's moments, encoded
    with the grown vocabularies.  Whatever the base had for evaluation is left behind.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        output: Where the example set shall stand.
        beam_flags: Passed to Beam, such as ``--runner=FlinkRunner``.
        overwrite: Whether an example set that is there may be replaced.
        addition: What to add to, and which days.

    Returns:
        The manifest.

    Raises:
        InputError: The input does not suit, or too much of it had to be rejected.
    """
    refuse_existing(Path(output), overwrite)
    base = None if addition.base is None else ExampleSet.open(addition.base)
    after = "" if base is None else _last_window(base, config)
    plan = make_plan(config, folder, addition, after)
    if base:
        require_same_kind(plan, base.schema)
    flags = list(beam_flags)
    if not any(flag.startswith("--runner") for flag in flags):
        flags.insert(0, DEFAULT_RUNNER)
    with publish(output, overwrite) as partial:
        _run_beam(plan, str(partial), PipelineOptions(flags))
        summary = json.loads((partial / "summary.json").read_text(encoding="utf-8"))
        (partial / "summary.json").unlink()
        manifest = _manifest(plan, partial, summary, base)
        write_json(partial / "manifest.json", manifest)
    return manifest


def _run_beam(plan: Plan, output: str, options: PipelineOptions) -> None:
    with beam.Pipeline(options=options) as pipeline:
        read = (
            pipeline
            | "pieces" >> beam.Create(plan.log.pieces)
            | "spread" >> beam.Reshuffle()
            | "read" >> beam.ParDo(Read(plan)).with_outputs(*SIDE_OUTPUTS, main="rows")
        )
        settled = (
            read.rows
            | "by shard" >> beam.GroupByKey()
            | "settle" >> beam.ParDo(Settle(plan)).with_outputs(*SIDE_OUTPUTS, main="rows")
        )
        analysed = (
            settled.rows
            | "training" >> beam.Filter(lambda item: item[0].startswith("train/"))
            | "analyse" >> beam.MapTuple(lambda _, t: vocab.analyse(from_bytes(t), plan))
            | "merge" >> beam.CombineGlobally(MergeAnalyses())
            | "add the base's" >> beam.Map(growth.accumulate, plan)
        )
        learned = analysed | "learn" >> beam.Map(growth.learn, plan)
        counted = analysed | "write counts" >> beam.Map(write_counts, output)
        written = learned | "write learned" >> beam.Map(write_learned, output, plan)
        files = settled.rows | "encode" >> beam.ParDo(
            Encode(plan, output), beam.pvalue.AsSingleton(learned)
        )
        rejected = (
            (read.rejected, settled.rejected)
            | "all rejected" >> beam.Flatten()
            | "one file" >> beam.Map(lambda table: (0, table))
            | "gather rejected" >> beam.GroupByKey()
            | "write rejected" >> beam.MapTuple(lambda _, t: write_rejected(t, output))
        )
        counts = (
            (read.counts, settled.counts, rejected)
            | "all counts" >> beam.Flatten()
            | "add counts" >> beam.CombineGlobally(add_counts)
        )
        _ = (
            pipeline
            | "once" >> beam.Create([None])
            | "summary"
            >> beam.Map(
                write_summary,
                output,
                counts=beam.pvalue.AsSingleton(counts),
                files=beam.pvalue.AsList(files),
                failed=beam.pvalue.AsList(read.failed),
                schema=beam.pvalue.AsSingleton(written),
                counted=beam.pvalue.AsSingleton(counted),
            )
        )


SIDE_OUTPUTS = ("rejected", "counts", "failed")


class Read(beam.DoFn):
    """A piece of the log to keyed tables; a file that cannot be read is reported."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(self, piece: Piece):
        counts: Counter = Counter()
        try:
            for table, malformed in piece.batches():
                lines = 0 if malformed is None else len(malformed)
                counts["read"] += len(table) + lines
                if malformed is not None:
                    source = pa.array([piece.path] * lines)
                    malformed = malformed.append_column("source", source)
                    yield beam.pvalue.TaggedOutput("rejected", to_bytes(malformed))
                keyed, rejected = key_rows(table, piece.path, self.plan)
                if rejected is not None:
                    yield beam.pvalue.TaggedOutput("rejected", to_bytes(rejected))
                for key, part in keyed.items():
                    if self.plan.takes(key.split("/")[1]):
                        yield key, to_bytes(part)
                    else:
                        counts["read"] -= len(part)
                        counts["outside"] += len(part)
        except InputError as error:
            yield beam.pvalue.TaggedOutput("failed", str(error))
        yield beam.pvalue.TaggedOutput("counts", dict(counts))


class Settle(beam.DoFn):
    """All tables of one shard to its final, typed rows."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def setup(self):
        wanted = {*self.plan.columns.values()}
        data = self.plan.config.data
        wanted |= {data.group, *(join.on for join in data.join)}
        tasks = self.plan.config.tasks
        wanted |= {name for task in tasks for name in (task.truth, task.sample_weight)}
        self.sides = []
        for join, log in zip(data.join, self.plan.sides, strict=True):
            names = [n for n in log.schema.names if join.prefix + n in wanted]
            self.sides.append(
                read_all(log).select(list({join.on: 0, **dict.fromkeys(names)}))
            )

    def process(self, item):
        key, tables = item
        tables = [from_bytes(table) for table in tables]
        typed, rejected, counts = settle_rows(tables, self.sides, self.plan)
        for table in rejected:
            yield beam.pvalue.TaggedOutput("rejected", to_bytes(table))
        yield beam.pvalue.TaggedOutput("counts", dict(counts))
        if len(typed):
            yield key, to_bytes(typed)


class MergeAnalyses(beam.CombineFn):
    """``vocab.merge`` as Beam wants it, a few at a time."""

    def create_accumulator(self):
        return []

    def add_input(self, accumulator, analysis):
        return self.merged([*accumulator, analysis], 16)

    def merge_accumulators(self, accumulators):
        return self.merged([a for accumulator in accumulators for a in accumulator], 1)

    def extract_output(self, accumulator):
        return vocab.merge(accumulator)

    def merged(self, analyses, most):
        return analyses if len(analyses) <= most else [vocab.merge(analyses)]


class Encode(beam.DoFn):
    """A shard's typed rows to its TFRecord file; yields what the manifest says of it."""

    def __init__(self, plan: Plan, output: str):
        self.plan, self.output = plan, output

    def process(self, item, learned: vocab.Learned):
        key, table = item
        split, window, shard = key.split("/")
        table = from_bytes(table)
        key_path = f"{split}/{window}-{shard}"
        path = f"{key_path}.tfrecord"
        arrays, unknown = encode_rows(table, learned)
        truths = [k.removeprefix("truth/") for k in arrays if k.startswith("truth/")]
        layout = Layout.of(learned.features, learned.tasks, truths, "group" in arrays)
        with create_file(f"{self.output}/{path}") as file:
            size = write_records(file, encode_blocks(layout.matrices(arrays)))
        if split != "train":
            raw = table.slice(0, RAW_ROWS)
            raw = raw.select([n for n in raw.column_names if n.startswith("feature/")])
            with create_file(f"{self.output}/raw/{key_path}.parquet") as file:
                pq.write_table(raw, file)
        yield {
            "path": path,
            "split": split,
            "window": window,
            "rows": len(table),
            "bytes": size,
            "tasks": count_labels(arrays, learned.tasks),
            "unknown": unknown,
        }


def encode_rows(table: pa.Table, learned: vocab.Learned):
    """Typed rows as the arrays of the byte contract.

    Returns:
        Key -> array, and how many values of each feature were out of vocabulary or, of
        a multi-valued one, beyond ``max_values``.
    """
    arrays, unknown = {}, {}
    for feature in learned.features:
        key = f"feature/{feature.name}"
        values = table[key].combine_chunks()
        if feature.kind == "numeric":
            arrays[key] = vocab.as_float32(values)
            continue
        vocabulary = learned.vocabularies[feature.name]
        flat = values.flatten() if is_list(values.type) else values
        ids = vocab.look_up(flat, vocabulary, feature)
        counts = {
            "out_of_vocabulary": int(((ids > 0) & (ids <= feature.oov_buckets)).sum())
        }
        if is_list(values.type):
            latest = feature.kind == "sequence"
            ids, counts["beyond_max_values"] = pad_lists(
                values, ids, feature.max_values, latest
            )
        arrays[key], unknown[feature.name] = ids, counts
    for name in table.column_names:
        if name.startswith(("label/", "truth/", "weight/")):
            arrays[name] = vocab.as_float32(table[name].combine_chunks())
        elif name == "group":
            arrays[name] = table[name].to_numpy()
    return arrays, unknown


def pad_lists(
    lists: pa.Array, ids: np.ndarray, width: int, latest: bool = False
) -> tuple[np.ndarray, int]:
    """The first ``width`` ids of each list as a matrix, 0 after the last.

    Args:
        lists: Whose lengths say which ids are in which list.
        ids: Of all lists' values.
        width: Of the matrix.
        latest: Whether it is the last ids of a list that are kept, 0 before the first.

    Returns:
        int32 ``[rows, width]``, and how many ids were cut off.
    """
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists)), lengths)
    place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if latest:
        place += np.repeat(width - lengths, lengths)
    kept = (place >= 0) & (place < width)
    matrix = np.zeros((len(lists), width), np.int32)
    matrix[rows[kept], place[kept]] = ids[kept]
    return matrix, int((~kept).sum())


def count_labels(arrays: dict[str, np.ndarray], tasks) -> dict[str, dict[str, int]]:
    """Task -> rows in its sample space, positives, and labels set though not given."""
    labels = {task.name: arrays[f"label/{task.name}"] for task in tasks}
    counts = {}
    for task in tasks:
        inside = sample_space(task, tasks, labels)
        positive = labels[task.name] > 0
        counts[task.name] = {
            "rows": int(inside.sum()),
            "positives": int((positive & inside).sum()),
            "given_violations": int((positive & ~inside).sum()),
        }
    return counts


def write_learned(learned: vocab.Learned, output: str, plan: Plan) -> dict:
    """Write vocabularies and statistics; give the schema back, without its fingerprint."""
    for name, values in learned.vocabularies.items():
        lines = values.cast(pa.string()).to_pylist()
        with create_file(str(vocab_path(Path(output) / "vocab", name))) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
    with create_file(f"{output}/statistics.json") as file:
        file.write(json.dumps(learned.statistics, indent=1, default=str).encode())
    config = plan.config
    truths = tuple(task.name for task in config.tasks if task.truth)
    formula, group = config.score_formula, config.data.group is not None
    return Schema(learned.features, learned.tasks, formula, truths, group).to_dict()


def write_rejected(tables: Iterable[bytes], output: str) -> dict[str, int]:
    """Write rejected rows into one Parquet file, and count them by reason."""
    table = pa.concat_tables(map(from_bytes, tables), promote_options="default")
    with create_file(f"{output}/rejected/rows.parquet") as file:
        pq.write_table(table, file)
    counts = table["reason"].combine_chunks().value_counts()
    return {f"rejected/{item['values'].as_py()}": item["counts"].as_py() for item in counts}


def write_counts(analysis: vocab.Analysis, output: str) -> int:
    """Write how often each value was seen, for the set to grow from."""
    for name, table in analysis.counts.items():
        order = [("count", "descending"), ("value", "ascending")]
        with create_file(str(counts_path(Path(output), name))) as file:
            pq.write_table(table.sort_by(order), file, compression="zstd")
    return len(analysis.counts)


def write_summary(_, output: str, counts, files, failed, schema, counted) -> None:
    """Leave for the launcher, which may be another machine, what the workers found."""
    content = {"counts": counts, "files": files, "failed": failed, "schema": schema}
    with create_file(f"{output}/summary.json") as file:
        file.write(json.dumps(content).encode())


def add_counts(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Add up counters."""
    total: Counter = Counter()
    for some in counts:
        total.update(some)
    return dict(total)


def to_bytes(table: pa.Table) -> bytes:
    """A table in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    fast = pa.ipc.IpcWriteOptions(compression="lz4")  # the runner copies bytes often
    with pa.ipc.new_stream(sink, table.schema, options=fast) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(data: bytes) -> pa.Table:
    """The table that ``to_bytes`` took."""
    return pa.ipc.open_stream(data).read_all()


def create_file(path: str):
    """Open a file to write, wherever it is; its folder is made first."""
    folder = path.rpartition("/")[0]
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:  # another worker was first
            pass
    return FileSystems.create(path, "application/octet-stream")


def _last_window(base: ExampleSet, config: Config) -> str:
    """The last training window of a base, which must be one by the config, too."""
    last, ends = list(base.windows("train"))[-1], last_training_window(config.data)
    if last > ends:
        raise InputError(
            f"data.split: training rows end with window {ends}, but {base.path} trains on "
            f"windows up to {last}: models have seen them. Move data.split on."
        )
    return last


def _take_over(base: ExampleSet, partial: Path) -> list[dict]:
    """The base's training files, under a second name or copied; what it says of them."""
    files = [file for file in base.manifest["files"] if file["split"] == "train"]
    for file in files:
        (partial / file["path"]).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(base.path / file["path"], partial / file["path"])
    return files


def _manifest(plan: Plan, partial: Path, summary: dict, base: ExampleSet | None) -> dict:
    """Check what the workers found, seal the schema, and sum everything up."""
    counts, files = summary["counts"], summary["files"]
    if summary["failed"]:
        raise InputError("; ".join(sorted(set(summary["failed"]))))
    rejected = counts_under(counts, "rejected/")
    read, written = counts.get("read", 0), sum(file["rows"] for file in files)
    duplicates = counts.get("duplicates", 0)
    if not read:
        raise InputError(f"{', '.join(plan.log.files)}: no rows{_span(plan)}.")
    check_rejected(plan, rejected, read)
    if read != written + duplicates + sum(rejected.values()):
        raise RuntimeError(f"rows were lost: {read=} {written=} {duplicates=} {rejected=}")
    taken = _take_over(base, partial) if base else []
    old, files = sum(file["rows"] for file in taken), taken + files
    splits = {split: _split_counts(files, split) for split in SPLITS}
    _check_splits(plan, splits)
    schema = Schema.from_dict(summary["schema"], partial)
    schema = seal(schema, partial / "vocab", base and base.schema)
    write_json(partial / "schema.json", schema.to_dict())
    return {
        "fingerprint": schema.fingerprint,
        "rows": {
            "read": old + read,
            "written": old + written,
            "duplicates": duplicates,
            "rejected": rejected,
        },
        "taken_over": old,
        "outside": counts.get("outside", 0),
        "unmatched": counts_under(counts, "unmatched/"),
        "splits": splits,
        "tasks": add_counts_by_task(files),
        "input": list(plan.log.files),
        "files": sorted(files, key=lambda file: file["path"]),
    }


def _span(plan: Plan) -> str:
    """Which days were asked for, for a message."""
    parts = [(" after ", plan.after), (" up to ", plan.addition.until)]
    return "".join(word + day for word, day in parts if day)


def counts_under(counts: dict[str, int], prefix: str) -> dict[str, int]:
    """The counters whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): n for k, n in counts.items() if k.startswith(prefix)}


def _split_counts(files: list[dict], split: str) -> dict:
    windows: Counter = Counter()
    for file in files:
        if file["split"] == split:
            windows[file["window"]] += file["rows"]
    return {"rows": sum(windows.values()), "windows": dict(sorted(windows.items()))}


def add_counts_by_task(files: list[dict]) -> dict[str, dict[str, int]]:
    """Task -> its counts over all files."""
    totals: dict[str, Counter] = {}
    for file in files:
        for task, counts in file["tasks"].items():
            totals.setdefault(task, Counter()).update(counts)
    return {task: dict(counts) for task, counts in totals.items()}


def check_rejected(plan, rejected: dict[str, int], read: int) -> None:
    """Raise where more rows had to be rejected than the config allows."""
    total, limit = sum(rejected.values()), plan.config.data.max_rejected
    if total > limit * read or (read and total == read):
        reasons = ", ".join(f"{reason}: {n}" for reason, n in sorted(rejected.items()))
        raise InputError(
            f"{total} of {read} rows were rejected, more than data.max_rejected="
            f"{limit} allows. Reasons: {reasons}. Mend the log, or raise the limit."
        )


def _check_splits(plan: Plan, splits: dict[str, dict]) -> None:
    for split, counts in splits.items():
        if not counts["rows"]:
            found = {s: list(c["windows"]) for s, c in splits.items() if c["rows"]}
            spans = ", ".join(f"{s} {w[0]} to {w[-1]}" for s, w in found.items())
            raise InputError(
                f"the {split} split has no rows: data.split is "
                f"{plan.config.data.split.model_dump(mode='json')}, the log holds {spans}."
            )
