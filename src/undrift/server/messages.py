"""What callers may send, and how errors are told to them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undrift.errors import (
    BadArgument,
    ConflictError,
    ControlUnavailable,
    LedgerUnusable,
    RefusedError,
    UndriftError,
    UnknownAlias,
    UsageError,
)

#: Most documents of one write.
MOST_KEYS = 10_000
#: A name that can be shown in any table.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OpenRequest(_Message):
    """The body of a call that begins a write."""

    keys: list[str] = Field(min_length=1, max_length=MOST_KEYS)
    client: str = Field(min_length=1, max_length=200, pattern=_NAME)
    deadline_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class CloseRequest(_Message):
    """The body of a call that ends a write; `operation` is null where no journal was wanted."""

    operation: Annotated[int, Field(ge=0, lt=2**63)] | None
    keys: list[str] = Field(min_length=1, max_length=MOST_KEYS)


_Request = TypeVar("_Request", bound=_Message)


def parse(kind: type[_Request], body: bytes) -> _Request:
    """Read a body.

    Raises:
        BadArgument: it is not JSON, or not what the call takes.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problems = [_told(problem) for problem in error.errors(include_url=False, include_input=False)]
        raise BadArgument(
            "the body of the call is not what it takes",
            "\n".join(problems[:10]),
            "see docs/how-to/write-from-other-languages.md",
        ) from error


def status_of(error: UndriftError) -> int:
    """Return the HTTP status of an error."""
    match error:
        case UnknownAlias():
            return 404
        case UsageError():
            return 400
        case ControlUnavailable() | LedgerUnusable():
            return 503
        case ConflictError() | RefusedError():
            return 409
        case _:
            return 502


def in_error_shape(error: UndriftError, kind: str = "") -> dict[str, Any]:
    """Return an error in the shape that every program gets."""
    fields = {"kind": kind or error.kind, "message": error.message, "detail": error.detail, "hint": error.hint}
    return {"error": fields}


def _told(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    said = problem["msg"][:1].lower() + problem["msg"][1:]
    return f"{where}: {said}" if where else said
