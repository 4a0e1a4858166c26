"""What a stranger does first works: every command of the tutorial is run as it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import TUTORIAL
from tests.docs.project import Project


@pytest.mark.acceptance
@pytest.mark.parametrize("page", [TUTORIAL], ids=["first-migration"])
def test_the_tutorial_works_as_it_is_written(page: Path, project: Project) -> None:
    project.run_all(page)
