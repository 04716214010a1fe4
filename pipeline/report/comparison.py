"""The page that shows several runs side by side."""

from pathlib import Path

from steadyrank.pipeline.metrics.samples import BETTER, WORSE, decided, sentence_of
from steadyrank.pipeline.metrics.uncertainty import straddles
from steadyrank.pipeline.report import document, write_page
from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.curves import clean, smooth, thin
from steadyrank.pipeline.report.curves import series as values_of
from steadyrank.pipeline.report.elements import (
    CHANCE_NOTE,
    INTERVALS,
    Column,
    Markup,
    count,
    figure,
    heading,
    is_number,
    join,
    number,
    paragraph,
    table,
    text,
    with_interval,
)
from steadyrank.pipeline.report.judged import apart
from steadyrank.pipeline.report.metrics import spread
from steadyrank.pipeline.report.summary import STYLES

TITLE = "steadyrank comparison"
SHOWN = {
    "auc": "AUC",
    "gauc": "GAUC",
    "pr_auc": "PR-AUC",
    "score_gauc": "GAUC under the served score",
    "score_ndcg": "NDCG@10 under the served score",
    "log_loss": "Log loss",
    "normalized_entropy": "Normalised entropy",
    "rmse": "RMSE",
    "mae": "MAE",
    "calibration": "Calibration",
    "mrr@5": "MRR@5",
    "hr@5": "HR@5",
    "ndcg@5": "NDCG@5",
    "mrr@10": "MRR@10",
    "hr@10": "HR@10",
    "ndcg@10": "NDCG@10",
    "mrr@20": "MRR@20",
    "hr@20": "HR@20",
    "ndcg@20": "NDCG@20",
}
VALIDATED = ("auc", "ndcg@10")  # drawn: the first that a task has
STYLE_OF = {"PASS": "good", "HOLD": "held"}  # else bad
ABSENT = "(absent)"


def write_comparison(path: Path, runs: list[dict]) -> None:
    """Write the page.

    Args:
        path: The file to write.
        runs: Of each its ``name``, ``metrics``, ``verdict``, ``log`` and ``config``; of all
            but the first, ``against``: how it differs from that one.
    """
    sections = {
        "Verdict": better_or_worse(runs),
        "Runs": overview(runs),
        "Metrics": metrics(runs),
        "Training": training(runs),
        "Configuration": configuration(runs),
    }
    top = Markup(f"<h1>{TITLE}</h1>")
    write_page(path, document(top, sections, TITLE))


def better_or_worse(runs: list[dict]) -> Markup:
    """Which run is better, task by task: in a sentence each, and in a table."""
    first, *others = runs
    parts: list[Markup] = []
    for run in others:
        found = decided(run.get("against") or [], kinds_of(run))
        parts.append(paragraph(sentence_of(run["name"], first["name"], found)))
        if not found:
            continue
        columns = [Column("Task", False), Column("By", False), Column(first["name"])]
        columns += [Column(run["name"]), Column("Difference"), Column("Verdict", False)]
        rows = [
            [each["task"], SHOWN.get(each["metric"], each["metric"])]
            + [large(each["first"]), large(each["other"]), changed(each), word(each)]
            for each in found
        ]
        parts.append(table(columns, rows))
    return join([*parts, paragraph(DIFFERENCES, "note")])


DIFFERENCES = (
    "Each difference is to the first run, over its 95 % interval: users are drawn anew, "
    "the same for both runs. It says how far other users would change it, not how far "
    "another seed would. No interval: the runs were not judged on the same rows, the users "
    "are too few, or an earlier version evaluated one of them."
)


def changed(found: dict) -> Markup:
    """A difference over its interval; marked where none is told."""
    interval, difference = found["interval"], found["difference"]
    form = "+,.0f" if abs(difference) >= 100 else "+.4f"
    marked = straddles(interval, 0.0)
    return with_interval(number(difference, form), interval, marked, form)


def large(value: float) -> Markup:
    """A figure; one in a unit of its own with as many digits as one can use."""
    return number(value, ",.0f" if abs(value) >= 1000 else ".4f")


def word(found: dict) -> Markup:
    styles = {BETTER: "good", WORSE: "bad"}
    style = styles.get(found["verdict"], "held")
    return Markup(f'<span class="{style}">{found["verdict"]}</span>')


def kinds_of(run: dict) -> dict[str, str]:
    return {task: of(run, task).get("kind", "") for task in task_names([run])}


def overview(runs: list[dict]) -> Markup:
    """A row for each run: its verdict, and the rows and examples it was judged on."""
    columns = [Column("Run", False), Column("Verdict", False), Column("Rows")]
    columns += [Column("Split", False), Column("Steps"), Column("Examples", False)]
    rows = []
    for run in runs:
        found = run["metrics"]
        cells = [run["name"], verdict(run["verdict"]), count(found.get("rows"))]
        steps = (found.get("divergence") or {}).get("steps")
        fingerprint = str(found.get("fingerprint"))[:12]
        rows.append([*cells, found.get("split"), count(steps), fingerprint])
    notes = [paragraph(said, "note") for said in apart(runs)]
    return join([table(columns, rows), *notes])


