"""The world behind the synthetic log: who likes what, how that drifts, what is likely.

Users and items have latent vectors and traits that the log never shows; its columns
show what they cause.  Everything here is drawn once, before any exposure, so the
probability of every label is known exactly.  Axes: N exposures, U users, I items,
K latent dimensions, C categories.
"""

import math
from dataclasses import dataclass

import numpy as np

DAYS = 14
LATENT = 4
CATEGORIES = 12
ROTATION = 0.6  # radians that preferences turn by over the whole log
WATCH_SIGMA = 0.6  # of the logarithm of watch time, given user, item and moment
LONG_VIEW_MS = 18_000  # a long view: watched to the end, or for this long

TABS = {"home": 0.0, "following": 0.5, "search": 0.3, "trending": -0.2, "profile": 0.2}
TAB_SHARES = (0.55, 0.15, 0.08, 0.17, 0.05)
DEVICES = {"android": 0.0, "ios": 0.15, "web": -0.5, "tablet": 0.3}
DEVICE_SHARES = (0.58, 0.3, 0.08, 0.04)


@dataclass(frozen=True)
class Label:
    """How one binary label depends on user, item and their match.

    Attributes:
        rate: Share of all exposures that carry the label.
        user, item, match, context: Weights of the standardised causes in the logit.
    """

    rate: float
    user: float
    item: float
    match: float
    context: float = 0.0


# Exposures are judged by is_click; the other labels exist only after a click. The
# weights bring the reachable AUC of is_click to about 0.8 (tests/pipeline pins it).
LABELS = {
    "is_click": Label(0.35, user=0.8, item=0.8, match=0.8, context=1.0),
    "is_like": Label(0.03, user=0.9, item=0.6, match=0.6),
    "is_comment": Label(0.005, user=1.0, item=0.7, match=0.3),
    "is_share": Label(0.008, user=0.8, item=0.8, match=0.3),
    "is_follow": Label(0.004, user=0.7, item=0.9, match=0.5),
}


@dataclass(frozen=True)
class World:
    """What is true and not seen. Arrays are float64 unless said otherwise.

    Attributes:
        user_vectors: [U, K] preferences on the first day.
        item_vectors: [I, K] what items offer.
        centroids: [C, K] the typical item of each category.
        category: [I] int64, the category of each item.
        user_traits, item_traits: By label: [U] and [I], standard normal.
        watch_traits: [U] how much longer than others a user watches, in logarithm.
        quality: [I] of the item's author; also in ``item_traits``.
        author: [I] int64.
        duration_ms: [I] heavy-tailed.
        user_shares: [U] Zipf shares of exposures.
        item_shares: [DAYS, I] Zipf shares of exposures on each day.
    """

    user_vectors: np.ndarray
    item_vectors: np.ndarray
    centroids: np.ndarray
    category: np.ndarray
    user_traits: dict[str, np.ndarray]
    item_traits: dict[str, np.ndarray]
    watch_traits: np.ndarray
    quality: np.ndarray
    author: np.ndarray
    duration_ms: np.ndarray
    user_shares: np.ndarray
    item_shares: np.ndarray


