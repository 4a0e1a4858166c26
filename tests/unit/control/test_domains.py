"""Aliases by domain: one answers, the fallback is declared, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.running import CONFIG
from undrift import Document
from undrift.config import load
from undrift.control import ControlPlane
from undrift.errors import BadArgument, BadConfig, UnknownAlias

pytest.importorskip("sqlite_vec")

DOMAINS = """
[aliases.law]
store = "main"
model = "new"

[domains.help]
aliases = { legal = "law", billing = "kb" }
"""
FALLBACK = 'fallback = "kb"\n'


def configured(folder: Path, more: str) -> ControlPlane:
    (folder / "undrift.toml").write_text(CONFIG + more)
    return ControlPlane(load(folder / "undrift.toml"))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    made = configured(tmp_path, DOMAINS)
    made.alias("kb").upsert([Document(id="refund", text="a refund takes a week")])
    made.alias("law").upsert([Document(id="statute", text="a refund is owed within a year")])
    yield made
    made.close()


def test_a_query_goes_to_the_alias_of_its_domain_and_is_of_that_space_alone(plane: ControlPlane) -> None:
    legal, billing = plane.alias_for("help", "legal"), plane.alias_for("help", "billing")
    assert (legal.name, billing.name) == ("law", "kb")
    first, second = legal.search("refund"), billing.search("refund")
    assert ([hit.id for hit in first], [hit.id for hit in second]) == (["statute"], ["refund"])
    assert first.space == legal.route().serving.space
    assert second.space == billing.route().serving.space
    assert first.space != second.space


@pytest.mark.parametrize("domain", ["medical", "", "Legal", None])
def test_a_query_of_no_known_domain_is_refused_where_no_fallback_is_declared(
    plane: ControlPlane, domain: str | None
) -> None:
    with pytest.raises(BadArgument, match="no fallback is declared") as caught:
        plane.alias_for("help", domain)
    assert "billing, legal" in caught.value.detail


@pytest.mark.parametrize(("domain", "alias"), [("medical", "kb"), (None, "kb"), ("legal", "law")])
def test_the_fallback_answers_what_no_domain_does(tmp_path: Path, domain: str | None, alias: str) -> None:
    with configured(tmp_path, DOMAINS + FALLBACK) as plane:
        assert plane.alias_for("help", domain).name == alias


def test_an_alias_has_no_domains(plane: ControlPlane) -> None:
    assert plane.alias_for("kb").name == "kb"
    with pytest.raises(BadArgument, match="kb has no domains"):
        plane.alias_for("kb", "legal")
    with pytest.raises(UnknownAlias):
        plane.alias_for("nobody")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[domains.kb]\naliases = { a = "kb" }', r"both \[aliases.kb\] and \[domains.kb\]"),
        ('[domains.help]\naliases = { a = "nobody" }', "name the alias nobody"),
        ('[domains.help]\naliases = { a = "kb" }\nfallback = "nobody"', "name the alias nobody"),
        ("[domains.help]\naliases = {}", "is not valid"),
        ('[domains.help]\nfallback = "kb"', "is not valid"),
    ],
)
def test_domains_that_lead_nowhere_are_found_when_the_configuration_is_read(
    tmp_path: Path, table: str, message: str
) -> None:
    with pytest.raises(BadConfig, match=message):
        configured(tmp_path, table)
