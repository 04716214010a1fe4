"""Whole or absent: how a stage publishes a folder, and how the next one reads it."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from steadyrank.pipeline.files.checksum import checksum_of
from steadyrank.pipeline.files.documents import Document, parse
from steadyrank.pipeline.files.durable import exchange, make_folders, sync, sync_tree
from steadyrank.pipeline.files.errors import (
    ExistsError,
    InputError,
    fault,
    no_space,
    unwritable,
)
from steadyrank.pipeline.files.scratch import scratch, sweep

PARTIAL = ".*.partial-*"  # what a stage that died has left beside its output
# by which a folder is known for what a stage wrote, and --overwrite may remove it
MARKERS = ("manifest.json", "train.json", "verdict.json", "stability.json", "scores.json")
MARKERS += ("*/saved_model.pb", "truth.parquet")  # exports, a synthetic log


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise where a stage's output is there already and must not be replaced.

    What dead ones left beside it goes: the command that is refused may be the last.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is False, or it is neither empty nor
            what a stage wrote.
    """
    if not path.exists():
        return
    if not overwrite:
        sweep(path.parent, f".{path.name}.partial-")
        raise ExistsError(
            f"{path} exists already. Choose another --output, or pass --overwrite "
            "to replace it."
        )
    if not _is_ours(path):
        raise InputError(
            f"{path} is not what a stage wrote, and --overwrite replaces nothing else. "
            "Choose another --output, or remove it by hand."
        )


def _is_ours(path: Path) -> bool:
    if not path.is_dir():
        return False
    empty = all(left.match(PARTIAL) for left in path.iterdir())
    return empty or any(any(path.glob(marker)) for marker in MARKERS)


@contextlib.contextmanager
def publish(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a stage an empty folder, and put it in place once the stage has finished.

    What stands under ``path`` is therefore always whole: a stage that fails, or is
    killed, leaves there what was there before.

    Args:
        path: Where the folder shall stand.
        overwrite: Whether what is there may be replaced.

    Yields:
        A folder beside ``path``, to write into.

    Raises:
        InputError: ``path`` exists and ``overwrite`` is False; also where it was put there
            by another in the meantime.
        PassingError: There is no space left for it.
    """
    path = Path(path)
    heal(path)
    refuse_existing(path, overwrite)
    with contextlib.ExitStack() as stack:
        try:
            here = scratch(path.parent, f".{path.name}.partial-")
            partial = stack.enter_context(here)
        except OSError as error:
            raise no_space(error, path) or unwritable(path, error) from None
        try:
            yield partial
            replace(partial, path, overwrite)
        except Exception as error:
            if full := no_space(error, path):
                raise full from None
            raise


def replace(partial: Path, path: Path, overwrite: bool = True) -> None:
    """Move a finished folder to its place; the one it replaces goes only afterwards.

    All of it is on the disk before it has its name.  Where the file system can let two
    names change places, the place is never empty; elsewhere ``heal`` mends what a process
    leaves that dies in between.

    Raises:
        InputError: Something stands there and ``overwrite`` is False.
    """
    sync_tree(partial)
    if not overwrite:
        try:
            partial.rename(path)  # which fails where another job has put something
        except OSError:
            refuse_existing(path, False)
            raise
    elif not path.exists():
        partial.rename(path)
    elif not exchange(partial, path):
        old = path.with_name(f".{path.name}.old-{secrets.token_hex(8)}")
        path.rename(old)
        partial.rename(path)
        sync(path.parent)  # before what it replaces goes
        shutil.rmtree(old, ignore_errors=True)
    sync(path.parent)
    shutil.rmtree(partial, ignore_errors=True)  # what was there before, if they changed


def heal(path: Path) -> None:
    """Put back what stood in a place that a process left empty, which died replacing it."""
    found = list(path.parent.glob(f".{path.name}.old-*"))
    found.sort(key=lambda old: old.stat().st_mtime)
    if found and not path.exists():
        found.pop().rename(path)
    for old in found if path.exists() else ():
        shutil.rmtree(old, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a finished file a second name; where a file system cannot, copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def hash_folder(path: Path, leave_out: str = "") -> str:
    """SHA-256 over names and contents of all files below a folder, in hex.

    Args:
        path: The folder.
        leave_out: A folder in it that does not count.

    Returns:
        The digest.
    """
    digest = hashlib.sha256()
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        name = file.relative_to(path)
        if name.parts[0] == leave_out:
            continue
        digest.update(f"{name.as_posix()}\n{checksum_of(file)}\n".encode())
    return digest.hexdigest()


def make_room(path: Path) -> Path:
    """Make the folder of a file that is yet to be written.

    Raises:
        InputError: The path is a folder itself, or its folder cannot be made.
    """
    if path.is_dir():
        raise InputError(
            f"{path} is a folder: name a file in it, such as {path / 'result.html'}."
        )
    try:
        make_folders(path.parent)
    except OSError as error:
        raise unwritable(path.parent, error) from None
    return path


def write_json(path: Path, content: object) -> None:
    """Write a JSON file through a temporary name; NaN and infinity become null."""
    text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file through a temporary name: what stands there is whole."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def finite(content):
    """A copy of a JSON document with None for every number that JSON cannot hold."""
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and not abs(content) < float("inf"):
        return None
    return content


def read_json(path: Path, whole: str, shape: type[Document] = Document) -> dict:
    """Read a JSON file that a stage wrote.

    Args:
        path: The file.
        whole: What its folder should be, for the message: ``"an example set"``.
        shape: What it must hold.

    Raises:
        InputError: The file is missing or corrupt.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path.parent} is not {whole}, or not a whole one: {path.name} is missing. "
            "Name another folder, or write it again."
        ) from None
    except OSError as error:
        raise fault(f"{path} cannot be read: {error.strerror}.", error) from None
    return parse(text, shape, path)
