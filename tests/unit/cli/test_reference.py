"""The page about the command line says what the command does."""

from __future__ import annotations

import click
import pytest

from scripts.cli_reference import LISTS, PAGE, SHAPES, reference
from undrift import errors
from undrift.cli.main import SECTIONS


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "python -m scripts.cli_reference"


def verbs() -> list[str]:
    names = []
    for _, section in SECTIONS:
        for verb in section:
            if isinstance(verb, click.Group):
                names += [f"{verb.name} {name}" for name in verb.commands]
            else:
                names.append(str(verb.name))
    return names


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_on_the_page_with_the_keys_of_its_answer(verb: str) -> None:
    shapes = [name.removesuffix(" ALIAS") for names in [*SHAPES, *LISTS] for name in names.split(", ")]

    assert f"### `undrift {verb}" in reference()
    assert verb in shapes


def test_every_exit_code_is_on_the_page() -> None:
    branches = (errors.UsageError, errors.RefusedError, errors.BackendError, errors.ConflictError)

    assert all(f"\n| {branch.exit_code} | " in reference() for branch in branches)
