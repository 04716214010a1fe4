"""How near the edge a model trains: the learning rate at which it diverges.

In: a config and its examples.  Short probes over the last training windows climb a
ladder of learning rates of the dense weights, x2 a step, for each clipping method.
Out: ``stability.json`` and ``stability.html``, AUC against learning rate.

    steadyrank stability --config C --examples DIR --output DIR

Reference: the Clippy paper (KDD'23), section 1, asks for such a measure and names none.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.evaluate.margin import probed_settings
from steadyrank.pipeline.examples.compatibility import agree, require_made_for
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import publish, write_json
from steadyrank.pipeline.kinds import kind_of
from steadyrank.pipeline.kinds.protocol import require
from steadyrank.pipeline.report import document, figures
from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    figure,
    number,
    paragraph,
    table,
)
from steadyrank.pipeline.studies.short_runs import Method, Probe, Prober

LOWEST, HIGHEST = -2, 10  # powers of 2 times the rate in use
SAFE_MARGIN = 4.0  # below it the advice is to change something
LEVEL = 0.01  # of AUC: what is nearer to the best than this counts as good
STABILITY_FILE = "stability.json"


def ladder(rate: float, lowest: int = LOWEST, highest: int = HIGHEST) -> list[float]:
    """Learning rates around one, each twice the one before."""
    return [rate * 2.0**power for power in range(lowest, highest + 1)]


def lowest_diverged(probes: Iterable[Probe]) -> float | None:
    """The lowest rate at which any of the probes diverged; None: none did."""
    return min((probe.rate for probe in probes if probe.diverged), default=None)


def largest_stable(probes: Iterable[Probe]) -> float | None:
    """The largest rate that was tried below the lowest at which any probe diverged.

    A rate that happens to survive above one that did not is not stable.

    Returns:
        The rate; None where even the lowest diverged, or nothing was tried.
    """
    probes = list(probes)
    edge = lowest_diverged(probes)
    return max((p.rate for p in probes if edge is None or p.rate < edge), default=None)


def margin(probes: Iterable[Probe], rate_in_use: float) -> float | None:
    """The lowest rate at which training diverges over the rate in use.

    Returns:
        The factor, 1 or less where the rate in use is not safe itself; None where no
        probe diverged.
    """
    edge = lowest_diverged(probes)
    return None if edge is None else edge / rate_in_use


def mean_auc(areas: dict[str, float], tasks: Sequence[str] | None = None) -> float:
    """Mean over the tasks whose AUC is defined; NaN if none is."""
    known = [areas.get(task, math.nan) for task in tasks or areas]
    known = [area for area in known if math.isfinite(area)]
    return float(np.mean(known)) if known else math.nan


def areas_by_rate(
    probes: Iterable[Probe], tasks: Sequence[str] | None = None, what: str = "final"
) -> dict[float, float]:
    """Rate -> mean AUC over seeds and tasks, of the rates at which no seed diverged.

    Args:
        probes: Those of one method.
        tasks: Binary tasks to average over; None: all.
        what: ``"final"`` or ``"progressive"``.
    """
    probes = list(probes)
    lost = {probe.rate for probe in probes if probe.diverged}
    found: dict[float, list[float]] = {}
    for probe in probes:
        if probe.rate not in lost:
            area = mean_auc(getattr(probe, what), tasks)
            found.setdefault(probe.rate, []).append(area)
    means = {rate: float(np.mean(areas)) for rate, areas in sorted(found.items())}
    return {rate: area for rate, area in means.items() if math.isfinite(area)}


def best_rate(areas: dict[float, float]) -> float | None:
    """The rate of the best AUC, the lowest of equals."""
    return max(areas, key=lambda rate: (areas[rate], -rate), default=None)


def good_range(areas: dict[float, float], tried: Iterable[float]) -> float:
    """The factor of rates, around the best one, that come within ``LEVEL`` of its AUC.

    Args:
        areas: Rate -> mean AUC, as ``areas_by_rate`` gives it.
        tried: All rates that were tried: the range ends at one that is not as good.

    Returns:
        Highest over lowest of these rates; 1 for a single one, 0 for none.
    """
    best, tried = best_rate(areas), sorted(set(tried))
    if best is None:
        return 0.0
    good = [areas.get(rate, -math.inf) >= areas[best] - LEVEL for rate in tried]
    low = high = tried.index(best)
    while low and good[low - 1]:
        low -= 1
    while high + 1 < len(tried) and good[high + 1]:
        high += 1
    return tried[high] / tried[low]


def summarise(
    method: str,
    probes: Iterable[Probe],
    rate_in_use: float,
    tasks: Sequence[str] | None = None,
) -> dict:
    """One line about a method, from its probes."""
    probes = [probe for probe in probes if probe.method == method]
    areas = areas_by_rate(probes, tasks)
    best = best_rate(areas)
    return {
        "method": method,
        "largest_stable": largest_stable(probes),
        "margin": margin(probes, rate_in_use),
        "highest_tried": max((probe.rate for probe in probes), default=None),
        "best_auc": areas.get(best),
        "best_rate": best,
        "good_rate": min(
            (rate for rate, area in areas.items() if area >= areas[best] - LEVEL),
            default=None,
        ),
        "auc_in_use": areas.get(rate_in_use),
        "range": good_range(areas, [probe.rate for probe in probes]),
        "diverged": sum(probe.diverged for probe in probes),
        "tried": len(probes),
    }


def advice(rows: Sequence[dict], in_use: str, rate_in_use: float) -> str:
    """One or two sentences: how near the edge training is, and what to change.

    Args:
        rows: From ``summarise``, one a method.
        in_use: The config's own method.
        rate_in_use: The config's own rate.
    """
    own = next(row for row in rows if row["method"] == in_use)
    room = own["margin"]
    said = f"With {in_use} no probe diverged up to {_rate(own['highest_tried'])}."
    if room is not None:
        said = f"With {in_use} training diverges at {room:g} times the rate in use."
    steadier = max(rows, key=_room)
    if room is not None and room < SAFE_MARGIN:
        if _room(steadier) > room:
            return f"{said} Set train.dense.clip to {steadier['method']}{_limit(steadier)}."
        if own["largest_stable"] is None:
            return f"{said} Every rate tried did: lower train.dense.learning_rate further."
        lower = _rate(own["largest_stable"] / 2)
        return f"{said} Lower train.dense.learning_rate to {lower}."
    best = max(rows, key=lambda row: row["best_auc"] or 0.0)
    gain = (best["best_auc"] or 0.0) - (own["auc_in_use"] or 0.0)
    if gain < LEVEL / 2 or own["auc_in_use"] is None:
        return f"{said} Nothing needs to change."
    return (
        f"{said} {best['method']} at {_rate(best['best_rate'])} gave {gain:.3f} more AUC. "
        f"Short probes favour high rates: try {_rate(best['good_rate'])} first."
    )


def _room(row: dict) -> float:
    return math.inf if row["margin"] is None else row["margin"]


def _limit(row: dict) -> str:
    if row["margin"] is None:
        return ": no probe of it diverged"
    return f": it diverges at {row['margin']:g} times that rate"


def _rate(value: float) -> str:
    return f"{value:.4g}"


def stability(
    config: Config,
    examples_path: Path,
    output: Path,
    methods: Sequence[Method] = (),
    *,
    windows: int = 4,
    steps: int | None = 100,
    seeds: int = 1,
    overwrite: bool = False,
    progress=lambda text: None,
) -> dict:
    """Probe the config's model at rising learning rates, and say how near the edge it is.

    Args:
        config: The run's config.
        examples_path: The example set.
        output: Where the result shall stand.
        methods: To compare with the config's own, which comes first; of those with the
            same name the first one is probed.
        windows: Training windows of a probe, the last ones; validation judges it.
        steps: Steps in a window, at most; None: all of it.
        seeds: Probes of a rate; one that diverges is enough to call the rate unstable.
        overwrite: Whether a result may be replaced.
        progress: Called with a line about each probe.

    Returns:
        What ``stability.json`` holds.

    Raises:
        InputError: The examples do not suit, or the output is there already.
    """
    require(kind_of(config).name, "stability")
    counts = {"windows": windows, "steps": 1 if steps is None else steps, "seeds": seeds}
    low = [f"--{name} {count}" for name, count in counts.items() if count < 1]
    if low:
        raise InputError(
            f"--windows, --steps and --seeds must be at least 1. Received: "
            f"{' '.join(low)}. Leave them out for the defaults."
        )
    examples = ExampleSet.open(examples_path)
    schema = agree(config, examples.schema)
    require_made_for(config, examples.manifest, examples.path)
    own = own_method(config)
    by_name = {own.name: own}
    for method in methods:
        by_name.setdefault(method.name, method)
    with publish(Path(output), overwrite) as work:
        names = list(examples.windows("train"))[-windows:]
        prober = Prober(config, schema, examples, names, steps=steps)
        probes: list[Probe] = []
        for method in by_name.values():
            probes += climb(prober, method, config.train.seed, seeds, progress=progress)
        result = conclude(probes, list(by_name), prober.rate_in_use)
        result |= {"windows": names, "steps": steps, "fingerprint": schema.fingerprint}
        result["settings"] = probed_settings(config)
        write_json(work / STABILITY_FILE, result)
        (work / "stability.html").write_text(page(result), encoding="utf-8")
    return result


def own_method(config: Config) -> Method:
    """The config's own method."""
    dense = config.train.dense
    name = dense.clip if dense.threshold is None else f"{dense.clip} {dense.threshold:g}"
    return Method(name, dense.clip, dense.threshold)


