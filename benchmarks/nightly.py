"""Twelve days of KuaiRand, night after night; one day's labels are poisoned.

    python -m benchmarks.nightly [--quick]

Every night is ``steadyrank nightly`` with ``configs/nightly.yaml``: the first on the second
day, or with ``--quick`` on the sixth.  The labels of one day in the middle are shuffled
over its rows.  At the end a model is trained afresh on the examples of the last night:
what the warm starts saved, and what they cost in AUC on the last day, the mean of the
tasks.  The last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.kinds import evaluate, export, train
from steadyrank.pipeline.nightly import nightly

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("STEADYRANK_DATA", ROOT.parent / "shared" / "data"))
ZONE = "Asia/Shanghai"
POISONED = "2022-05-02"
EARLIEST = "2022-04-25"  # the log has 141 rows of the last minutes before it
FIRST, QUICK = 1, 5  # number of the first night's day
SEED = 1


def days_of(log: pa.Table) -> list[str]:
    """The local day of each row."""
    moments = pc.cast(log["time_ms"], pa.timestamp("ms", "UTC"))
    local = pc.local_timestamp(pc.cast(moments, pa.timestamp("ms", ZONE)))
    return pc.strftime(local, "%Y-%m-%d").to_pylist()


def poison(log: pa.Table, day: str, labels: list[str]) -> pa.Table:
    """A log whose labels of one day are shuffled over the rows of that day."""
    rows = np.flatnonzero(np.array(days_of(log)) == day)
    order = np.arange(len(log))
    order[rows] = np.random.default_rng(SEED).permutation(rows)
    for name in labels:
        place = log.column_names.index(name)
        log = log.set_column(place, name, log[name].take(pa.array(order)))
    return log


def write_data(folder: Path, data: Path, labels: list[str]) -> list[str]:
    """The log with its poisoned day, beside the side tables; gives the days."""
    for name in ("users", "videos", "history"):
        (folder / f"{name}.parquet").symlink_to(data.resolve() / f"{name}.parquet")
    log = pq.read_table(data / "log.parquet")
    log = log.filter(pa.array([day >= EARLIEST for day in days_of(log)]))
    pq.write_table(poison(log, POISONED, labels), folder / "log.parquet")
    return sorted(set(days_of(log)))


def mean(aucs: dict) -> float:
    return float(np.mean(list(aucs.values())))


def mean_of(night: dict) -> float:
    """The mean AUC of a night's binary tasks."""
    tasks = night["tasks"].items()
    return mean({name: f["value"] for name, f in tasks if f["metric"] == "auc"})


def simulate(folder: Path, data: Path, first: int) -> dict:
    """All nights from the first one on, and the comparison with a cold start."""
    config = load_config(ROOT / "configs" / "nightly.yaml")
    days = write_data(folder, data, [task.name for task in config.tasks])
    records = []
    for day in days[first:]:
        records.append(nightly(config, folder, day, folder / "store"))
        told = {k: records[-1][k] for k in ("day", "verdict", "base", "trained_on")}
        print(told, f"AUC {mean_of(records[-1]):.4f}", records[-1]["seconds"])
        for reason in records[-1]["reasons"]:
            print(reason)
    cold_auc, cold_seconds = train_afresh(config, folder, days[-1])
    last, good = records[-1], [r for r in records if r["day"] != POISONED]
    by_day = {record["day"]: record for record in records}
    return {
        "days": len(days),
        "released": sum(r["verdict"] == "PASS" for r in records),
        "refused": sum(r["verdict"] != "PASS" for r in records),
        "poisoned_refused": int(by_day[POISONED]["left_out"] == POISONED),
        "trained_on_poison": sum(POISONED in r["trained_on"] for r in records),
        "auc_first_day": mean_of(good[0]),
        "auc_last_day": mean_of(last),
        "cold_auc_last_day": cold_auc,
        "warm_minus_cold_auc": mean_of(last) - cold_auc,
        "warm_seconds": last["seconds"]["train"],
        "cold_seconds": cold_seconds,
        "warm_over_cold_time": last["seconds"]["train"] / cold_seconds,
        "auc_by_day": {r["day"]: round(mean_of(r), 4) for r in records},
    }


def train_afresh(config, folder: Path, day: str) -> tuple[float, float]:
    """AUC on the last day, and seconds of training, of a model of all days before it."""
    examples, cold = folder / "store" / "nights" / day / "examples", folder / "cold"
    start = time.perf_counter()
    train(config, examples, cold / "train")
    seconds = time.perf_counter() - start
    export(config, cold / "train", cold / "export")
    result = evaluate(config, examples, cold / "export", cold / "evaluation")
    tasks = result["metrics"]["tasks"]
    return mean({name: found["auc"] for name, found in tasks.items()}), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA / "kuairand")
    parser.add_argument("--quick", action="store_true", help="nights from the sixth day")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        first = QUICK if arguments.quick else FIRST
        result = simulate(Path(folder), arguments.data, first)
    print(json.dumps(result | {"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
