"""What the tests of the simulation share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from undrift.testing.simulation import Hands


@pytest.fixture(scope="module")
def hands() -> Iterator[Hands]:
    made = Hands()
    yield made
    made.close()
