"""Files of the output, which stand under their names once they are whole."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from steadyrank.pipeline.files.checksum import Checksummed

UNFINISHED = ".unfinished"  # ends the name of a file that is being written


@contextlib.contextmanager
def create_file(path: str) -> Iterator:
    """Open a file to write; under another name until it is whole.

    A step that is tried again replaces a file by the same bytes.
    """
    own = f"{path}.{secrets.token_hex(8)}{UNFINISHED}"
    Path(own).parent.mkdir(parents=True, exist_ok=True)
    with open(own, "xb") as file:
        yield file
    os.replace(own, path)


@contextlib.contextmanager
def create_checked(path: str) -> Iterator[Checksummed]:
    """The same, for files of which the manifest says size and checksum."""
    with create_file(path) as file:
        yield Checksummed(file)
