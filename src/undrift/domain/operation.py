"""How a journaled write may begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from undrift.domain.record import DocumentId
from undrift.domain.route import Route

OperationId = NewType("OperationId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A write operation has begun: its documents are dirty, and it must be closed or reaped."""

    operation: OperationId
    route: Route
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passive:
    """No journal is wanted; the write may go ahead under a lease."""

    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Writers wait: a cutover is draining."""

    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Documents whose truth is still in the other field; writes to them wait until they are carried over."""

    route: Route
    keys: tuple[DocumentId, ...]


OpenResult = Opened | Passive | Held | Foreign
