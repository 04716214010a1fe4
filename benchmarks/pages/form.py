"""How figures are written: AUCs as .8167, gains with their sign, tables in Markdown."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

NEVER = "never"


def share(value: float, places: int = 4) -> str:
    """A number from 0 to 1, such as an AUC: ``.8167``."""
    text = f"{value:.{places}f}"
    return text[1:] if text.startswith("0.") else text


def gain(value: float, places: int = 4) -> str:
    """A difference: ``+.0052``, ``−.0038``, ``.0000``."""
    text = f"{abs(value):.{places}f}"
    text = text[1:] if text.startswith("0.") else text
    if not float(text or 0):
        return text
    return ("+" if value > 0 else "−") + text


def span(bounds: Sequence[float], places: int = 4) -> str:
    """A range of differences: ``+.0011 to +.0093``."""
    return " to ".join(gain(bound, places) for bound in bounds)


def times(value: float | None, places: int = 1) -> str:
    """How many times as much: ``3.7``, below 1 ``0.85``; 0 and nothing are "never"."""
    return f"{value:.{places + (value < 1)}f}" if value else NEVER


def percent(value: float, places: int = 0) -> str:
    """A fraction in percent: ``72 %``."""
    return f"{100 * value:.{places}f} %"


def count(value: float) -> str:
    """A large number, to three digits: ``24,800``."""
    digits = 3 - len(str(int(abs(value))))
    return f"{round(value, min(digits, 0)):,.0f}"


def bold(text: str) -> str:
    return f"**{text}**"


def listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and Student's interval at 95 %, of a few values."""
    mean, n = float(np.mean(values)), len(values)
    half = stats.t.ppf(0.975, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        heads: Of the columns.
        rows: Each as long as the heads.

    Raises:
        ValueError: A row is of another length.
    """
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    for line in lines:
        if len(line) != len(heads):
            raise ValueError(f"a row must have {len(heads)} cells. Received: {line}")
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
