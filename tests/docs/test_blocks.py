"""What a page shows happens: its code runs, and its commands write what stands under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.output import difference
from tests.docs.pages import CODE, NOT_CODE, ROOT, TUTORIAL, blocks, pages
from tests.docs.project import Project

pytestmark = pytest.mark.acceptance

#: Blocks that are shown and not run, over all pages. Each says why; more of them, and pages stop being true.
MOST_NOT_RUN = 8


#: The tutorial has a test of its own.
PAGES = [page for page in pages() if page != TUTORIAL and any(block.is_run for block in blocks(page))]
ALL_BLOCKS = [block for page in pages() for block in blocks(page)]


#: Pages that take longer than the others.
LONG = {"fine-tune.md", "operate-a-migration.md", "plan-a-migration.md", "use-providers.md", "write-an-adapter.md"}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=pytest.mark.long if page.name in LONG else [])
        for page in PAGES
    ],
)
def test_every_block_of_a_page_does_what_it_shows(page: Path, project: Project) -> None:
    project.run_all(page)


def test_every_block_is_in_a_language_that_is_looked_at() -> None:
    assert ALL_BLOCKS
    assert not [block.where for block in ALL_BLOCKS if block.language not in CODE | NOT_CODE]


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [block for block in ALL_BLOCKS if "not run" in block.notes]
    assert not [block.where for block in left_out if len(block.notes["not run"].split()) < 4]
    assert len(left_out) <= MOST_NOT_RUN, [block.where for block in left_out]


@pytest.mark.parametrize(
    ("shown", "out", "err"),
    [
        ("put 6 documents (epoch 1)", "put 6 documents (epoch 1)\n", ""),
        ("0.12  password  To  reset", "0.25  password   To reset\n", ""),
        ("kb: carry over\nkb · done", "kb · done\n", "load · 1 of 2\nkb: carry over\n"),
        ("pid ...", "pid 4711\n", ""),
        ("first\n...\nlast", "first\nsecond\nthird\nlast\n", ""),
        ("first\n...", "first\nsecond\n", ""),
        ("", "", "noise\n"),
    ],
)
def test_output_that_is_the_same_but_for_measures_passes(shown: str, out: str, err: str) -> None:
    assert difference(shown, out, err) == ""


@pytest.mark.parametrize(
    ("shown", "out", "err"),
    [
        ("put 6 documents", "put 7 documents\n", ""),
        ("put 6 documents", "", ""),
        ("put 6 documents", "put 6 documents\nand more\n", ""),
        ("first\nlast", "first\nsecond\nlast\n", ""),
        ("first\n...\nlast", "first\nsecond\n", ""),
        ("two\none", "", "one\ntwo\n"),
        ("", "something\n", ""),
    ],
)
def test_output_that_differs_is_seen(shown: str, out: str, err: str) -> None:
    assert difference(shown, out, err)
