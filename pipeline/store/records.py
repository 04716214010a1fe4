"""What a store of nights holds: records, releases, and which night is served."""

from pathlib import Path

from steadyrank.pipeline.evaluate.release import BLESSED, WITHDRAWN
from steadyrank.pipeline.export.card import EXTRA, versions_of
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import Blessed, Metrics, Night
from steadyrank.pipeline.gates.verdicts import PASS

RECORD = "night.json"
NIGHTS = "nights"
SERVED = "served"


def is_store(path: Path) -> bool:
    """Whether a folder is one of nights and releases."""
    return (path / NIGHTS).is_dir()


def require_store(path: Path) -> None:
    """Raise where a folder is none of nights and releases.

    Raises:
        InputError: It is not.
    """
    if not is_store(path):
        what = f"it holds no folder {NIGHTS}" if path.exists() else "there is nothing there"
        raise InputError(f"{path} is no store that `nightly` wrote: {what}. Name one.")


def version_of(store: Path, night: dict) -> int | None:
    """What a night's model was released as; None: it was not."""
    passed = night["verdict"] == PASS
    return released(store / SERVED).get(night["content"]) if passed else None


def nights_of(store: Path) -> dict[str, dict]:
    """Day -> record, of all nights that were done, in order."""
    paths = sorted((store / NIGHTS).glob(f"*/{RECORD}"))
    return {path.parent.name: read_json(path, "a night", Night) for path in paths}


def figures_of(night: dict) -> dict[str, dict]:
    """Task -> ``metric``, ``value``, ``interval``, those of the base, and ``gain``.

    Args:
        night: A record, also of a version before, which told one metric of all tasks.
    """
    if "tasks" in night:
        return night["tasks"]
    metric = night.get("metric", "auc")
    base, intervals = f"base_{metric}", night.get("intervals") or {}
    return {
        task: {
            "metric": metric,
            "value": value,
            "interval": (intervals.get(metric) or {}).get(task),
            "base": (night.get(base) or {}).get(task),
            "base_interval": (intervals.get(base) or {}).get(task),
            "gain": (night.get("gain") or {}).get(task),
        }
        for task, value in (night.get(metric) or {}).items()
    }


def blessed(store: Path, nights: dict[str, dict]) -> Path | None:
    """The folder of the night whose model is served; None: nothing was released yet.

    Raises:
        InputError: What is served was not made by a night of this store.
    """
    served = store / SERVED
    if not (served / BLESSED).exists():
        return None
    content = served_now(served)["content"]
    for day, night in nights.items():
        if night["content"] == content and night["verdict"] == PASS:
            return store / NIGHTS / day
    raise InputError(
        f"{served} serves a model that no night of {store} made, so there is no "
        "checkpoint to go on from. Roll the release back, or begin another store."
    )


def served_now(served: Path) -> dict:
    """What ``blessed.json`` holds."""
    return read_json(served / BLESSED, "a release folder", Blessed)


def released(served: Path) -> dict[str, int]:
    """Content -> version, of what stands among the releases, or was withdrawn."""
    found = {}
    for version in versions_of(served / WITHDRAWN):
        path = served / WITHDRAWN / str(version) / EXTRA / "metrics.json"
        if path.exists():  # else it was put there by other hands
            content = read_json(path, "a release", Metrics).get("content")
            if content is not None:
                found[content] = version
    if (served / BLESSED).exists():
        entries = served_now(served)["releases"]
        found |= {entry["content"]: entry["version"] for entry in entries}
    return found


def rollbacks_of(served: Path) -> list[dict]:
    """Each rollback of a release folder: ``time``, ``from``, ``to``, ``by``, ``reason``."""
    found = served_now(served) if (served / BLESSED).exists() else {}
    return found.get("rollbacks", [])
