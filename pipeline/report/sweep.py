"""The page about a sweep: its trials, and how the objective depends on each setting."""

import html
import json
import math
from pathlib import Path

from steadyrank.pipeline.metrics.uncertainty import straddles
from steadyrank.pipeline.report import document, write_page
from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.curves import clean
from steadyrank.pipeline.report.elements import (
    INTERVALS,
    NOT_TOLD,
    Column,
    Markup,
    code,
    figure,
    is_number,
    join,
    number,
    paragraph,
    table,
    with_interval,
)

TITLE = "steadyrank sweep"
STYLES = {"completed": "good", "diverged": "bad", "crashed": "bad"}  # else held


def write_sweep_report(path: Path, found: dict) -> None:
    """Write the page.

    Args:
        path: The file to write.
        found: What ``results.json`` holds.
    """
    sections = {
        "Trials": trials(found),
        "Parallel coordinates": figure(
            "Settings and objective",
            coordinates(found),
            "A line a completed trial.",
        ),
        "Objective against each setting": join(
            figure(key, against(found, key)) for key in found["keys"]
        ),
    }
    top = Markup(f"<h1>{TITLE}</h1>\n{paragraph(sentence(found))}")
    write_page(path, document(top, sections, TITLE))


def sentence(found: dict) -> str:
    """What was looked for, and what was found."""
    counts = ", ".join(f"{count} {status}" for status, count in found["counts"].items())
    said = f"{found['objective']} on validation, {found['method']}: {counts}. "
    return said + found["verdict"]


def trials(found: dict) -> Markup:
    """A row a trial, the best first."""
    columns = [Column("Trial", False), Column("Outcome", False), Column("Objective")]
    columns += [Column("Over the first"), Column("Seconds")]
    columns += [*(Column(key) for key in found["keys"])]
    if any(row["epochs"] for row in found["trials"]):
        columns += [Column("Epochs"), Column("Goes on from", False)]
    columns.append(Column("Why", False))
    rows = []
    for row in ranked(found):
        value = number(row["value"], ".5f")
        cells = [name(row, found), outcome(row), with_interval(value, row.get("interval"))]
        cells += [over(row), number(row["seconds"], ".1f")]
        cells += [shown(row["values"].get(key)) for key in found["keys"]]
        if len(columns) > len(cells) + 1:
            cells += [shown(row["epochs"]), row["from"]]
        rows.append([*cells, row["message"]])
    return join([table(columns, rows), paragraph(NOTE, "note")])


NOTE = (
    f"{INTERVALS}What lies over the first trial is drawn together with it, and its "
    f"intervals hold for all trials at once; {NOT_TOLD} not told from the first."
)


def over(row: dict) -> Markup:
    """How far a trial lies off the first one."""
    interval = row.get("over_first")
    value = number(row.get("difference"), "+.5f")
    return with_interval(value, interval, straddles(interval, 0.0), "+.5f")


def ranked(found: dict) -> list[dict]:
    """Trials: completed ones from best to worst, then the others."""
    sign = -1 if found["direction"] == "max" else 1

    def place(row: dict) -> tuple:
        done = row["status"] == "completed"
        return (not done, sign * row["value"] if done else 0.0, row["trial"])

    return sorted(found["trials"], key=place)


def name(row: dict, found: dict) -> Markup:
    """A trial's number, and whether it is the config's own, or told to be the best."""
    notes = {"own": "the config's own"} | ({"best": "best"} if found["told"] else {})
    said = [note for key, note in notes.items() if found[key] == row["trial"]]
    return join([code(row["trial"]), *map(Markup, said)], " ")


def outcome(row: dict) -> Markup:
    style = STYLES.get(row["status"], "held")
    return Markup(f'<span class="{style}">{html.escape(row["status"])}</span>')


