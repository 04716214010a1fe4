"""A contract as the Schema of tensorflow-metadata, in its text format.

What the two can both say: each feature's type, the least share of rows with a value, how
many values a row has, and how far it may drift.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from steadyrank.models.features import Feature
from steadyrank.pipeline.contract.rules import add

TYPES = {"string": "BYTES", "integer": "INT", "float": "FLOAT"}


def as_schema(held: Mapping[str, Any], contract: Any, features: Iterable[Feature]) -> str:
    """The text of a ``tensorflow.metadata.v0.Schema``.

    Args:
        held: ``contract`` of ``statistics.json``.
        contract: The config's section of the name.
        features: Of the examples, as the log has them.
    """
    days = list(held["days"].values())
    parts = [_feature(f, days, contract) for f in features]
    rows = [day["rows"] for day in days]
    if rows and contract.rows:
        most, least = max(rows) * contract.rows, min(rows) / contract.rows
        parts.append(
            f"dataset_constraints {{\n  min_examples_count: {int(least)}\n"
            f"  max_examples_count: {int(most)}\n}}\n"
        )
    return "".join(parts)


def _feature(feature: Feature, days: list, contract: Any) -> str:
    found = [day["features"][feature.name] for day in days if _has(day, feature)]
    lines = [f"name: {json.dumps(feature.name)}", f"type: {TYPES[feature.raw]}"]
    if found and contract.missing:
        share = min(1 - f["missing"] / f["rows"] for f in found if f["rows"])
        least = max(share - contract.missing, 0.0)
        lines.append(f"presence {{ min_fraction: {least:.6g} }}")
    most = feature.max_values or 1
    lines.append(
        f"value_count {{ min: 0 max: {most} }}" if most == 1 else "value_count { }"
    )
    if contract.distance:
        kind = "jensen_shannon_divergence" if feature.kind == "numeric" else "infinity_norm"
        lines.append(
            f"drift_comparator {{ {kind} {{ threshold: {contract.distance:g} }} }}"
        )
    named = add([f["named"] for f in found if "named" in f])
    note = [
        f"tag: {_quoted(value)}" for value in sorted(named, key=named.get, reverse=True)
    ]
    if note:
        lines.append("annotation { " + " ".join(note) + " }")
    return "feature {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def _has(day: Mapping, feature: Feature) -> bool:
    return feature.name in day["features"]


def _quoted(text: str) -> str:
    """A text as the format wants it: bytes that are not plain ASCII in octal."""
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\"\\'" else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return '"' + "".join(plain) + '"'
