"""Tables of the runs on clusters."""

from benchmarks.pages.form import count, markdown


def runs(*kept: dict) -> str:
    """Each engine at each size."""
    rows = [
        [
            f"{name.capitalize()} {each['versions'][name]}",
            count(one["result"]["rows"]),
            "yes" if each["equal"] else "NO",
            "yes" if each["bucket_equal"] else "NO",
            each["killed"],
        ]
        for one in kept
        for name, each in one["result"]["engines"].items()
    ]
    heads = ["engine", "rows", "every byte that of one process", "so in a bucket"]
    return markdown([*heads, "a worker killed half way"], rows)
