"""Tables of what histories give, and of what they cost."""

from benchmarks.pages.form import gain, markdown, share, span, times

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


def cost(kept: dict) -> str:
    """Rows a second with features from events and without, and memory as a log grows."""
    found = kept["result"]
    (less, more), (low, high) = found["rows"], found["peak_memory_mb"]
    kinds = {"one process": "", "two worker processes": "_two"}
    kinds["one process, without features from events"] = "_without"
    rates = [
        [said, *(f"{found[f'rows_per_{unit}{name}']:,}" for unit in ("s", "cpu_s"))]
        for said, name in kinds.items()
    ]
    memory = [
        [f"peak memory, {less:,} rows", f"{low:,} MB", ""],
        [f"peak memory, {more:,} rows", f"{high:,} MB", ""],
        ["that is", f"{times(found['times_the_memory'], 2)} times", ""],
    ]
    heads = ["", "rows a second, by the clock", "rows a second of a core"]
    return markdown(heads, rates + memory)
