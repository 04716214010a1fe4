"""Sections of the report: gates, training, clipping, curves, skew, configuration."""

import json
from collections.abc import Sequence

import yaml

from steadyrank.pipeline.gates.divergence import divergence_words, dying_words
from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.curves import clipping_by_layer
from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    beside,
    count,
    details,
    figure,
    heading,
    is_number,
    join,
    number,
    paragraph,
    percent,
    preformatted,
    table,
)
from steadyrank.pipeline.report.slices import deciles


def gates(verdict: dict) -> Markup:
    """Every gate with its rule, what was measured, and why it passed or not."""
    found = verdict.get("gates") or []
    if not found:
        return paragraph("No gate was configured; without one no model is released.")
    quiet = [gate for gate in found if gate.get("slice") and gate.get("passed")]
    parts = [gate_table([gate for gate in found if gate not in quiet])]
    if quiet:
        title = f"{count(len(quiet))} gates on slices, which passed"
        parts.append(details(title, gate_table(quiet)))
    parts += [_by_task(gate) for gate in found if gate.get("tasks")]
    return join(parts)


def _by_task(gate: dict) -> Markup:
    """What a gate on all tasks together says of each."""
    columns = [Column("Task", False), Column("Reason", False)]
    rows = [[task, said] for task, said in gate["tasks"].items()]
    return details(f"{gate['gate']}, task by task", table(columns, rows))


def gate_table(found: list[dict]) -> Markup:
    columns = [Column(name, False) for name in ("Gate", "Task", "Result")]
    columns += [Column("Measured"), Column("Rule", False), Column("Reason", False)]
    rows = [
        [gate.get("gate"), gate.get("task"), mark(gate)]
        + [measured(gate.get("measured")), gate.get("rule"), gate.get("reason")]
        for gate in found
    ]
    return table(columns, rows)


def measured(value: object) -> Markup:
    """A gate's measurement; very small ones, such as a skew, with an exponent."""
    if isinstance(value, int):
        return count(value)
    small = is_number(value) and 0 < abs(value) < 1e-3
    return number(value, ".2e" if small else ".4f")


def mark(gate: dict) -> Markup:
    if gate.get("passed"):
        return Markup('<span class="good">✓ passed</span>')
    if gate.get("verdict") == "HOLD":
        return Markup('<span class="held">? on hold</span>')
    return Markup('<span class="bad">✗ refused</span>')


def training(log: list[dict], divergence: dict) -> Markup:
    """Loss and validation AUC as training went, and what its divergence check found."""
    epochs = [line for line in log if line.get("validation")]
    return join(
        [
            paragraph(divergence_sentence(divergence)),
            figure("Loss", draw.loss_figure(log, divergence), "Sum over all tasks."),
            figure("Loss by task", draw.task_loss_figure(log), "Smoothed."),
            validation(epochs),
            *progressive([line for line in log if line.get("progressive")]),
        ]
    )


def progressive(windows: list[dict]) -> list[Markup]:
    """AUC over time; nothing where training had but one window or two."""
    drawn = draw.progressive_figure(windows)
    note = "On each window, measured just before the model was trained on it."
    return [figure("AUC over time", drawn, note)] if drawn else []


def validation(epochs: list[dict]) -> Markup:
    """AUC after each epoch: a curve, or a table where one point would make none."""
    title = "Validation AUC"
    if len(epochs) != 1:
        return figure(title, draw.validation_figure(epochs))
    columns = [Column("Task", False), Column("After the only epoch")]
    tasks = epochs[0]["validation"]
    rows = [[n, number(t.get("auc"))] for n, t in tasks.items() if "auc" in t]
    return join([heading(title), table(columns, rows)])


def divergence_sentence(divergence: dict) -> str:
    """What the divergence check found, in a sentence."""
    if not divergence:
        return "Divergence was not measured."
    steps, micro = divergence.get("steps"), len(divergence.get("micro") or [])
    lost, dead = divergence.get("loss_diverged_at"), divergence.get("dead_tasks")
    if divergence.get("diverged") and dead and lost is None:
        end = f"Training did not diverge, but {divergence_words(divergence)}"
    elif divergence.get("diverged"):
        end = f"Training diverged at step {divergence.get('diverged_at')}"
    else:
        end = "Training did not diverge"
    times = "time" if micro == 1 else "times"
    bad = divergence.get("nonfinite_steps", 0)
    held = divergence.get("spikes", 0)
    guarded = f" {count(held)} steps were held back as spikes." if held else ""
    if warnings := divergence.get("warnings"):
        guarded += f" {dying_words(warnings[0])}"
        guarded += f" So it was {len(warnings)} times." if len(warnings) > 1 else ""
    return f"{end}: {count(steps)} steps, micro divergence {micro} {times}, " + (
        f"{count(bad)} steps with values that are not finite.{guarded}"
    )


def clipping(log: list[dict]) -> Markup:
    """How much the updates of each layer and each embedding table were held back."""
    layers = clipping_by_layer(log)
    shown = min(len(layers), draw.MAX_LAYERS)
    factor = "The factor that Clippy multiplied a layer's update by: 1 is untouched. "
    factor += f"The {shown} most clipped of the {len(layers)} layers that were, smoothed."
    rows = "Rows of a batch whose gradient CowClip shortened, smoothed."
    parts = []
    if drawn := draw.clipping_figure(log):
        parts.append(figure("Factor by layer", drawn, factor))
    if layers:
        parts.append(details("All layers that were clipped", layer_table(layers)))
    if drawn := draw.clipped_rows_figure(log):
        parts.append(figure("Clipped rows", drawn, rows))
    return join(parts or [paragraph("No update was clipped.", "note")])


def layer_table(layers: list[dict]) -> Markup:
    columns = [Column("Layer", False), Column("Minimum"), Column("Median")]
    columns.append(Column("Steps clipped"))
    rows = [
        [layer["name"], number(layer["minimum"], ".3g"), number(layer["median"], ".3g")]
        + [percent(layer["clipped"])]
        for layer in layers
    ]
    return table(columns, rows)


def curves(by_task: dict) -> Markup:
    """ROC and calibration of every binary task."""
    note = "Rows in tenths by prediction; on the dotted line a prediction is right. "
    pair = beside(
        figure("ROC", draw.roc_figure(by_task), shape="square"),
        figure("Calibration", draw.calibration_figure(by_task), note, "square"),
    )
    return join([pair, deciles(by_task)])


def skew(measured_skew: dict, tasks: Sequence[str] = ()) -> Markup:
    """Difference of what the signatures serve from what was judged, by task."""
    outputs = measured_skew.get("outputs") or {}
    order = {name: place for place, name in enumerate(tasks)}
    names = sorted(outputs, key=lambda name: (order.get(name, len(order)), name))
    if not outputs:
        return paragraph("Skew was not measured.")
    rows = count(measured_skew.get("rows"))
    said = "Largest difference between the exported model's other signatures and that of "
    columns = [Column("Output", False), Column("Difference")]
    return join(
        [
            paragraph(Markup(f"{said}encoded features, on {rows} rows.")),
            table(columns, [[name, number(outputs[name], ".1e")] for name in names]),
        ]
    )


def configuration(config: dict, versions: dict) -> Markup:
    """The whole configuration and the versions it ran with."""
    plain = json.loads(json.dumps(config, default=str))  # dates and paths as text
    source = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    columns = [Column("Package", False), Column("Version", False)]
    return join(
        [
            details("The configuration of this run", preformatted(source)),
            heading("Versions"),
            table(columns, [[name, version] for name, version in versions.items()]),
        ]
    )
