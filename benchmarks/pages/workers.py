"""Tables of trainings over several processes."""

from benchmarks.pages.form import markdown


def found(kept: dict) -> str:
    """What was promised, and what was found."""
    result = kept["result"]
    equal = "yes" if result["resumed_equal"] else "no"
    rows = [
        ["largest difference of any number", f"{result['weights_max_difference']:.1e}"],
        ["rows trained on, by all workers", f"{result['rows_trained_on']:,}"],
        ["the same rows as one process", "yes" if result["rows_read_once"] else "no"],
        [
            "bytes of table rows that are sent, over those of each id once",
            f"{result['bytes_over_unique_rows']:.2f}",
        ],
        [
            "readings of ids, over ids: what was sent before",
            f"{result['readings_over_unique_rows']:.2f}",
        ],
        ["workers that were lost", str(result["kills"])],
        ["after which the others ended as they must", str(result["kills_survived"])],
        ["resumed to the undisturbed weights, to the bit", equal],
    ]
    return markdown(["", "measured"], rows)


def weights(kept: dict) -> str:
    """Each model and number of processes."""
    rows = [
        [name.replace("_", "-"), str(one["tensors"]), f"{one['largest']:.1e}"]
        for name, one in kept["result"]["weights"].items()
    ]
    return markdown(["", "tensors", "largest difference from one process"], rows)


def kills(kept: dict) -> str:
    """Each signal."""
    rows = [
        [
            row["signal"],
            "the chief" if row["worker"] == 0 else "the other",
            f"{row['seconds']:g} s",
            str(row["status_of_the_other"]),
        ]
        for row in kept["result"]["kills_table"]
    ]
    head = ["signal", "to", "until the one beside it had ended", "its status"]
    return markdown(head, rows)


def steps(kept: dict) -> str:
    """Steps a second."""
    rows = [[count, f"{rate:.1f}"] for count, rate in kept["result"]["steps_per_s"].items()]
    return markdown(["processes", "steps a second"], rows)
