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

    @property
    def is_program(self) -> bool:
        """Whether this is the lease of a single write of a program that is not undrift; nobody prolongs or kills it."""
        return self.pid == 0

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.is_program:
            return f"the program {self.id.rpartition('@')[0] or self.id} on {self.host}"
        return f"{self.role} pid {self.pid} on {self.host}"
