"""Parallel coordinates of a sweep as an SVG of a few kilobytes, for the docs."""

import html
from collections.abc import Mapping

from steadyrank.pipeline.report.sweep import axis, height

WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 60, 90, 64, 40
GREY, BEST, OWN = "#b6bcc3", "#d9576b", "#3f8fd8"


def draw(found: Mapping) -> str:
    """Draw a line a completed trial.

    Args:
        found: What ``results.json`` holds.

    Returns:
        The SVG document.
    """
    rows = [row for row in found["trials"] if row["status"] == "completed"]
    axes = [axis(rows, key, key in found["logarithmic"]) for key in found["keys"]]
    values = [row["value"] for row in rows]
    axes.append({"label": "mean AUC", "values": values})
    gap = (WIDTH - LEFT - RIGHT) / (len(axes) - 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    styles = {found["own"]: (OWN, 2.2), found["best"]: (BEST, 2.6)}
    order = sorted(range(len(rows)), key=lambda i: rows[i]["trial"] in styles)
    for index in order:
        colour, width = styles.get(rows[index]["trial"], (GREY, 1.2))
        points = [
            f"{LEFT + gap * number:.1f},{_height(one, one['values'][index]):.1f}"
            for number, one in enumerate(axes)
        ]
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width}"/>'
        )
    for number, one in enumerate(axes):
        parts += _axis(one, LEFT + gap * number)
    note = "blue: the config as it is; red: the best; grey: the other trials"
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 10}" fill="#5c646d">{note}</text></svg>')
    return "\n".join(parts) + "\n"


def _height(one: Mapping, value: float) -> float:
    return HEIGHT - BOTTOM - height(one, value) * (HEIGHT - TOP - BOTTOM)


def _axis(one: Mapping, x: float) -> list[str]:
    section, _, name = one["label"].rpartition(".")
    low = HEIGHT - BOTTOM
    parts = [
        f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{low}" stroke="#333"/>',
        f'<text x="{x:.1f}" y="{TOP - 32}" text-anchor="middle" fill="#5c646d">'
        f"{html.escape(section)}</text>",
        f'<text x="{x:.1f}" y="{TOP - 17}" text-anchor="middle">{html.escape(name)}</text>',
    ]
    ends = (min(one["values"]), max(one["values"]))
    ticks = one.get("tickvals", ends)
    names = one.get("ticktext", [format(end, ".4g") for end in ends])
    for tick, text in zip(ticks, names, strict=True):
        y = _height(one, tick) + 4
        parts.append(f'<text x="{x + 4:.1f}" y="{y:.1f}">{html.escape(text)}</text>')
    return parts
