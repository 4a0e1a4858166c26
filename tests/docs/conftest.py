"""The folder in which a page is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import TUTORIAL, starting_point
from tests.docs.project import STARTING_POINTS, Project, make_tools, prepared
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


@pytest.fixture
def project(
    page: Path, tmp_path: Path, tools: Path, templates: dict[str, Path], warm: WarmCommand
) -> Iterator[Project]:
    folder = prepared(templates[starting_point(page)], tmp_path / "project")
    made = Project(folder, tools, None if page == TUTORIAL else warm)
    yield made
    made.close()
