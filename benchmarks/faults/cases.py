"""What is broken: each publishing, storing, logging, releasing and rolling back.

A case prepares a place, acts once, and recovers by the command that docs/recovery.md says.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from benchmarks.faults.store import Store
from steadyrank.pipeline.evaluate.release import release, roll_back
from steadyrank.pipeline.files import publish
from steadyrank.pipeline.files.durable import sync
from steadyrank.pipeline.files.object_store import write_bytes_if
from steadyrank.pipeline.files.publish import (
    hash_folder,
    link_or_copy,
    read_json,
    write_json,
)
from steadyrank.pipeline.files.staging import Snapshots, Staging
from steadyrank.pipeline.files.urls import Url, partial_of
from steadyrank.pipeline.files.whole_folders import exists, fetch, move, remove, send
from steadyrank.pipeline.train.log import append_lines, cut_from, read_lines

URL = Url("s3://bucket/place")
NUMBER = re.compile(r"(?<![^/])\d+(?![^/])")  # of a version, in a path
LOCKS = re.compile(r"(^|/)(lock|\..*\.lock)$")


@dataclass(frozen=True)
class Case:
    """One thing that is done.

    Attributes:
        stage: What it belongs to.
        name: In words.
        prepare: Makes what is there before, in a folder.
        act: Does it.
        state: What a reader finds.
        recover: The documented command; None: ``act`` again.
        half: States that may be found in between, besides that before and that after.
        uses_store: Whether it is done on the store, too.
    """

    stage: str
    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    state: Callable[[Path], object]
    recover: Callable[[Path], None] | None = None
    half: Callable[[object], bool] = lambda found: False
    uses_store: bool = False


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _make(folder: Path, word: str) -> None:
    """A small example set, export or trained model."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(f"model {word}", encoding="utf-8")
    (folder / "variables/data").write_text(f"weights {word}", encoding="utf-8")
    write_json(folder / "manifest.json", {"word": word})


def _content(folder: Path) -> str | None:
    return hash_folder(folder) if folder.exists() else None


# publishing and storing


def _json(root: Path) -> None:
    write_json(root / "a.json", {"word": "new", "more": [1, 2, 3]})


def _publish(overwrite: bool, exchange: bool = True) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        swap = mock.patch.object(publish, "exchange", lambda one, two: False)
        with publish.publish(root / "out", overwrite) as partial:
            _make(partial / "below", "new")
            write_json(partial / "manifest.json", {"word": "new"})
            if not exchange:
                swap.start()
        mock.patch.stopall()

    return act


def _grown(root: Path) -> None:
    """As ``--append`` does: files of before are linked into the new set."""
    with publish.publish(root / "out", True) as partial:
        _make(partial / "later", "new")
        for name in ("saved_model.pb", "manifest.json"):
            link_or_copy(root / "out" / name, partial / name)


def _old(root: Path) -> None:
    _make(root / "out", "old")


# the log


def _line(step: int, word: str) -> dict:
    sizes = {"examples": 1, "batch_size": 1}
    return {"step": step, "loss": 0.5, "losses": {}, "clipping": {}, "w": word, **sizes}


def _log(root: Path) -> None:
    append_lines(root / "log.jsonl", [_line(step, "first") for step in range(1, 6)])


def _resume_log(root: Path) -> None:
    cut_from(root / "log.jsonl", lambda line: line["step"] > 3)
    append_lines(root / "log.jsonl", [_line(step, "second") for step in (4, 5)])
    sync(root / "log.jsonl")  # as before each checkpoint


def _log_of(root: Path) -> list[tuple]:
    """What a resume keeps of it."""
    kept = root / "kept.jsonl"
    shutil.copy(root / "log.jsonl", kept)
    cut_from(kept, lambda line: False)
    found = [(line["step"], line["w"]) for line in read_lines(kept)]
    kept.unlink()
    return found


def _first_steps(found: object) -> bool:
    words = {step: word for step, word in found}
    return all(words.get(step) == "first" for step in (1, 2, 3))


