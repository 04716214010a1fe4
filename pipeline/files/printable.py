"""Text of others, on its way to a terminal or a page: nothing in it acts, or hides.

A log's values may hold what moves a terminal's cursor, clears what an error said, or turns
the direction of writing.
"""

import unicodedata
from collections.abc import Callable

ACTING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories of Unicode
KEPT = {"\n", "\t", "\u200c", "\u200d"}  # the last two join letters of some scripts


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable(text: str, escaped: Callable[[str], str] = _escaped) -> str:
    """A text in which what is not printed is written out, as ``\\x1b``.

    Args:
        text: Any.
        escaped: How one such character is written.
    """
    if text.isprintable():
        return text
    return "".join(escaped(c) if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ACTING and character not in KEPT
