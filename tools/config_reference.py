"""Writes docs/config.md from the config's sections: every key, its default, what it may be.

python -m tools.config_reference
"""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.next_item import SequenceConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"
INTRODUCTION = """# Config

One YAML file; a key that nothing reads is refused. A section that several others have
stands once, where it first comes. What keys do not say: [logs, tasks and scores](logs.md).

<!-- made from the descriptions of the keys by: python -m tools.config_reference -->
"""
TITLES = {Config: "Ranking models", SequenceConfig: "Next-item models"}
SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}
PLAIN = {int: "whole number", float: "number", str: "text", bool: "true, false", Any: "any"}


def page() -> str:
    """All of docs/config.md."""
    parts, done = [INTRODUCTION], set()
    for root, title in TITLES.items():
        parts.append(
            f"## {title}\n\n{first_line(root)}\n\n{table(root, root.model_fields)}"
        )
        parts += list(sections(root, "", done))
    return "\n".join(parts)


def sections(kind: type[BaseModel], path: str, done: set) -> Iterator[str]:
    """A heading and a table of each section below another, the first time that it comes."""
    for name, field in kind.model_fields.items():
        inner = list(models(field.annotation))
        where, common = f"{path}.{name}".lstrip("."), shared(inner)
        if common and common not in done:
            done.add(common)
            alone = [f"`{value_of(s)}`" for s in inner if not issubclass(s, common)]
            but = f" But {' and '.join(alone)} have their own keys alone." * bool(alone)
            text = f"{first_line(common)}{but} By `{told_by(inner[0])}`:"
            yield f"### `{where}`\n\n{text}\n\n{table(common, common.model_fields)}"
            yield from sections(common, where, done)
        for section in inner:
            if section in done:
                continue
            done.add(section)
            key, heading = told_by(section) if len(inner) > 1 else "", f"`{where}`"
            if key:
                heading += f", {key}: {value_of(section)}"
            its = common if common and issubclass(section, common) else None
            fields = own_fields(section, its) if its else section.model_fields
            fields = {n: f for n, f in fields.items() if n != key}
            rows = table(section, fields) if fields else ""
            mark, said = "####" if common else "###", first_line(section)
            yield f"{mark} {heading}\n\n{said}\n\n{rows}"
            yield from sections(section, where, done)


def table(section: type[BaseModel], fields: dict[str, FieldInfo]) -> str:
    """The keys of a section, one a row."""
    lines = ["| key | default | may be | |", "|---|---|---|---|"]
    for name, field in fields.items():
        cells = [
            f"`{field.alias or name}`",
            default(field),
            allowed(field.annotation, field.metadata),
        ]
        said = field.description or first_line(section)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} "
                     f"| {' '.join(said.split())} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, BaseModel):
        return "as below"
    words = {None: "null", True: "true", False: "false", "": "empty"}
    if value in (None, "") or isinstance(value, bool):
        return words[value]
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def allowed(kind: Any, metadata: list) -> str:
    """What a value may be, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    limits = [m for item in metadata for m in getattr(item, "metadata", [item])]
    bounds = [
        f"{SIGNS[type(m)]} {getattr(m, type(m).__name__.lower()):g}"
        for m in limits
        if type(m) in SIGNS
    ]
    if origin is Annotated:
        return allowed(inner[0], [*inner[1:], *metadata])
    if origin in (Union, types.UnionType):
        parts = ["null" if k is type(None) else allowed(k, metadata) for k in inner]
        return ", or ".join(dict.fromkeys(parts))
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin is list:
        return f"list of: {allowed(inner[0], [])}"
    if origin is dict:
        return f"name → {allowed(inner[1], [])}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a section"
    name = PLAIN.get(kind) or getattr(kind, "__name__", str(kind))
    return " ".join([name, " and ".join(bounds)]).strip()


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """The sections that a value may hold."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from models(inner)


def shared(sections: list[type[BaseModel]]) -> type[BaseModel] | None:
    """The section of which most of several are, with keys of its own."""
    bases = [b for s in sections for b in s.__mro__[1:] if getattr(b, "model_fields", None)]
    common = max(bases, key=bases.count, default=None)
    return common if len(sections) > 1 and bases.count(common) > 2 else None


def own_fields(section: type[BaseModel], common: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields that another section lacks, or of which it has another default."""
    theirs = common.model_fields
    return {
        name: field
        for name, field in section.model_fields.items()
        if name not in theirs or theirs[name].default != field.default
    }


def told_by(section: type[BaseModel]) -> str:
    """The key that says which of several sections is meant; ``""``: none."""
    for name, field in section.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name
    return ""


def value_of(section: type[BaseModel]) -> str:
    """What that key says of a section."""
    return get_args(section.model_fields[told_by(section)].annotation)[0]


def first_line(section: type[BaseModel]) -> str:
    """What a section is."""
    return " ".join((section.__doc__ or "").strip().split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
