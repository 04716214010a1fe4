"""Tables of the shipped configs' runs, from the raw log to the verdict."""

from benchmarks.pages.form import bold, gain, listed, markdown, share, span

TRIALS = {
    "00": "the config as it is: the first trial",
    "10": "the best by the mean of six tasks",
    "04": "the best by the three tasks of the score",
}
LABELS = {
    "sequence_cl": "`sequence_cl.yaml`: 2 blocks on 80 %, then 4 on all",
    "sequence_ts": "`sequence_ts.yaml`: 1, 2, 4 blocks",
    "transferred": "`sequence_tf.yaml`: 4 blocks, from the blocks of the line above",
    "fresh": "the same from fresh weights",
}
COMPARED = {
    "without_author_id": "without `author_id`",
    "mmoe": "MMoE in place of PLE",
}
MRR, HR, NDCG = "mrr@5", "hr@20", "ndcg@10"


def ranking(kept: dict) -> str:
    """A row a task: AUC and calibration, with the bounds that gates and reports give."""
    (run,) = kept["result"].values()
    rows = []
    for task, one in run["metrics"]["tasks"].items():
        bounds, found = one["intervals"], one["calibration"]
        auc = f"{share(one['auc'])} ({listed(map(share, bounds['auc']))})"
        of_calibration = listed(f"{bound:.2f}" for bound in bounds["calibration"])
        positives = f"{one['positives']:,} of {one['rows']:,}"
        rows.append([task, positives, auc, f"{found:.2f} ({of_calibration})"])
    heads = ["test days", "positives", "AUC (95 % interval)"]
    verdict = f"\nVerdict: {run['verdict']}.\n"
    return markdown([*heads, "predicted over observed (95 % interval)"], rows) + verdict


def trials(kept: dict) -> str:
    """Test AUC of the sweep's trials, trained again: every task, and the mean."""
    tasks = list(kept["result"]["00"]["metrics"]["tasks"])
    rows = []
    for name, run in kept["result"].items():
        found = run["metrics"]["tasks"]
        areas = [found[task]["auc"] for task in tasks]
        follow = f"{found['is_follow']['calibration']:.2f}"
        rows.append([f"{TRIALS[name]}, trial {name}", *map(share, areas),
                     share(sum(areas) / len(areas)), follow])  # fmt: skip
    return markdown(
        ["test AUC", *tasks, "mean", "is_follow: predicted over observed"], rows
    )


def sequences(kept: dict) -> str:
    """A row a config, seeds beside each other."""
    rows = []
    for name, label in LABELS.items():
        runs = [run for key, run in kept["result"].items() if name in key]
        tasks = [run["metrics"]["tasks"]["next_item"] for run in runs]
        popular = runs[0]["metrics"]["popularity"]
        over = listed(
            f"{gain(one['difference'])} ({span(one['interval'])})"
            for one in (task["gain_over_popularity"][HR] for task in tasks)
        )
        counted = listed(
            f"{gain(one['difference'])} ({span(one['interval'])})"
            for one in (task["gain_over_transitions"][NDCG] for task in tasks)
        )
        rows.append([
            label, listed(share(task[MRR]) for task in tasks), share(popular[MRR]),
            listed(share(task[HR]) for task in tasks), share(popular[HR]), over, counted,
            listed(run["verdict"] for run in runs),
        ])  # fmt: skip
    heads = ["", "test MRR@5", "popularity's", "HR@20", "popularity's"]
    heads += ["HR@20 less popularity's (95 % interval)"]
    return markdown([*heads, "NDCG@10 less counted transitions'", "verdict"], rows)


def phases(kept: dict) -> str:
    """Where each phase of CL and TS ended."""
    rows = []
    for name in ("sequence_cl", "sequence_ts"):
        for phase in kept["result"][name]["training"]["phases"]:
            blocks, grow = phase["blocks"], phase["grow"] or ""
            rows.append([f"`{name}.yaml`", str(blocks), grow, f"{phase['sequences']:,}",
                         str(phase["steps"]), share(phase["best"])])  # fmt: skip
    heads = ["", "blocks", "grown", "sequences", "steps", "best validation NDCG@10"]
    return markdown(heads, rows)


def compared(kept: dict) -> str:
    """A row a task: the shipped model, and what the others gain over it on its rows."""
    ours, *others = (kept["result"][name] for name in ("kuairand", *COMPARED))
    heads = ["", "1s", "AUC", *(f"{name}, 95 % interval" for name in COMPARED.values())]
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


def demo(kept: dict) -> str:
    """What ``make demo`` says of the synthetic log, whose true probabilities are known."""
    run = kept["result"]["demo"]
    rows = run["rows"]
    splits = listed(f"{name} {count:,}" for name, count in rows["splits"].items())
    rejected = sum(rows["rejected"].values())
    said = (
        f"{rows['read']:,} rows read = {rows['written']:,} written ({splits}) + "
        f"{rows['duplicates']:,} duplicates + {rejected:,} rejected.\n\n"
    )
    table = []
    for task, one in run["metrics"]["tasks"].items():
        if one["kind"] == "binary":
            cells = [share(one[key]) for key in ("auc", "reachable_auc", "gauc")] + [""]
        else:
            cells = ["", "", "", f"{one['rmse']:,.0f}"]
        table.append([task, f"{one['rows']:,}", *cells, f"{one['calibration']:.2f}"])
    heads = ["task", "test rows", "AUC", "reachable", "GAUC", "RMSE"]
    verdict = f"\nVerdict: {run['verdict']}.\n"
    return said + markdown([*heads, "predicted over observed"], table) + verdict
