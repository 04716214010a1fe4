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


KILLS = ("dies", "torn write", "killed at random")
GROWN = {
    "resident_mb": "resident memory, MB",
    "descriptors": "open descriptors",
    "threads": "threads",
    "scratch": "entries of the temporary folder",
}


def nights(kept: dict) -> str:
    """What grew over nights after the first third, and what there was at the end."""
    return _grown(kept, "nights", f"{kept['result']['nights']} nights")


def training(kept: dict) -> str:
    """The same of one training."""
    return _grown(kept, "minutes", f"{kept['result']['minutes']:.0f} minutes of training")


def _grown(kept: dict, what: str, title: str) -> str:
    grown, last = (kept["result"][f"{what}_{name}"] for name in ("growth", "last"))
    rows = [[w, f"{grown[key]:+,.0f}", f"{last[key]:,.0f}"] for key, w in GROWN.items()]
    return markdown([title, "grown", "at the end"], rows)


def stages(kept: dict) -> str:
    """Of whole stages: operations, and what was tried of them."""
    found = kept["result"]
    rows = []
    for stage, operations in found["operations"].items():
        own = [row for row in found["table"] if row["stage"] == stage]
        kills = sum(row["tried"] for row in own if row["fault"] in KILLS)
        counts = [operations, sum(r["tried"] for r in own), kills]
        counts.append(sum(r["survived"] for r in own))
        rows.append([stage, *(f"{count:,}" for count in counts)])
    total = [found[key] for key in ("tried", "kills", "survived")]
    rows.append(["all", "", *(f"{count:,}" for count in total)])
    return markdown(["stage", "operations", "tried", "killed", "survived"], rows)


def costs(kept: dict) -> str:
    """CPU with and without protections."""
    rows = [
        [
            stage,
            f"{kept['result'][stage]['seconds']:.1f}",
            f"{kept['result'][stage]['ratio']:.3f}",
            f"{kept['result'][stage]['upper']:.3f}",
        ]
        for stage in ("preprocess", "train")
    ]
    return markdown(["", "CPU, s", "ratio", "upper end of its 95 % interval"], rows)
