"""Ids as a column of the database has them: texts, UUIDs or whole numbers, each with one way to write it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from enum import Enum

from undrift.domain.record import DocumentId

_LEAST, _MOST = -(2**63), 2**63 - 1


class IdKind(Enum):
    """What an id is in the database."""

    #: A text that orders by code point.
    TEXT = "text"
    #: A text in another collation.
    LOCALE = "varchar"
    #: A UUID, whose order is that of its text.
    UUID = "uuid"
    #: A whole number, whose order is not that of its text.
    NUMBER = "bigint"

    @property
    def array(self) -> str:
        """How an array of texts becomes an array of ids."""
        return {IdKind.UUID: "::uuid[]", IdKind.NUMBER: "::bigint[]"}.get(self, "")

    @property
    def cast(self) -> str:
        """How a text becomes an id."""
        return {IdKind.UUID: "::uuid", IdKind.NUMBER: "::bigint"}.get(self, "")


#: Types of columns that can have ids.
KINDS = {
    "text": IdKind.LOCALE,
    "varchar": IdKind.LOCALE,
    "uuid": IdKind.UUID,
    "int2": IdKind.NUMBER,
    "int4": IdKind.NUMBER,
    "int8": IdKind.NUMBER,
}
#: Collations that order by code point.
BY_CODE_POINT = frozenset({"C", "POSIX", "ucs_basic"})


def can_be(id: str, kind: IdKind) -> bool:
    """Whether a document of this id can be in the column: another spelling of a number or UUID is another id."""
    match kind:
        case IdKind.UUID:
            try:
                return str(uuid.UUID(id)) == id
            except ValueError:
                return False
        case IdKind.NUMBER:
            digits = id.removeprefix("-")
            return digits.isascii() and digits.isdigit() and str(int(id)) == id and _LEAST <= int(id) <= _MOST
        case _:
            return "\0" not in id


def possible(ids: Iterable[DocumentId], kind: IdKind) -> list[DocumentId]:
    """Return the ids that a document in the column can have, each once."""
    return [id for id in dict.fromkeys(ids) if can_be(id, kind)]


def bounds(column: str, text: str, kind: IdKind, after: str, until: str | None) -> tuple[str, list[str], str]:
    """Return the condition after < id <= until, its values, and what to order by.

    Args:
        column: the id's column.
        text: the id as a text that orders by code point.
        kind: what it is in the database.
        after: the lower bound.
        until: the upper bound; None for none.
    """
    # No id that is kept lies between a bound and the same without its NUL character.
    after, until = after.partition("\0")[0], until and until.partition("\0")[0]
    native = kind is IdKind.TEXT or (
        kind is IdKind.UUID and can_be(after, kind) and (until is None or can_be(until, kind))
    )
    one = column if native else text
    cast = kind.cast if native else ""
    sql, bound = f"{one} > %s{cast}", [after]
    if until is not None:
        sql, bound = f"{sql} AND {one} <= %s{cast}", [after, until]
    if not after and until is None:
        sql, bound = "true", []
    return sql, bound, column if kind in {IdKind.TEXT, IdKind.UUID} else text
