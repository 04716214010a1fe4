"""The report's figures, as Plotly's own JSON: ``{"data": [...], "layout": {...}}``.

Every function returns None where there is nothing to draw. Colours are chosen to read
on white and on black; the page gives text and grid their colour.
"""

import html
import math
import os

import numpy as np

from steadyrank.pipeline.report.curves import (
    clean,
    clipping_by_layer,
    names,
    series,
    smooth,
    thin,
)
from steadyrank.pipeline.report.elements import is_number

COLOURS = ("#3f8fd8", "#e0851b", "#35a56b", "#d9576b")
COLOURS += ("#8f78e0", "#28a6ba", "#b3883a", "#c065b5")
DASHES = ("solid", "dash", "dot")
GREY = "#8a929b"
MAX_LAYERS = 6  # drawn; the rest stands in the table


def loss_figure(steps: list[dict], divergence: dict) -> dict | None:
    """Total loss over steps, smoothed over the raw one, with divergence marks."""
    trained = [line for line in steps if "loss" in line]  # others tell of validation
    x, y = series(trained, lambda line: line["loss"])
    if not len(x):
        return None
    raw = curve("as measured", thin(x, y), GREY) | {"opacity": 0.45}
    smoothed = curve("smoothed", thin(x, smooth(y)), COLOURS[0])
    marks = divergence_marks(divergence, float(np.nanmax(y)))
    return drawing([raw, smoothed, *marks], "step", "loss")


def divergence_marks(divergence: dict, top: float) -> list[dict]:
    """Points at the steps of micro divergence, and one where training diverged."""
    micro = divergence.get("micro") or []
    found = [(e.get("step"), e.get("loss")) for e in micro]
    marks = [points("micro divergence", found, COLOURS[1], "triangle-down")]
    if divergence.get("diverged"):
        full = [(divergence.get("diverged_at"), top)]
        marks.append(points("divergence", full, COLOURS[3], "x"))
    return [mark for mark in marks if mark["x"]]


def task_loss_figure(steps: list[dict]) -> dict | None:
    """Each task's loss over steps, smoothed."""
    traces = []
    for index, task in enumerate(names(steps, "losses")):
        x, y = series(steps, lambda line, task=task: line["losses"].get(task), "losses")
        traces.append(curve(task, thin(x, smooth(y)), *style(index)))
    return drawing(traces, "step", "loss") if traces else None


