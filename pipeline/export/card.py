"""What stands beside an export about it, and where exports are. No TensorFlow here."""

from pathlib import Path

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import hash_folder, read_json
from steadyrank.pipeline.files.shapes import Card

EXTRA = "assets.extra"
CARD = "card.json"


def read_card(path: Path) -> dict:
    """The card of an export, or of the latest version in a folder.

    Raises:
        InputError: It is no export of this project.
    """
    return read_json(find_version(path) / EXTRA / CARD, "an export of this project", Card)


def columns_of(card: dict) -> dict[str, str]:
    """Feature -> the raw column that it is read from: what the raw rows must have."""
    features = card["config"].get("features", [])
    read = [f for f in features if f.get("kind") != "cross" and not f.get("serving")]
    return {feature["name"]: feature["column"] or feature["name"] for feature in read}


def require_unchanged(path: Path, card: dict, role: str) -> str:
    """Raise unless an export holds the very files that it was exported with.

    Args:
        path: Its folder.
        card: Its card; of an earlier version, which noted no content, all is taken.
        role: What it is here, for the message.

    Returns:
        The hash of what it holds.

    Raises:
        InputError: A file was changed, lost or added since.
    """
    held, exported = hash_folder(path, EXTRA), card.get("content")
    if exported and held != exported:
        raise InputError(
            f"{role} {path} holds other files than were exported: content {held[:12]}, "
            f"exported {exported[:12]}. One was changed, lost or added since, such as the "
            "variables of another training: export again."
        )
    return held


def versions_of(output: Path) -> list[int]:
    """The version numbers in a folder, rising."""
    if not output.is_dir():
        return []
    return sorted(int(path.name) for path in output.iterdir() if path.name.isdigit())


def next_version(output: Path) -> int:
    """One more than the highest version in a folder."""
    return 1 + max(versions_of(output), default=0)


def find_version(path: Path) -> Path:
    """The export a path means: itself, or the latest version in it.

    Raises:
        InputError: There is none.
    """
    path = Path(path)
    if (path / "saved_model.pb").exists():
        return path
    found = versions_of(path)
    if not found:
        raise InputError(
            f"{path} is neither an export nor a folder of exports: it holds no "
            "saved_model.pb and no version number. Name what export wrote."
        )
    return path / str(found[-1])
