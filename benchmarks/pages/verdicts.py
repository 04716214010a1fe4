"""Tables of verdicts on what is known to be broken or healthy, and on simulated gains."""

from benchmarks.pages.form import markdown, percent

NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "normalized_entropy": "normalized entropy",
}


def counts(kept: dict) -> str:
    """How many cases there were, and what they came to."""
    found = kept["result"]
    by = found["broken_by"]
    rows = [
        ["broken cases", str(found["broken_tried"])],
        ["of them passed", str(found["broken_passed"])],
        ["stopped by a stage that says why", str(by["refused"])],
        ["stopped by a verdict: REFUSE, HOLD", f"{by['REFUSE']}, {by['HOLD']}"],
        ["healthy models and ways to judge them", str(found["healthy_tried"])],
        ["of them refused", str(found["healthy_refused"])],
        ["of them held, for want of rows", str(found["held"])],
        ["tracebacks", str(found["tracebacks"])],
    ]
    return markdown(["", "measured"], rows)


def cases(kept: dict) -> str:
    """Every broken case and what it came to."""
    rows = [[name, came_to] for name, came_to in kept["result"]["broken"].items()]
    return markdown(["broken", "came to"], rows)


def rates(kept: dict) -> str:
    """Nominal and observed rates of the gain gate."""
    rows = [
        [
            f"{each['rows']:,}",
            NAMES[each["metric"]],
            percent(each["false_bless"], 1),
            percent(each["false_block"], 1),
            percent(each["held"], 1),
        ]
        for each in kept["result"]["gain_gate"]
    ]
    heads = ["rows", "metric", "passed at the limit", "refused at the limit", "held"]
    return markdown(heads, rows)
