"""Tables of the shipped configs' runs."""

from benchmarks.pages.form import bold, gain, markdown, share, span

COMPARED = {
    "without_author_id": "without `author_id`",
    "mmoe": "MMoE in place of PLE",
}


def compared(kept: dict) -> str:
    """A row a task: the shipped model, and what the others gain over it on its rows."""
    ours, *others = (kept["result"][name] for name in ("kuairand", *COMPARED))
    heads = ["", "1s", "AUC", *(f"{name}, 90 % interval" for name in COMPARED.values())]
    rows = []
    for task, found in ours["metrics"]["tasks"].items():
        gains = [other["metrics"]["tasks"][task]["gain"]["auc"] for other in others]
        cells = [f"`{task}`", f"{found['positives']:,}", share(found["auc"])]
        rows.append([*cells, *map(_told, gains)])
    scored = [f"baseline by its {other['metrics']['scored_on']}" for other in others]
    verdicts = ["verdict", "", *(one["verdict"] for one in (ours, *others))]
    return markdown(heads, [*rows, verdicts, ["scored", "", "", *scored]])


def _told(found: dict) -> str:
    """A gain and its interval; bold where 0 lies outside."""
    low, high = found["interval"]
    text = f"{gain(found['difference'])} ({span((low, high))})"
    return bold(text) if low > 0 or high < 0 else text
