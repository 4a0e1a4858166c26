"""The pages that users read, taken apart: blocks of code with what is said about them, links, tests that are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: Its commands are run as they are installed, from start to end.
TUTORIAL = DOCS / "tutorial" / "first-migration.md"

#: Blocks in these languages are run or parsed; what is in others is a picture or a piece of output.
CODE = frozenset({"console", "sh", "python", "sql", "toml", "json", "jsonl"})
NOT_CODE = frozenset({"text", "mermaid"})

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)\s*$")
#: A comment on a line of its own says something about the block that follows it.
_COMMENT = re.compile(r"^ *<!-- (?P<key>not run|in background|file|prints|fails|starts from): *(?P<value>.*?) -->\s*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_TEST = re.compile(r"(?P<path>(?:tests|src)/[\w/]+\.py)::(?P<name>(?:\w+::)?test_\w+)")
_HEADING = re.compile(r"^#{1,6} (?P<title>.+?)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the page's file.
        line: the number of the first line inside the fence, from 1.
        language: what stands behind the fence.
        text: what is inside.
        notes: what comments right above it say, by their first word.
    """

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str]

    @property
    def where(self) -> str:
        """File and line, as an editor takes it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether a test does something with it."""
        known = self.language in CODE or "file" in self.notes or "prints" in self.notes
        return known and "not run" not in self.notes


def pages() -> list[Path]:
    """Return the pages of the repository that users read."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


@cache
def source(page: Path) -> str:
    """Return a page's text."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return list(_blocks(page, source(page)))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    notes: dict[str, str] = {}
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if comment := _COMMENT.match(line):
            notes[comment["key"]] = comment["value"]
        elif fence := _FENCE.match(line):
            inside = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                inside.append(inner.removeprefix(fence["indent"]))
            content = "\n".join(inside) + "\n"
            yield Block(page=page, line=number + 1, language=fence["language"], text=content, notes=notes)
            notes = {}
        elif line.strip():
            notes = {}


def starting_point(page: Path) -> str:
    """Return from what state of a project a page's blocks start; empty for a folder with nothing in it."""
    found = [
        comment["value"]
        for line in source(page).splitlines()
        if (comment := _COMMENT.match(line)) and comment["key"] == "starts from"
    ]
    assert len(found) <= 1, f"{page} starts from {found}"
    return found[0] if found else ""


def prose(page: Path) -> str:
    """Return a page's text without its blocks."""
    kept = []
    inside = False
    for line in source(page).splitlines():
        if _FENCE.match(line) or line.strip() == "```":
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return [link["target"] for link in _LINK.finditer(prose(page))]


def named_tests(page: Path) -> list[tuple[str, str]]:
    """Return the tests that a page names, each as its file and its name."""
    return [(found["path"], found["name"]) for found in _TEST.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Return what a link may put behind a `#` of a page, as GitHub makes it of the headings."""
    titles = [heading["title"] for line in prose(page).splitlines() if (heading := _HEADING.match(line))]
    return {anchor(title) for title in titles}


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
