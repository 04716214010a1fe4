"""Tables of the sweep over KuaiRand."""

from statistics import mean

from benchmarks.pages.form import gain, markdown, share

OF_THE_SCORE = ("is_click", "long_view", "is_like")


def trials(sweep: dict) -> str:
    """The first trial, the best, and the best by the tasks of the score."""
    by_name = {trial["trial"]: trial for trial in sweep["trials"]}
    three = max(sweep["trials"], key=_of_the_score)["trial"]
    rows = []
    for name, label in (
        (sweep["own"], "the config as it is: the first trial"),
        (sweep["best"], "the best by the mean of six tasks"),
        (three, "the best by the three tasks of the score"),
    ):
        trial = by_name[name]
        rows.append([
            f"{label}, trial {name}", share(trial["value"]),
            gain(trial["value"] - sweep["own_value"]),
            share(_of_the_score(trial)),
        ])  # fmt: skip
    heads = [
        "validation AUC",
        "mean of six tasks",
        "less the first",
        "of the score's three",
    ]
    return markdown(heads, rows)


def _of_the_score(trial: dict) -> float:
    return mean(trial["metrics"][task]["auc"] for task in OF_THE_SCORE)
