"""Each dangerous act has one room where it may be done; a walk over every syntax tree keeps it so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.architecture.house import imported_names, is_in, modules, source


@dataclass(frozen=True, kw_only=True)
class Door:
    """An act, and the rooms it is kept to.

    Names are the ends of dotted names, with aliases of imports resolved: `embed_query` is any attribute or function of
    that name, `os.environ` only that one.
    """

    act: str
    rooms: tuple[str, ...]
    #: Names that may not even be mentioned elsewhere: passing a method on is as good as calling it.
    mentioned: frozenset[str] = frozenset()
    #: Names that may be mentioned, as in annotations, but not called.
    called: frozenset[str] = frozenset()
    #: Fields that may not be given to `dataclasses.replace`.
    replaced: frozenset[str] = frozenset()
    #: What a string literal may not look like.
    literal: re.Pattern[str] | None = None
    #: A line that commits the act, each on its own.
    offences: tuple[str, ...] = field(repr=False)


#: The published kit stands in for the engine when it tries an adapter.
KIT = "testing"

DOORS = (
    Door(
        act="construct a SpaceTag",
        rooms=("domain/record",),
        called=frozenset({"SpaceTag"}),
        offences=(
            "from undrift.domain.record import SpaceTag\nSpaceTag(space=s, content=c, sequence=0)",
            "from undrift.domain.record import SpaceTag as T\nT(space=s, content=c, sequence=0)",
            "from undrift.domain import record\nrecord.SpaceTag(space=s, content=c, sequence=0)",
        ),
    ),
    Door(
        act="call an embedder",
        # What stands before or behind a model is one itself, and is called through the door like any other: a head, and
        # what counts tokens for it.
        rooms=("flow/embed", "adapters/embedders/head", "adapters/tokenizers/counting", KIT),
        mentioned=frozenset({"embed_documents", "embed_query"}),
        offences=(
            "embedder.embed_documents(texts)",
            "self._embedder.embed_query(text)",
            "pool.submit(embedder.embed_documents, texts)",
        ),
    ),
    Door(
        act="change a phase",
        rooms=("migrate/runner", "domain/migration", KIT),
        mentioned=frozenset({"advance", "save_phase"}),
        replaced=frozenset({"phase"}),
        offences=(
            "from undrift.domain.migration import advance",
            "from undrift.domain import migration as m\nm.advance(one, to)",
            "ledger.save_phase(migration, was=phase, who=who)",
            "from dataclasses import replace\nreplace(migration, phase=Phase.DONE)",
        ),
    ),
    Door(
        act="change a route",
        rooms=("migrate/steps", KIT),
        mentioned=frozenset({"flip", "change_mode"}),
        offences=("ledger.flip(route)", "ledger.change_mode(route, mode)", "attempt(self.ledger.flip, route)"),
    ),
    Door(
        act="print",
        # The provider for tests is a command of its own.
        rooms=("cli/render", "testing/provider/__main__"),
        mentioned=frozenset(
            {"print", "click.echo", "click.secho", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
        ),
        called=frozenset({"Console"}),
        offences=(
            "print('done')",
            "import click\nclick.echo('done')",
            "from click import echo as say\nsay('done')",
            "from rich.console import Console\nConsole()",
            "import rich\nrich.print('done')",
            "import sys\nsys.stderr.write('done')",
            "from sys import stdout",
        ),
    ),
    Door(
        act="read the environment",
        rooms=("config",),
        mentioned=frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.path.expandvars"}),
        offences=(
            "import os\nos.environ['UNDRIFT_LEDGER']",
            "import os\nos.getenv('UNDRIFT_LEDGER')",
            "import os as system\nsystem.environ.get('X')",
            "from os import environ",
        ),
    ),
    Door(
        act="import by name",
        rooms=("plugins",),
        mentioned=frozenset(
            {
                "__import__",
                "importlib.import_module",
                "importlib.metadata.entry_points",
                "importlib.util.module_from_spec",
                "pkgutil.resolve_name",
                "runpy.run_module",
                "runpy.run_path",
            }
        ),
        offences=(
            "__import__('qdrant_client')",
            "import importlib\nimportlib.import_module('qdrant_client')",
            "from importlib import import_module",
            "from importlib.metadata import entry_points",
            "from importlib import metadata\nmetadata.entry_points(group='undrift.stores')",
        ),
    ),
    Door(
        act="name a metric",
        rooms=("telemetry", "control/metrics", "control/checks"),
        literal=re.compile(r"undrift_[a-z0-9_]+_(total|seconds|bytes|ratio|info)"),
        offences=("count('undrift_texts_embedded_total')", "NAME = 'undrift_search_seconds'"),
    ),
)


def dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    """The dotted name of an expression, its root resolved where it was imported; what is not a name becomes `?`."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            return f"{dotted(value, aliases)}.{attr}"
        case _:
            return "?"


