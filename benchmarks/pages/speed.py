"""Tables of benchmarks that take time, too: times count where the machine was quiet."""

from benchmarks.pages.form import gain, markdown, share

QUIET = 0.5  # a load, before a benchmark began, at which its times count


def nights(kept: dict) -> str:
    """AUC night by night, and the last night beside a training afresh."""
    found = kept["result"]
    days = found["auc_by_day"]
    table = markdown(list(days), [[share(area) for area in days.values()]])
    rows = [
        ["nights released, refused", f"{found['released']}, {found['refused']}"],
        ["the poisoned day was refused and left out", _yes(found["poisoned_refused"])],
        ["nights that trained on it", str(found["trained_on_poison"])],
        [
            "AUC of the last night, of a model trained afresh on all good days before it",
            f"{share(found['auc_last_day'])}, {share(found['cold_auc_last_day'])}: "
            f"{gain(found['warm_minus_cold_auc'])}",
        ],
    ]
    if kept["load"][0] < QUIET:
        rows.append(
            ["its time of training over that", f"{found['warm_over_cold_time']:.2f}"]
        )
    return f"{table}\n{markdown(['', ''], rows)}"


def peers(kept: dict) -> str:
    """Examples a second of every side, and ours over theirs."""
    cells = kept["result"]["examples_per_s"]
    sides = list(dict.fromkeys(side for speeds in cells.values() for side in speeds))
    rows = [
        [cell, *(_beside(speeds, side) for side in sides)] for cell, speeds in cells.items()
    ]
    return markdown(
        ["model, ids, batch", *(side.replace("_", " ") for side in sides)], rows
    )


def _beside(speeds: dict[str, float], side: str) -> str:
    if side not in speeds:
        return "failed"
    ratio = speeds["ours"] / speeds[side]
    return f"{speeds[side]:,.0f}" + (f" ({ratio:.1f})" if side != "ours" else "")


def _yes(value: int) -> str:
    return "yes" if value else "no"


def exact_auc(kept: dict) -> str:
    """Agreement with scikit-learn, and memory."""
    found = kept["result"]
    rows = [
        ["AUC of 5 M rows less scikit-learn's", f"{found['difference']:.1g}"],
        [
            "memory above what the process held, 10 M rows",
            f"{found['peak_memory_mb']:.0f} MB",
        ],
        ["scikit-learn's, 5 M rows", f"{found['sklearn_peak_memory_mb']:.0f} MB"],
    ]
    if kept["load"][0] < QUIET:
        rows.append(["rows a second over scikit-learn's", f"{found['ratio']:.0f} times"])
    return markdown(["", "measured"], rows)