def validation_figure(epochs: list[dict]) -> dict | None:
    """Validation AUC of each binary task after each epoch."""
    traces = []
    for index, task in enumerate(names(epochs, "validation")):
        values = [line["validation"].get(task, {}).get("auc") for line in epochs]
        if any(map(is_number, values)):
            x = [line.get("epoch", 0) + 1 for line in epochs]
            trace = curve(task, (x, clean(values)), *style(index))
            traces.append(trace | {"mode": "lines+markers"})
    figure = drawing(traces, "epoch", "AUC") if traces else None
    if figure:
        figure["layout"]["xaxis"]["tickformat"] = "d"
        figure["layout"]["xaxis"]["dtick"] = max(1, len(epochs) // 10)
    return figure


def progressive_figure(windows: list[dict]) -> dict | None:
    """AUC of each binary task on every training window, before it was trained on."""
    traces = []
    for index, task in enumerate(names(windows, "progressive")):
        values = [line["progressive"].get(task, {}).get("auc") for line in windows]
        if any(map(is_number, values)):
            x = [line.get("window") for line in windows]
            trace = curve(task, (x, clean(values)), *style(index))
            traces.append(trace | {"mode": "lines+markers"})
    return drawing(traces, "window", "AUC") if len(windows) > 1 and traces else None


def clipping_figure(steps: list[dict]) -> dict | None:
    """Clippy's factor of the most clipped layers over steps, on a logarithmic axis."""
    traces, seen = [], []
    for index, layer in enumerate(clipping_by_layer(steps)[:MAX_LAYERS]):
        x, y = series(
            steps, lambda row, n=layer["name"]: row["clipping"].get(n, 1.0), "clipping"
        )
        logarithm = np.log(y, where=y > 0, out=np.full(len(y), np.nan))
        x, y = thin(x, np.exp(smooth(logarithm)))
        seen += filter(is_number, y)
        traces.append(curve(layer["name"], (x, y), *style(index)))
    figure = drawing(traces, "step", "factor") if seen else None
    if figure:
        figure["layout"]["yaxis"] |= logarithmic(seen)
    return figure


def clipped_rows_figure(steps: list[dict]) -> dict | None:
    """Share of a batch's embedding rows that CowClip clipped, by table."""
    traces = []
    for index, table in enumerate(names(steps, "clipped_rows")):
        x, y = series(
            steps, lambda row, t=table: row["clipped_rows"].get(t), "clipped_rows"
        )
        if np.nan_to_num(y).any():  # else there is nothing to see
            traces.append(curve(table, thin(x, smooth(y)), *style(index)))
    figure = drawing(traces, "step", "share of rows") if traces else None
    if figure:
        figure["layout"]["yaxis"] |= {"tickformat": "~%", "rangemode": "tozero"}
    return figure


def experts_figure(use: dict) -> dict | None:
    """One bar a gate, made of the weights that it gives to its experts."""
    labels = list(dict.fromkeys(label for weights in use.values() for label in weights))
    labels.sort(key=lambda label: label.startswith("shared"))  # all gates' own first
    level = len(os.path.commonprefix([str(gate) for gate in use]))
    level = str(next(iter(use), "")).rfind("/", 0, level) + 1
    traces = [
        {
            "type": "bar",
            "name": html.escape(str(label)),
            "x": [html.escape(str(g)[level:]) for g, w in use.items() if label in w],
            "y": clean([w[label] for w in use.values() if label in w]),
            "marker": {"color": shade(index)},
        }
        for index, label in enumerate(labels)
    ]
    figure = drawing(traces, "gate", "mean weight") if traces else None
    if figure:
        figure["layout"]["barmode"] = "stack"
    return figure


def roc_figure(tasks: dict) -> dict | None:
    """ROC of each binary task."""
    traces = [diagonal(0, 1)]
    for index, (name, task) in enumerate(tasks.items()):
        if roc := task.get("roc"):
            x, y = roc.get("false_positive_rate"), roc.get("true_positive_rate")
            traces.append(curve(name, (clean(x), clean(y)), *style(index)))
    axes = ("false positive rate", "true positive rate")
    return drawing(traces, *axes) if len(traces) > 1 else None


def calibration_figure(tasks: dict) -> dict | None:
    """Observed over predicted rate in tenths of the predictions, both logarithmic."""
    traces, seen = [], []
    for index, (name, task) in enumerate(tasks.items()):
        bins = task.get("calibration_curve") or {}
        pairs = zip(bins.get("predicted", ()), bins.get("observed", ()), strict=True)
        pairs = [pair for pair in pairs if all(is_number(v) and v > 0 for v in pair)]
        if pairs:
            x, y = map(list, zip(*pairs, strict=True))
            seen += x + y
            trace = curve(name, (x, y), *style(index))
            traces.append(trace | {"mode": "lines+markers"})
    if not traces:
        return None
    figure = drawing([diagonal(min(seen), max(seen)), *traces], "predicted", "observed")
    for axis in ("xaxis", "yaxis"):
        figure["layout"][axis] |= logarithmic(seen)
    return figure


def logarithmic(seen: list[float]) -> dict:
    """A logarithmic axis: ticks at powers of ten, at 1-2-5 where there are few.

    Numbers within half a decade leave the axis linear: it would have a tick or none.
    """
    decades = math.log10(max(seen) / min(seen))
    if decades < 0.5:
        return {}
    steps = (1,) if decades > 2.5 else (1, 2, 5)
    ticks = [float(f"{m}e{power}") for power in range(-12, 7) for m in steps]
    return {"type": "log", "tickvals": ticks, "tickformat": "~r"}


def windows_figure(splits: dict) -> dict | None:
    """Rows of every window, in the colour of its split."""
    bars = []
    for index, (split, content) in enumerate(splits.items()):
        windows = content.get("windows") or {}
        bars.append(
            {
                "type": "bar",
                "name": html.escape(str(split), quote=False),
                "x": [html.escape(str(window), quote=False) for window in windows],
                "y": list(windows.values()),
                "marker": {"color": COLOURS[index % len(COLOURS)]},
            }
        )
    if not any(bar["x"] for bar in bars):
        return None
    figure = drawing(bars, "window", "rows")
    figure["layout"]["xaxis"] |= {
        "type": "category",
        "categoryorder": "category ascending",
    }
    figure["layout"]["legend"]["traceorder"] = "normal"
    figure["layout"]["barmode"] = "stack"
    return figure


def slices_figure(judged: list[dict], tasks: list[str], name) -> dict | None:
    """AUC of every slice with its interval, one row a slice, one colour a task."""
    return rows_figure(judged, tasks, name, value=auc_of, within=of_auc, title="AUC")


def importance_figure(units: list[dict], tasks: list[str], name) -> dict | None:
    """What each task loses without a unit of features, one row a unit."""
    return rows_figure(
        units, tasks, name, value=lost_of, within=lost_within, title="AUC lost"
    )


def rows_figure(parts: list[dict], tasks, name, *, value, within, title) -> dict | None:
    """A number of every part with its interval, one row a part, one colour a task."""
    traces = []
    for index, task in enumerate(tasks):
        known = [part for part in parts if is_number(value(part, task))]
        if not known:
            continue
        trace = points(task, [], COLOURS[index % len(COLOURS)], "circle")
        trace["name"] = html.escape(str(task), quote=False)
        trace["x"] = [value(part, task) for part in known]
        trace["y"] = [html.escape(name(part), quote=False) for part in known]
        trace["marker"]["size"] = 7
        bounds = [within(part, task) or [value(part, task)] * 2 for part in known]
        sides = zip(bounds, trace["x"], strict=True)
        below, above = zip(*((x - low, high - x) for (low, high), x in sides), strict=True)
        trace["error_x"] = {"type": "data", "symmetric": False, "thickness": 1}
        trace["error_x"] |= {"array": list(above), "arrayminus": list(below)}
        traces.append(trace)
    figure = drawing(traces, title, "") if traces else None
    if figure:
        figure["layout"]["yaxis"] |= {"type": "category", "autorange": "reversed"}
    return figure


def of_auc(part: dict, task: str) -> list | None:
    return (part["tasks"][task].get("intervals") or {}).get("auc")


def lost_of(unit: dict, task: str) -> object:
    return (unit["tasks"].get(task) or {}).get("difference")


def lost_within(unit: dict, task: str) -> list | None:
    return unit["tasks"][task].get("interval")


def auc_of(part: dict, task: str) -> object:
    return (part["tasks"].get(task) or {}).get("auc")


def distribution_figure(histogram: dict) -> dict | None:
    """Shares of the rows by prediction, of the model and of the baseline."""
    edges = histogram.get("edges") or []
    if len(edges) < 2:
        return None
    traces = []
    for key, colour in (("baseline", GREY), ("model", COLOURS[0])):
        shares = clean(histogram.get(key))
        trace = curve(key, (clean(edges), [*shares, shares[-1]]), colour)
        trace["line"]["shape"] = "hv"
        traces.append(trace | {"fill": "tozeroy"})
    figure = drawing(traces, "prediction", "share of rows")
    steps = np.diff(edges)
    if edges[0] > 0 and steps[-1] > 2 * steps[0]:
        figure["layout"]["xaxis"] |= logarithmic(list(edges))
    figure["layout"]["yaxis"] |= {"tickformat": "~%", "rangemode": "tozero"}
    return figure


def shade(index: int) -> str:
    """A colour of its own: when they end, they come again paler."""
    paler, plain = divmod(index, len(COLOURS))
    share = 0.55 ** min(paler, 3)
    parts = [int(COLOURS[plain][at : at + 2], 16) for at in (1, 3, 5)]
    mixed = [round(share * part + (1 - share) * 200) for part in parts]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def style(index: int) -> tuple[str, str]:
    """Colour and dash of the curve at ``index``; the dash changes when colours end."""
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def curve(name: str, points: tuple, colour: str, dash: str = "solid") -> dict:
    """A line through points, all x and all y."""
    x, y = points
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": html.escape(str(name), quote=False),  # Plotly reads names as HTML
        "x": x,
        "y": y,
        "line": {"color": colour, "dash": dash, "width": 1.6},
    }


def points(name: str, pairs: list[tuple], colour: str, symbol: str) -> dict:
    pairs = [(x, y) for x, y in pairs if is_number(x) and is_number(y)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x for x, _ in pairs],
        "y": [y for _, y in pairs],
        "marker": {"color": colour, "symbol": symbol, "size": 11},
    }


def diagonal(low: float, high: float) -> dict:
    line = curve("", ([low, high], [low, high]), GREY, "dot")
    return line | {"showlegend": False, "hoverinfo": "skip"}


def drawing(
    traces: list[dict],
    x_title: str,
    y_title: str,
) -> dict:
    """Traces in the report's one layout: transparent, legend below."""
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": x_title}, "automargin": True},
            "yaxis": {"title": {"text": y_title}, "automargin": True},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 50, "r": 12, "t": 10, "b": 44},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "hovermode": "closest",
            "showlegend": True,
        },
    }
