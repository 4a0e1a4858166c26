"""Processes that use an alias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

ClientId = NewType("ClientId", str)

#: Roles of processes that carry documents over.
WORKING_ROLES = frozenset({"start", "worker", "cutover", "rollback", "verify", "demo", "pool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """A process that uses an alias."""

    id: ClientId
    host: str
    pid: int
    role: str
    version: str
    acknowledged_epoch: int
    lease_left_s: float
    process: str = ""
