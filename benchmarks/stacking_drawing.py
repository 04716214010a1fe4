"""Validation MRR@5 against cost as an SVG of a few kilobytes."""

from collections.abc import Mapping

from benchmarks.stability_drawing import COLOURS, grid, text

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 56, 48
NAMES = {
    "scratch": "from scratch",
    "adjacent": "StackA",
    "cross": "StackC",
    "unchanged": "unchanged",
    "random": "StackR",
    "embedding": "StackE",
}


def draw(found: Mapping) -> str:
    """One line a start, of the first seed of NextItNet, or of what there is.

    Args:
        found: Of CL: kind -> seeds, each with ``runs``; as the results hold it.

    Returns:
        The SVG document.
    """
    kind = next(k for k in ("nextitnet", "sasrec") if k in found)
    runs = found[kind][0]["runs"]
    lines = {
        name: [(runs[name]["blocks"] * step, mrr) for step, mrr in runs[name]["curve"]]
        for name in NAMES
    }
    widest = max(x for line in lines.values() for x, _ in line)
    highest = max(max(y for line in lines.values() for _, y in line), 0.01) * 1.05

    def x(cost: float) -> float:
        return LEFT + cost / widest * (WIDTH - LEFT - RIGHT)

    def y(mrr: float) -> float:
        return HEIGHT - BOTTOM - mrr / highest * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 20, f"Validation MRR@5 after growth, {kind}, seed 1", size=15),
        text(LEFT, HEIGHT - 8, "blocks x steps since the growth; up: MRR@5", size=11),
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        level, cost = share * highest, share * widest
        parts += grid(LEFT, y(level), WIDTH - RIGHT, y(level))
        parts.append(text(LEFT - 8, y(level) + 4, f"{level:.2f}", anchor="end"))
        parts.append(text(x(cost), HEIGHT - BOTTOM + 18, f"{cost:,.0f}", anchor="middle"))
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(text(LEFT + 115 * i, TOP - 14, f"● {NAMES[name]}", colour=colour))
    return "\n".join([*parts, "</svg>\n"])
