"""The report about a next-item model, from the parts of the report about any model."""

from steadyrank.pipeline.kinds.next_item.gates import REFERENCES, TASK
from steadyrank.pipeline.kinds.next_item.scored import CUTOFFS
from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.curves import clean
from steadyrank.pipeline.report.data import row_table
from steadyrank.pipeline.report.elements import (
    INTERVALS,
    NOT_TOLD,
    Column,
    Markup,
    count,
    figure,
    heading,
    join,
    paragraph,
    table,
)
from steadyrank.pipeline.report.metrics import gain_of, spread
from steadyrank.pipeline.report.sections import (
    clipping,
    divergence_sentence,
    skew,
)

METRICS = tuple(f"{name}@{k}" for k in CUTOFFS for name in ("mrr", "hr", "ndcg"))
DRAWN = "ndcg@10"  # after every evaluation


def sections(metrics: dict, log: list[dict], manifest: dict) -> dict[str, Markup]:
    """What is shown of a next-item model."""
    return {
        "Metrics": ranking(metrics),
        "Training": training(log, metrics["divergence"]),
        "Clipping": clipping(log),
        "Training and serving skew": skew(metrics["skew"]),
        "Data": data(manifest),
    }


def ranking(metrics: dict) -> Markup:
    """Every metric of the model with its interval, of what it is compared with, gains."""
    ours = metrics["tasks"][TASK]
    baseline = (metrics["baseline"] or {}).get("tasks", {}).get(TASK)
    columns = [Column("Metric", False), Column("Model")]
    columns += [Column("Popularity"), Column("Gain"), Column("Transitions"), Column("Gain")]
    columns += [Column("Baseline"), Column("Gain")] if baseline else []
    rows = []
    for name in METRICS:
        row = [name, spread(ours, name)]
        for reference in REFERENCES:
            gained = ours[f"gain_over_{reference}"][name]
            row += [spread(metrics[reference], name), gain_of(gained)]
        row += [spread(baseline, name), gain_of(ours["gain"][name])] if baseline else []
        rows.append(row)
    said = "Over the whole catalogue, of the item that came next; items that training "
    said += "never saw cannot be foretold and count as missed. Transitions: the items that "
    said += "most often came right after the newest one, in training. " + INTERVALS
    said += f"{NOT_TOLD} Not told from 0."
    return join([table(columns, rows), paragraph(said, "note")])


def training(log: list[dict], divergence: dict) -> Markup:
    """Loss, and validation NDCG@10 after every evaluation, phase by phase."""
    note = "Each phase begins with the best weights of the one before, grown."
    return join(
        [
            paragraph(divergence_sentence(divergence)),
            figure("Loss", draw.loss_figure(log, divergence)),
            figure("Validation NDCG@10", validation_figure(log), note),
        ]
    )


def validation_figure(log: list[dict]) -> dict | None:
    """A curve for each phase."""
    traces, lines = [], [line for line in log if line.get("validation")]
    for index, phase in enumerate(dict.fromkeys(line["phase"] for line in lines)):
        own = [line for line in lines if line["phase"] == phase]
        values = clean([line["validation"][TASK][DRAWN] for line in own])
        steps = [line["step"] for line in own]
        trace = draw.curve(f"phase {phase + 1}", (steps, values), *draw.style(index))
        traces.append(trace | {"mode": "lines+markers"})
    return draw.drawing(traces, "step", "NDCG@10") if traces else None


def data(manifest: dict) -> Markup:
    """What went in, what came out, and what became of the rest."""
    columns = [Column("Split", False), Column("Sequences"), Column("Events of its own")]
    columns += [
        Column("Read again as history"),
        Column("Unknown items"),
        Column("to foretell"),
    ]
    names = ("sequences", "rows", "read_again", "unknown", "unknown_targets")
    rows = [
        [split, *(count(found[name]) for name in names)]
        for split, found in manifest["splits"].items()
    ]
    dropped = manifest["rows"]["dropped"].items()
    return join(
        [
            row_table(manifest["rows"], {}),
            table(
                [Column("Left out", False), Column("Count")],
                [[reason, count(n)] for reason, n in dropped],
            ),
            heading("Splits"),
            table(columns, rows),
        ]
    )