def create_world(rng: np.random.Generator, users: int, items: int) -> World:
    """Draw a world of ``users`` users and ``items`` items."""
    centroids = rng.standard_normal((CATEGORIES, LATENT))
    category = rng.integers(0, CATEGORIES, items)
    author = rng.integers(0, max(1, items // 4), items)
    quality = rng.standard_normal(author.max() + 1)[author]
    own = rng.standard_normal((items, LATENT))
    return World(
        user_vectors=rng.standard_normal((users, LATENT)),
        item_vectors=0.8 * centroids[category] + 0.6 * own,
        centroids=centroids,
        category=category,
        user_traits=traits(rng, rng.standard_normal(users)),
        item_traits=traits(rng, quality),
        watch_traits=0.4 * rng.standard_normal(users),
        quality=quality,
        author=author,
        duration_ms=1000 * np.exp(rng.normal(3.2, 0.9, items)),
        user_shares=zipf(rng, users, exponent=0.9),
        item_shares=drifting_shares(rng, items),
    )


def traits(rng: np.random.Generator, common: np.ndarray) -> dict[str, np.ndarray]:
    """Standard normal traits, one for each label, all correlated with ``common``."""
    return {
        label: 0.6 * common + 0.8 * rng.standard_normal(len(common)) for label in LABELS
    }


def zipf(rng: np.random.Generator, size: int, exponent: float) -> np.ndarray:
    """Zipf-Mandelbrot shares, 1 / (rank + 10)^exponent, in random order of rank."""
    weights = (rng.permutation(size) + 10.0) ** -exponent
    return weights / weights.sum()


def drifting_shares(rng: np.random.Generator, items: int) -> np.ndarray:
    """Shares of items on each day: Zipf, each item rising or falling; [DAYS, I]."""
    trend = rng.standard_normal(items)
    days = np.linspace(-1, 1, DAYS)[:, None]
    weights = zipf(rng, items, exponent=1.0) * np.exp(days * trend)
    return weights / weights.sum(axis=1, keepdims=True)


def draw(rng: np.random.Generator, shares: np.ndarray, size: int) -> np.ndarray:
    """Draw ``size`` indices with the given shares, by inverse distribution; int64."""
    edges = np.cumsum(shares)
    return np.searchsorted(edges[:-1] / edges[-1], rng.random(size), side="right")


def match(world: World, user: np.ndarray, item: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Inner product of preference and offer, the preference rotated by its age; [N].

    Args:
        world: The truth.
        user: [N] indices of users.
        item: [N] indices of items.
        age: [N] time as a share of the whole log, 0 to 1.
    """
    cos, sin = np.cos(ROTATION * age), np.sin(ROTATION * age)
    total = np.zeros(len(user))
    for first in range(0, LATENT, 2):  # planes of rotation
        u, v = world.user_vectors[user, first], world.user_vectors[user, first + 1]
        total += (cos * u - sin * v) * world.item_vectors[item, first]
        total += (sin * u + cos * v) * world.item_vectors[item, first + 1]
    return total / math.sqrt(LATENT)


def probabilities(world: World, exposure: dict) -> dict[str, np.ndarray]:
    """True probability of each label, in its own sample space; {label: [N]}.

    ``is_click`` is given an exposure, every other label given a click.

    Args:
        world: The truth.
        exposure: ``user``, ``item``, ``match`` and ``context``, [N] each.
    """
    given, result = np.ones(len(exposure["user"])), {}
    for name, label in LABELS.items():
        logit = label.user * world.user_traits[name][exposure["user"]]
        logit += label.item * world.item_traits[name][exposure["item"]]
        logit += label.match * exposure["match"] + label.context * exposure["context"]
        rate = label.rate if name == "is_click" else label.rate / LABELS["is_click"].rate
        result[name] = sigmoid(logit + intercept(logit, rate, given))
        given = result["is_click"]
    return result


def intercept(logit: np.ndarray, rate: float, weight: np.ndarray) -> float:
    """Find c such that the weighted mean of sigmoid(logit + c) is ``rate``.

    By bisection, over at most some 50,000 evenly spaced rows.
    """
    step = -(-len(logit) // 50_000)
    logit, weight = logit[::step], weight[::step]
    low, high = -30.0, 30.0
    for _ in range(30):
        middle = (low + high) / 2
        mean = np.average(sigmoid(logit + middle), weights=weight)
        low, high = (middle, high) if mean < rate else (low, middle)
    return (low + high) / 2


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def watch_location(world: World, exposure: dict) -> np.ndarray:
    """Mean of the logarithm of watch time in ms, given a click; [N]."""
    user, item = exposure["user"], exposure["item"]
    duration = 0.7 * np.log(world.duration_ms[item]) + 2.2
    return duration + world.watch_traits[user] + 0.3 * exposure["match"]


def expected_watch_ms(location: np.ndarray) -> np.ndarray:
    """Mean of the log-normal watch time, given a click; [N]."""
    return np.exp(location + WATCH_SIGMA**2 / 2)


def long_view_bound_ms(world: World, item: np.ndarray) -> np.ndarray:
    """Watch time from which on a view counts as long; [N]."""
    return np.minimum(world.duration_ms[item], LONG_VIEW_MS)


def long_view_probability(location: np.ndarray, bound_ms: np.ndarray) -> np.ndarray:
    """P(watch time >= bound), given a click; [N]."""
    return normal_cdf((location - np.log(bound_ms)) / WATCH_SIGMA)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Standard normal distribution function (Abramowitz, Stegun 26.2.17), to 1e-7."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    factors = (1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.319381530)
    tail = np.zeros_like(t)
    for factor in factors:
        tail = t * (factor + tail)
    tail *= np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return np.where(x >= 0, 1 - tail, tail)
