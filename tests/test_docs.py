"""Links of the pages lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links."""
    heads = re.findall(
        r"^#+ (.*)$", CODE.sub(lambda m: m[0].strip("`"), text), re.MULTILINE
    )
    return {re.sub(r"[ -]+", "-", re.sub(r"[^\w\s-]", "", h.lower())) for h in heads}


def dead(page: Path, text: str) -> list[str]:
    """Links of a page that lead to no file, or to no heading of one."""
    found = []
    for link in LINK.findall(CODE.sub("", text)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        there = (page.parent / path) if path else page
        inside = page.is_relative_to(ROOT / "docs")
        if not there.exists() or (
            inside and not there.resolve().is_relative_to(ROOT / "docs")
        ):
            found.append(link)
        elif anchor and anchor not in anchors(there.read_text(encoding="utf-8")):
            found.append(link)
    return found


def test_no_link_is_dead():
    found = {
        page.name: dead(page, page.read_text(encoding="utf-8")) for page in documents()
    }
    assert len(found) > 20
    assert not {name: links for name, links in found.items() if links}


@pytest.mark.parametrize(
    "link, alive",
    [
        ("gates.md", True),
        ("gates.md#how-sure-it-is", True),
        ("https://arxiv.org/abs/2302.09178", True),
        ("gate.md", False),
        ("gates.md#how-sure", False),
        ("../README.md", False),  # the site does not hold it
    ],
)
def test_the_test_sees_dead_links(link, alive):
    assert bool(dead(ROOT / "docs" / "index.md", f"see [it]({link}) here")) != alive
    assert not dead(ROOT / "docs" / "index.md", f"see `[it]({link})` here")
