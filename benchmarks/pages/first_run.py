"""Tables of first runs: untouched defaults beside what one would have tried instead."""

from benchmarks.pages.form import bold, gain, markdown, share, span

LOGS = {
    "kuairand": "KuaiRand, three days",
    "census": "Census-Income",
    "movielens": "MovieLens-small",
    "dense_users": "generated: few users, many rows each",
    "sparse_items": "generated: items rarely seen",
    "rare_labels": "generated: one label in a hundred",
    "chains": "generated: from the last two items, or taste",
}
MAIN = "ndcg@10"


def ranking(kept: dict) -> str:
    """A row a log and task: test AUC of ours and of both opponents."""
    rows = []
    for log, found in kept["result"]["logs"].items():
        for task, one in found["tasks"].items():
            areas = [share(one[name]) for name in ("ours", "lightgbm", "net")]
            told = [_told(one["difference"][name]) for name in ("lightgbm", "net")]
            rows.append([LOGS[log], f"`{task}`", *areas, *told])
    heads = ["", "task", "ours", "LightGBM", "plain net", "ours less LightGBM"]
    return markdown([*heads, "ours less the net"], rows) + _counts(kept["result"])


def sequences(kept: dict) -> str:
    """A row a log and kind of block: test NDCG@10 of ours, of counts and of a plain net."""
    rows = []
    for log, found in kept["result"]["sequences"].items():
        for block, one in found["models"].items():
            values = [one[MAIN], found["transitions"][MAIN], found["net"][MAIN]]
            told = [_told(one["difference"][n][MAIN]) for n in ("transitions", "net")]
            rows.append([LOGS[log], f"`{block}`", *map(share, values), *told])
    heads = ["", "block", "ours", "counted transitions", "plain net"]
    return markdown([*heads, "ours less transitions", "ours less the net"], rows)


def candidates(kept: dict) -> str:
    """Of each candidate for a default the gain in validation, log by log, and the mean."""
    rows = []
    for found in kept["result"].values():
        if not isinstance(found, dict):
            continue
        for name, by_log in found["gains"].items():
            cells = ", ".join(f"{LOGS[log]} {gain(g)}" for log, g in by_log.items())
            rows.append([name, cells, gain(found["mean"][name])])
    return markdown(["", "validation, less the first of its kind", "mean"], rows)


def _told(found: list) -> str:
    """A difference and its interval; bold where 0 lies outside."""
    value, low, high = found
    text = f"{gain(value)} ({span((low, high))})"
    return bold(text) if low > 0 or high < 0 else text


def _counts(result: dict) -> str:
    """How many comparisons told which is better."""
    pairs = [
        told
        for log in result["logs"].values()
        for task in log["tasks"].values()
        for told in task["difference"].values()
    ]
    better = sum(low > 0 for _, low, _ in pairs)
    worse = sum(high < 0 for _, _, high in pairs)
    said = f"ours is told better in {better}, worse in {worse}"
    return f"\nOf {len(pairs)} comparisons {said}.\n"
