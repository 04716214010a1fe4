"""Tables of what histories give, and of what they cost."""

from benchmarks.pages.form import bold, gain, markdown, share, span, times

NAMES = {
    "none": "without any `past_` feature",
    "mean": "videos averaged, in a table of their own (as shipped)",
    "attention": "`kind: sequence` with target attention",
}
FROM_LOG = {
    "none": "none: without what came before",
    "log": "features `from: events`, of `log.parquet` alone",
    "shipped": "`history.parquet`, as shipped",
    "both": "both",
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


def chosen_from_log(study: dict) -> str:
    """What could be read of the log, and how the validation day judged it."""
    rows = [
        [
            bold(name) if name == study["chosen"] else name,
            share(found["mean"]),
            " to ".join(map(share, found["interval"])),
        ]
        for name, found in study["candidates"].items()
    ]
    heads = ["read", "six tasks, validation: mean AUC", "95 % interval"]
    return markdown(heads, rows)


def from_log(study: dict) -> str:
    """A row a ranker: the mean of six tasks on the test days, and what it gains."""
    heads = ["", "six tasks, test: mean AUC", "over none (95 % interval)"]
    heads += ["over the log's (95 % interval)", "over `history.parquet` (95 % interval)"]
    heads += ["is_click: over none (95 % interval)"]
    rows = []
    for name, one in study["rankers"].items():
        test = one["test"]
        cells = [
            "" if name in ("none", other) else _said(test[f"over_{other}"]["mean"])
            for other in ("none", "log", "shipped")
        ]
        click = "" if name == "none" else _said(test["over_none"]["is_click"])
        rows.append([FROM_LOG[name], share(test["mean"]), *cells, click])
    return markdown(heads, rows)


def _said(one: dict) -> str:
    """A gain and its interval."""
    return f"{gain(one['mean'])} ({span(one['interval'])})"


def _gained(one: dict, ranker: str, over: str) -> str:
    if over.endswith(ranker) or (over == "over_mean" and ranker == "none"):
        return ""
    return _said(one)


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
