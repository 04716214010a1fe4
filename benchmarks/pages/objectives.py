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


def taught(kept: dict) -> str:
    """A row for each share of the soft labels, and their teacher."""
    found = kept["result"]
    rows = []
    for choice, figures in found.items():
        if choice in GAINS or not isinstance(figures, dict):
            continue
        cells = [_over(figures["order"], 4), _over(figures["calibration"], 3)]
        cells.append(_over(figures["decile"], 3))
        for name, digits in zip(GAINS, (4, 3), strict=True):
            gain = found[name].get(choice)
            cells.append(_over(gain, digits, "+") if gain else "")
        rows.append([choice, *cells])
    heads = ["learned from", "order", "calibration", "worst tenth"]
    return markdown([*heads, "gain of order", "nearer to 1"], rows)


def watch_kuairand(kept: dict) -> str:
    """A row for each loss of the watch time, and each way to serve it."""
    found, seeds = kept["result"]["watch"], kept["result"]["seeds"]
    rows = []
    for choice, row in found["choices"].items():
        test = row["test"]
        rows.append(
            [
                choice,
                _over(test["xauc"], 4),
                _over(row["gain"], 4, "+"),
                _over(test["calibration"], 3),
                _range(test["deciles"]),
                _range(test["durations"]),
                " / ".join(f"{n} of {seeds}" for n in test["hold"]),
            ]
        )
    heads = ["watch time by", "XAUC", "over the logarithm", "predicted over observed"]
    heads += ["tenths by prediction", "tenths by duration", "all within .95 to 1.05"]
    return markdown(heads, rows)


def levels_kuairand(kept: dict) -> str:
    """How far the test days lie from the validation day, and what luck does to a tenth."""
    found = kept["result"]["watch"]
    noise = [row["test"]["noise"] for row in found["choices"].values()]
    least, most = (f(f(each) for each in noise) for f in (min, max))
    rows = [
        [
            "mean watch time, test days over the validation day",
            f"{found['days']['test']:.3f}",
        ],
        [
            "95 % interval of a tenth's ratio by its rows alone",
            f"±{least:.3f} to ±{most:.3f}",
        ],
    ]
    return markdown(["", ""], rows)


def ranking_kuairand(kept: dict) -> str:
    """A row for each loss of the order of a user's videos."""
    rows = []
    for choice, row in kept["result"]["ranking"].items():
        plain = choice == "none"
        test, validation = row["test"], row["validation"]
        rows.append(
            [
                ("cross entropy" if plain else f"{choice}, weight {row['weight']:g}")
                + f", rate {row['rate']:g}",
                _over(test["gauc"], 4),
                "" if plain else _over(test["gain_gauc"], 4, "+"),
                "" if plain else _over(validation["gain_gauc"], 4, "+"),
                "" if plain else _over(test["gain_auc"], 4, "+"),
                _over(test["calibration"], 3),
            ]
        )
    heads = ["is_click by", "GAUC, test", "gain", "gain, validation", "gain of AUC"]
    return markdown([*heads, "predicted over observed"], rows)


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _over(found: list[float], digits: int, sign: str = "") -> str:
    mean, low, high = (format(value, f"{sign}.{digits}f") for value in found)
    return f"{mean} ({low} to {high})"
