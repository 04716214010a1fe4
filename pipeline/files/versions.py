"""Which versions of what made a file."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from steadyrank import __version__

PACKAGES = (
    "tensorflow",
    "tf-keras",
    "tensorflow-recommenders",
    "tensorflow-io",
    "apache-beam",
    "numpy",
    "pyarrow",
)


def versions() -> dict[str, str]:
    """Package -> version, of this project, Python and what the results depend on."""
    found = {"steadyrank": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_revision() -> str | None:
    """The commit this project runs from, ``-dirty`` where files differ; None: no git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
