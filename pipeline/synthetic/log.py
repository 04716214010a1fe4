"""Draws the rows of the synthetic log from its world: who saw what when, and did what.

Everything is an array over the N exposures; there is no loop over rows. The columns:

- ``exposure_id``, ``user_id``, ``item_id``: int64; the last two key the side tables;
- ``time_ms``: int64, orders the rows; ``hour``: int64, of the day in UTC;
- ``tab``, ``device``: string, where it was shown;
- ``idle_seconds``: float64, since the user's exposure before, NaN for the first;
- ``recent_items``: list<int64>, the last 8 items the user clicked before, oldest first;
- ``is_click``; after a click ``is_like``, ``is_comment``, ``is_share``, ``is_follow``
  and ``long_view``: int8, 0 or 1; ``watch_time_ms``: int64, 0 without a click.
"""

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.synthetic import world as world_of
from steadyrank.pipeline.synthetic.tables import item_ids, null_some, user_ids
from steadyrank.pipeline.synthetic.world import DAYS, DEVICES, TABS, World

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
DAY_MS = 86_400_000
HOURS = (3, 2, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 6, 5, 5, 6, 7, 8, 9, 10, 10, 8, 5)
RECENT = 8  # clicked items that a row remembers


def log_and_truth(
    rng: np.random.Generator, world: World, rows: int
) -> tuple[pa.Table, pa.Table]:
    """Draw ``rows`` distinct exposures.

    Returns:
        Two tables of ``rows`` rows in time order: the log and the true probabilities.
    """
    exposure = draw_exposures(rng, world, rows)
    true = world_of.probabilities(world, exposure)
    location = world_of.watch_location(world, exposure)
    bound_ms = world_of.long_view_bound_ms(world, exposure["item"])
    true["long_view"] = world_of.long_view_probability(location, bound_ms)
    labels = draw_labels(rng, true, location, bound_ms)
    truth = {f"p_{name}": p.astype(np.float32) for name, p in true.items()}
    expected = world_of.expected_watch_ms(location).astype(np.float32)
    identity = {"exposure_id": np.arange(rows)}
    return (
        pa.table(identity | columns(rng, exposure, labels)),
        pa.table(identity | truth | {"expected_watch_time_ms": expected}),
    )


def draw_exposures(rng: np.random.Generator, world: World, rows: int) -> dict:
    """Draw the causes of every label: moment, user, item and context; [N] each."""
    time_ms = draw_times(rng, rows)
    user = world_of.draw(rng, world.user_shares, rows)
    item = draw_items(rng, world, time_ms)
    tab = world_of.draw(rng, np.array(world_of.TAB_SHARES), rows)
    device = world_of.draw(rng, np.array(world_of.DEVICE_SHARES), rows)
    hour = time_ms // 3_600_000 % 24
    context = np.array([*TABS.values()])[tab] + np.array([*DEVICES.values()])[device]
    age = (time_ms - START_MS) / (DAYS * DAY_MS)
    return {
        "time_ms": time_ms,
        "user": user,
        "item": item,
        "tab": tab,
        "device": device,
        "hour": hour,
        "match": world_of.match(world, user, item, age),
        "context": context + 0.2 * np.cos((hour - 21) * np.pi / 12),
    }


def draw_times(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Increasing moments over the 14 days, more in the evening; [N] int64, ms."""
    edges = np.concatenate([[0.0], np.cumsum(np.tile(HOURS, DAYS))])
    hour = np.interp(np.sort(rng.random(rows)), edges / edges[-1], range(len(edges)))
    return START_MS + (hour * 3_600_000).astype(np.int64)


def draw_items(rng: np.random.Generator, world: World, time_ms: np.ndarray) -> np.ndarray:
    """Draw items by their popularity on the day; [N] int64."""
    first = np.searchsorted(time_ms, START_MS + DAY_MS * np.arange(DAYS + 1))
    sizes = np.diff(first)
    days = zip(world.item_shares, sizes, strict=True)
    return np.concatenate([world_of.draw(rng, day, size) for day, size in days])


def draw_labels(
    rng: np.random.Generator, true: dict, location: np.ndarray, bound_ms: np.ndarray
) -> dict[str, np.ndarray]:
    """Draw every label; all but ``is_click`` are 0 where there is no click.

    A long view is not drawn but follows from the watch time, as it does in real logs.
    """
    rows = len(location)
    click = rng.random(rows) < true["is_click"]
    labels = {"is_click": click}
    for name in world_of.LABELS:
        if name != "is_click":
            labels[name] = click & (rng.random(rows) < true[name])
    noise = world_of.WATCH_SIGMA * rng.standard_normal(rows)
    watch = np.exp(location + noise)
    labels["long_view"] = click & (watch >= bound_ms)
    labels = {name: label.astype(np.int8) for name, label in labels.items()}
    return labels | {"watch_time_ms": np.where(click, np.round(watch), 0).astype(np.int64)}


def columns(rng: np.random.Generator, exposure: dict, labels: dict) -> dict:
    """All columns but ``exposure_id``, what the log does not know being null or NaN."""
    user, item = exposure["user"], exposure["item"]
    order = np.argsort(user, kind="stable")  # by user, each user's rows in time order
    recent = recent_clicks(order, user, item, labels["is_click"])
    device = pa.array([*DEVICES]).take(pa.array(exposure["device"]))
    return {
        "time_ms": exposure["time_ms"],
        "user_id": user_ids(user),
        "item_id": item_ids(item),
        "tab": pa.array([*TABS]).take(pa.array(exposure["tab"])),
        "device": null_some(rng, device, 0.02),
        "hour": exposure["hour"],
        "idle_seconds": idle_seconds(order, user, exposure["time_ms"]),
        "recent_items": null_some(rng, recent, 0.02),
        **labels,
    }


def idle_seconds(order: np.ndarray, user: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
    """Seconds since the user's exposure before this one, NaN for the first; [N]."""
    gap = np.full(len(order), np.nan)
    same = user[order[1:]] == user[order[:-1]]
    gap[order[1:]] = np.where(same, np.diff(time_ms[order]) / 1000, np.nan)
    return gap


def recent_clicks(
    order: np.ndarray, user: np.ndarray, item: np.ndarray, click: np.ndarray
) -> pa.Array:
    """The last ``RECENT`` items that the user clicked before this row, oldest first.

    Args:
        order: [N] the rows by user, and by time within a user.
        user: [N] indices of users.
        item: [N] indices of items.
        click: [N] 0 or 1.

    Returns:
        [N] list<int64> of item ids.
    """
    clicked = click[order].astype(np.int64)
    before = np.cumsum(clicked) - clicked  # clicks above this row, all users
    new = np.concatenate([[True], np.diff(user[order]) != 0])
    own = before - np.maximum.accumulate(np.where(new, before, 0))
    begin, count = np.empty_like(order), np.empty_like(order)
    count[order] = np.minimum(own, RECENT)
    begin[order] = before - np.minimum(own, RECENT)
    offsets = np.concatenate([[0], np.cumsum(count)])
    position = np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], count)
    clicks = item_ids(item[order[clicked == 1]])
    return pa.ListArray.from_arrays(offsets.astype(np.int32), clicks[position])
