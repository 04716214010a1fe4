"""The rules of a contract: counts of a day against those of the days before. Pure.

What a limit allows is counted from all that the days before held.  Beyond it, a day is
refused if its rows cannot have come there by luck: by ``SIGMAS`` deviations of a count, or
by what a distance of two samples stays below but once in 1 / ``CHANCE`` times.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from steadyrank.pipeline.contract.profile import OCTAVE

PASS, HOLD, REFUSE = "PASS", "HOLD", "REFUSE"
SIGMAS = 4.0
CHANCE = 1e-4
TENTH = 0.1  # of what a value had, at least: below it has vanished
Bins = Mapping[str, int]


@dataclass(frozen=True)
class Found:
    """What a rule found.

    Attributes:
        verdict: PASS, HOLD or REFUSE.
        measured: Of the day.
        before: Of the days before: the lowest and the highest, or None.
    """

    verdict: str
    measured: float
    before: tuple[float, float] | None = None


def _judged(limit: float, half: float, is_beyond: Callable[[float], bool]) -> str:
    if is_beyond(limit):
        return REFUSE
    return HOLD if is_beyond(half) else PASS


def share(
    part: int,
    whole: int,
    before: Sequence[tuple[int, int]],
    limit: float,
    *,
    falls: bool = True,
) -> Found | None:
    """Rule on a share of rows: within ``limit`` of what it was.

    Args:
        part: Of the day.
        whole: Of the day.
        before: The same of days before.
        limit: Difference that is allowed.
        falls: Whether it may fall too low, too.

    Returns:
        None: there is nothing to compare.
    """
    shares = [a / b for a, b in before if b]
    if not whole or not shares:
        return None
    low, high, measured = min(shares), max(shares), part / whole
    spread = 1 / whole + 1 / sum(b for _, b in before)

    def is_beyond(most: float) -> bool:
        top, bottom = min(high + most, 1.0), max(low - most, 0.0)
        over = measured - top > SIGMAS * math.sqrt(top * (1 - top) * spread)
        under = bottom - measured > SIGMAS * math.sqrt(bottom * (1 - bottom) * spread)
        return over or (falls and under)

    return Found(_judged(limit, limit / 2, is_beyond), measured, (low, high))


def times(
    part: int, whole: int, before: Sequence[tuple[int, int]], limit: float
) -> Found | None:
    """Rule on a rate: at most ``limit`` times as high as it was, or as low.

    Args:
        part: A count of the day.
        whole: What it is of.
        before: The same of days before.
        limit: Factor that is allowed; half of it is its root.

    Returns:
        None: there is nothing to compare.
    """
    rates = [a / b for a, b in before if b]
    if not whole or not rates:
        return None
    low, high = min(rates), max(rates)

    def is_beyond(most: float) -> bool:
        top, bottom = whole * high * most, whole * low / most
        over = part - top > SIGMAS * math.sqrt(max(top, 1))
        return over or bottom - part > SIGMAS * math.sqrt(bottom)

    verdict = _judged(limit, math.sqrt(limit), is_beyond)
    return Found(verdict, part / whole, (low, high))


def number_distance(one: Bins, other: Bins) -> float:
    """Kolmogorov and Smirnov's: the largest difference of the shares up to a number."""
    bins = sorted({*one, *other}, key=int)
    n, m = sum(one.values()), sum(other.values())
    furthest, a, b = 0.0, 0, 0
    for place in bins:
        a, b = a + one.get(place, 0), b + other.get(place, 0)
        furthest = max(furthest, abs(a / n - b / m))
    return furthest


def id_distance(one: Bins, other: Bins) -> float:
    """Total variation: the share of the values that would have to be others."""
    n, m = sum(one.values()), sum(other.values())
    bins = {*one, *other}
    return sum(abs(one.get(b, 0) / n - other.get(b, 0) / m) for b in bins) / 2


def number_luck(one: Bins, other: Bins) -> float:
    """What ``number_distance`` of two samples of one distribution stays below."""
    spread = 1 / sum(one.values()) + 1 / sum(other.values())
    return math.sqrt(math.log(2 / CHANCE) / 2 * spread)


