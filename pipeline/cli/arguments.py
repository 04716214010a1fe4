"""The words of a command line: common options anywhere, and the command that goes on."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from steadyrank.pipeline.files.urls import SCHEMES

COMMON = ("--log-format", "--notify")  # that may stand anywhere before ``--``
RESUMED = ("run", "train", "score", "sweep")  # that have --resume
AS_THEY_WERE = ("nightly",)  # which go on by themselves


def common_first(arguments: Sequence[str]) -> list[str]:
    """Arguments with the options first that all commands have."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    first, rest, words = [], [], iter(arguments[:cut])
    for word in words:
        if word in COMMON:
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word.startswith(tuple(f"{name}=" for name in COMMON)):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *rest, *arguments[cut:]]


def command_of(arguments: Sequence[str]) -> str | None:
    """The name of the command, of arguments with the common options first."""
    words = iter(arguments)
    for word in words:
        if word in COMMON:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def going_on(arguments: Sequence[str]) -> str | None:
    """The command that goes on with what an interrupted one left; None: there is none.

    Args:
        arguments: Of the interrupted command, the common options first.
    """
    command = command_of(arguments)
    if command not in RESUMED and command not in AS_THEY_WERE:
        return None
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:cut] if word not in ("--overwrite", "--resume")]
    if command in RESUMED and _has_begun(command, words):
        words.append("--resume")
    return shlex.join(["steadyrank", *words, *arguments[cut:]])


def _has_begun(command: str, words: Sequence[str]) -> bool:
    """Whether --resume finds something to go on with."""
    if command == "run":
        return True  # which begins with what is not there
    output = next(
        (b for a, b in zip(words, words[1:], strict=False) if a == "--output"), ""
    )
    output = next((w.partition("=")[2] for w in words if w.startswith("--output=")), output)
    if not output or output.startswith(SCHEMES):
        return bool(output)
    path = Path(output)
    if command == "sweep":
        return (path / "sweep.json").exists()
    return path.with_name(path.name + ".partial").exists()
