"""Tables of the simulator of crashes."""

from benchmarks.pages.form import markdown


def counts(kept: dict) -> str:
    """What was tried, and what was not survived."""
    found = kept["result"]
    rows = [
        ["operations that were failed", f"{found['operations']:,}"],
        [
            "tried: operations times the ways they fail, and processes killed",
            f"{found['tried']:,}",
        ],
        ["of them processes killed for good", f"{found['kills']:,}"],
        ["survived", f"{found['survived']:,}"],
        ["states that were neither before nor after", str(found["lost"])],
        ["statuses that do not say what to do", str(found["wrong_status"])],
        ["leftovers that the next command does not sweep", str(found["leftovers"])],
    ]
    return markdown(["", "measured"], rows)


def by_stage(kept: dict) -> str:
    """Each stage and fault."""
    rows = [
        [row["stage"], row["fault"], f"{row['tried']:,}", f"{row['survived']:,}"]
        for row in kept["result"]["table"]
    ]
    return markdown(["stage", "fault", "tried", "survived"], rows)


GROWN = {
    "resident_mb": "resident memory, MB",
    "descriptors": "open descriptors",
    "threads": "threads",
    "scratch": "entries of the temporary folder",
}


def long_runs(of_nights: dict, of_minutes: dict) -> str:
    """What grew after the first third, and what there was at the end."""
    runs = {
        f"{of_nights['result']['nights']} nights": (of_nights, "nights"),
        f"{of_minutes['result']['minutes']:g} minutes": (of_minutes, "minutes"),
    }
    rows = []
    for key, words in GROWN.items():
        row = [words]
        for kept, what in runs.values():
            grown, last = (
                kept["result"][f"{what}_{part}"][key] for part in ("growth", "last")
            )
            row += [f"{grown:+,.0f}", f"{last:,.0f}"]
        rows.append(row)
    heads = [""] + [head for run in runs for head in (f"grown in {run}", "at the end")]
    return markdown(heads, rows)
