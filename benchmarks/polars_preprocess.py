"""The same encoding as a plain Polars script, with all rows in memory.

    POLARS_PYTHON -m benchmarks.polars_preprocess SPEC.json

It needs Polars and NumPy alone, and none of this project: ``benchmarks.scale`` writes the
spec.  Duplicates are dropped, side tables joined, rows split by time; vocabularies are
learned from training rows, the most frequent first; ids and numbers of each split are
written as two matrices (``.npy``).  It does less than preprocessing: no rejected rows, no
statistics, no raw rows, no order of its own, no checksums.

The last line is a JSON object: rows by split, and the length of each vocabulary.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

SPLITS = ("train", "validation", "test")


def main(path: str) -> None:
    """Read, encode, write, and say how much there was."""
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    table = joined(spec)
    bounds = spec["validation_ms"], spec["test_ms"]
    split = sum((table[spec["time"]] >= bound).cast(pl.Int8) for bound in bounds)
    vocabularies = {
        feature["name"]: learn(table.filter(split == 0), feature)
        for feature in spec["features"]
        if feature["kind"] == "categorical"
    }
    rows = {}
    for number, name in enumerate(SPLITS):
        part = table.filter(split == number)
        write(part, spec, vocabularies, Path(spec["output"]) / name)
        rows[name] = len(part)
    sizes = {name: len(known) for name, known in vocabularies.items()}
    print(json.dumps({"rows": rows, "vocabularies": sizes}))


def joined(spec: dict) -> pl.DataFrame:
    """The log, each row once, with what the side tables say."""
    log = pl.read_parquet(spec["log"])
    plain = [name for name, kind in log.schema.items() if kind != pl.List]
    log = log.unique([name for name in plain if log.schema[name].base_type() != pl.List])
    for join in spec["joins"]:
        side = pl.read_parquet(join["path"], columns=join["columns"])
        log = log.join(side, on=join["on"], how="left")
    return log


def lists(table: pl.DataFrame, feature: dict) -> pl.Series:
    """A feature of several values, without missing ones."""
    values = table[feature["column"]]
    if feature["separator"]:
        values = values.str.split(feature["separator"])
        return values.list.eval(pl.element().filter(pl.element() != ""))
    return values.list.drop_nulls()


def learn(table: pl.DataFrame, feature: dict) -> pl.DataFrame:
    """Known values and their ids, from 2; ties by value."""
    if feature["max_values"]:
        values = lists(table, feature).explode().drop_nulls()
    else:
        values = table[feature["column"]].drop_nulls()
    counts = values.alias("value").value_counts(name="rows")
    known = counts.filter(pl.col("rows") >= feature["min_count"])
    known = known.sort(["rows", "value"], descending=[True, False]).select("value")
    return known.with_row_index("id", offset=2)


def write(table: pl.DataFrame, spec: dict, vocabularies: dict, folder: Path) -> None:
    """The ids and the numbers of a split."""
    folder.mkdir(parents=True)
    ids, numbers = [], []
    for feature in spec["features"]:
        if feature["kind"] == "categorical":
            ids.append(encode(table, feature, vocabularies[feature["name"]]))
        else:
            numbers.append(column(table, feature["column"]))
    numbers += [column(table, name) for name in spec["numbers"]]
    np.save(folder / "ids.npy", np.concatenate(ids, 1))
    np.save(folder / "numbers.npy", np.stack(numbers, 1))


def encode(table: pl.DataFrame, feature: dict, known: pl.DataFrame) -> np.ndarray:
    """Ids of a feature, int32 ``[rows, width]``: 0 missing, 1 unknown."""
    width = feature["max_values"]
    if not width:
        return find(table[feature["column"]], known).reshape(-1, 1)
    values = lists(table, feature).list.head(width)
    lengths = values.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = values.filter(values.list.len() > 0).explode()
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    matrix = np.zeros((len(lengths), width), np.int32)
    matrix[row, place] = find(flat, known)
    return matrix


def find(values: pl.Series, known: pl.DataFrame) -> np.ndarray:
    """Ids of single values."""
    frame = pl.DataFrame({"value": values})
    found = frame.join(known, on="value", how="left", maintain_order="left")
    ids = found.select(
        pl.when(pl.col("value").is_null()).then(0).otherwise(pl.col("id").fill_null(1))
    )
    return ids.to_series().cast(pl.Int32).to_numpy()


def column(table: pl.DataFrame, name: str) -> np.ndarray:
    """Numbers, float32, NaN where missing."""
    return table[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()


if __name__ == "__main__":
    main(sys.argv[1])
