"""What other losses are worth where the truth is known.

    python -m benchmarks.objectives [--quick]

Five planted logs, whose true means are known row by row and shown to no model:

- ``watch``: seconds watched, of which a third are 0 and the rest have a long tail, that
  grow with an item's duration.  Learned as they are, as a logarithm (smeared, as served),
  and by the losses ``tweedie`` and ``weighted_logistic``.
- ``funnel``: impressions, of which one in five is clicked and one in six of these bought;
  users who click a lot buy little.  ``buy`` is trained on the clicked rows alone (``space:
  given``), or on all by the product of both probabilities (``all``).
- ``position``: clicks on a list of ten, whose top is clicked most, and on which the old
  ranker put what is popular, and now and then something else.  The truth is the click at
  the first position; the position is left out, or learned beside the net (``serving:
  {drop: 1}``).
- ``request``: ten items a request, whose user is in a mood that nobody sees and that moves
  all ten.  Order is that within requests; the click alone, or with ``ranking: pairwise``,
  ``listwise`` or ``jrc``.
- ``late``: purchases that are known up to six days after their click; training ends two
  days before the log does.  All labels, or ``matures_after: 6d``.

One config with each choice, the same rows and seeds; what is served is held against the
truth on a day that no model saw.  ``order`` is the share of pairs of rows that stand in
the true order, ``calibration`` predicted over observed, and ``decile`` the same of the
tenth of predictions in which it is furthest from 1.

The last line is a JSON object: log -> choice -> figure -> mean over seeds with Student's
95 % interval; and over the first choice, paired by seed, ``gain`` of ``order``, and how
much ``nearer`` to 1 the logarithm of ``calibration`` is.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from scipy import stats

import steadyrank
from benchmarks.pages.form import student

DAYS, HOURS = 10, 24
START = 1_709_251_200  # 2024-03-01, in seconds
USERS, ITEMS = 200, 100
SHOWN = 10  # items of a request
LATEST = 6  # days until a purchase is known
DECILES = 10
# the logs are small: many steps, and an average of the weights over the last of them
TRAIN = {"batch_size": 256, "epochs": 8, "average": 0.99}
SEEDS = [11, 12, 13, 14, 15]  # settings were tried on 1 to 5 alone


def watch_log(rows: int, seed: int) -> pa.Table:
    """Seconds watched, and their true means."""
    random = np.random.default_rng(seed)
    table, user, item = _impressions(random, rows)
    taste, appeal = random.normal(0, 0.6, USERS), random.normal(0, 0.5, ITEMS)
    duration = np.exp(random.normal(3.5, 0.8, ITEMS))
    level = taste[user] + appeal[item]
    begins = 1 / (1 + np.exp(-(0.8 + level)))
    mean = 0.4 * duration[item] ** 0.8 * np.exp(0.5 * level)
    seconds = (random.random(rows) < begins) * random.gamma(0.7, mean / 0.7)
    table |= {"duration": duration[item], "watch": seconds, "truth": begins * mean}
    return pa.table(table)


def funnel_log(rows: int, seed: int) -> pa.Table:
    """Clicks, purchases (none is known of where nobody clicked), and the truth of both."""
    random = np.random.default_rng(seed)
    table, user, item = _impressions(random, rows)
    taste, appeal = random.normal(0, 0.8, USERS), random.normal(0, 0.6, ITEMS)
    thrift, price = random.normal(0, 0.5, USERS), random.normal(0, 0.8, ITEMS)
    click = 1 / (1 + np.exp(1.6 - taste[user] - appeal[item]))
    buy = 1 / (1 + np.exp(1.7 + 0.8 * taste[user] + thrift[user] - price[item]))
    clicked = random.random(rows) < click
    bought = random.random(rows) < buy
    table["click"] = clicked.astype(int)
    table["buy"] = np.where(clicked, bought.astype(float), np.nan)
    return pa.table(table | {"truth": click * buy})


def position_log(rows: int, seed: int) -> pa.Table:
    """Clicks at positions, what they would have been at the first, and its truth.

    Each item stands at several positions, else no log could tell the two apart.
    """
    random = np.random.default_rng(seed)
    table, user, item = _impressions(random, rows)
    taste, appeal = random.normal(0, 0.8, USERS), random.normal(0, 0.8, ITEMS)
    level = taste[user] + appeal[item] - 0.5
    shown = -np.log1p(item) + random.gumbel(size=rows)  # popular items, which come first
    place = 1 + np.argsort(np.argsort(-shown)) * 10 // rows
    first = 1 / (1 + np.exp(-level))
    click = 1 / (1 + np.exp(-(level - 0.9 * np.log(place))))
    luck = random.random(rows)
    table |= {"position": place, "click": (luck < click).astype(int)}
    return pa.table(table | {"at_first": (luck < first).astype(int), "truth": first})


def request_log(rows: int, seed: int) -> pa.Table:
    """Clicks on requests of ten items, and the truth without the request's mood."""
    random = np.random.default_rng(seed)
    table, user, _ = _impressions(random, rows)
    request = np.arange(rows) // SHOWN
    item = random.integers(0, 4 * ITEMS, rows)
    first = request * SHOWN
    user, at = user[first], table["at"][first]
    taste, appeal = random.normal(0, 0.5, USERS), random.normal(0, 0.8, 4 * ITEMS)
    level = taste[user] + appeal[item] - 1.5
    mood = random.normal(0, 2.0, rows)[first]
    click = 1 / (1 + np.exp(-level - mood))
    table = {"user": user, "item": item, "at": at, "request": request}
    table["click"] = (random.random(rows) < click).astype(int)
    return pa.table(table | {"truth": click})


