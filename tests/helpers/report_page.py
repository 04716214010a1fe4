"""A report of what was recorded by hand, and a reader of its page."""

import json
import math
from html.parser import HTMLParser

from steadyrank.pipeline.report import write_report

HOSTILE = "<script>alert(1)</script>"


STEPS = 30


def recorded(task="is_click"):
    """What the stages record of a short run with one probability and one value."""
    curve = {"false_positive_rate": [0, 0.4, 1], "true_positive_rate": [0, 0.7, 1]}
    bins = {"predicted": [0.1, 0.4], "observed": [0.12, 0.0], "rows": [50, 50]}
    binary = {
        "kind": "binary", "rows": 1234, "positives": 432, "auc": 0.7, "gauc": 0.51,
        "pr_auc": 0.31,
        "log_loss": 0.6, "normalized_entropy": math.nan, "calibration": 1.02,
        "reachable_auc": 0.75, "roc": curve, "calibration_curve": bins,
    }  # fmt: skip
    tenths = {"ratio": [1.5] * 10, "intervals": [[1.4, 1.6]] * 10}
    binary |= {"intervals": {"auc": [0.69, 0.71], "gauc": [0.49, 0.53]}, "deciles": tenths}
    binary["gain"] = {"auc": {"difference": 0.01, "interval": [0.008, 0.012]}}
    binary |= {"score_gauc": 0.61, "score_ndcg": 0.4, "score_ndcg_chance": 0.39}
    binary["intervals"]["score_gauc"] = [0.6, 0.62]
    binary["over_chance"] = {"difference": 0.01, "interval": [-0.001, 0.021]}
    binary["gain"]["score_gauc"] = {"difference": 0.02, "interval": None}
    part = {"slice": {"tab": "home", task: task}, "rows": 77, "tasks": {task: binary}}
    bars = {"edges": [0.01, 0.1, 1.0], "model": [0.5, 0.5], "baseline": [0.4, 0.6]}
    value = {"kind": "regression", "rows": 400, "mse": 9.0, "mae": 2.0, "rmse": 3.0}
    value["intervals"] = {"mae": [1.8, 2.2]}
    micro = [{"step": 7, "loss": 3.1, "median": 0.7, "recovered_at": 12}]
    gate = {"gate": "auc", "task": task, "rule": "min 0.72", "measured": 0.7}
    gate |= {"limit": 0.72, "passed": False, "reason": "0.7000 is below 0.72"}
    skew = {"gate": "skew", "task": None, "rule": "max 1e-05", "measured": 3e-8}
    skew |= {"limit": 1e-5, "passed": True, "reason": "3.0e-08 is at most 1e-05"}
    return {
        "metrics": {
            "split": "test", "rows": 1234, "model": f"at {task}", "fingerprint": "f",
            "tasks": {task: binary, "watch_time_ms": value},
            "skew": {"rows": 100, "max_difference": 3e-8, "outputs": {task: 3e-8}},
            "divergence": {"steps": STEPS, "nonfinite_steps": 2, "micro": micro},
            "data": {"rows_in": 1234, "rows_out": 1234},
            "baseline": {"tasks": {task: {"auc": 0.69}}},
            "slices": [{"by": ["tab", task], "min_rows": 10, "judged": [part],
                        "small": {"slices": 1, "rows": 3, "names": [{"tab": task}]}}],
            "drift": {task: {"psi": 0.05, "histogram": bars}},
            "standard_slices": [
                {"name": f"new {task}", "rows": 77, "tasks": {task: binary}},
                {"name": "Sunday", "rows": 7, "why": "only 7 rows; 100 are the fewest"}],
            "importance": {
                "rows": 100, "of": 1234, "tasks": {task: {"metric": "auc", "value": 0.7}},
                "units": [{"features": ["age", task], "tasks": {
                    task: {"difference": 0.02, "interval": [-0.01, 0.05]}}}]},
        },
        "verdict": {"verdict": "REFUSE", "gates": [gate, skew]},
        "log": [step_line(i, task) for i in range(STEPS)]
        + [
        {"step": STEPS, "epoch": epoch, "validation": {task: {"auc": 0.68 + epoch}}}
        for epoch in (0, 1)
    ],
        "config": {"tasks": [{"name": task}]},
        "manifest": {
            "rows": {"read": 2010, "written": 2000, "duplicates": 3,
                     "rejected": {f"no label: {task}": 7}},
            "splits": {"train": {"rows": 766, "windows": {"2024-01-01": 766}},
                       "test": {"rows": 1234, "windows": {task: 1234}}},
            "tasks": {task: {"rows": 2000, "positives": 700, "given_violations": 1}},
        },
        "versions": {"steadyrank": "0.1.0", "tensorflow": "2.16.2"},
    }  # fmt: skip


def step_line(step, task):
    loss = math.nan if step == 9 else 1 / (step + 1)
    return {
        "step": step, "epoch": 0, "loss": loss, "losses": {task: loss},
        "clipping": {"tower/kernel": min(1.0, 0.1 * step), f"{task}/kernel": 1.0},
        "clipped_rows": {f"table {task}": 0.01}, "nonfinite": 0,
    }  # fmt: skip


class Page(HTMLParser):
    """Tags, visible words and the JSON of the figures of a page."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.words, self.figures, self.inside = [], [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, attributes = self.inside[-1] if self.inside else ("", {})
        if attributes.get("type") == "application/json":
            self.figures.append(json.loads(data))
        elif tag not in ("script", "style"):
            self.words.append(data)

    @property
    def seen(self):
        return " ".join(" ".join(self.words).split())


def page_of(path, **changes):
    write_report(path, **(recorded() | changes))
    return Page(path.read_text(encoding="utf-8"))
