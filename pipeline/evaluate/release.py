"""An export that passed its gates to the folder that TensorFlow Serving reads.

In: an export and its evaluation.  Out: ``<to>/<version>/``, the export with its
``metrics.json`` and ``verdict.json`` in ``assets.extra/``, and ``<to>/blessed.json``,
which names the current version.  Serving takes the highest version there is, so a
rollback moves all above the one it goes back to to ``<to>/withdrawn/``, and a release
moves those there that ``blessed.json`` does not name, whose releases were killed.  Their
numbers are not used again.

    steadyrank release --model DIR --evaluation DIR --to DIR
    steadyrank release --to DIR --rollback
"""

import contextlib
import datetime
import getpass
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from steadyrank.pipeline.export.card import (
    CARD,
    EXTRA,
    find_version,
    read_card,
    versions_of,
)
from steadyrank.pipeline.files.durable import make_folders, sync, sync_tree
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.files.publish import hash_folder, publish, read_json, write_json
from steadyrank.pipeline.files.release_mirror import BLESSED, WITHDRAWN
from steadyrank.pipeline.files.shapes import Blessed, Metrics, Verdict
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.gates.verdicts import PASS

EVALUATION = "an evaluation"
LOCK = "lock"  # in the folder that is served: one release or rollback at a time


def release(model_path: Path, evaluation_path: Path, to: Path) -> dict:
    """Copy an export whose evaluation passed, or was forced, under the next version.

    The copy appears whole or not at all; ``blessed.json`` names it afterwards.

    Args:
        model_path: An export, or a folder of versions, of which the latest is taken.
        evaluation_path: What ``evaluate`` wrote about it.
        to: The folder that is served.

    Returns:
        The new version's entry of ``blessed.json``; ``withdrawn`` in it are the versions
        that no entry named.

    Raises:
        InputError: The evaluation is of another export, did not pass, or is of rows that
            training saw; or the folder is an export, or one of exports.
        PassingError: Another process releases into this folder, or rolls it back.
    """
    model, evaluation, to = find_version(model_path), Path(evaluation_path), Path(to)
    metrics = read_json(evaluation / "metrics.json", EVALUATION, Metrics)
    verdict = read_json(evaluation / "verdict.json", EVALUATION, Verdict)
    _require_pass(verdict, metrics, evaluation)
    _require_no_exports(to)
    with locked(to / LOCK):
        entries = _entries(to)
        used = {entry["version"] for entry in entries} | set(versions_of(to))
        version = 1 + max(used | set(versions_of(to / WITHDRAWN)), default=0)
        with publish(to / str(version)) as partial:
            shutil.copytree(model, partial, dirs_exist_ok=True)
            _require_same(partial, metrics, model, evaluation)
            for name in ("metrics.json", "verdict.json"):
                (partial / EXTRA).mkdir(exist_ok=True)
                shutil.copy(evaluation / name, partial / EXTRA / name)
        entry = _entry(version, model, metrics, verdict)
        _write(to, [*entries, entry])
        named = {entry["version"] for entry in [*entries, entry]}
        withdrawn = _withdraw(to, [v for v in versions_of(to) if v not in named])
    return {**entry, "withdrawn": withdrawn}


def roll_back(to: Path, reason: str = "") -> dict:
    """Withdraw the version that is served: the one that was released before it takes over.

    What is served is the highest version, whether its release came to name it or not.

    A rollback that was interrupted is ended by doing it again.

    Args:
        to: The folder that is served.
        reason: Why, for ``rollbacks`` of ``blessed.json``.

    Returns:
        The entry of the version that is current now; ``withdrawn`` in it are those that
        were withdrawn.

    Raises:
        InputError: There is no version before it.
    """
    to = Path(to)
    with locked(to / LOCK) if to.is_dir() else contextlib.nullcontext():
        return _roll_back(to, reason)


def _roll_back(to: Path, reason: str) -> dict:
    entries, found = _entries(to), versions_of(to)
    served = max([*found, *(entry["version"] for entry in entries)], default=0)
    kept = [entry for entry in entries if entry["version"] < served]
    if not kept:
        raise InputError(
            f"{to} has no version to go back to: below the one that is served, a release "
            f"must stand that was not withdrawn. Received: {found}. Release another model."
        )
    before = kept[-1]
    if before["version"] not in found:
        raise InputError(
            f"{to / str(before['version'])} is missing: cannot go back to it. Put it "
            "back, or release another model."
        )
    # named first: whatever interrupts what follows, the same command ends it
    rollback = {"time": _now(), "from": served, "to": before["version"]}
    _write(to, kept, [{**rollback, "by": _who(), "reason": reason.strip()}])
    withdrawn = _withdraw(to, [v for v in found if v > before["version"]])
    return {**before, "withdrawn": withdrawn}


