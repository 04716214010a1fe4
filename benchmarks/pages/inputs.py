"""The table of logs as other programs write them."""

from benchmarks.pages.form import markdown

OUTCOMES = ("right", "refused_in_words", "wrong", "tracebacks")
SIZE = ("rows", "columns")


def outcomes(inputs: dict) -> str:
    """How reading went, by writer and in all."""
    result = inputs.get("result", inputs)
    rows = [
        [writer, sum(found.values()), *(found.get(name, 0) for name in OUTCOMES)]
        for writer, found in result["by_writer"].items()
    ]
    total = ["all", result["tried"], *(result[name] for name in OUTCOMES)]
    heads = ["writer", "logs", "right", "refused in words", "wrong", "tracebacks"]
    return markdown(heads, [list(map(str, row)) for row in [*rows, total]])


def proposed(kept: dict) -> str:
    """What became of each log that a config was proposed for; forms by outcome alone."""
    rows, forms = [], {}
    for log in kept["result"]["logs"]:
        if log["log"].startswith("cases/"):
            forms[log["outcome"]] = forms.get(log["outcome"], 0) + 1
            continue
        said = (
            log["init"]
            if log["outcome"] == "ran"
            else log["init"].partition(": ")[2].partition(", to be")[0]
        )
        size = [f"{log.get(name, ''):,}" if name in log else "" for name in SIZE]
        cells = [log["log"], *size, log["outcome"], said, log.get("run", "")]
        rows.append([cell.replace("|", "/") for cell in cells])
    heads = [
        "log",
        "rows, about",
        "columns",
        "outcome",
        "what was proposed",
        "verdict after one pass",
    ]
    others = [
        ["forms that are hard to read", "", "", f"{n} {what}", "", ""]
        for what, n in sorted(forms.items())
    ]
    return markdown(heads, [*rows, *others])
