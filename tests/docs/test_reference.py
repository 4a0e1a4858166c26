"""Reference pages are what the code says, and what the code has is on a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import click
import pytest

from scripts import api_reference, configuration_reference, errors_reference, metrics_reference
from tests.docs.pages import DOCS, ROOT, anchors, blocks, links, named_tests, pages, prose, source
from tests.model.rules import Rule
from tests.model.test_rules import NEEDS_A_LATE_REQUEST, SHORTEST
from undrift import errors
from undrift.adapters.clock import SystemClock
from undrift.adapters.ledgers.sqlite import SqliteLedger
from undrift.adapters.sqlite import Database
from undrift.cli.main import root
from undrift.cli.session import shared_options
from undrift.domain.migration import Phase
from undrift.errors import UndriftError

EVERY_PAGE = pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()])
GENERATED = {
    "api": (api_reference.PAGE, api_reference.reference),
    "configuration": (configuration_reference.PAGE, configuration_reference.reference),
    "errors": (errors_reference.PAGE, errors_reference.reference),
    "metrics": (metrics_reference.PAGE, metrics_reference.reference),
}
#: A command in a block or between backticks, up to what ends it there.
_COMMAND = re.compile(r"(?:`|^\$ )undrift (?P<words>[^`\n|;]*)", re.MULTILINE)


def verbs(group: click.Group = root, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb, with the words that lead to it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command


VERBS = dict(verbs())


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page, reference = GENERATED[name]
    assert page.read_text(encoding="utf-8") == reference(), f"python -m scripts.{name}_reference"


def test_every_error_is_on_the_page_of_errors() -> None:
    text = source(errors_reference.PAGE)
    leaves = [
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, UndriftError) and UndriftError not in (thing, *thing.__bases__)
    ]
    assert leaves
    assert not [name for name in leaves if f"`{name}`" not in text]


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_verb_is_explained_by_a_page_besides_the_reference(path: tuple[str, ...]) -> None:
    command = " ".join(("undrift", *path))
    explained = [page for page in pages() if page.name != "cli.md" and re.search(rf"{command}\b", source(page))]
    assert explained, f"no page tells when to type `{command}`"


@EVERY_PAGE
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    wrong = []
    for found in _COMMAND.finditer(source(page)):
        words = found["words"].split()
        path = next((tuple(words[:length]) for length in (2, 1) if tuple(words[:length]) in VERBS), None)
        if path is None:
            # The name of the program, or a group of verbs.
            if words and re.fullmatch(r"[a-z]+", words[0]) and words[0] not in root.commands:
                wrong.append(found[0])
            continue
        known = {name for option in (*VERBS[path].params, *shared_options()) for name in option.opts} | {"--help"}
        wrong += [f"{found[0]}: {word}" for word in words if re.fullmatch(r"--[a-z-]+", word) and word not in known]
    assert not wrong


@EVERY_PAGE
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in links(page):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}; there are {sorted(anchors(there))}"


@EVERY_PAGE
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for path, name in named_tests(page):
        file = ROOT / path
        assert file.exists(), f"{page.name} names {path}"
        assert re.search(
            rf"^ *(async )?def {name.rpartition(':')[2]}\(", file.read_text(encoding="utf-8"), re.MULTILINE
        ), f"{page.name} names {path}::{name}"


def test_every_answer_of_what_if_names_a_test() -> None:
    page = DOCS / "operations" / "what-if.md"
    answers = source(page).split("\n## ")[1:]
    assert len(answers) > 20
    assert not [answer.partition("\n")[0] for answer in answers if not re.search(r"Proved by\s+`(tests|src)/", answer)]


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {ROOT / "README.md"}
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        for target in links(page):
            there = (page.parent / target.partition("#")[0]).resolve()
            found = sorted(there.glob("*.md")) if there.is_dir() else [there] if there.suffix == ".md" else []
            waiting += [one for one in found if one not in reached and one.exists()]
            reached.update(found)
    assert not [page.name for page in pages() if page not in reached]


def test_every_rule_of_the_model_is_explained_with_the_history_that_it_closes() -> None:
    text = source(DOCS / "explanation" / "protocol.md")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    late = {rule: ", with a late request" if rule is NEEDS_A_LATE_REQUEST else "" for rule in Rule}
    assert rows == {str(rule): f"{SHORTEST[rule]}{late[rule]}" for rule in Rule}


def test_every_table_and_column_of_the_ledger_is_on_its_page(tmp_path: Path) -> None:
    ledger = SqliteLedger(Database(tmp_path / "ledger.db"), SystemClock())
    assert ledger.aliases() == []
    connection = apsw.Connection(str(tmp_path / "ledger.db"))
    has = {
        table: [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    }
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", source(DOCS / "reference" / "ledger.md"), re.MULTILINE)
    assert {table: re.findall(r"`(\w+)`", columns) for table, columns in rows} == has
    ledger.close_ledger()


def test_every_phase_is_explained() -> None:
    text = source(DOCS / "operations" / "reading-the-output.md")
    assert not [phase for phase in Phase if f"| `{phase.value.replace('_', ' ')}` |" not in text]


@EVERY_PAGE
def test_no_page_has_a_path_of_somebodys_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:tmp|home|root|work|Users)/\S*", source(page))


#: What a word of the glossary is called elsewhere; nowhere here.
SYNONYMS = ("switchover", "cut-over", "blue-green", "re-index", "reindex", "rewind", "backfilling", "shadow index")


@EVERY_PAGE
def test_a_page_keeps_to_the_words_of_the_glossary(page: Path) -> None:
    text = prose(page).lower()
    assert not [word for word in SYNONYMS if word in text]


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", source(DOCS / "glossary.md"), re.MULTILINE)
    assert words == sorted(words, key=str.lower)
    assert len(words) > 40


def test_there_are_pages_to_look_at() -> None:
    assert len(pages()) > 20
    assert sum(len(blocks(page)) for page in pages()) > 60
