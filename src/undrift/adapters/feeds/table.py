"""Facts as a table of comma-separated values: the one that is shipped, and one that a user writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date
from importlib.resources import files
from pathlib import Path

from undrift.domain.catalogue import Attribute, Confidence, Fact, ModelKey, Precision, checked_fact
from undrift.errors import BadConfig

#: The first line of such a table.
COLUMNS = ("channel", "model", "region", "attribute", "value", "precision", "source", "seen", "confidence")
#: A table of limits has one more: for which tier of accounts a limit is.
_WITH_TIER = (*COLUMNS, "tier")


def shipped() -> list[Fact]:
    """Return the facts that come with this version of undrift."""
    folder = files("undrift.adapters.feeds")
    return [
        fact
        for name in ("catalogue.csv", "limits.csv")
        for fact in read_facts(folder.joinpath(name).read_text(encoding="utf-8").splitlines(), f"the shipped {name}")
    ]


def from_file(path: Path) -> list[Fact]:
    """Return the facts of a user's file.

    Raises:
        BadConfig: it cannot be read, or one of its lines is no fact.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"the catalogue {path} cannot be read", str(error)) from error
    return read_facts(lines, str(path))


def from_observations(path: Path) -> list[Fact]:
    """Return what refreshes have written into a file; none where none was made.

    Raises:
        BadConfig: one of its lines is no fact.
    """
    return from_file(path) if path.exists() else []


def append(path: Path, facts: Iterable[Fact]) -> None:
    """Write observations behind those that are in a file already.

    Raises:
        BadConfig: it cannot be written.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for fact in facts:
        key, precision = fact.key, fact.precision.value if fact.precision else ""
        row = (key.channel, key.model, key.region, fact.attribute.value, fact.value, precision, fact.source)
        writer.writerow((*row, fact.seen.isoformat(), fact.confidence.value, fact.tier))
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            if not file.tell():
                file.write(",".join(_WITH_TIER) + "\n")
            file.write(lines.getvalue())
    except OSError as error:
        raise BadConfig(f"the observations {path} cannot be written", str(error)) from error


def read_facts(lines: Iterable[str], name: str) -> list[Fact]:
    """Return the facts of a table.

    Args:
        lines: the table, its first line the names of the columns.
        name: what an error calls the table.

    Raises:
        BadConfig: one of the lines is no fact; the message names it.
    """
    rows = csv.reader(lines, strict=True)
    facts: list[Fact] = []
    try:
        head = tuple(next(rows, ()))
        if head not in (COLUMNS, _WITH_TIER):
            raise BadConfig(
                f"the first line of {name} is not the names of the columns",
                f"found {','.join(head)!r}",
                f"begin with {','.join(COLUMNS)}, and with ,tier behind it where limits differ by tier",
            )
        for number, row in enumerate(rows, start=2):
            if row:
                facts.append(_fact(row, head, f"line {number} of {name}"))
    except csv.Error as error:
        raise BadConfig(f"{name} is no table of comma-separated values", str(error)) from error
    return facts


def _fact(row: list[str], head: tuple[str, ...], where: str) -> Fact:
    if len(row) != len(head):
        raise BadConfig(f"{where} has {len(row)} values, not {len(head)}", hint=",".join(head))
    told = [one.strip() for one in row]
    channel, model, region, attribute, value, precision, source, seen, confidence = told[: len(COLUMNS)]
    if not channel or not model:
        raise BadConfig(f"{where} names no channel or no model")
    try:
        fact = Fact(
            key=ModelKey(channel=channel, model=model, region=region),
            attribute=Attribute(attribute),
            value=value,
            precision=Precision(precision) if precision else None,
            source=source,
            seen=date.fromisoformat(seen),
            confidence=Confidence(confidence),
            tier="".join(told[len(COLUMNS) :]),
        )
    except ValueError as error:
        raise BadConfig(f"{where} is no fact", str(error), "undrift catalogue show MODEL") from error
    try:
        return checked_fact(fact)
    except BadConfig as error:
        raise BadConfig(f"{where}: {error.message}", error.detail) from error
