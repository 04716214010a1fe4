"""The table of logs as other programs write them."""

from benchmarks.pages.form import markdown

OUTCOMES = ("right", "refused_in_words", "wrong", "tracebacks")


def outcomes(inputs: dict) -> str:
    """How reading went, by writer and in all."""
    result = inputs.get("result", inputs)
    rows = [
        [writer, sum(found.values()), *(found.get(name, 0) for name in OUTCOMES)]
        for writer, found in result["by_writer"].items()
    ]
    total = ["all", result["tried"], *(result[name] for name in OUTCOMES)]
    heads = ["writer", "logs", "right", "refused in words", "wrong", "tracebacks"]
    return markdown(heads, [list(map(str, row)) for row in [*rows, total]])
