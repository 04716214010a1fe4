"""Writes the files of ``benchmarks.inputs``: each writer in all the forms that it has.

    python -m benchmarks.inputs_writers FOLDER

A writer that is not installed is left out, with a word.  ``FOLDER/index.json`` says of
each log: ``writer``, ``form``, ``input``, the keys of ``data`` that its user would set, and
which rows it holds.
"""

import csv
import decimal
import gzip
import io
import itertools
import json
import sys
from pathlib import Path

from benchmarks.inputs_rows import COLUMNS, make_rows

TIMES = {  # a form of times in texts -> how to write one, and what the config says
    "iso": (lambda t: t.isoformat(" "), {}),
    "iso_t": (lambda t: t.isoformat("T") + ".000", {}),
    "bigquery": (lambda t: f"{t} UTC", {}),
    "postgres": (lambda t: f"{t}+00", {}),
    "spark": (lambda t: t.isoformat("T") + ".000Z", {}),
    "seconds": (lambda t: str(round((t - EPOCH).total_seconds())), {"time_unit": "s"}),
    "millis": (lambda t: str(1000 * round((t - EPOCH).total_seconds())), {}),
    "german": (lambda t: f"{t:%d.%m.%Y %H:%M:%S}", {"time_format": "%d.%m.%Y %H:%M:%S"}),
    "american": (lambda t: f"{t:%m/%d/%Y %I:%M %p}", {"time_format": "%m/%d/%Y %I:%M %p"}),
}
EPOCH = make_rows(1)[0]["when"].replace(year=1970)
TEXT_TAGS = "|"
TRUTHS = [("1", "0"), ("true", "false"), ("True", "False"), ("t", "f")]
LABELS = {"bool": bool, "int": int, "float": float, "text": lambda v: str(v).lower()}
FLAT = COLUMNS[:-1]  # of files that have no lists


class Index:
    """The logs that were written."""

    def __init__(self, folder: Path):
        self.folder, self.logs, self.left_out = folder, [], []

    def path(self, writer: str, ending: str) -> Path:
        path = self.folder / f"{writer}-{len(self.logs):04d}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, writer, form, path, data=None, rows=None, have=COLUMNS, **more):
        self.logs.append(
            {
                "writer": writer,
                "form": form,
                "input": str(path),
                "data": data or {},
                "rows": rows or {},
                "have": list(have),
                **more,
            }
        )


def texts(
    rows: list[dict], time: str, missing: str = "", truth=("1", "0")
) -> list[list[str]]:
    """Rows as the texts of a CSV file."""
    write = TIMES[time][0]
    return [
        [
            str(row["number"]),
            missing if row["id"] is None else str(row["id"]),
            missing if row["name"] is None else row["name"],
            missing if row["price"] is None else str(row["price"]),
            write(row["when"]),
            truth[0] if row["click"] else truth[1],
            TEXT_TAGS.join(row["tags"]),
        ]
        for row in rows
    ]