# releases


def _models(root: Path, words: Iterable[str] = "abc") -> None:
    for word in words:
        export, evaluation = root / "models" / word / "1", root / "evaluations" / word
        _make(export, word)
        evaluation.mkdir(parents=True)
        content = hash_folder(export, "assets.extra")
        metrics = {"content": content, "split": "test", "tasks": {}, "fingerprint": "f"}
        write_json(evaluation / "metrics.json", metrics)
        write_json(evaluation / "verdict.json", {"verdict": "PASS", "gates": []})


def _release(word: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        release(root / "models" / word, root / "evaluations" / word, root / "served")

    return act


def _released(*words: str) -> Callable[[Path], None]:
    def prepare(root: Path) -> None:
        _models(root)
        for word in words:
            _release(word)(root)

    return prepare


def _unnamed(root: Path) -> None:
    """A version that a release did not come to name, and one that was withdrawn."""
    _released("a", "b", "b")(root)
    roll_back(root / "served")
    _make(root / "served/7", "lost")


def _roll_back(root: Path) -> None:
    roll_back(root / "served")


def _word(folder: Path) -> str:
    return (folder / "variables/data").read_text(encoding="utf-8")


def _served(root: Path) -> object:
    """Which models are named, in their order, which is served, and that it is whole."""
    served = root / "served"
    if not (served / "blessed.json").exists():
        return "nothing is named"
    blessed = read_json(served / "blessed.json", "a release folder")
    versions = [p.name for p in served.iterdir() if p.name.isdigit()]
    named = [_word(served / str(e["version"])) for e in blessed["releases"]]
    return named, _word(served / max(versions, key=int))


def _is_named_whole(found: object) -> bool:
    """What is served is a release, though perhaps not yet, or no longer, the named one."""
    return isinstance(found, tuple)


LOCAL = [
    Case(
        "storage",
        "a JSON file is written",
        lambda root: write_json(root / "a.json", {"word": "old"}),
        _json,
        lambda root: read_json(root / "a.json", "x"),
    ),
    Case(
        "publish", "new", lambda root: None, _publish(False), lambda r: _content(r / "out")
    ),
    Case("publish", "over another", _old, _publish(True), lambda r: _content(r / "out")),
    Case(
        "publish",
        "over another, by two renames",
        _old,
        _publish(True, exchange=False),
        lambda root: publish.heal(root / "out") or _content(root / "out"),
    ),
    Case(
        "publish",
        "with links to what it replaces",
        _old,
        _grown,
        lambda r: _content(r / "out"),
    ),
    Case(
        "log",
        "cut and gone on with",
        _log,
        _resume_log,
        _log_of,
        half=_first_steps,
    ),
    Case("release", "the first", _released(), _release("a"), _served),
    Case(
        "release",
        "a third",
        _released("a", "b"),
        _release("c"),
        _served,
        half=_is_named_whole,
    ),
    Case(
        "release",
        "over what none named",
        _unnamed,
        _release("c"),
        _served,
        half=_is_named_whole,
    ),
    Case(
        "rollback",
        "local",
        _released("a", "b", "c"),
        _roll_back,
        _served,
        half=_is_named_whole,
    ),
]


# on the store


def _to_replace(root: Path) -> None:
    for word in ("old", "new"):
        _make(root / word, word)
    send(root / "old", URL)


def _send(root: Path) -> None:
    send(root / "new", URL)


def _fetched(root: Path) -> object:
    """What another machine gets."""
    from steadyrank.pipeline.files.errors import InputError

    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        try:
            fetch(URL, Path(folder) / "f")
        except InputError as error:
            return f"refused: {'is not whole' in str(error)}"
        return _content(Path(folder) / "f")


def _is_refused(found: object) -> bool:
    """Half of it is never taken for the whole."""
    return found == "refused: True"


def _staged(root: Path) -> None:
    with Staging() as staging:
        _make(staging.write(URL, overwrite=True), "new")


def _read(root: Path) -> None:
    with Staging() as staging:
        found = staging.read(URL)
        shutil.rmtree(root / "got", ignore_errors=True)
        found.rename(root / "got")


def _snapshot(root: Path) -> None:
    Snapshots(URL)(root / "new")


def _with_snapshot(root: Path) -> None:
    for word in ("old", "new"):
        _make(root / word, word)
    Snapshots(URL)(root / "old")


def _resumable(root: Path) -> object:
    with tempfile.TemporaryDirectory(dir=root.parent) as folder, Staging() as staging:
        local = Path(folder) / "x"
        staging.resumable(URL, local)
        return _word(partial_of(local))


def _moved(root: Path) -> None:
    move(URL / "1", URL / "withdrawn" / "1")


def _both_places(root: Path) -> object:
    return [exists(URL / "1"), exists(URL / "withdrawn" / "1")]


def _to_move(root: Path) -> None:
    _make(root / "old", "old")
    send(root / "old", URL / "1")


def _claimed(root: Path) -> None:
    write_bytes_if(URL / "claims/1", b"ours", "*")


def _release_there(word: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        models = root / "models" / word, root / "evaluations" / word
        with Staging() as staging, staging.served(URL) as local:
            release(*models, local)

    return act


def _released_there(*words: str) -> Callable[[Path], None]:
    def prepare(root: Path) -> None:
        _models(root)
        for word in words:
            _release_there(word)(root)

    return prepare


def _roll_back_there(root: Path) -> None:
    with Staging() as staging, staging.served(URL) as local:
        roll_back(local)


def _served_there(store: Store) -> Callable[[Path], object]:
    def state(root: Path) -> object:
        place = "place/"
        held = {k.removeprefix(place): v for k, v in store.objects.items()}
        if "blessed.json" not in held:
            return "nothing is named"
        blessed = json.loads(held["blessed.json"])
        whole = [k.split("/")[0] for k in held if re.fullmatch(r"\d+/_COMPLETE.json", k)]
        named = [held[f"{e['version']}/variables/data"] for e in blessed["releases"]]
        return named, held[f"{max(whole, key=int)}/variables/data"]

    return state


def on_the_store(store: Store) -> list[Case]:
    """The cases of a store."""
    served = _served_there(store)
    there = {"uses_store": True}
    return [
        Case(
            "store",
            "a folder is sent",
            _to_replace,
            _send,
            _fetched,
            half=_is_refused,
            **there,
        ),
        Case(
            "store",
            "a stage's output",
            _to_replace,
            _staged,
            _fetched,
            half=_is_refused,
            **there,
        ),
        Case(
            "store",
            "a folder is fetched",
            _to_replace,
            _read,
            lambda r: _content(r / "got"),
            half=lambda f: True,
            **there,
        ),
        Case(
            "store",
            "a folder is removed",
            _to_replace,
            lambda root: remove(URL),
            _fetched,
            half=_is_refused,
            **there,
        ),
        Case(
            "store",
            "a folder is moved",
            _to_move,
            _moved,
            _both_places,
            half=lambda f: any(f),
            **there,
        ),
        Case(
            "store",
            "a name is claimed",
            lambda root: None,
            _claimed,
            lambda root: store.objects.get("place/claims/1"),
            **there,
        ),
        Case("snapshot", "over another", _with_snapshot, _snapshot, _resumable, **there),
        Case(
            "release",
            "on a store, the first",
            _released_there(),
            _release_there("a"),
            served,
            half=_is_named_whole,
            **there,
        ),
        Case(
            "release",
            "on a store, a third",
            _released_there("a", "b"),
            _release_there("c"),
            served,
            half=_is_named_whole,
            **there,
        ),
        Case(
            "rollback",
            "on a store",
            _released_there("a", "b", "c"),
            _roll_back_there,
            served,
            half=_is_named_whole,
            **there,
        ),
    ]
