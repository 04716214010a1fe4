"""The tables of the pages of measurements, the README and the quickstart, by results.

    python -m benchmarks.pages

writes these, and the drawings beside the pages.  A page marks where a table goes, and from
which results it is made::

    <!-- figures: stability.methods stability_quick -->
    <!-- end of figures -->

The function ``methods`` of ``benchmarks.pages.stability`` gets what
``benchmarks/results/stability_quick.json`` holds and returns Markdown, which is put
between the two lines.  Prose repeats what the tables say, and nothing else: see ``stray``.
"""

import json
import re
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = ROOT / "docs" / "measured"
MARKED = re.compile(
    r"(<!-- figures: (\S+)((?: \S+)+) -->\n)(.*?)(<!-- end of figures -->)", re.S
)
SETTINGS = re.compile(r"<!-- settings: (.*?) -->", re.S)
# measured: .8167, +.0052; 3.7 times; 72 %; 30 ms
FIGURE = re.compile(
    r"(?<![\w.,])\.\d{2,}\b"
    r"|\d[\d.,]*(?= %| (?:times|ms|MB|GB|(?:M )?(?:rows|examples)/s)\b)"
)


def pages() -> list[Path]:
    """The pages that hold tables of results."""
    quickstart = ROOT / "docs" / "quickstart.md"
    return [ROOT / "README.md", quickstart, *sorted(MEASURED.glob("*.md"))]


def filled(text: str) -> str:
    """A page with every table made anew.

    Args:
        text: The page.

    Raises:
        FileNotFoundError: A table's results are not there.
        AttributeError, ModuleNotFoundError: Nothing makes a table of that name.
    """
    return MARKED.sub(
        lambda found: found[1] + table(found[2], found[3].split()) + found[5], text
    )


def table(name: str, results: list[str]) -> str:
    """A table, and a line that says where its figures lie.

    Args:
        name: ``<module of this package>.<function>``.
        results: Names of files of results, without their ending.
    """
    module, _, function = name.partition(".")
    make = getattr(import_module(f"{__name__}.{module}"), function)
    return f"\n{make(*map(result, results))}\n"


def drawn() -> dict[Path, str]:
    """Each drawing of the pages, and what it is made of by its results."""
    drawings = import_module(f"{__name__}.drawings").DRAWINGS
    return {
        MEASURED / f"{name}.svg": draw(result(source))
        for name, (source, draw) in drawings.items()
    }


def result(name: str) -> dict:
    """What a file of results holds."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def stray(text: str) -> list[str]:
    """Figures of a page's prose that none of its tables holds, nor its settings.

    A page names its settings (99 %, a part of what was measured) in a comment::

        <!-- settings: 80 %, 99 % -->
    """
    known = {f for found in MARKED.finditer(text) for f in numbers(found[4])}
    known |= {f for found in SETTINGS.finditer(text) for f in numbers(found[1])}
    prose = SETTINGS.sub("", MARKED.sub("", re.sub(r"```.*?```", "", text, flags=re.S)))
    return [
        found[0] for found in FIGURE.finditer(prose) if found[0].rstrip(".,") not in known
    ]


def numbers(text: str) -> set[str]:
    """All numbers of a text, as they are written, without signs."""
    return {found.rstrip(".,") for found in re.findall(r"\d[\d.,]*|\.\d+", text)}
