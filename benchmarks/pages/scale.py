"""Tables of the benchmark of scale, and what its rates come to for a large day."""

from benchmarks.pages.form import count, markdown, times

DAY_ROWS = 10_000_000_000
HOURS = 4  # in which a day is to be preprocessed


def sizes(kept: dict) -> str:
    """Each size: CPU, memory of the whole tree of processes, and disk."""
    found = kept["result"]["sizes"]
    rows = [
        [
            f"{each['rows'] / 1e6:g} M",
            f"{each['cpu_s']:.0f}",
            f"{each['peak_mb']:.0f} MB",
            f"{each['log_mb'] / 1e3:.2f} GB",
            f"{each['spilled_mb'] / 1e3:.2f} GB",
            f"{each['output_mb'] / 1e3:.2f} GB",
        ]
        for each in found
    ]
    heads = ["rows", "CPU seconds", "peak memory", "log and side tables", "spilled"]
    return markdown([*heads, "output"], rows)


def beside(kept: dict) -> str:
    """The large log over the small one, and the Polars script."""
    found = kept["result"]
    middle = found["sizes"][1]
    rows = [
        ["peak of 20 times the rows", f"{times(found['memory_ratio_20x'], 2)} times"],
        ["CPU seconds a million rows, of the largest", f"{found['cpu_s_per_million']:.1f}"],
        [
            "of the middle log: ours, the Polars script's",
            f"{middle['cpu_s'] / middle['rows'] * 1e6:.1f}, "
            f"{found['polars_cpu_s_per_million']:.1f}",
        ],
        [
            "peak of the middle log: ours, the Polars script's",
            f"{middle['peak_mb']:.0f} MB, {found['polars_peak_memory_mb']:.0f} MB",
        ],
        ["rows that no run accounted for", f"{found['lost_rows']}"],
    ]
    return markdown(["", "measured"], rows)


def engines(kept: dict) -> str:
    """The local parallel modes with two workers."""
    rows = [
        [
            f"`{name}`",
            "yes" if each["equal"] else "NO",
            f"{each['peak_memory_mb']:.0f} MB",
        ]
        for name, each in kept["result"]["engines"].items()
    ]
    return markdown(["mode", "every byte that of one process", "peak memory"], rows)


def day(kept: dict) -> str:
    """10 B rows at the rates of the smallest and the largest log; does the middle fit?"""
    small, middle, large = kept["result"]["sizes"]
    own = {name: rate(small, large, name) for name in AMOUNTS}
    rows = []
    for name, (said, unit, by, large_unit) in AMOUNTS.items():
        off = predicted(small, own[name], middle, name) / middle[name] - 1
        day = f"{own[name] * DAY_ROWS / by:,.0f} {large_unit}"
        rows.append([said, f"{own[name] * 1e6:.3g} {unit}", f"{100 * off:+.0f} %", day])
    cores = own["cpu_s"] * DAY_ROWS / 3600 / HOURS
    rows.append([f"cores that are busy for {HOURS} hours", "", "", count(cores)])
    heads = ["", "of a million rows more", "of the middle log, predicted", "of 10 B rows"]
    return markdown(heads, rows)


AMOUNTS = {
    "cpu_s": ("CPU", "s", 3600, "hours"),
    "log_mb": ("read", "MB", 1e6, "TB"),
    "spilled_mb": ("spilled", "MB", 1e6, "TB"),
    "output_mb": ("written", "MB", 1e6, "TB"),
}


def rate(small: dict, large: dict, name: str) -> float:
    """How much a row more takes."""
    return (large[name] - small[name]) / (large["rows"] - small["rows"])


def predicted(small: dict, of_a_row: float, middle: dict, name: str) -> float:
    return small[name] + of_a_row * (middle["rows"] - small["rows"])
