"""What the synthetic log shows of its users and items: two side tables."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.synthetic.world import CATEGORIES, World

COUNTRIES = np.array(["BR", "DE", "FR", "GB", "ID", "IN", "JP", "MX", "NG", "US"])
CATEGORY_NAMES = np.array(
    ["animals", "beauty", "comedy", "dance", "education", "fashion"]
    + ["food", "gaming", "music", "news", "sports", "travel"]
)
TAGS_PER_CATEGORY = 5
MAX_TAGS = 4
INTERESTS = 3


def user_ids(index: np.ndarray) -> np.ndarray:
    """Ids are not indices: real ones have gaps."""
    return 100_000 + 7 * index


def item_ids(index: np.ndarray) -> np.ndarray:
    return 5_000_000 + 13 * index


def user_table(rng: np.random.Generator, world: World) -> pa.Table:
    """Columns: user_id, country, account_age_days (NaN), interests (list of string)."""
    users = len(world.user_shares)
    activity = world.user_traits["is_click"]
    age = np.floor(np.exp(5 + 0.5 * activity + rng.standard_normal(users)))
    age[rng.random(users) < 0.04] = np.nan
    country = COUNTRIES[rng.integers(0, len(COUNTRIES), users)]
    return pa.table(
        {
            "user_id": user_ids(np.arange(users)),
            "country": null_some(rng, pa.array(country), 0.03),
            "account_age_days": age,
            "interests": null_some(rng, interests(world), 0.05),
        }
    )


def interests(world: World) -> pa.Array:
    """The categories that each user likes best on the first day, best first."""
    liking = world.user_vectors @ world.centroids.T
    best = np.argsort(-liking, axis=1, kind="stable")[:, :INTERESTS]
    offsets = np.arange(0, best.size + 1, INTERESTS, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(CATEGORY_NAMES[best.ravel()]))


def item_table(rng: np.random.Generator, world: World) -> pa.Table:
    """Columns: item_id, author_id, category, tags ("a,b"), two heavy-tailed numbers."""
    items = len(world.category)
    fame = 7 + 1.2 * world.quality + 0.6 * world.item_traits["is_follow"]
    followers = np.exp(fame + rng.standard_normal(items)).astype(np.int64)
    duration = np.round(world.duration_ms).astype(np.int64)
    return pa.table(
        {
            "item_id": item_ids(np.arange(items)),
            "author_id": world.author,
            "category": null_some(rng, pa.array(CATEGORY_NAMES[world.category]), 0.03),
            "tags": null_some(rng, tags(rng, world), 0.04),
            "item_duration_ms": null_some(rng, pa.array(duration), 0.03),
            "author_followers": null_some(rng, pa.array(followers), 0.03),
        }
    )


def tags(rng: np.random.Generator, world: World) -> pa.Array:
    """One to four tags an item, mostly of its own category, joined by commas."""
    count = rng.integers(1, MAX_TAGS + 1, len(world.category))
    category = np.repeat(world.category, count)
    stray = rng.random(len(category)) < 0.2
    category = np.where(stray, rng.integers(0, CATEGORIES, len(category)), category)
    number = rng.integers(1, TAGS_PER_CATEGORY + 1, len(category)).astype(str)
    names = np.char.add(CATEGORY_NAMES[category], number)
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(offsets, pa.array(names)), ",")


def null_some(rng: np.random.Generator, values: pa.Array, share: float) -> pa.Array:
    """Make about ``share`` of the values null."""
    present = np.flatnonzero(rng.random(len(values)) >= share)
    index = np.full(len(values), -1)
    index[present] = present
    return values.take(pa.array(index, mask=index < 0))
