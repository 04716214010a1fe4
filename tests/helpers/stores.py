"""Stores of nights in plain files, without a model: released, refused, taken back."""

import json
import os
import random

from steadyrank.pipeline.evaluate.release import BLESSED, WITHDRAWN
from steadyrank.pipeline.files.publish import write_json

TOLD = (("click", "auc", 0.71), ("watch", "rmse", 12345.6))
VERDICTS = ("PASS", "PASS", "PASS", "HOLD", "REFUSE", "DIVERGED")


def record_of(day: str, verdict: str, **more) -> dict:
    """A night's record."""
    judged = verdict != "DIVERGED"
    figures = {
        task: {
            "metric": metric,
            "value": value,
            "interval": [value * 0.97, value * 1.03],
            "base": None,
            "base_interval": None,
            "gain": None,
        }
        for task, metric, value in TOLD * judged
    }
    return {
        "day": day,
        "base": None,
        "rows": 1200,
        "trained_on": ["2026-01-01", "2026-01-02"],
        "verdict": verdict,
        "left_out": None,
        "content": f"content of {day}" if judged else None,
        "tasks": figures,
        "reasons": [] if verdict == "PASS" else [f"{verdict} because of {day}"],
        "seconds": {"train": 61.0, "evaluate": 9.5} if judged else {},
        "judged_at": f"{day}T05:00:00+00:00",
        **more,
    }


def random_store(store, seed: int, nights: int) -> None:
    """Nights that passed and did not, releases, rollbacks, and files that nights share."""
    draw = random.Random(seed)
    served, entries, version, shared = store / "served", [], 0, None
    served.mkdir(parents=True)
    for number in range(nights):
        day = f"2026-{1 + number // 28:02}-{1 + number % 28:02}"
        folder, verdict = store / "nights" / day, draw.choice(VERDICTS)
        more = {"left_out": day if verdict == "REFUSE" else None}
        for stage in ("examples", "train", "export", "evaluation"):
            (folder / stage).mkdir(parents=True)
            (folder / stage / "file").write_bytes(bytes(100))
        if shared is not None:
            os.link(shared, folder / "examples" / "shared")
        else:
            (folder / "examples" / "shared").write_bytes(bytes(1000))
        shared = folder / "examples" / "shared"
        record = record_of(day, verdict, **more)
        write_json(folder / "night.json", record)
        if verdict == "PASS":
            version += 1
            place = served / str(version) / "assets.extra"
            place.mkdir(parents=True)
            (place / "metrics.json").write_text(
                json.dumps({"tasks": {}, "content": record["content"]})
            )
            entries.append({"version": version, "content": record["content"]})
        while len(entries) > 1 and draw.random() < 0.2:
            gone = entries.pop()["version"]
            (served / WITHDRAWN).mkdir(exist_ok=True)
            (served / str(gone)).rename(served / WITHDRAWN / str(gone))
    if entries:
        last = entries[-1]
        content = {"current": last["version"], **last, "releases": entries}
        write_json(served / BLESSED, content)
