"""Tables of verdicts on what is known to be broken or healthy, and on simulated gains."""

import re

from benchmarks.pages.form import markdown, percent

TEMPORARY = re.compile(r"/\S*/(?=next_broken|\d+_|export|train|examples)")

NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "normalized_entropy": "normalized entropy",
    "score_gauc": "GAUC under the score",
    "score_ndcg": "NDCG@10 under the score",
}
CUT = 150  # characters of a reason


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
        ["broken cases stopped for another reason", str(found["astray"])],
        ["tracebacks", str(found["tracebacks"])],
        ["seconds", f"{found['seconds']:,}"],
    ]
    return markdown(["", "measured"], rows)


def cases(kept: dict) -> str:
    """Every broken case, what it came to, and why."""
    return _told(kept["result"]["broken"], "broken")


def held(kept: dict) -> str:
    """Every healthy case that did not pass, and why."""
    healthy = kept["result"]["healthy"]
    return _told(
        {n: c for n, c in healthy.items() if c[0] != "PASS"}, "healthy, not passed"
    )


def _told(cases: dict, title: str) -> str:
    rows = [[name, word, _short(why)] for name, (word, why) in cases.items()]
    return markdown([title, "came to", "for"], rows)


def _short(reason: str) -> str:
    """A reason without the folders of its run, in one cell."""
    plain = TEMPORARY.sub("…", reason).replace("|", " ").replace("*", r"\*")
    return plain if len(plain) <= CUT else f"{plain[:CUT].rstrip()} …"


def rates(kept: dict) -> str:
    """Nominal and observed rates of the gain gates."""
    rows = [
        [
            f"{each['rows']:,}",
            NAMES.get(each["metric"], each["metric"].upper()),
            percent(each["nominal"], 0),
            percent(each["false_bless"], 1),
            percent(each["false_block"], 1),
            percent(each["held"], 1),
        ]
        for each in kept["result"]["gain_gate"]
    ]
    heads = ["rows", "metric", "nominal", "false blessings", "false blocks", "held"]
    return markdown(heads, rows)
