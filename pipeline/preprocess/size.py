"""About how many bytes preprocessing will write, by what is known before it begins."""

EXAMPLES = "examples, and what is sorted on the way"
BYTES_A_VALUE = 4  # of ids and numbers in the examples
COPIES = 2  # rows on their way, and the examples


def size_of(plan) -> int:
    """Bytes, about.

    Args:
        plan: The ``Plan`` of examples of any kind.
    """
    config = plan.config
    items = (*getattr(config, "features", ()), *getattr(config, "tasks", ()))
    values = sum(
        max(1, getattr(item, "max_values", 0) or getattr(item, "hashes", 0))
        for item in items
    )
    drawn = getattr(config.data, "negatives", None)
    rows = plan.log.rows * (1 + (drawn.per_positive if drawn else 0))
    return COPIES * BYTES_A_VALUE * rows * max(1, values)