def shown(value: object) -> str | None:
    """A setting in a cell; None where its condition did not hold."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return format(value, ".4g")
    return json.dumps(value)


def coordinates(found: dict) -> dict | None:
    """Parallel coordinates: an axis a setting, the last one the objective.

    They are plain lines.
    """
    rows = [row for row in found["trials"] if row["status"] == "completed"]
    axes = [axis(rows, key, key in found["logarithmic"]) for key in found["keys"]]
    axes = [found_axis for found_axis in axes if found_axis]
    if not rows or not axes:
        return None
    values = clean([row["value"] for row in rows])
    axes.append({"label": "objective", "values": values})
    traces = [line(index, row, axes, found) for index, row in enumerate(rows)]
    traces.sort(key=lambda trace: trace["line"]["width"])  # the best on top
    drawn = draw.drawing(traces, "", "")
    places = list(range(len(axes)))
    names = [one["label"].replace(".", ".<br>") for one in axes]
    drawn["layout"]["xaxis"] |= {"tickvals": places, "ticktext": names, "zeroline": False}
    drawn["layout"]["yaxis"] |= {"visible": False, "range": [-0.06, 1.06]}
    drawn["layout"]["annotations"] = [mark for i in places for mark in marks(i, axes[i])]
    return drawn


def line(index: int, row: dict, axes: list[dict], found: dict) -> dict:
    """A trial's line; the best one and the config's own stand out."""
    styles = {found["highest"]: (draw.COLOURS[1], 3.0)}
    styles |= {found["own"]: (draw.COLOURS[2], 2.4)}
    colour, width = styles.get(row["trial"], (draw.GREY, 1.0))
    heights = [height(one, one["values"][index]) for one in axes]
    titles = {found["highest"]: top(found), found["own"]: "the config's own"}
    title = titles.get(row["trial"])
    trace = draw.curve(title or "", (list(range(len(axes))), heights), colour)
    trace["line"]["width"] = width
    trace["showlegend"] = title is not None
    said = f"trial {row['trial']}: {row['value']:.5f}"
    return trace | {"hoverinfo": "text", "text": [html.escape(said)] * len(axes)}


def top(found: dict) -> str:
    """What the trial of the best objective is called."""
    return "best" if found["told"] else "highest"


def height(one: dict, value: float) -> float:
    """Where a value stands on its axis, from 0 to 1."""
    low, high = min(one["values"]), max(one["values"])
    return (value - low) / ((high - low) or 1)


def marks(place: int, one: dict) -> list[dict]:
    """The names of an axis's values, or of its ends."""
    ends = [min(one["values"]), max(one["values"])]
    ticks = one.get("tickvals", ends)
    names = one.get("ticktext", [format(end, ".4g") for end in ends])
    plain = {"showarrow": False, "xanchor": "left", "x": place}
    return [
        plain | {"y": height(one, tick), "text": text}
        for tick, text in zip(ticks, names, strict=True)
    ]


def axis(rows: list[dict], key: str, logarithmic: bool) -> dict | None:
    """A setting's axis; choices stand at whole numbers, absent ones below all."""
    found = [row["values"].get(key) for row in rows]
    known = [value for value in found if value is not None]
    label = html.escape(key, quote=False)
    if not known:
        return None
    plain = all(is_number(value) for value in found)
    if plain and logarithmic:
        places = [math.log10(value) for value in found]
        marks = sorted({min(known), max(known)})
        ticks = [math.log10(mark) for mark in marks]
        return dimension(label, places, ticks, [format(m, ".3g") for m in marks])
    if plain:
        return {"label": label, "values": clean(found)}
    names = list(dict.fromkeys(text_of(value) for value in found))
    places = [names.index(text_of(value)) for value in found]
    return dimension(label, places, list(range(len(names))), names)


def dimension(label: str, places: list, ticks: list, names: list[str]) -> dict:
    texts = [html.escape(name, quote=False) for name in names]
    return {"label": label, "values": places, "tickvals": ticks, "ticktext": texts}


def text_of(value: object) -> str:
    return shown(value) or "(not set)"


def against(found: dict, key: str) -> dict | None:
    """The objective over one setting, a point a completed trial."""
    rows = [row for row in found["trials"] if row["status"] == "completed"]
    rows = [row for row in rows if row["values"].get(key) is not None]
    if not rows:
        return None
    values = [row["values"][key] for row in rows]
    numbers = all(is_number(value) for value in values)
    x = values if numbers else [html.escape(text_of(v), quote=False) for v in values]
    traces = []
    for index, (title, wanted) in enumerate(groups(found)):
        at = [i for i, row in enumerate(rows) if wanted(row)]
        trace = draw.points(title, [], draw.COLOURS[index], "circle")
        trace["x"], trace["y"] = [x[i] for i in at], [rows[i]["value"] for i in at]
        trace["text"] = [f"trial {html.escape(rows[i]['trial'])}" for i in at]
        traces.append(trace)
    drawn = draw.drawing([t for t in traces if t["x"]], "", "objective")
    drawn["layout"]["xaxis"]["title"]["text"] = html.escape(key, quote=False)
    if not numbers:
        drawn["layout"]["xaxis"]["type"] = "category"
    elif key in found["logarithmic"]:
        drawn["layout"]["xaxis"] |= draw.logarithmic(values)
    return drawn


def groups(found: dict):
    """Which trials share a colour: the highest, the config's own, the others."""
    special = {found["highest"], found["own"]}
    yield "trials", lambda row: row["trial"] not in special
    highest = found["highest"] if found["highest"] != found["own"] else None
    yield top(found), lambda row: row["trial"] == highest
    yield "the config's own", lambda row: row["trial"] == found["own"]