def late_log(rows: int, seed: int) -> pa.Table:
    """Purchases as they are known when the log ends, all of them, and their truth."""
    random = np.random.default_rng(seed)
    table, user, item = _impressions(random, rows)
    taste, appeal = random.normal(0, 0.8, USERS), random.normal(0, 0.6, ITEMS)
    buy = 1 / (1 + np.exp(1.6 - taste[user] - appeal[item]))
    bought = random.random(rows) < buy
    known_at = table["at"] + random.random(rows) * LATEST * HOURS * 3600
    table["buy"] = (bought & (known_at < START + DAYS * HOURS * 3600)).astype(int)
    return pa.table(table | {"bought": bought.astype(int), "truth": buy})


def _impressions(random, rows: int) -> tuple[dict, np.ndarray, np.ndarray]:
    user = random.integers(0, USERS, rows)
    shares = np.arange(1, ITEMS + 1) ** -0.5  # the first of 400 has 2.6 % of the rows
    item = random.choice(ITEMS, rows, p=shares / shares.sum())
    at = START + np.sort(random.integers(0, DAYS * HOURS * 3600, rows))
    return {"user": user, "item": item, "at": at}, user, item


def config(tasks: list[dict], score: str, numbers: tuple[str, ...] = ()) -> dict:
    """All of it but the tasks is alike in all choices of a log."""
    features = [{"name": name, "kind": "categorical"} for name in ("user", "item")]
    features += [{"name": n, "kind": "numeric", "transform": "log1p"} for n in numbers]
    return {
        "data": {
            "input": ["log.parquet", "test.parquet"],
            "time": "at",
            "time_unit": "s",
            "split": {"validation": "2024-03-09", "test": "2024-03-10"},
            "group": "user",
        },
        "features": features,
        "tasks": tasks,
        "score": score,
        "train": TRAIN,
        "model": {"trunk": "shared_bottom", "embedding_dim": 4, "bottom_units": [32]},
    }


def watch_configs() -> dict[str, dict]:
    """Choice -> config, what is usual first."""
    choices = {
        "logarithm": {"transform": "log1p"},
        "squared": {},
        "tweedie": {"loss": "tweedie"},
        "weighted_logistic": {"loss": "weighted_logistic"},
    }
    task = {"name": "watch", "kind": "regression"}
    return {
        name: config([task | keys], "watch", ("duration",))
        for name, keys in choices.items()
    }


def funnel_configs() -> dict[str, dict]:
    """Likewise."""
    return {
        space: config(
            [{"name": "click"}, {"name": "buy", "given": "click", "space": space}],
            "click * buy",
        )
        for space in ("given", "all")
    }


def position_configs() -> dict[str, dict]:
    """Likewise."""
    without = config([{"name": "click"}], "click")
    biased = {"name": "position", "kind": "categorical", "serving": {"drop": 1}}
    beside = without | {"features": [*without["features"], biased]}
    return {"left_out": without, "beside": beside}


def request_configs() -> dict[str, dict]:
    """Likewise."""
    rankings = ("none", "pairwise", "listwise", "jrc")
    found = {
        name: config([{"name": "click", "ranking": name}], "click") for name in rankings
    }
    for document in found.values():
        document["data"]["group"] = "request"
    return found


def late_configs() -> dict[str, dict]:
    """Likewise."""
    waits = {"name": "buy", "matures_after": f"{LATEST}d"}
    return {
        "at_once": config([{"name": "buy"}], "buy"),
        "matures_after": config([waits], "buy"),
    }


# log -> what makes it, its configs, the task, and the column that is seen of the truth
LOGS: dict[str, tuple[Callable, Callable, str, str]] = {
    "watch": (watch_log, watch_configs, "watch", "watch"),
    "funnel": (funnel_log, funnel_configs, "buy", "buy"),
    "position": (position_log, position_configs, "click", "at_first"),
    "request": (request_log, request_configs, "click", "click"),
    "late": (late_log, late_configs, "buy", "bought"),
}


