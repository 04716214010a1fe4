"""Whether two runs were judged on the same rows, and each task on the same labels."""

from collections.abc import Sequence

from steadyrank.pipeline.examples.identity import same_rows, same_task


def apart(runs: Sequence[dict]) -> list[str]:
    """What keeps metrics of some runs from being compared with the first one's.

    Args:
        runs: Of each its ``name`` and ``metrics``.

    Returns:
        A sentence for each run and reason; none: everything compares.
    """
    first, *others = runs
    return [said for run in others for said in _apart(first, run)]


def comparable(one: dict, other: dict, task: str) -> bool | None:
    """Whether a task's metrics are of the same rows and labels; None: it cannot be told.

    Args:
        one: Metrics of a run, as ``metrics.json`` has them.
        other: Another's.
        task: A task of both.
    """
    a, b = one.get("identity"), other.get("identity")
    if a and b:
        return same_task(a, b, task)
    # of the training split, and of versions before: the very same examples alone
    same = one.get("fingerprint") == other.get("fingerprint")
    return True if same and one.get("split") == other.get("split") else None


def _apart(first: dict, run: dict) -> list[str]:
    ours, theirs = first["metrics"], run["metrics"]
    tasks = [
        task for task in ours.get("tasks") or {} if task in (theirs.get("tasks") or {})
    ]
    found = {task: comparable(ours, theirs, task) for task in tasks}
    unlike = [task for task, alike in found.items() if alike is False]
    unknown = [task for task, alike in found.items() if alike is None]
    a, b, said = first["name"], run["name"], []
    if unlike:
        identities = ours["identity"], theirs["identity"]
        what = "labels" if same_rows(*identities) else "rows"
        said.append(
            f"{b} was judged on other {what} than {a}: its metrics of {', '.join(unlike)} "
            "do not compare."
        )
    if unknown:
        said.append(
            f"Whether {b} was judged on the rows of {a} cannot be told for "
            f"{', '.join(unknown)}: their examples have no key in common. Give both the "
            "same data.key, and evaluate both with this version."
        )
    return said
