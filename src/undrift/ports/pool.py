"""Processes elsewhere that carry pieces of a back-fill, such as those of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from undrift.domain.client import ClientId
from undrift.domain.migration import MigrationId
from undrift.domain.route import AliasName


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a process of a pool is told; it reads everything else from its own configuration and environment.

    Nothing secret is in it: keys and passwords never leave the host on which they were set.

    Attributes:
        configuration: the file of the configuration, at the same place on every host.
        alias: the alias whose documents are carried over.
        migration: the migration that they are carried for.
        caller: the process that asks for it; when it says that it is enough, the piece in hand is the last.
        version: the version of undrift that asks.
        gpus: graphics processors of one process of the pool; a part of one is shared.
        cpus: cores of one process of the pool.
    """

    configuration: str
    alias: AliasName
    migration: MigrationId
    caller: ClientId
    version: str
    gpus: float = 0.0
    cpus: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one piece in a process of the pool.

    Attributes:
        documents: how many it carried over; 0 when there was nothing left to take.
        host: where it ran.
        pid: which process it was.
        unfit: why the process cannot do this work at all; empty when it can.
    """

    documents: int
    host: str
    pid: int
    unfit: str = ""


class Hand(Protocol):
    """What works inside a process of the pool; it is made there, once, and used for piece after piece."""

    def carry(self) -> Outcome:
        """Carry one piece over, whichever is next; return when that is done, or there is none left to take.

        It never raises: what went wrong is recorded in the ledger, or told in the outcome.
        """
        ...

    def close(self) -> None:
        """Let go of everything; a process that is killed does without."""
        ...


class Job(Protocol):
    """An errand that a pool is on."""

    def told(self) -> Sequence[Outcome]:
        """Return what became of pieces since the last call; waits for nothing.

        Raises:
            PoolUnavailable: the pool cannot be used, or was lost.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether no process of the pool is on this errand any more."""
        ...

    def close(self, patience_s: float) -> None:
        """Wait until it is over; whoever still works after so many seconds is ended where it stands."""
        ...


class Pool(Protocol):
    """Processes on one host or many that can be sent on errands."""

    def hosts(self) -> Sequence[str]:
        """Return the names of the hosts that it has.

        Raises:
            PoolUnavailable: it cannot be reached.
        """
        ...

    def begin(self, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> Job:
        """Send processes on an errand; returns at once.

        Args:
            errand: what they are told.
            opener: makes a hand in a process of the pool; found there by its name, so a function of a module.
            pieces: how often a piece is to be carried; a process that dies leaves its share to the others.
        """
        ...

    def close(self) -> None:
        """Let go of the processes."""
        ...
