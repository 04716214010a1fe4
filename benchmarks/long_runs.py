"""Nights and minutes in one process: do memory, descriptors, threads and scratch grow?

    python -m benchmarks.long_runs [--quick] [--nights 60] [--minutes 100]

Nights on a synthetic log, its last days again and again in new stores, a training of a few
steps each; then one training of many epochs.  After each night, and every ten seconds of
training, the process is looked at: resident memory, open descriptors, threads, and entries
of the temporary folder.  The first third warms up (TensorFlow keeps what it compiled); from
then on growth is the slope of a line through what was seen, times its length.

The last line is a JSON object: ``nights`` and ``minutes``, of each ``growth`` and what was
``last`` seen, and how many nights ``released`` a model.  The status is 1 where descriptors,
threads or scratch grew at all, or memory by more than ``MOST_MB``.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

MOST_MB = 100.0  # per night or look, times their number
DAYS = ("2024-01-13", "2024-01-14")
ROWS = 10_000  # of which a model learns enough to be released
CONFIG = {
    "data": {
        "input": ["log.parquet"],
        "join": [{"input": "items.parquet", "on": "item_id"}],
        "time": "time_ms",
        "split": {"validation": 0.3, "test": DAYS[-1]},
        "group": "user_id",
    },
    "features": [
        {"name": "user_id", "kind": "categorical"},
        {"name": "item_id", "kind": "categorical"},
        {"name": "item_duration_ms", "kind": "numeric"},
    ],
    "tasks": [{"name": "is_click"}],
    "model": {"trunk": "lr"},
    "train": {"batch_size": 256, "epochs": 1},
    "gates": {"auc": {"is_click": {"min": 0.5}}},
}


def seen() -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    pages = int(text.split()[1])
    return {
        "resident_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "scratch": len(os.listdir(tempfile.gettempdir())),
    }


def growth(looks: list[dict[str, float]]) -> dict[str, float]:
    """How much each grew after the first third of the looks, by a line through them."""
    kept = looks[len(looks) // 3 :]
    found = {}
    for name in kept[0]:
        slope = np.polyfit(range(len(kept)), [look[name] for look in kept], 1)[0]
        found[name] = round(float(slope * (len(kept) - 1)), 2)
    return found


def is_flat(grown: dict[str, float]) -> bool:
    """Whether nothing grew that must not."""
    others = [amount for name, amount in grown.items() if name != "resident_mb"]
    return grown["resident_mb"] <= MOST_MB and all(amount < 1 for amount in others)


def nights(folder: Path, count: int) -> list[dict[str, float]]:
    """Nights, two to a store."""
    from steadyrank import nightly

    looks = []
    for number in range(count):
        store = folder / f"store-{number // len(DAYS)}"
        day = DAYS[number % len(DAYS)]
        night = nightly(CONFIG, day=day, store=store, data=folder / "log")
        looks.append(seen() | {"refused": not night.accepted})
        print(f"night {number}: {night.verdict} {looks[-1]}", flush=True)
    return looks


def training(folder: Path, minutes: float) -> list[dict[str, float]]:
    """One training; it is told to end when the time is over."""
    from steadyrank import preprocess, train
    from steadyrank.pipeline.files.errors import PassingError

    examples, looks = folder / "examples", []
    preprocess(CONFIG, output=examples, data=folder / "log")
    over = threading.Event()

    def look() -> None:
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            time.sleep(min(10.0, minutes * 60 / 12))
            looks.append(seen())
            print(f"training: {looks[-1]}", flush=True)
        over.set()
        os.kill(os.getpid(), 15)

    threading.Thread(target=look, daemon=True).start()
    try:
        settings = {"train.epochs": 10_000_000, "train.checkpoint_every": 200}
        settings["train.patience"] = None  # or it ends of itself
        train(CONFIG, examples=examples, output=folder / "train", set=settings)
    except PassingError:
        if not over.is_set():
            raise
    if not over.is_set():
        raise RuntimeError(f"Training ended of itself after {len(looks)} looks.")
    return looks


def main(arguments: list[str] | None = None) -> int:
    """Nights, then minutes."""
    parser = argparse.ArgumentParser("benchmarks.long_runs")
    parser.add_argument("--quick", action="store_true", help="9 nights and 2 minutes")
    parser.add_argument("--nights", type=int, help="0: none")
    parser.add_argument("--minutes", type=float, help="0: no training")
    options = parser.parse_args(arguments)
    count, minutes = options.nights, options.minutes
    count = (9 if options.quick else 60) if count is None else count
    minutes = (2 if options.quick else 100) if minutes is None else minutes
    from steadyrank import synthesize

    with tempfile.TemporaryDirectory(prefix="long-") as name:
        folder = Path(name)
        (folder / "scratch").mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "scratch")
        synthesize(output=folder / "log", rows=ROWS)
        found = {"nights": nights(folder, count)} if count else {}
        found |= {"minutes": training(folder, minutes)} if minutes else {}
    result = {"nights": count, "minutes": minutes}
    for what, looks in found.items():
        result[f"{what}_growth"], result[f"{what}_last"] = growth(looks), looks[-1]
    result["released"] = sum(not look["refused"] for look in found.get("nights", ()))
    print(json.dumps(result))
    return 0 if all(is_flat(growth(looks)) for looks in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
