"""Prints what setup.py requires, one requirement a line, for a layer of its own.

    python docker/requirements.py cpu|gpu

The packages of the project need not be there: a change of the code leaves the layer as
it is.
"""

import runpy
import sys

import setuptools


def requirements(device: str) -> list[str]:
    """``install_requires``, and the extra ``gpu`` for a GPU."""
    found = {}
    setuptools.setup = lambda **arguments: found.update(arguments)
    runpy.run_path("setup.py")
    extra = {"cpu": [], "gpu": found["extras_require"]["gpu"]}
    if device not in extra:
        raise SystemExit(f"DEVICE must be cpu or gpu. Received: {device!r}.")
    return [*found["install_requires"], *extra[device]]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
