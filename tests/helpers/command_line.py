"""Commands in this process, or in one of their own."""

import os
import subprocess
import sys

import pytest

from steadyrank.pipeline import cli


def steadyrank(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "steadyrank", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def in_this_process(*arguments) -> int:
    """The same without the seconds that a process takes to start."""
    with pytest.raises(SystemExit) as left:
        cli.main([*map(str, arguments)])
    return left.value.code
