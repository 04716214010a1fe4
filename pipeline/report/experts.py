"""The report's experts: what each gate made of them, as in PLE's figure 8."""

from steadyrank.pipeline.metrics.collapsed_experts import collapsed
from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    details,
    figure,
    join,
    number,
    paragraph,
    table,
)

NOTE = "Mean weight of each expert over the validation split, after the last epoch. "
NOTE += "A gate sees its task's own experts and the shared ones."


def experts(log: list[dict]) -> Markup:
    """Weights by gate and expert; nothing for a trunk that has no gates."""
    found = [line for line in log if line.get("experts")]
    if not found:
        return Markup()
    use, parts = found[-1]["experts"], []
    for sentence in collapsed(use):
        parts.append(paragraph(f"Warning: {sentence}.", "bad"))
    parts.append(figure("Expert use", draw.experts_figure(use), NOTE))
    columns = [Column("Gate", False), Column("Expert", False)]
    columns += [Column(f"Epoch {line['epoch'] + 1}") for line in found]
    rows = [
        [gate, expert, *(number(line["experts"][gate][expert]) for line in found)]
        for gate, weights in use.items()
        for expert in weights
    ]
    parts.append(details("All gates, after every epoch", table(columns, rows)))
    return join(parts)