def csv_module(index: Index) -> None:
    """Python's own writer: every delimiter, quoting, encoding and end of line."""
    dialects = itertools.product(
        [",", "\t", ";", "|", "\x01"],
        ["minimal", "all", "doubled", "escaped"],
        ["utf-8", "utf-8-sig", "utf-16", "cp1252"],
        ["\n", "\r\n"],
    )
    for number, (delimiter, quoting, encoding, end) in enumerate(dialects):
        time = [*TIMES][number % len(TIMES)]
        missing = ["", "\\N", "NULL", "NA"][number % 4]
        truth = [("1", "0"), ("true", "false"), ("True", "False"), ("t", "f")][
            number // 4 % 4
        ]
        ids = ["int", "large", "text", "zeros", "uuid"][number % 5]
        rows = [row | {"tags": []} for row in make_rows(ids=ids)]
        if encoding == "cp1252":
            rows = [
                r | {"name": (r["name"] or "").replace("\u4e2d\u6587", "") or None}
                for r in rows
            ]
        form = {
            "delimiter": delimiter,
            "quoting": csv.QUOTE_ALL if quoting == "all" else csv.QUOTE_MINIMAL,
            "lineterminator": end,
        }
        if quoting == "escaped":
            form |= {"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL}
        data = {"delimiter": delimiter, **TIMES[time][1]}
        data |= {"escape": "\\"} if quoting == "escaped" else {}
        data |= {"encoding": encoding} if encoding in ("utf-16", "cp1252") else {}
        data |= {"null_values": [missing]} if missing else {}
        text = io.StringIO(newline="")
        writer = csv.writer(text, **form)
        writer.writerows([COLUMNS, *texts(rows, time, missing, truth)])
        packed = number % 3 == 0
        path = index.path("csv", ".csv.gz" if packed else ".csv")
        content = text.getvalue().encode(encoding)
        path.write_bytes(gzip.compress(content) if packed else content)
        name = f"{delimiter!r} {quoting} {encoding} {end!r} {time} {missing!r} {truth[0]}"
        lossy = encoding == "cp1252"
        index.add("csv module", name, path, data, {"ids": ids}, FLAT, lossy=lossy)


def csv_by_hand(index: Index) -> None:
    """As Spark, Hive, MySQL and spreadsheets write: what Python's writer cannot."""
    for ids, time in itertools.product(["int", "text", "large"], TIMES):
        rows = [row | {"tags": []} for row in make_rows(ids=ids)]
        lines = [[*COLUMNS], *texts(rows, time)]

        def spark(value):
            if any(mark in value for mark in ',"'):
                return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            return value

        def hive(value):
            value = value.replace("\\", "\\\\").replace("\t", "\\\t")
            return value or "\\N"

        for writer, ending, join, form, data in (
            ("Spark's CSV", ".csv", ",", spark, {"escape": "\\"}),
            (
                "Hive's text",
                ".tsv",
                "\t",
                hive,
                {"delimiter": "\t", "quote": None, "escape": "\\"},
            ),
            (
                "MovieLens",
                ".txt",
                "::",
                str,
                {"delimiter": "::", "quote": None, "columns": list(COLUMNS)},
            ),
        ):
            path = index.path(writer.split("'")[0], ending)
            body = lines[1:] if "columns" in data else lines
            text = "".join(join.join(map(form, line)) + "\n" for line in body)
            path.write_text(text, encoding="utf-8")
            more = data | TIMES[time][1]
            index.add(writer, f"{ids} {time}", path, more, {"ids": ids}, FLAT)
        for group in ("", ".", " "):
            body = [[*v[:3], grouped(v[3], group), *v[4:]] for v in lines[1:]]
            table = [lines[0], *body]
            path = index.path("sheet", ".csv")
            text = io.StringIO(newline="")
            csv.writer(text, delimiter=";").writerows(table)
            path.write_text(text.getvalue(), encoding="utf-8")
            data = {"delimiter": ";", "decimal": ",", "thousands": group, **TIMES[time][1]}
            index.add(
                "spreadsheet",
                f"{ids} {time} {group!r}",
                path,
                data,
                {"ids": ids},
                FLAT,
            )


def grouped(value: str, mark: str) -> str:
    """A number with a decimal comma, and a mark between thousands."""
    whole, point, rest = value.partition(".")
    if value and mark and int(whole):
        whole = f"{int(whole):,}".replace(",", mark)
    return whole + ("," if point else "") + rest


def arrow_table(rows: list[dict], ids: str, unit: str, label: str, lists: str):
    import pyarrow as pa

    kinds = {"int": pa.int64(), "large": pa.int64(), "unsigned": pa.uint64()}
    kinds |= {"decimal": pa.decimal128(38, 0), "uuid": pa.uuid()}
    values = [row["id"] for row in rows]
    if ids == "uuid":
        values = [v and v.bytes for v in values]
    if ids == "decimal":
        values = [v and decimal.Decimal(v) for v in values]
    when = pa.array([row["when"] for row in rows], pa.timestamp("us"))
    zone = unit.partition(" ")[2]
    if zone:
        when = when.cast(pa.timestamp(unit.partition(" ")[0], "UTC")).cast(
            pa.timestamp(unit.partition(" ")[0], zone)
        )
    else:
        when = when.cast(pa.timestamp(unit))
    truth = {"bool": bool, "int": int, "float": float, "text": lambda v: str(v).lower()}[
        label
    ]
    tags = pa.array([row["tags"] for row in rows], pa.list_(pa.string()))
    if lists == "large":
        tags = tags.cast(pa.large_list(pa.large_string()))
    return pa.table(
        {
            "number": [row["number"] for row in rows],
            "id": pa.array(values, kinds.get(ids, pa.string())),
            "name": pa.array([row["name"] for row in rows]).dictionary_encode()
            if lists == "large"
            else pa.array([row["name"] for row in rows]),
            "price": pa.array([row["price"] for row in rows], pa.float64()),
            "when": when,
            "click": [truth(row["click"]) for row in rows],
            "tags": tags,
        }
    )


def pyarrow_writer(index: Index) -> None:
    """Parquet in Spark's form and in Arrow's own, parts with ``_SUCCESS``, ORC, folders."""
    import pyarrow.orc
    import pyarrow.parquet as pq

    forms = itertools.product(
        ["int", "large", "text", "unsigned", "decimal", "uuid"],
        ["s", "ms", "us", "ns", "us UTC", "ms Asia/Tokyo"],
        ["plain", "spark", "hive"],
    )
    for number, (ids, unit, how) in enumerate(forms):
        label = ["bool", "int", "float", "text"][number % 4]
        rows = make_rows(ids=ids)
        table = arrow_table(rows, ids, unit, label, ["list", "large"][number % 2])
        form = f"{ids} {unit} {label} {how}"
        if how == "plain":
            path = index.path("arrow", ".parquet")
            pq.write_table(
                table, path, row_group_size=11, version="2.6", store_schema=number % 2 > 0
            )
        elif how == "spark":
            path = index.path("spark", "")
            path.mkdir()
            (path / "_SUCCESS").touch()
            zoned = " " in unit or unit in ("s", "ns")
            for part in range(3):
                name = f"part-0000{part}-ab.c000.snappy.parquet"
                pq.write_table(
                    table.slice(part * 10, 10),
                    path / name,
                    flavor="spark",
                    use_deprecated_int96_timestamps=zoned,
                    store_schema=False,
                )
                (path / f".{name}.crc").write_bytes(b"crc")
        else:
            path = index.path("hive", "")
            for part in range(3):
                folder = path / f"id={'a' if part else '__HIVE_DEFAULT_PARTITION__'}"
                folder.mkdir(parents=True, exist_ok=True)
                some = table.slice(part * 10, 10)
                pq.write_table(some.drop(["id"]), folder / f"{part}.parquet")
            index.add("pyarrow", form, path, {}, {"ids": ids}, folders=True)
            continue
        index.add("pyarrow", form, path, {}, {"ids": ids})
        if how == "plain" and ids not in ("unsigned", "uuid"):
            path = index.path("arrow", ".orc")
            pyarrow.orc.write_table(plain_orc(table), path)
            index.add("pyarrow", f"ORC {form}", path, {}, {"ids": ids})


def plain_orc(table):
    """ORC has neither dictionaries nor large lists."""
    import pyarrow as pa

    kinds = {"name": pa.string(), "tags": pa.list_(pa.string())}
    fields = [(f.name, kinds.get(f.name, f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def pandas_writer(index: Index) -> None:
    import pandas as pd

    for ids, unit, label in itertools.product(
        ["int", "large", "text", "zeros"], ["datetime", "zone", "s", "ms"], ["bool", "int"]
    ):
        nulls = ids != "large"  # which a column of reals would not hold
        rows = make_rows(ids=ids, nulls=nulls)
        frame = pd.DataFrame([row | {"tags": TEXT_TAGS.join(row["tags"])} for row in rows])
        frame["click"] = frame["click"].astype(label)
        data = {}
        if unit == "zone":
            frame["when"] = frame["when"].dt.tz_localize("UTC")
        elif unit != "datetime":
            seconds = (frame["when"] - pd.Timestamp("1970-01-01")).dt.total_seconds()
            frame["when"] = (seconds * {"s": 1, "ms": 1000}[unit]).astype("int64")
            data = {"time_unit": unit}
        have = FLAT
        form, what = f"{ids} {unit} {label}", {"ids": ids, "nulls": nulls}
        for ending, method, options in (
            (".csv", "to_csv", {"index": False}),
            (".csv.gz", "to_csv", {"index": True}),
            (".tsv", "to_csv", {"index": False, "sep": "\t", "na_rep": "NaN"}),
            (".parquet", "to_parquet", {"engine": "pyarrow"}),
            (".orc", "to_orc", {}),
            (
                ".jsonl",
                "to_json",
                {"orient": "records", "lines": True, "date_format": "iso"},
            ),
        ):
            path = index.path("pandas", ending)
            try:
                getattr(frame, method)(path, **options)
            except Exception as error:
                index.left_out.append(f"pandas {ending} {form}: {error}"[:160])
                continue
            more = {".tsv": {"delimiter": "\t", "null_values": ["NaN"]}}.get(ending, {})
            index.add("pandas", f"{ending} {form}", path, data | more, what, have)


def fastparquet_writer(index: Index) -> None:
    import fastparquet
    import pandas as pd

    for ids, times, encoding, label, pack in itertools.product(
        ["int", "text"],
        ["int64", "int96"],
        ["utf8", "bytes"],
        ["bool", "int"],
        ["UNCOMPRESSED", "SNAPPY", "GZIP"],
    ):
        rows = make_rows(ids=ids)
        frame = pd.DataFrame([row | {"tags": ""} for row in rows])
        frame["click"] = frame["click"].astype(label)
        # of microseconds, pandas' own, fastparquet makes INT96 of the year 1970
        frame["when"] = frame["when"].astype("datetime64[ns]")
        for name in ("name", "tags", *(["id"] if ids == "text" else [])):
            frame[name] = frame[name].astype(object)
            if encoding == "bytes":
                frame[name] = [
                    v.encode() if isinstance(v, str) else None for v in frame[name]
                ]
        path = index.path("fastparquet", ".parquet")
        form = f"{ids} {times} {encoding} {label} {pack}"
        try:
            kind = encoding if ids == "text" else "infer"
            fastparquet.write(
                str(path), frame, times=times, object_encoding=kind, compression=pack
            )
        except Exception as error:
            index.left_out.append(f"fastparquet {form}: {error}"[:160])
            continue
        index.add("fastparquet", form, path, {}, {"ids": ids}, FLAT)


def polars_writer(index: Index) -> None:
    import polars as pl

    for ids, unit, label in itertools.product(
        ["int", "large", "text", "unsigned"], ["ms", "us", "ns"], ["bool", "int", "text"]
    ):
        rows = make_rows(ids=ids)
        truth = LABELS[label]
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        columns["click"] = [truth(value) for value in columns["click"]]
        kind = {"unsigned": pl.UInt64, "text": pl.String}.get(ids, pl.Int64)
        frame = pl.DataFrame(columns, schema_overrides={"id": kind}, strict=False)
        frame = frame.with_columns(pl.col("when").dt.cast_time_unit(unit))
        flat = frame.with_columns(pl.col("tags").list.join(TEXT_TAGS))
        form, what = f"{ids} {unit} {label}", {"ids": ids}
        for ending, of, method, options in (
            (".parquet", frame, "write_parquet", {}),
            (".csv", flat, "write_csv", {}),
            (".tsv", flat, "write_csv", {"separator": "\t", "null_value": "\\N"}),
            (".ndjson", frame, "write_ndjson", {}),
            (".avro", frame, "write_avro", {}),
        ):
            path, have = index.path("polars", ending), COLUMNS if of is frame else FLAT
            try:
                getattr(of, method)(path, **options)
            except BaseException as error:  # Polars panics
                index.left_out.append(f"polars {ending} {form}: {error}"[:160])
                continue
            data = {"delimiter": "\t"} if ending == ".tsv" else {}
            index.add("Polars", f"{ending} {form}", path, data, what, have)


def duckdb_writer(index: Index) -> None:
    import duckdb

    kinds = {"int": "BIGINT", "large": "BIGINT", "text": "VARCHAR", "unsigned": "UBIGINT"}
    kinds |= {"decimal": "DECIMAL(38,0)", "uuid": "UUID"}
    for ids, when in itertools.product(kinds, ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_MS"]):
        rows = make_rows(ids=ids)
        base = duckdb.connect()
        base.execute("SET TimeZone = 'UTC'")
        base.execute(
            f"CREATE TABLE log (number BIGINT, id {kinds[ids]}, name VARCHAR, "
            f'price DOUBLE, "when" {when}, click BOOLEAN, tags VARCHAR[])'
        )
        values = [
            [
                None if row[n] is None else str(row[n]) if n in ("id", "when") else row[n]
                for n in COLUMNS
            ]
            for row in rows
        ]
        base.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        flat = "(SELECT * EXCLUDE (tags), array_to_string(tags, '|') AS tags FROM log)"
        form, what = f"{ids} {when}", {"ids": ids}
        for name, source, ending, options, data, have in (
            ("Parquet", "log", ".parquet", "FORMAT parquet", {}, COLUMNS),
            (
                "Parquet zstd",
                "log",
                ".parquet",
                "FORMAT parquet, COMPRESSION zstd",
                {},
                COLUMNS,
            ),
            ("CSV", flat, ".csv", "FORMAT csv, HEADER", {}, FLAT),
            (
                "CSV |",
                flat,
                ".csv",
                "FORMAT csv, HEADER, DELIMITER '|', NULLSTR 'NULL', FORCE_QUOTE *",
                {"delimiter": "|", "null_values": ["NULL"]},
                FLAT,
            ),
            (
                "CSV escaped",
                flat,
                ".csv.gz",
                "FORMAT csv, HEADER, ESCAPE '\\', COMPRESSION gzip",
                {"escape": "\\"},
                FLAT,
            ),
            ("JSON", "log", ".json", "FORMAT json", {}, COLUMNS),
            (
                "JSON zstd",
                "log",
                ".json.zst",
                "FORMAT json, COMPRESSION zstd",
                {},
                COLUMNS,
            ),
        ):
            path = index.path("duckdb", ending)
            try:
                base.execute(f"COPY {source} TO '{path}' ({options})")
            except Exception as error:
                index.left_out.append(f"duckdb {name} {form}: {error}"[:160])
                continue
            index.add("DuckDB", f"{name} {form}", path, data, what, have)


WRITERS = {
    "csv module": csv_module,
    "by hand": csv_by_hand,
    "pyarrow": pyarrow_writer,
    "pandas": pandas_writer,
    "fastparquet": fastparquet_writer,
    "Polars": polars_writer,
    "DuckDB": duckdb_writer,
}


def main(folder: str) -> None:
    """Write all files, and the index."""
    index = Index(Path(folder))
    for name, write in WRITERS.items():
        try:
            write(index)
        except ImportError as error:
            index.left_out.append(f"{name}: not installed ({error.name})")
    content = {"logs": index.logs, "left_out": index.left_out}
    (index.folder / "index.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(sys.argv[1])
