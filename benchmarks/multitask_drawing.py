"""The seesaw between two tasks as an SVG of a few kilobytes, for the docs."""

from collections.abc import Mapping

from benchmarks.stability_drawing import COLOURS, grid, text

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 40, 48, 52
TASKS = ("is_click", "is_like")
WANTED = (0.730, 0.80)
STEPS = (0.01, 0.02)  # between the lines of the grid


def draw(runs: Mapping[str, list[dict]]) -> str:
    """One line a run, from epoch to epoch: AUC of one task against the other's.

    Args:
        runs: Name -> an epoch's ``epoch`` and ``test``, task -> AUC.

    Returns:
        The SVG document.
    """
    points = {
        name: [tuple(line["test"][task] for task in TASKS) for line in lines]
        for name, lines in runs.items()
    }
    every = [point for line in points.values() for point in line] + [WANTED]
    low = [step * int(min(p[i] for p in every) / step) for i, step in enumerate(STEPS)]
    high = [
        step * (int(max(p[i] for p in every) / step) + 1) for i, step in enumerate(STEPS)
    ]

    def x(area: float) -> float:
        return LEFT + (area - low[0]) / (high[0] - low[0]) * (WIDTH - LEFT - RIGHT)

    def y(area: float) -> float:
        share = (area - low[1]) / (high[1] - low[1])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    wide, tall = WIDTH - RIGHT - x(WANTED[0]), y(WANTED[1]) - TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 22, "KuaiRand, test days: is_like against is_click, by epoch", size=15),
        text(LEFT, HEIGHT - 8, "AUC of is_click; up: AUC of is_like; numbers: epochs. The "
             "shaded corner is what is wanted. The plain net has no histories.", size=11),
        f'<rect x="{x(WANTED[0]):.1f}" y="{TOP}" width="{wide:.1f}" '
        f'height="{tall:.1f}" fill="#e9f5ee"/>',
    ]  # fmt: skip
    for k in range(round((high[0] - low[0]) / STEPS[0]) + 1):
        at = low[0] + k * STEPS[0]
        parts += grid(x(at), TOP, x(at), HEIGHT - BOTTOM)
        parts.append(text(x(at), HEIGHT - BOTTOM + 18, f"{at:.2f}", anchor="middle"))
    for k in range(round((high[1] - low[1]) / STEPS[1]) + 1):
        at = low[1] + k * STEPS[1]
        parts += grid(LEFT, y(at), WIDTH - RIGHT, y(at))
        parts.append(text(LEFT - 8, y(at) + 4, f"{at:.2f}", anchor="end"))
    for index, (name, line) in enumerate(points.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for number, (a, b) in enumerate(line, 1):
            parts.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>')
            parts.append(text(x(a) + 5, y(b) - 5, str(number), size=11, colour=colour))
        parts.append(text(LEFT + 200 * index, TOP - 8, f"● {name}", colour=colour))
    return "\n".join([*parts, "</svg>\n"])
