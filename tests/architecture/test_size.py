"""A module is one noun or one verb: it stays short, and its name says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.house import modules, source

MOST_LINES = 400
#: Names for what nobody could name.
FORBIDDEN_WORDS = frozenset({"util", "helper", "common", "base", "manager", "handler", "misc", "shared", "stuff"})


def too_long(texts: dict[str, str]) -> list[str]:
    lengths = {name: len(text.splitlines()) for name, text in texts.items()}
    return [f"{name} ({lines} lines)" for name, lines in lengths.items() if lines > MOST_LINES]


def forbidden_words(module: Path) -> set[str]:
    words = {word.removesuffix("s") for part in module.with_suffix("").parts for word in part.split("_")}
    return words & FORBIDDEN_WORDS


def test_no_module_is_longer_than_one_can_keep_in_mind() -> None:
    found = too_long({module.as_posix(): source(module) for module in modules()})

    assert modules()
    assert not found


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [module.as_posix() for module in modules() if forbidden_words(module)]


def test_one_line_too_many_is_seen() -> None:
    assert not too_long({"fine.py": "x = 1\n" * MOST_LINES})
    assert too_long({"long.py": "x = 1\n" * (MOST_LINES + 1)}) == [f"long.py ({MOST_LINES + 1} lines)"]


@pytest.mark.parametrize("name", ["utils.py", "flow/text_helpers.py", "adapters/stores/base.py", "managers/one.py"])
def test_a_name_that_says_nothing_is_seen(name: str) -> None:
    assert forbidden_words(Path(name))


@pytest.mark.parametrize("name", ["domain/space.py", "adapters/stores/sqlite_vec.py", "__init__.py"])
def test_a_name_that_says_something_is_left_alone(name: str) -> None:
    assert not forbidden_words(Path(name))