def climb(
    prober: Prober, method: Method, seed: int, seeds: int, *, progress
) -> list[Probe]:
    """Probes of one method from below the rate in use, until one diverges above it."""
    probes: list[Probe] = []
    for rate in ladder(prober.rate_in_use):
        for offset in range(seeds):
            probe = prober.probe(method, rate, seed + offset)
            probes.append(probe)
            how = probe.why or f"mean AUC {mean_auc(probe.final):.4f}"
            progress(f"{method.name} at {_rate(rate)}: {how}")
        edge = lowest_diverged(probes)
        if edge is not None and rate >= prober.rate_in_use:
            break
    return probes


def conclude(probes: list[Probe], methods: Sequence[str], rate_in_use: float) -> dict:
    """What ``stability.json`` says about the probes."""
    rows = [summarise(method, probes, rate_in_use) for method in methods]
    return {
        "rate_in_use": rate_in_use,
        "method_in_use": methods[0],
        "margin": rows[0]["margin"],
        "tried_up_to": max(p.rate for p in probes if p.method == methods[0]) / rate_in_use,
        "advice": advice(rows, methods[0], rate_in_use),
        "methods": rows,
        "probes": [asdict(probe) for probe in probes],
    }


def page(result: dict) -> str:
    """The self-contained page: advice, table, AUC against learning rate."""
    columns = [Column("method", number=False)]
    columns += [Column(name) for name in ("largest stable rate", "margin", "best AUC")]
    columns += [Column("at rate"), Column("diverged / tried")]
    rows = [cells(row) for row in result["methods"]]
    note = "Mean AUC over tasks after a probe, by learning rate of the dense weights. "
    note += "Crosses: training diverged. The dotted line is the rate in use."
    top = Markup(f"<h1>How near the edge</h1>\n{paragraph(result['advice'])}")
    plot = figure("AUC against learning rate", drawing(result), note)
    return document(top, {"Methods": table(columns, rows), "Probes": plot})