def id_luck(one: Bins, other: Bins) -> float:
    """What ``id_distance`` of two samples of one distribution stays below."""
    n, m = sum(one.values()), sum(other.values())
    spread = 1 / n + 1 / m
    shares = [(one.get(b, 0) + other.get(b, 0)) / (n + m) for b in {*one, *other}]
    mean = sum(math.sqrt(2 / math.pi * p * (1 - p) * spread) for p in shares) / 2
    return mean + math.sqrt(math.log(1 / CHANCE) / 2 * spread)


def distance(
    day: Bins, before: Sequence[Bins], limit: float, *, numbers: bool
) -> Found | None:
    """Rule on a distribution: no further than ``limit`` from what it was.

    What the days before lie apart, each from all others, is allowed on top.

    Args:
        day: Bins of the day.
        before: The same of days before.
        limit: Of the distance.
        numbers: Whether the bins are of numbers.
    """
    apart, luck = (number_distance, number_luck) if numbers else (id_distance, id_luck)
    before = [bins for bins in before if bins]
    if not day or not before:
        return None
    whole = add(before)
    others = [_rest(whole, bins) for bins in before] if len(before) > 1 else []
    natural = [apart(bins, rest) for bins, rest in zip(before, others, strict=False)]
    allowed, measured = max([luck(day, whole), *natural]), apart(day, whole)
    verdict = _judged(limit, limit / 2, lambda most: measured - allowed > most)
    return Found(verdict, measured, (0.0, max(natural, default=0.0)))


def add(parts: Sequence[Bins]) -> dict[str, int]:
    """Bins added up."""
    result: dict[str, int] = {}
    for part in parts:
        for place, count in part.items():
            result[place] = result.get(place, 0) + count
    return result


def _rest(whole: Bins, part: Bins) -> dict[str, int]:
    left = {place: count - part.get(place, 0) for place, count in whole.items()}
    return {place: count for place, count in left.items() if count}


def scale(day: Bins, before: Sequence[Bins], limit: float) -> Found | None:
    """Rule on how large numbers are that are not 0: by the mean of their logarithms.

    Args:
        day: Bins of the day.
        before: The same of days before.
        limit: Factor that is allowed; half of it is its root.

    Returns:
        None: there is nothing to compare; ``measured`` is a factor.
    """
    here = _logarithms(day)
    there = [found for found in map(_logarithms, before) if found]
    if not here or not there:
        return None
    means = [mean for mean, _ in there]
    low, high = min(means), max(means)
    luck = SIGMAS * math.hypot(here[1], max(error for _, error in there))
    off = max(here[0] - high, low - here[0], 0.0)

    def is_beyond(factor: float) -> bool:
        return off - luck > math.log2(factor)

    verdict = _judged(limit, math.sqrt(limit), is_beyond)
    middle = sum(means) / len(means)
    return Found(
        verdict, 2 ** (here[0] - middle), (2 ** (low - middle), 2 ** (high - middle))
    )


def _logarithms(bins: Bins) -> tuple[float, float] | None:
    """Mean of the binary logarithms of numbers that are not 0, and its standard error."""
    found = [(abs(int(place)) / OCTAVE, n) for place, n in bins.items() if int(place)]
    count = sum(n for _, n in found)
    if count < 2:
        return None
    mean = sum(value * n for value, n in found) / count
    squares = sum(n * (value - mean) ** 2 for value, n in found)
    # bins are some 4 % wide: numbers that are all alike are known to a bin's width
    return mean, math.sqrt((squares / (count - 1) + 1 / OCTAVE**2) / count)


def vanished(
    part: int, whole: int, before: Sequence[tuple[int, int]], least: float
) -> Found | None:
    """Rule on a value that was common every day: it must not be rarer than a tenth.

    Args:
        part: How often it was seen on the day.
        whole: All values of the day.
        before: The same of days before.
        least: The share that it had every day; of rarer ones nothing is said.
    """
    shares = [a / b for a, b in before if b]
    if not whole or not shares or min(shares) < least:
        return None
    expected = whole * min(shares)
    told = expected - SIGMAS * math.sqrt(expected) > expected * TENTH
    gone = told and part <= expected * TENTH
    return Found(REFUSE if gone else PASS, part / whole, (min(shares), max(shares)))


def worst(verdicts) -> str:
    """The verdict on all of it; PASS where nothing was judged."""
    found = {*verdicts}
    return REFUSE if REFUSE in found else HOLD if HOLD in found else PASS
