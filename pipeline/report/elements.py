"""The few HTML elements that the report is made of. All text is escaped here.

A ``str`` that reaches the page as it is has come out of a function of this module;
everything else goes through ``text``.
"""

import html
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from steadyrank.pipeline.files.printable import printable

ABSENT = "–"


class Markup(str):
    """HTML that is ready: made here, its contents escaped."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers."""

    heading: str
    number: bool = True


def text(value: object) -> Markup:
    """Escape ``value`` for HTML; markup stays, None becomes a dash."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(ABSENT if value is None else printable(str(value))))


def is_number(value: object) -> bool:
    """Whether ``value`` is a number that can be shown: not NaN, not infinite."""
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and math.isfinite(value)


def number(value: object, form: str = ".4f") -> Markup:
    """A number in the given form; a dash for what is absent or not finite."""
    return text(format(value, form) if is_number(value) else ABSENT)


def form_of(metric: str, value: object) -> str:
    """How a metric's figures are written; one in a unit of its own as shortly as can be.

    Args:
        metric: Such as ``auc``, ``rmse``.
        value: The figure; its bounds are written alike.
    """
    if metric not in OF_A_UNIT:
        return ".4f"
    return ",.0f" if is_number(value) and abs(value) >= 1000 else ".4g"


OF_A_UNIT = ("rmse", "mse", "mae")
NAMES = {"auc": "AUC", "rmse": "RMSE"}


def name_of(metric: str) -> str:
    """``AUC``, ``NDCG@10``, ``Calibration``."""
    return metric.upper() if "@" in metric else NAMES.get(metric, metric.capitalize())


NOT_TOLD = "†"  # marks a figure that is not told from what chance gives
INTERVALS = "Below each figure stands its 95 % interval, by drawing anew the users. "
CHANCE_NOTE = f"{NOT_TOLD} Not told from chance: the interval holds what chance gives."


def with_interval(
    value: object, interval: object, marked: bool = False, form=".4f"
) -> Markup:
    """A figure over its 95 % interval.

    Args:
        value: The figure, ready to be shown.
        interval: Its bounds, or None where they are not known.
        marked: Whether the figure is not told from what chance gives.
        form: Of the bounds.
    """
    mark = Markup(f'<span class="held">{NOT_TOLD}</span>') if marked else ""
    if not isinstance(interval, list) or not all(map(is_number, interval)):
        return join([text(value), text(mark)], "")
    low, high = (number(bound, form) for bound in interval)
    bounds = Markup(f'<br><span class="soft">{low} to {high}</span>')
    return join([text(value), text(mark), bounds], "")


def count(value: object) -> Markup:
    return number(value, ",")


def percent(value: object) -> Markup:
    return number(value, ".1%")


def code(value: object) -> Markup:
    return Markup(f"<code>{text(value)}</code>")


def paragraph(content: object, style: str = "") -> Markup:
    attribute = f' class="{style}"' if style else ""
    return Markup(f"<p{attribute}>{text(content)}</p>")


def heading(content: object) -> Markup:
    return Markup(f"<h3>{text(content)}</h3>")


def join(parts: Iterable[Markup], separator: str = "\n") -> Markup:
    return Markup(separator.join(text(part) for part in parts))


def table(columns: list[Column], rows: Iterable[list]) -> Markup:
    """A table; ``rows`` hold as many cells as there are columns."""
    styles = [' class="number"' if column.number else "" for column in columns]
    head = "".join(
        f"<th{style}>{text(column.heading)}</th>"
        for column, style in zip(columns, styles, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{s}>{text(c)}</td>" for c, s in zip(row, styles, strict=True))
        + "</tr>"
        for row in rows
    )
    narrow = ' class="narrow"' if len(columns) == 2 else ""
    return Markup(
        f'<div class="scroll"><table{narrow}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def details(summary: str, content: Markup) -> Markup:
    """Content that stays folded until it is asked for."""
    return Markup(f"<details><summary>{text(summary)}</summary>{text(content)}</details>")


def preformatted(content: str) -> Markup:
    return Markup(f"<pre>{text(content)}</pre>")


def figure(title: str, drawing: dict | None, note: str = "", shape: str = "") -> Markup:
    """A titled figure; a sentence in its place where there is nothing to draw.

    Args:
        title: What the figure shows.
        drawing: ``data`` and ``layout`` in Plotly's form, or None.
        note: How to read it.
        shape: ``"square"`` where both axes mean the same, else ``""``.
    """
    if drawing is None:
        return join([heading(title), paragraph("Nothing was recorded.", "note")])
    plot = Markup(
        f'<div class="plot {text(shape)}"></div>'
        f'<script type="application/json">{embedded_json(drawing)}</script>'
    )
    return join([heading(title), paragraph(note, "note") if note else Markup(), plot])


def beside(*parts: Markup) -> Markup:
    """Parts in a row, as far as the page is wide enough."""
    inner = "".join(f"<div>{text(part)}</div>" for part in parts)
    return Markup(f'<div class="beside">{inner}</div>')


def embedded_json(content: object) -> Markup:
    """JSON that no HTML parser can take for the end of its script element."""
    plain = json.dumps(_shown(content), allow_nan=False, separators=(",", ":"))
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e"))


def _shown(content: object) -> object:
    if isinstance(content, dict):
        return {_shown(key): _shown(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_shown(value) for value in content]
    return printable(content) if isinstance(content, str) else content
