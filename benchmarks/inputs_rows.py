"""Rows of known content for ``benchmarks.inputs``, in plain Python.

Writers run in an interpreter of their own, which need not have steadyrank: this file and
``inputs_writers`` import nothing of it.
"""

import datetime
import random
import uuid

COLUMNS = ("number", "id", "name", "price", "when", "click", "tags")
START = datetime.datetime(2026, 1, 1)
MINUTES = 6 * 24 * 60
NAMES = [
    "plain",
    'say "hi"',
    "a,b;c|d",
    "\u00fcber",
    "\u4e2d\u6587",
    "C:\\temp",
    "x\ty",
    "1.0",
]

# a form of the ids -> the id of a row's number
IDS = {
    "int": lambda n: n % 17,
    "large": lambda n: 2**53 + 2 * (n % 17) + 1,
    "text": lambda n: f"u{n % 17}",
    "zeros": lambda n: f"{n % 17:04d}",
    "unsigned": lambda n: 2**63 + n % 17,
    "decimal": lambda n: 10**20 + n % 17,
    "uuid": lambda n: uuid.UUID(int=n % 17),
}
DEFAULT = {"ids": "int", "nulls": True}


def make_rows(rows: int = 30, ids: str = "int", nulls: bool = True) -> list[dict]:
    """Rows as dictionaries: values of Python, None where one is missing."""
    draw = random.Random(7)
    return [
        {
            "number": n,
            "id": None if nulls and n % 7 == 3 else IDS[ids](n),
            "name": None if nulls and n % 5 == 2 else NAMES[n % len(NAMES)],
            "price": None if nulls and n % 6 == 1 else round(draw.uniform(-9999, 9999), 2),
            "when": START + datetime.timedelta(minutes=n * MINUTES // rows),
            "click": draw.random() < 0.4,
            "tags": [f"t{i}" for i in range(n % 3)],
        }
        for n in range(rows)
    ]


def expected(rows: list[dict], have) -> dict[int, tuple]:
    """Number -> what must be read of a row.

    Args:
        rows: The rows.
        have: The columns that the file has.
    """

    def text(value):
        return None if value in (None, "") else str(value)

    return {
        row["number"]: (
            row["when"].strftime("%Y-%m-%dT%H-%M"),
            float(row["click"]),
            text(row["id"]),
            text(row["name"]) if "name" in have else None,
            row["price"] if "price" in have else None,
            list(row["tags"]) if "tags" in have else None,
        )
        for row in rows
    }
