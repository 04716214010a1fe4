"""The table of days that were held to the data contract."""

from benchmarks.pages.form import markdown


def verdicts(found: dict) -> str:
    """Clean days, and each kind of fault."""
    result = found.get("result", found)
    clean = result["clean_days"]
    rows = [["clean days", str(clean), str(result["refused"]), "-"]]
    rows += [
        [name, *(str(counts[key]) for key in ("planted", "refused", "named"))]
        for name, counts in result["planted"].items()
    ]
    return markdown(["day", "days", "refused", "by name"], rows)


def cost(found: dict) -> str:
    """Preprocessing with the contract and without."""
    spent = found.get("result", found)["cost"]
    rows = [
        [name, f"{spent['rows_per_s'][name]:,.0f}", f"{spent['peak_memory_mb'][name]:,.0f}"]
        for name in ("with", "without")
    ]
    low, high = spent["seconds_ratio_range"]
    seconds = f"{spent['seconds_ratio']:.3f} of the seconds ({low:.3f} to {high:.3f})"
    rows.append(["with over without", seconds, f"{spent['memory_ratio']:.3f}"])
    return markdown(["contract", "rows a second of the processor", "peak memory, MB"], rows)
