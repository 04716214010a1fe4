"""Tables of the study of histories."""

from benchmarks.pages.form import gain, markdown, share, span

NAMES = {
    "none": "without any `past_` feature",
    "mean": "videos averaged, in a table of their own (as shipped)",
    "attention": "`kind: sequence` with target attention",
}


def rankers(study: dict) -> str:
    """A row a ranker: is_click, and the mean of six tasks, on both days."""
    heads = ["", "is_click, test", "over no history (95 % interval)"]
    heads += ["over the average (95 % interval)", "six tasks, test: over the average"]
    heads += ["six tasks, validation: over the average"]
    rows = []
    for name, one in study["rankers"].items():
        test = one["test"]
        over = [(test, "over_none", "is_click"), (test, "over_mean", "is_click")]
        over += [(test, "over_mean", "mean"), (one["validation"], "over_mean", "mean")]
        rows.append(
            [
                NAMES[name],
                share(test["auc"]["is_click"]),
                *(_gained(split[key][task], name, key) for split, key, task in over),
            ]
        )
    return markdown(heads, rows)  # fmt: skip


def _gained(one: dict, ranker: str, over: str) -> str:
    if over.endswith(ranker) or (over == "over_mean" and ranker == "none"):
        return ""
    return f"{gain(one['mean'])} ({span(one['interval'])})"
