"""The benchmark of data drift: what it draws is what it says, and a library that is not there is a row that says so."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.drift import rivals, table
from benchmarks.drift.rivals import NotAvailable, Outcome
from benchmarks.drift.windows import SCENARIOS, Texts, pair

DOMAINS = 10


@pytest.fixture(scope="module")
def texts() -> Texts:
    """Ten domains of which each text names its domain in its first value, and itself in the second."""
    by_domain = {}
    for number in range(DOMAINS):
        found = np.zeros((900, 4), dtype=np.float32)
        found[:, 0], found[:, 1] = number, number * 1000 + np.arange(900)
        by_domain[f"domain-{number}"] = found
    return Texts(by_domain, -np.eye(4, dtype=np.float32))


def shares(window: np.ndarray) -> np.ndarray:
    return np.bincount(np.abs(window[:, 0]).astype(int), minlength=DOMAINS) / len(window)


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_windows_are_full_and_have_no_text_in_common(texts: Texts, scenario: str) -> None:
    found = pair(texts, scenario, 3, earlier=1000, later=250)

    assert (len(found.earlier), len(found.later)) == (1000, 250)
    assert not np.intersect1d(found.earlier[:, 1], np.abs(found.later[:, 1])).size


def test_a_novel_topic_was_not_there_before(texts: Texts) -> None:
    found = pair(texts, "novel 10 %", 3, earlier=1000, later=250)

    new = (shares(found.earlier) == 0) & (shares(found.later) > 0)
    assert new.sum() == 1
    assert shares(found.later)[new][0] == pytest.approx(0.1, abs=0.07)


def test_foreign_vectors_are_turned(texts: Texts) -> None:
    found = pair(texts, "foreign 5 %", 3, earlier=1000, later=250)

    assert (found.later[:, 1] < 0).sum() in (11, 12)
    assert (found.earlier[:, 1] < 0).sum() == 0


def test_every_method_has_a_row_and_an_absent_library_says_why() -> None:
    cells = [(scenario, 0) for scenario in SCENARIOS] + [(table._TIMED, 0)]
    outcome = Outcome([1] * len(cells), [0.5] * len(cells))

    lines = table.rendered({"a method": outcome}, cells, {"Some Library 1.0": "no network"}).splitlines()

    assert lines[1].split()[2:] == [*["1.00"] * len(SCENARIOS), "0.500", "0.500", "1"]
    assert lines[2] == "Some Library 1.0: not available here: no network"


def test_a_library_that_does_not_run_is_not_available(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import sys
    from pathlib import Path

    monkeypatch.setattr(rivals, "python_of", lambda _: Path(sys.executable))

    with pytest.raises(NotAvailable, match=r"alibi_detect|torch|FileNotFoundError"):
        rivals.run("Alibi Detect 0.13.0", tmp_path / "no.npz")


def test_without_the_texts_the_table_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("benchmarks.drift.windows.DOMAINS", tmp_path / "none")

    assert "not here" in table.measure(tmp_path, table.QUICK)