def _withdraw(to: Path, versions: list[int]) -> list[int]:
    """Move versions away, the highest last: none of the others is served meanwhile.

    On object storage an interrupted one may stand in both places, in part: there its
    files join those that were moved before.
    """
    for version in versions:
        source, target = to / str(version), to / WITHDRAWN / str(version)
        make_folders(target.parent)
        if not target.exists():
            source.rename(target)
            sync(target.parent)
            continue
        for file in [path for path in source.rglob("*") if path.is_file()]:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
        sync_tree(target)
        shutil.rmtree(source)
    sync(to)
    return versions


def _require_pass(verdict: dict, metrics: dict, evaluation: Path) -> None:
    found, split = verdict.get("verdict"), metrics.get("split")
    if verdict.get("forced"):
        return
    if found != PASS:
        reasons = [g.get("reason") for g in verdict.get("gates", []) if not g.get("passed")]
        raise InputError(
            f"{evaluation}: the verdict must be PASS. Received: {found} "
            f"({'; '.join(map(str, reasons[:3]))}). Mend the model, or evaluate it with "
            "--force and a reason."
        )
    if split != "test":  # the weights or their epoch were chosen on the other rows
        raise InputError(
            f"{evaluation}: the verdict must be of the test split. Received: "
            f"{split=}. Evaluate the export without --split, or with --force and a reason."
        )


def _require_no_exports(to: Path) -> None:
    """Raise where what a release would withdraw is an export that none put there."""
    if (to / BLESSED).exists():
        return
    for folder in (to, *(to / str(version) for version in versions_of(to))):
        released = (folder / EXTRA / "verdict.json").exists()
        if (folder / "saved_model.pb").exists() and not released:
            raise InputError(
                f"{original(to)} is no release folder: {original(folder)} is an export "
                "that no release put there. Give --to a folder of its own."
            )


def _require_same(copy: Path, metrics: dict, model: Path, evaluation: Path) -> None:
    """The copied bytes are those that were evaluated; the extra assets do not count."""
    wanted, found = metrics.get("content"), hash_folder(copy, EXTRA)
    if wanted != found:
        raise InputError(
            f"{evaluation} is of another export, {metrics.get('model')} with content "
            f"{str(wanted)[:12]}; {model} has {found[:12]}. Evaluate the export that "
            "shall be released."
        )


def _entry(version: int, model: Path, metrics: dict, verdict: dict) -> dict:
    names = ("rows", "auc", "gauc", "log_loss", "rmse", "calibration")
    names += ("mrr@5", "hr@5", "ndcg@5", "hr@10", "ndcg@10")  # of next-item models
    return {
        "version": version,
        "time": _now(),
        "by": _who(),
        "model": original(model.absolute()),
        **_made_with(model),
        "fingerprint": metrics.get("fingerprint"),
        "content": metrics["content"],
        "verdict": verdict["verdict"],
        "forced": verdict.get("forced"),
        "metrics": {
            task: {name: found[name] for name in names if name in found}
            for task, found in metrics["tasks"].items()
        },
    }


def _now() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.isoformat(timespec="seconds")


def _who() -> str:
    """The user and the machine that release, by the names that they have here."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _made_with(model: Path) -> dict:
    """The revision and the config that an export was made with, by its card."""
    if not (model / EXTRA / CARD).exists():
        return {}
    card = read_card(model)
    text = json.dumps(card["config"], sort_keys=True)
    config = hashlib.sha256(text.encode()).hexdigest()
    return {"git_revision": card.get("git_revision"), "config": config}


def _entries(to: Path) -> list[dict]:
    """The releases that were not withdrawn, the current one last."""
    if not (to / BLESSED).exists():
        return []
    return read_json(to / BLESSED, "a release folder", Blessed)["releases"]


def forget_releases(to: Path, kept: list[dict]) -> None:
    """Name some of the releases, the current one last; the caller holds the lock.

    Args:
        to: The folder that is served.
        kept: Entries of ``blessed.json``.
    """
    _write(to, kept)


def _write(to: Path, entries: list[dict], rollbacks: Sequence[dict] = ()) -> None:
    """Name the last of the entries as the current one; rollbacks join those of before."""
    current, before = entries[-1], []
    if (to / BLESSED).exists():
        found = read_json(to / BLESSED, "a release folder", Blessed)
        before = [r for r in found.get("rollbacks", []) if not _same(r, rollbacks)]
    content = {"current": current["version"], **current, "releases": entries}
    write_json(to / BLESSED, {**content, "rollbacks": [*before, *rollbacks]})


def _same(rollback: dict, others: Sequence[dict]) -> bool:
    """Whether a rollback is one that was interrupted, and is done again."""
    return any(all(rollback[n] == other[n] for n in ("from", "to")) for other in others)
