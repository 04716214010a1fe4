"""AUC against learning rate as an SVG of a few kilobytes, for the docs."""

import html
import math
from collections.abc import Mapping

COLOURS = ("#8a929b", "#e0851b", "#35a56b", "#8f78e0", "#b3883a", "#3f8fd8", "#d9576b")
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 52


def draw(title: str, lines: Mapping[str, dict], note: str) -> str:
    """Draw one line a method.

    Args:
        title: Above the drawing.
        lines: Method -> ``areas`` (rate -> AUC, ascending) and ``lost`` (the rates at
            which it diverged).
        note: Below the drawing.

    Returns:
        The SVG document.
    """
    rates = sorted({r for line in lines.values() for r in [*line["areas"], *line["lost"]]})
    areas = [a for line in lines.values() for a in line["areas"].values()]
    low, high = math.floor(min(areas) * 50) / 50, math.ceil(max(areas) * 100) / 100
    low = max(low, high - 0.12)

    def x(rate: float) -> float:
        share = math.log(rate / rates[0]) / math.log(rates[-1] / rates[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(area: float) -> float:
        share = (max(area, low) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 22, title, size=15),
        text(LEFT, HEIGHT - 8, note, size=11),
    ]
    for tick in range(round(low * 50), math.floor(high * 50 + 1e-6) + 1):
        parts += grid(LEFT, y(tick / 50), WIDTH - RIGHT, y(tick / 50))
        parts.append(text(LEFT - 8, y(tick / 50) + 4, f"{tick / 50:.2f}", anchor="end"))
    for rate in rates:
        parts += grid(x(rate), TOP, x(rate), HEIGHT - BOTTOM)
        parts.append(text(x(rate), HEIGHT - BOTTOM + 18, f"{rate:g}", anchor="middle"))
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(f"{x(r):.1f},{y(a):.1f}" for r, a in line["areas"].items())
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{x(r):.1f}" cy="{y(a):.1f}" r="3" fill="{colour}"/>'
            for r, a in line["areas"].items()
        ]
        base = HEIGHT - BOTTOM - 6 - 9 * index
        parts += [
            text(x(r), base, "×", anchor="middle", colour=colour) for r in line["lost"]
        ]
        place = TOP + 14 + 20 * index
        parts.append(text(WIDTH - RIGHT + 14, place, "●", colour=colour))
        parts.append(text(WIDTH - RIGHT + 30, place, name))
    return "\n".join([*parts, "</svg>\n"])


def grid(x1: float, y1: float, x2: float, y2: float) -> list[str]:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return [f'<line {ends} stroke="#e3e6e9"/>']


def text(x, y, content, *, size=12, anchor="start", colour="#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}">{html.escape(content)}</text>'
    )
