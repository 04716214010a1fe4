"""Examples of a tiny log."""

import json

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.kinds import preprocess
from tests.helpers import tiny


def run(folder, rows, output="examples", *flags, changes=(), write=tiny.write_parquet):
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "csv" if write is tiny.write_csv else "parquet"
    write(rows, folder / f"log.{suffix}")
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    settings = {"data__input": [f"log.{suffix}"], **dict(changes)}
    config = parse_config(tiny.config_document(**settings), "c")
    manifest = preprocess(config, folder, folder / output, flags)
    return folder / output, manifest


def schema(folder):
    return json.loads((folder / "schema.json").read_text())


def vocabulary(folder, name):
    return (folder / "vocab" / f"{name}.txt").read_text().splitlines()