def verdict(content: dict) -> Markup:
    found = content.get("verdict")
    word = found if found in STYLES else "REFUSE"
    forced = " (forced)" if content.get("forced") else ""
    return Markup(f'<span class="{STYLE_OF.get(word, "bad")}">{word}{forced}</span>')


def metrics(runs: list[dict]) -> Markup:
    """A table a metric: a row for each task, a column for each run."""
    parts = []
    for key, title in SHOWN.items():
        tasks = [t for t in task_names(runs) if any(of(r, t).get(key) for r in runs)]
        if not tasks:
            continue
        columns = [Column("Task", False), *(Column(run["name"]) for run in runs)]
        columns += [Column(f"{run['name']} − {runs[0]['name']}") for run in runs[1:]]
        rows = []
        for task in tasks:
            apart = [difference_in(run, task, key) for run in runs[1:]]
            rows.append([task, *(spread(of(run, task), key) for run in runs), *apart])
        parts += [heading(title), table(columns, rows)]
    if not parts:
        return paragraph("No task was measured.")
    return join([*parts, paragraph(f"{INTERVALS}{CHANCE_NOTE}", "note")])


def difference_in(run: dict, task: str, metric: str) -> Markup:
    for found in run.get("against") or []:
        if (found["task"], found["metric"]) == (task, metric):
            return changed(found)
    return text(None)


def task_names(runs: list[dict]) -> list[str]:
    return list(dict.fromkeys(t for run in runs for t in run["metrics"].get("tasks") or {}))


def of(run: dict, task: str) -> dict:
    return (run["metrics"].get("tasks") or {}).get(task) or {}


def training(runs: list[dict]) -> Markup:
    """Loss over steps, and each task's validation metric, a curve for each run."""
    parts = [figure("Loss", loss_figure(runs), "Sum over all tasks, smoothed.")]
    for task in task_names(runs):
        drawn = validation_figure(runs, task)
        if drawn:
            parts.append(figure(f"Validation {metric_of(runs, task)} of {task}", drawn))
    return join(parts)


def loss_figure(runs: list[dict]) -> dict | None:
    traces = []
    for index, run in enumerate(runs):
        x, y = values_of(run["log"], lambda line: line.get("loss"), "loss")
        if len(x):
            trace = draw.curve(run["name"], thin(x, smooth(y)), *draw.style(index))
            traces.append(trace)
    return draw.drawing(traces, "step", "loss") if traces else None


def metric_of(runs: list[dict], task: str) -> str:
    held = {key for run in runs for key in of(run, task)}
    return SHOWN[next((key for key in VALIDATED if key in held), VALIDATED[0])]


def validation_figure(runs: list[dict], task: str) -> dict | None:
    traces = []
    for index, run in enumerate(runs):
        lines = [line for line in run["log"] if line.get("validation")]
        values = [_validated(line["validation"].get(task, {})) for line in lines]
        if any(map(is_number, values)):
            in_phases = any("phase" in line for line in lines)
            x = [n["step"] if in_phases else n.get("epoch", 0) + 1 for n in lines]
            trace = draw.curve(run["name"], (x, clean(values)), *draw.style(index))
            traces.append(trace | {"mode": "lines+markers"})
    axis = "step" if traces and in_phases else "epoch"
    drawn = draw.drawing(traces, axis, metric_of(runs, task)) if traces else None
    if drawn and axis == "epoch":
        drawn["layout"]["xaxis"] |= {"tickformat": "d", "dtick": 1}
    return drawn


def _validated(result: dict) -> float | None:
    return next((result[key] for key in VALIDATED if key in result), None)


def configuration(runs: list[dict]) -> Markup:
    """The keys of which the runs differ."""
    flat = [flatten(run["config"]) for run in runs]
    keys = sorted({key for found in flat for key in found})
    differing = [k for k in keys if len({str(f.get(k, ABSENT)) for f in flat}) > 1]
    if not differing:
        return paragraph("The configurations are equal.")
    columns = [Column("Key", False), *(Column(run["name"], False) for run in runs)]
    return table(columns, [[k, *(f.get(k, ABSENT) for f in flat)] for k in differing])


def flatten(content: object, path: str = "") -> dict[str, str]:
    """A nested document as ``key.path`` -> value in words; items go by name or number."""
    if isinstance(content, dict) and content:
        items = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        items = [(str(c.get("name", i)), c) for i, c in enumerate(content)]
    else:
        return {path: str(content)}
    return {
        key: value
        for name, inner in items
        for key, value in flatten(inner, f"{path}.{name}" if path else name).items()
    }