def cells(row: dict) -> list:
    """A method's line of the table."""
    none = row["margin"] is None
    return [
        row["method"],
        number(row["largest_stable"], ".4g"),
        "no divergence" if none else number(row["margin"], ".3g"),
        number(row["best_auc"]),
        number(row["best_rate"], ".4g"),
        f"{row['diverged']} / {row['tried']}",
    ]


def drawing(result: dict) -> dict | None:
    """AUC against learning rate: a line a method, crosses where it diverged."""
    probes = [Probe(**probe) for probe in result["probes"]]
    lines, crosses, seen = [], [], []
    for index, row in enumerate(result["methods"]):
        own = [probe for probe in probes if probe.method == row["method"]]
        areas = areas_by_rate(own)
        seen += areas.values()
        colour, dash = figures.style(index)
        line = figures.curve(
            row["method"], (list(areas), list(areas.values())), colour, dash
        )
        lines.append(line | {"mode": "lines+markers"})
        lost = sorted({probe.rate for probe in own if probe.diverged})
        crosses.append((f"{row['method']} diverged", lost, colour))
    if not probes:
        return None
    bottom = min([0.5, *seen])
    for name, lost, colour in crosses:
        pairs = [(rate, bottom) for rate in lost]
        lines.append(figures.points(name, pairs, colour, "x") | {"showlegend": False})
    top = max(seen, default=1.0)
    in_use = [result["rate_in_use"]] * 2
    mark = figures.curve("rate in use", (in_use, [bottom, top]), figures.GREY, "dot")
    drawn = figures.drawing([*lines, mark], "learning rate of the dense weights", "AUC")
    drawn["layout"]["xaxis"] |= figures.logarithmic([probe.rate for probe in probes])
    return drawn
