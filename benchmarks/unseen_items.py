"""What an item's vector tells of items that training never saw.

    python -m benchmarks.unseen_items [--quick]

A planted log: users click on what is near their taste, which is a direction in the space of
the items' vectors; of the last day's items a third are new.  One config with ``kind:
vector`` and one without, the same rows and seeds, both with the items' ids; AUC of the
last day's rows, of items that were seen and of those that were not, and what the true
probabilities reach.

The last line is a JSON object: ``with`` and ``without`` -> ``seen`` and ``unseen`` -> mean
AUC over seeds with Student's 95 % interval; ``reachable``; and ``gain``, paired by seed.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

import steadyrank
from benchmarks.pages.form import student

DAYS, DAY = 10, 24 * 3600
START = 1_709_251_200  # 2024-03-01, in seconds
USERS, ITEMS, WIDTH, GROUPS = 1_000, 600, 16, 8
NEW = ITEMS // 4  # that come on the last day alone


def write_log(folder: Path, rows: int, seed: int) -> None:
    """Clicks in two files, the last day by itself, and the items' vectors beside."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(ITEMS, WIDTH)) / np.sqrt(WIDTH)
    kinds = random.normal(size=(GROUPS, WIDTH))  # of users, who are known by their group
    group = random.integers(0, GROUPS, USERS)
    at = START + np.sort(random.integers(0, DAYS * DAY, rows))
    last = at >= START + (DAYS - 1) * DAY
    item = random.integers(0, ITEMS - NEW, rows)
    fresh = last & (random.random(rows) < 1 / 3)
    item[fresh] = random.integers(ITEMS - NEW, ITEMS, fresh.sum())
    user = random.integers(0, USERS, rows)
    near = np.einsum("nd,nd->n", kinds[group[user]], vectors[item])
    truth = 1 / (1 + np.exp(1.5 - 1.5 * near))
    table = pa.table(
        {
            "user": user,
            "group": group[user],
            "item": item,
            "at": at,
            "click": (random.random(rows) < truth).astype(int),
            "truth": truth,
            "unseen": fresh,
        }
    )
    pq.write_table(table.filter(pa.array(~last)), folder / "log.parquet")
    pq.write_table(table.filter(pa.array(last)), folder / "test.parquet")
    lists = pa.array(list(vectors), pa.list_(pa.float64()))
    pq.write_table(
        pa.table({"item": np.arange(ITEMS), "vector": lists}), folder / "items.parquet"
    )


def config(seed: int, vectors: bool) -> dict:
    """With the items' vectors, or without."""
    features = [{"name": n, "kind": "categorical"} for n in ("user", "group", "item")]
    features += [{"name": "vector", "kind": "vector", "length": WIDTH}] * vectors
    return {
        "data": {
            "input": ["log.parquet", "test.parquet"],
            "join": [{"input": "items.parquet", "on": "item"}],
            "time": "at",
            "time_unit": "s",
            "split": {"validation": "2024-03-09", "test": "2024-03-10"},
        },
        "features": features,
        "tasks": [{"name": "click"}],
        "model": {"trunk": "shared_bottom", "embedding_dim": 8, "bottom_units": [64, 32]},
        "train": {"seed": seed},
    }


def tried(folder: Path, seed: int, vectors: bool) -> dict[str, float]:
    """AUC of the last day's rows, of seen and unseen items."""
    document, work = config(seed, vectors), folder / f"{vectors}"
    steadyrank.preprocess(document, output=work / "examples", data=folder)
    steadyrank.train(document, examples=work / "examples", output=work / "train")
    steadyrank.export(document, train=work / "train", output=work / "export")
    steadyrank.score(
        model=work / "export",
        input=str(folder / "test.parquet"),
        output=work / "scores",
        data=folder,
        keep=["label=click", "truth", "unseen"],
    )
    parts = [*map(str, (work / "scores").rglob("*.parquet"))]
    found = {
        n: c.to_numpy()
        for n, c in zip(NAMES, ds.dataset(parts).to_table(NAMES).columns, strict=True)
    }
    split = {"seen": ~found["unseen"], "unseen": found["unseen"]}
    areas = {
        name: float(roc_auc_score(found["label"][rows], found["score"][rows]))
        for name, rows in split.items()
    }
    rows = split["unseen"]
    reached = float(roc_auc_score(found["label"][rows], found["truth"][rows]))
    return areas | {"reachable": reached}


NAMES = ["label", "truth", "unseen", "score"]


def main(arguments: list[str] | None = None) -> None:
    """Both configs, over seeds."""
    parser = argparse.ArgumentParser("benchmarks.unseen_items")
    parser.add_argument(
        "--quick", action="store_true", help="3 seeds of 60,000 rows, not 5"
    )
    parser.add_argument("--rows", type=int, default=0)
    options = parser.parse_args(arguments)
    rows = options.rows or (60_000 if options.quick else 300_000)
    seeds = [1, 2, 3] if options.quick else [1, 2, 3, 4, 5]
    begun, found = time.monotonic(), {True: [], False: []}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="steadyrank-") as place:
            write_log(Path(place), rows, seed)
            for vectors, runs in found.items():
                runs.append(tried(Path(place), seed, vectors))
                told = ", ".join(f"{n} {v:.4f}" for n, v in runs[-1].items())
                print(
                    f"seed {seed}, {'with' if vectors else 'without'}: {told}", flush=True
                )
    print(
        json.dumps(
            summary(found, rows) | {"minutes": round((time.monotonic() - begun) / 60, 1)}
        )
    )


def summary(found: dict[bool, list[dict]], rows: int) -> dict:
    """The last line, without how long it took."""
    parts = ("seen", "unseen")

    def over(values) -> list[float]:
        return [round(value, 5) for value in student(list(values))]

    result: dict = {"rows": rows, "seeds": len(found[True])}
    for vectors, name in ((True, "with"), (False, "without")):
        result[name] = {part: over(run[part] for run in found[vectors]) for part in parts}
    both = list(zip(found[True], found[False], strict=True))
    result["reachable"] = over(run["reachable"] for run in found[True])
    result["gain"] = {part: over(a[part] - b[part] for a, b in both) for part in parts}
    return result


if __name__ == "__main__":
    main()
