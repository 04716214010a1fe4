"""Tables of the multitask study."""

from benchmarks.pages.form import gain, markdown, share, span

NAMES = {
    "single": "single",
    "mmoe": "MMoE",
    "ple": "PLE, one level",
    "shared_bottom": "shared bottom",
}


def _gained(one: dict) -> str:
    return f"{gain(one['mean'])} ({span(one['interval'])})"


def models(part: dict) -> str:
    """A row a model: test AUC of every task, and the gain of the mean."""
    tasks = list(part["models"]["single"]["auc"])
    heads = ["model", "dense weights; tables", *tasks, "mean", "gain (95 % interval)"]
    rows = []
    for name, one in part["models"].items():
        size = one["parameters"]
        rows.append([
            NAMES[name], f"{size['dense']:,}; {size['embedding']:,}",
            *(share(one["auc"][task]["mean"]) for task in tasks),
            share(one["mean_auc"]["mean"]),
            "" if name == "single" else _gained(one["mean_gain"]),
        ])  # fmt: skip
    return markdown(heads, rows)


def by_task(part: dict) -> str:
    """PLE's gain in every task and in their mean."""
    ple = part["models"]["ple"]
    rows = [
        [task, gain(one["mean"]), span(one["interval"])]
        for task, one in [*ple["gain"].items(), ("mean", ple["mean_gain"])]
    ]
    over = [gain(ple["mean_auc"]["mean"] - part["models"]["mmoe"]["mean_auc"]["mean"]), ""]
    return markdown(
        ["PLE's gain", "mean", "95 % interval"], [*rows, ["mean, over MMoE", *over]]
    )


def synthetic(part: dict) -> str:
    """Squared error less, by the correlation of the tasks."""
    points = list(part["gains"]["ple"])
    rows = [
        [f"{NAMES[name]} ({part['parameters'][name]:,} weights)"]
        + [gain(one[p]["mean"]) for p in points]
        + [gain(sum(one[p]["mean"] for p in points) / len(points))]
        for name, one in part["gains"].items()
    ]
    over = part["ple_over_mmoe"]
    rows.append(
        ["PLE over MMoE"]
        + [gain(over[p]["mean"]) for p in points]
        + [_gained(part["mean_ple_over_mmoe"])]
    )
    return markdown(["", *(f"p = {p}" for p in points), "mean (95 % interval)"], rows)


def seesaw(part: dict) -> str:
    """Two tasks' test AUC, epoch by epoch."""
    most = max(len(run) for run in part["runs"].values())
    heads = ["is_click, is_like", *(f"epoch {i + 1}" for i in range(most))]
    rows = []
    for name, run in part["runs"].items():
        cells = [
            f"{share(e['test']['is_click'])}, {share(e['test']['is_like'])}" for e in run
        ]
        rows.append([name, *cells, *[""] * (most - len(cells))])
    return markdown(heads, rows)


def overview(kuairand: dict, census: dict) -> str:
    """PLE's gain over single-task models, both logs."""
    rows = [
        [name, gain(one["mean"]), span(one["interval"])]
        for name, one in (
            ("KuaiRand, six tasks", kuairand["models"]["ple"]["mean_gain"]),
            ("Census-Income, two tasks", census["models"]["ple"]["mean_gain"]),
        )
    ]
    return markdown(["mean test AUC, PLE less single", "gain", "95 % interval"], rows)
