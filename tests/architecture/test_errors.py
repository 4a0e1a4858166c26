"""All errors live in one module, in four branches by who has to act, and survive a process boundary."""

from __future__ import annotations

import ast
import pickle

import pytest

from tests.architecture.house import is_in, modules, source
from undrift import errors

BRANCHES = (errors.UsageError, errors.RefusedError, errors.BackendError, errors.ConflictError)
CLASSES = [
    thing
    for thing in vars(errors).values()
    if isinstance(thing, type) and issubclass(thing, BaseException) and thing.__module__ == errors.__name__
]
LEAVES = [thing for thing in CLASSES if thing not in (errors.UndriftError, *BRANCHES)]


def raised_by_name(text: str) -> list[str]:
    """The classes of a module that extend an exception."""
    known = {thing.__name__ for thing in CLASSES} | {"Exception", "BaseException"}
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        for parent in node.bases
        if (name := ast.unparse(parent).rpartition(".")[2]) in known or name.endswith(("Error", "Exception"))
    ]


def test_there_are_errors_to_look_at() -> None:
    assert len(LEAVES) > len(BRANCHES)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_is_in_exactly_one_branch(kind: type[errors.UndriftError]) -> None:
    assert sum(issubclass(kind, branch) for branch in BRANCHES) == 1


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_has_the_exit_code_of_its_branch(kind: type[errors.UndriftError]) -> None:
    (branch,) = (branch for branch in BRANCHES if issubclass(kind, branch))

    assert kind.exit_code == branch.exit_code


def test_the_branches_have_the_exit_codes_that_are_promised() -> None:
    assert [branch.exit_code for branch in BRANCHES] == [2, 3, 4, 5]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_with_all_it_says(kind: type[errors.UndriftError]) -> None:
    """Worker processes hand their errors on; one that cannot be unpickled hides the cause."""
    sent = kind("kb is busy", "another process has it", "undrift status kb")

    received = pickle.loads(pickle.dumps(sent))

    assert type(received) is kind
    assert (received.message, received.detail, received.hint) == (sent.message, sent.detail, sent.hint)
    assert str(received) == str(sent)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_says_what_has_happened(kind: type[errors.UndriftError]) -> None:
    assert kind.__dict__.get("__doc__"), f"{kind.__name__} has no docstring of its own"


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_an_error_is_named_after_the_situation(kind: type[errors.UndriftError]) -> None:
    assert not kind.__name__.endswith("Error"), "only the branches end in Error"


def test_errors_are_made_in_their_module_only() -> None:
    """The test kit may have its own: a simulated crash must not be caught as an error of the product."""
    elsewhere = [
        f"{module.as_posix()}: {name}"
        for module in modules()
        if not is_in(module, "errors") and not is_in(module, "testing")
        for name in raised_by_name(source(module))
    ]

    assert not elsewhere


def test_an_error_made_elsewhere_is_seen() -> None:
    assert raised_by_name("class Busy(ConflictError): ...") == ["Busy"]
    assert raised_by_name("class Odd(errors.StoreUnavailable): ...") == ["Odd"]
    assert raised_by_name("class Plain: ...\nclass Other(Plain): ...") == []
