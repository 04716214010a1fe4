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


def nights(kept: dict) -> str:
    """What grew over nights after the first third, and what there was at the end."""
    found = kept["result"]
    rows = [
        [
            words,
            f"{found['nights_growth'][key]:+,.0f}",
            f"{found['nights_last'][key]:,.0f}",
        ]
        for key, words in GROWN.items()
    ]
    return markdown([f"{found['nights']} nights", "grown", "at the end"], rows)
