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
