"""Writes docs/reference/api.md from the docstrings of what applications use: `python -m scripts.api_reference`.

A test fails when the page is not what this would write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import undrift
from scripts.docstrings import one_line, parsed
from undrift import aio, training
from undrift.control.ancestry import Ancestry, Training
from undrift.control.comparing import Comparing
from undrift.control.crew import Crew
from undrift.control.documents import Documents
from undrift.control.evidence import Evidence
from undrift.control.judging import Judging
from undrift.control.migrations import Migrations
from undrift.control.operations import Operations
from undrift.control.planning import Planning
from undrift.control.promoting import Promoting
from undrift.control.selftest import Selftest
from undrift.control.status import Status
from undrift.control.traffic import Traffic
from undrift.control.wiring import Wiring
from undrift.domain.record import Document, Hit, Hits, Receipt
from undrift.domain.route import Mode, Route, VectorField
from undrift.flow.alias import Alias, ForeignWrite

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "api.md"

HEAD = """# Python

<!-- Written by `python -m scripts.api_reference`; a test keeps it up to date. Change the docstrings instead. -->

What is on this page is public: it changes only with an entry in the [changelog](../../CHANGELOG.md). Everything
else may change without notice, except the ports and the test kit for [adapters](../how-to/write-an-adapter.md).
Errors have [a page of their own](errors.md), and so have [filters](filters.md).

"""
ALIAS = "\n## The alias\n\n"
VALUES = "\n## Values\n\nAll of them are frozen.\n\n"
PLANE = """
## The control plane

`undrift.open` returns a `ControlPlane`. Each verb of the [command line](cli.md) is a method of it; what they return
has the [JSON shapes](json.md).

"""
AIO = "\n## undrift.aio\n\n"
TRAINING = "\n## undrift.training\n\n"

#: Verbs that an operator has, class by class; what else a class has serves the others.
VERBS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        Documents,
        (
            "alias",
            "alias_for",
            "create_alias",
            "show_alias",
            "aliases",
            "add_model",
            "show_model",
            "models",
            "put",
            "export",
        ),
    ),
    (Planning, ("plan",)),
    (Migrations, ("register", "work")),
    (Crew, ("work_all",)),
    (Status, ("status",)),
    (Operations, ("pause", "resume", "panic", "panic_all", "postpone", "unpostpone", "tune", "settings")),
    (Traffic, ("plan_cutover", "cutover", "rollback", "complete", "cancel")),
    (Comparing, ("verify", "reconcile", "adopt")),
    (Selftest, ("selftest",)),
    (Evidence, ("import_golden", "golden_sets", "run_golden", "doctor")),
    (Ancestry, ("register_model", "record_checkpoint", "lineage", "trace", "retire_model", "require_servable")),
    (Judging, ("compare_golden",)),
    (Promoting, ("promote_model",)),
    (Wiring, ("store_of", "door_of", "close")),
)


def reference() -> str:
    """Return the page."""
    parts = [HEAD, *_function("undrift.open", undrift.open), ALIAS, *_class(Alias)]
    parts += [VALUES, *(part for value in (Document, Hits, Hit, Receipt) for part in _value(value))]
    parts += [part for value in (Route, VectorField, ForeignWrite) for part in _value(value)]
    parts += [f"`Mode`: {_members(Mode)}\n\n"]
    parts += [PLANE]
    parts += [part for owner, names in VERBS for name in names for part in _method(owner, name)]
    parts += [AIO, f"{parsed(aio).text}\n\n", *_function("undrift.aio.open", aio.open)]
    parts += [*_class(aio.AsyncControlPlane), *_class(aio.AsyncAlias, short=True)]
    parts += [TRAINING, f"{parsed(training).text} [How to](../how-to/fine-tune.md).\n\n", *_value(Training)]
    for name in training.__all__:
        if name != Training.__name__:
            parts += _function(f"undrift.training.{name}", getattr(training, name))
    return "".join(parts).rstrip() + "\n"


def _class(thing: type, *, short: bool = False) -> Iterator[str]:
    yield f"### `{thing.__name__}`\n\n{parsed(thing).text}\n\n"
    for name, member in vars(thing).items():
        if name.startswith("_") or not inspect.isfunction(inspect.unwrap(member)):
            continue
        if short:
            yield f"- `{name}{_signature(member)}`: {one_line(parsed(member).text)}\n"
        else:
            yield from _method(thing, name)
    yield "\n" if short else ""


def _value(thing: type) -> Iterator[str]:
    yield f"### `{thing.__name__}`\n\n{parsed(thing).text}\n\n"
    yield from _list(parsed(thing).entries("Attributes"))


def _members(thing: Any) -> str:
    return ", ".join(f"`{member.value}`" for member in thing)


def _method(owner: type, name: str) -> Iterator[str]:
    yield from _described(f"`{name}{_signature(vars(owner)[name])}`", vars(owner)[name], "####")


def _function(name: str, function: Any) -> Iterator[str]:
    yield from _described(f"`{name}{_signature(function)}`", function, "###")


def _described(title: str, function: Any, level: str) -> Iterator[str]:
    docstring = parsed(function)
    yield f"{level} {title}\n\n{docstring.text}\n\n"
    yield from _list(docstring.entries("Args"))
    if "Returns" in docstring.sections:
        returned = one_line(docstring.sections["Returns"])
        yield f"Returns {returned[:1].lower()}{returned[1:]}\n\n"
    raised = docstring.entries("Raises")
    if raised:
        yield "Raises:\n\n"
        yield from _list(raised)


def _list(entries: dict[str, str]) -> Iterator[str]:
    for name, text in entries.items():
        shown = ", ".join(f"`{one}`" for one in name.split(", "))
        yield f"- {shown}: {one_line(text)}\n"
    if entries:
        yield "\n"


def _signature(function: Any) -> str:
    """Write a signature as the source does; a default that only code can say becomes three dots."""
    signature = inspect.signature(function)
    shown: list[str] = []
    for name, parameter in signature.parameters.items():
        if name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        shown.append(f"{name}: {parameter.annotation}{default}")
    return f"({', '.join(shown)}) -> {signature.return_annotation}"


def _default(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return "..." if callable(value) else repr(value)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
