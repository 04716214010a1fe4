"""Which versions of what made a file."""

import platform
from importlib import metadata

from pipeline import __version__

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