def tried(
    document: dict, folder: Path, seed: int, label: str, *, seen: str
) -> dict[str, float]:
    """One choice: from the log to what is served, against the truth."""
    own = {"seed": seed, "monitor": label}
    document = document | {"train": {**document["train"], **own}}
    steadyrank.preprocess(document, output=folder / "examples", data=folder)
    steadyrank.train(document, examples=folder / "examples", output=folder / "train")
    steadyrank.export(document, train=folder / "train", output=folder / "export")
    steadyrank.score(
        model=folder / "export",
        input=str(folder / "test.parquet"),
        output=folder / "scores",
        data=folder,
        keep=["truth", f"seen={seen}", "group=" + document["data"]["group"]],
    )
    found = ds.dataset([*map(str, (folder / "scores").rglob("*.parquet"))]).to_table()
    came = np.nan_to_num(found["seen"].to_numpy())
    score, truth = (found[name].to_numpy() for name in ("score", "truth"))
    within = document["data"]["group"] == "request"
    order = order_within(score, truth, found["group"].to_numpy()) if within else None
    return figures(score, truth, came, order)


def order_within(foretold: np.ndarray, truth: np.ndarray, group: np.ndarray) -> float:
    """Share of pairs of rows of a group that stand in the true order; ``[n]`` all."""
    order = np.argsort(group, kind="stable")
    group = group[order]
    right = pairs = 0.0
    for step in range(1, SHOWN):
        same = group[step:] == group[:-step]
        gaps = [(v[order][step:] - v[order][:-step])[same] for v in (foretold, truth)]
        right += float(((np.sign(gaps[0] * gaps[1]) + 1) / 2).sum())
        pairs += int(same.sum())
    return right / pairs


def figures(
    foretold: np.ndarray, truth: np.ndarray, seen: np.ndarray, order: float | None = None
) -> dict[str, float]:
    """Order, calibration, and that of the worst tenth, of rows ``[n]``."""
    if order is None:
        order = float((1 + stats.kendalltau(foretold, truth).statistic) / 2)
    tenths = np.array_split(np.argsort(foretold, kind="stable"), DECILES)
    ratios = [foretold[rows].sum() / truth[rows].sum() for rows in tenths]
    return {
        "order": order,
        "calibration": float(foretold.sum() / seen.sum()),
        "decile": float(max(ratios, key=_off)),
    }


def _off(ratio: float) -> float:
    """How far a ratio is from 1, a value below 0 as far as can be."""
    return abs(np.log(max(ratio, 1e-3)))


def study(name: str, rows: int, seeds: list[int]) -> dict:
    """Each choice of one log, over seeds."""
    make, configs, label, seen = LOGS[name]
    found: dict[str, list[dict]] = {}
    for seed in seeds:
        table = make(rows, seed)
        last = pa.array(table["at"].to_numpy() >= START + 9 * HOURS * 3600)
        for choice, document in configs().items():
            with tempfile.TemporaryDirectory(prefix="steadyrank-") as place:
                folder = Path(place)
                pq.write_table(table.filter(last), folder / "test.parquet")
                rest = table.filter(pc.invert(last))
                pq.write_table(rest, folder / "log.parquet")
                figured = tried(document, folder, seed, label, seen=seen)
            found.setdefault(choice, []).append(figured)
            told = ", ".join(f"{n} {v:.4f}" for n, v in figured.items())
            print(f"{name}, seed {seed}, {choice}: {told}", flush=True)
    return found


# of a figure, over the first choice
GAINS: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "gain": ("order", lambda ours, theirs: ours - theirs),
    "nearer": ("calibration", lambda ours, theirs: _off(theirs) - _off(ours)),
}


def summary(found: dict[str, list[dict]]) -> dict:
    """Means and intervals, and gains over the first choice."""
    first = next(iter(found))
    result: dict = {
        choice: {name: _rounded([run[name] for run in runs]) for name in runs[0]}
        for choice, runs in found.items()
    }
    for name, (figure, gain) in GAINS.items():
        result[name] = {
            choice: _rounded(
                [
                    gain(a[figure], b[figure])
                    for a, b in zip(runs, found[first], strict=True)
                ]
            )
            for choice, runs in found.items()
            if choice != first
        }
    return result


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 5) for value in student(values)]


def main(arguments: list[str] | None = None) -> None:
    """All logs."""
    parser = argparse.ArgumentParser("benchmarks.objectives")
    parser.add_argument(
        "--quick", action="store_true", help="3 seeds of 60,000 rows, not 5"
    )
    parser.add_argument("--rows", type=int, default=0)
    options = parser.parse_args(arguments)
    rows = options.rows or (60_000 if options.quick else 300_000)
    seeds = SEEDS[:3] if options.quick else SEEDS
    begun = time.monotonic()
    found = {name: summary(study(name, rows, seeds)) for name in LOGS}
    minutes = round((time.monotonic() - begun) / 60, 1)
    print(json.dumps({"rows": rows, "seeds": len(seeds), **found, "minutes": minutes}))


if __name__ == "__main__":
    main()
