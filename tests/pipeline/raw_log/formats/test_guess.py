"""About how many rows a file of text has."""

import bz2
import gzip
import json

import numpy as np
import pyarrow as pa
import pytest

from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log

PACKING = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def rows_of(count: int) -> list[dict]:
    draw = np.random.default_rng(1)
    users, times = draw.integers(0, 5000, count), draw.integers(10**9, 2 * 10**9, count)
    rows = zip(users.tolist(), times.tolist(), strict=True)
    return [{"user": f"u{u}", "at": t, "kind": "shown in a list"} for u, t in rows]


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("count", [3, 40_000])
def test_rows_are_guessed_by_those_of_the_first_bytes(tmp_path, packing, kind, count):
    rows = rows_of(count)
    lines = ["user,at,kind", *(",".join(map(str, row.values())) for row in rows)]
    lines = lines if kind == "csv" else [json.dumps(row) for row in rows]
    file = tmp_path / f"log.{kind}{packing}"
    file.write_bytes(PACKING[packing]("".join(f"{line}\n" for line in lines).encode()))
    tolerance = 0 if count == 3 else 0.15 * count
    assert open_log([str(file)], Form(), {}).rows == pytest.approx(count, abs=tolerance)
