"""Tables of losses, and of vectors, against a known truth."""

from benchmarks.pages.form import markdown

GAINS = ("gain", "nearer")
WORDS = {
    "watch": "seconds watched",
    "funnel": "bought, of all impressions",
    "position": "clicks, at the first position",
    "request": "clicks, within requests",
    "late": "bought, in the end",
}


def choices(kept: dict) -> str:
    """A row for each log and choice."""
    found = kept["result"]
    rows = []
    for log, words in WORDS.items():
        if log not in found:
            continue
        gains = [found[log].get(name, {}) for name in GAINS]
        for choice, figures in found[log].items():
            if choice in GAINS:
                continue
            cells = [_over(figures[name], 4) for name in ("order",)]
            cells += [_over(figures[name], 3) for name in ("calibration", "decile")]
            cells += [_over(g[choice], 4, "+") if choice in g else "" for g in gains]
            rows.append([words, choice, *cells])
    heads = ["", "choice", "order", "calibration", "worst tenth"]
    heads += ["gain of order", "nearer to 1"]
    return markdown(heads, rows)


def unseen(kept: dict) -> str:
    """AUC of seen and unseen items, with their vectors and without."""
    found = kept["result"]
    rows = [
        [
            f"{part} in training",
            *(_over(found[name][part], 4) for name in ("without", "with")),
        ]
        + [_over(found["gain"][part], 4, "+")]
        for part in ("seen", "unseen")
    ]
    reached = f"{found['reachable'][0]:.4f}"
    rows.append(["the true probabilities, of unseen items", "", reached, ""])
    return markdown(["items", "ids alone", "with vectors", "gain"], rows)


def _over(found: list[float], digits: int, sign: str = "") -> str:
    mean, low, high = (format(value, f"{sign}.{digits}f") for value in found)
    return f"{mean} ({low} to {high})"