def ends_in(name: str, endings: frozenset[str]) -> bool:
    # numpy has a `flip` of its own.
    return not name.startswith("numpy.") and any(name == end or name.endswith("." + end) for end in endings)


def acts(door: Door, text: str) -> Iterator[int]:
    """The lines of a module that do what is done behind a door."""
    tree = ast.parse(text)
    imports = list(imported_names(tree))
    aliases = {local: origin for local, origin, _ in imports}
    yield from (line for _, origin, line in imports if ends_in(origin, door.mentioned))
    for node in ast.walk(tree):
        match node:
            case ast.Name(ctx=ast.Load()) | ast.Attribute(ctx=ast.Load()) if ends_in(
                dotted(node, aliases), door.mentioned
            ):
                yield node.lineno
            case ast.Call(func=function) if ends_in(dotted(function, aliases), door.called):
                yield node.lineno
            case ast.Call(func=function, keywords=keywords) if (
                dotted(function, aliases).endswith("replace") and {word.arg for word in keywords} & door.replaced
            ):
                yield node.lineno
            case ast.Constant(value=str(literal)) if door.literal and door.literal.fullmatch(literal):
                yield node.lineno


def may(door: Door, module: Path) -> bool:
    return any(is_in(module, room) for room in door.rooms)


EVERY_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.act.replace(" ", "-"))


@EVERY_DOOR
def test_an_act_is_done_only_in_its_room(door: Door) -> None:
    offences = [
        f"src/undrift/{module.as_posix()}:{line}"
        for module in modules()
        if not may(door, module)
        for line in sorted(set(acts(door, source(module))))
    ]

    assert not offences, f"only {', '.join(door.rooms)} may {door.act}: {', '.join(offences)}"


@EVERY_DOOR
def test_the_room_that_may_does(door: Door) -> None:
    """An act that was renamed would leave its door unwatched; then nobody does it under the old name."""
    room = [module for module in modules() if is_in(module, door.rooms[0])]
    if not room:
        pytest.skip(f"{door.rooms[0]} is not there yet")

    assert any(list(acts(door, source(module))) for module in room), f"nothing in {door.rooms[0]} can {door.act}"


@pytest.mark.parametrize(
    ("door", "offence"),
    [pytest.param(door, offence, id=offence.splitlines()[-1]) for door in DOORS for offence in door.offences],
)
def test_an_offence_is_seen(door: Door, offence: str) -> None:
    before = "def innocent(texts: list[str]) -> int:\n    return len(texts)\n"

    assert not list(acts(door, before))
    assert list(acts(door, before + offence))


@pytest.mark.parametrize(
    "innocent",
    [
        "class Model:\n    def embed_documents(self, texts): ...\n    def embed_query(self, text): ...",
        "class Ledger:\n    def flip(self, route): ...\n    def change_mode(self, route, mode): ...",
        "from undrift.domain.record import SpaceTag\ndef tag_of(hit) -> SpaceTag: ...",
        "import numpy as np\nnp.flip(vectors)",
        "import os\nos.getpid()",
        "from dataclasses import replace\nreplace(migration, tokens=3)",
        "import importlib.metadata\nimportlib.metadata.version('undrift')",
        "TABLE = 'undrift_documents'",
    ],
)
def test_what_only_resembles_an_act_is_left_alone(innocent: str) -> None:
    assert not [door.act for door in DOORS if list(acts(door, innocent))]


def test_a_part_of_a_room_is_the_room_and_a_neighbour_is_not() -> None:
    assert is_in(Path("flow/embed.py"), "flow/embed")
    assert is_in(Path("flow/embed/__init__.py"), "flow/embed")
    assert is_in(Path("flow/embed/batch.py"), "flow/embed")
    assert not is_in(Path("flow/embedding.py"), "flow/embed")
    assert not is_in(Path("adapters/config.py"), "config")
