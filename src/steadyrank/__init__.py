"""Multitask ranking models that do not diverge, from raw log to release gate.

Each command of the command line is a function here, with the same names and defaults:

    import steadyrank

    result = steadyrank.run("mine.yaml", output="runs/monday", set={"train.epochs": 2})
    print(result.verdict, result.report)

They are imported when they are asked for: ``import steadyrank`` alone sets the environment
that TensorFlow wants, and imports nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from steadyrank.pipeline.api import *  # noqa: F403
else:  # which checkers do not see: they shall find names that do not exist

    def __getattr__(name: str) -> object:
        if name == "__all__":
            return import_module("steadyrank.pipeline.api").__all__
        if not name.startswith("_"):
            api = import_module("steadyrank.pipeline.api")
            if name in api.__all__:
                return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *import_module("steadyrank.pipeline.api").__all__})
