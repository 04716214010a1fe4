"""A night that has begun: where it works, with which settings, and what goes on in it."""

import hashlib
import json
import shutil
from pathlib import Path

from steadyrank.pipeline.config.given import AnyConfig
from steadyrank.pipeline.examples.compatibility import differences, in_words, what_makes
from steadyrank.pipeline.files.durable import make_folders
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import PARTIAL, read_json
from steadyrank.pipeline.files.shapes import Begun
from steadyrank.pipeline.store.records import NIGHTS, SERVED

BEGUN = "begun.json"  # in a night: what it was begun with


def work_folder(store: Path, day: str, begun: dict) -> Path:
    """Where a night works until it is judged, with what it left that began with the same.

    Whatever other nights left that died is removed: nobody else is at work, the caller
    holds the lock.

    Args:
        store: The store.
        day: That is judged on.
        begun: All that the night's result depends on.
    """
    text = json.dumps(begun, sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]  # as of what is not published
    work = store / NIGHTS / f".{day}.partial-{mark}"
    clear(store, work)
    make_folders(work)
    return work


def clear(store: Path, but: Path | None = None) -> None:
    """Remove what nights left that died, but for one folder."""
    for folder in (store / NIGHTS, store / SERVED):
        for path in folder.glob(PARTIAL):
            if path != but:
                shutil.rmtree(path)


def settings_of(config: AnyConfig) -> dict:
    """What a night is judged with: a config, but for what a store keeps of it, and the
    moment from which it tests, which is the day's."""
    found = what_makes(config)
    found["nightly"].pop("keep")
    if isinstance(found["data"]["split"], dict):
        found["data"]["split"].pop("test", None)
    return found


def read_begun(night: Path) -> dict:
    """What a night was begun with."""
    return read_json(night / BEGUN, "a night", Begun)


def require_settings(config: AnyConfig, night: Path) -> None:
    """Raise where a night was judged with other settings than a config has.

    Nights of versions before do not say with which.

    Raises:
        InputError: The first key that differs is named.
    """
    if not (night / BEGUN).exists():
        return
    was = read_begun(night)["config"]
    for name, wanted, before in differences(settings_of(config), was):
        raise InputError(
            f"{night.name} was judged with other settings: "
            f"{in_words(name, wanted, before)}. {night / BEGUN} has them: take those, or "
            f"delete {night} to do the night again."
        )
