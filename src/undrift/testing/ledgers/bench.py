"""What an adapter brings so that the kit can try its ledger, and the world that the kit builds in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from undrift.domain.checkpoint import Chunk, Claim
from undrift.domain.client import ClientId
from undrift.domain.migration import TRANSITIONS, Migration, MigrationId, Phase, advance
from undrift.domain.operation import Opened
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, FieldKey, Mode, Route, VectorField
from undrift.domain.space import SpaceId
from undrift.ports.ledger import Ledger
from undrift.testing.clock import VirtualClock

ALIAS = AliasName("kb")
SOURCE = VectorField(store="main", collection="kb", space=SpaceId("old-4-0"))
TARGET = VectorField(store="main", collection="kb__new", space=SpaceId("new-4-1"))
ME, YOU = ClientId("me"), ClientId("you")
#: The fence horizon that the kit uses, and how long its leases and deadlines are; they differ so that none is mistaken.
SETTLE_S, LEASE_S, DEADLINE_S = 7.0, 11.0, 13.0
#: A moment more, where something must have passed.
MOMENT_S = 0.001

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the ledger's storage has about a touched document, read past the code under test."""

    dirty: bool
    source: FieldKey
    sequence: int
    open: int


class LedgerBench(ABC):
    """One ledger, two handles on it as two processes would have them, and a side door."""

    def __init__(self) -> None:
        """Begin at a fixed time, with nothing recorded."""
        self.clock = VirtualClock()
        self.ledger = self.handle()
        self.other = self.handle()

    @abstractmethod
    def handle(self) -> Ledger:
        """Return one more handle on the same ledger and clock, as another process of this machine has it."""

    @abstractmethod
    def opener(self) -> Callable[[], Ledger]:
        """Return what another process calls to get a handle, on the machine's own clock; it has to be picklable."""

    @abstractmethod
    def cut_off(self) -> AbstractContextManager[None]:
        """Make the ledger impossible to read and to write, for as long as the context lasts."""

    @abstractmethod
    def mark(self, alias: AliasName, key: str) -> Mark | None:
        """Side door: return what is stored about a document, or None when it was never touched."""

    @abstractmethod
    def operations(self, alias: AliasName) -> int:
        """Side door: return how many operations are open."""

    def close(self) -> None:
        """Let go of every handle."""
        self.ledger.close_ledger()
        self.other.close_ledger()


def ids(*names: str) -> list[DocumentId]:
    """Return document ids."""
    return [DocumentId(name) for name in names]


def present(value: _T | None) -> _T:
    """Return what has to be there."""
    assert value is not None
    return value


def route_of(ledger: Ledger) -> Route:
    """Return what the kit's alias means now."""
    return present(ledger.route(ALIAS))


def migration_of(ledger: Ledger) -> Migration:
    """Return the kit's migration as the ledger has it."""
    return present(present(ledger.alias(ALIAS)).migration)


def make_alias(ledger: Ledger, name: AliasName = ALIAS, serving: VectorField = SOURCE) -> Route:
    """Record an alias."""
    return ledger.create_alias(name, serving, model="old", mirror="journal")


def a_migration(
    name: str = "m1", *, budget_tokens: int | None = None, budget_usd: float | None = None, price: float = 0.0
) -> Migration:
    """Return a migration of the kit's alias that is recorded nowhere."""
    return Migration(
        id=MigrationId(name),
        alias=ALIAS,
        source=SOURCE,
        target=TARGET,
        target_model="new",
        budget_tokens=budget_tokens,
        budget_usd=budget_usd,
        usd_per_million_tokens=price,
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )


def begin(ledger: Ledger, phase: Phase = Phase.BACKFILL, migration: Migration | None = None) -> Migration:
    """Make the alias and bring a migration of it to a phase by the shortest way."""
    make_alias(ledger)
    migration = migration or a_migration()
    ledger.register_migration(migration, who="kit")
    for step in _way(Phase.REGISTERED, phase):
        enter(ledger, step)
    return migration_of(ledger)


def enter(ledger: Ledger, phase: Phase) -> None:
    """Bring the migration over one edge, as the engine does."""
    was = migration_of(ledger)
    following, route = advance(was, phase), route_of(ledger)
    match phase:
        case Phase.JOURNALING:
            ledger.change_mode(route, Mode.JOURNAL, migration=following, was=was.phase, who="kit")
        case Phase.REVERSING | Phase.ROLLED_BACK:
            flip(ledger, phase)
        case Phase.RETIRING | Phase.ABORTING:
            ledger.change_mode(route, Mode.PASSIVE, migration=following, was=was.phase, who="kit")
        case _:
            ledger.save_phase(following, was=was.phase, who="kit")


def flip(
    ledger: Ledger,
    phase: Phase = Phase.REVERSING,
    *,
    route: Route | None = None,
    max_dirty: int | None = None,
    max_quarantined: int | None = None,
) -> Route:
    """Swap the fields of the kit's alias."""
    was = migration_of(ledger)
    return ledger.flip(
        route or route_of(ledger),
        migration=replace(was, phase=phase),
        was=was.phase,
        who="kit",
        max_dirty=max_dirty,
        max_quarantined=max_quarantined,
    )


def opened(ledger: Ledger, *keys: str, client: ClientId = ME) -> Opened:
    """Open a write that is expected to begin."""
    result = ledger.open(ALIAS, ids(*keys), client=client, deadline_s=DEADLINE_S)
    assert isinstance(result, Opened), result
    return result


def write(ledger: Ledger, *keys: str) -> None:
    """Open and close a write."""
    operation = opened(ledger, *keys).operation
    assert ledger.close(ALIAS, operation, ids(*keys))


def claim(
    ledger: Ledger, *, owner: ClientId = ME, limit: int = 100, only: Sequence[DocumentId] | None = None
) -> list[Claim]:
    """Claim dirty documents."""
    return ledger.claim(ALIAS, owner=owner, limit=limit, lease_s=LEASE_S, settle_s=SETTLE_S, only=only)


def lease(ledger: Ledger, *, owner: ClientId = ME) -> Chunk | None:
    """Lease a piece of the back-fill."""
    migration = migration_of(ledger)
    return ledger.lease_chunk(ALIAS, migration.id, owner=owner, lease_s=LEASE_S, settle_s=SETTLE_S)


def publish(ledger: Ledger, chunk: Chunk, *keys: str, owner: ClientId = ME) -> list[DocumentId]:
    """Begin to write a piece."""
    return ledger.publish(ALIAS, chunk, ids(*keys), owner=owner, lease_s=LEASE_S)


def lay_out(ledger: Ledger, *bounds: str, complete: bool = True) -> None:
    """Append pieces of ten documents each that end at these ids."""
    last = ledger.last_chunk(migration_of(ledger).id)
    number, lo = (last.number + 1, last.hi) if last else (0, "")
    chunks = []
    for hi in bounds:
        chunks.append(Chunk(number=number, lo=lo, hi=hi, count=10))
        number, lo = number + 1, hi
    ledger.add_chunks(migration_of(ledger).id, chunks, complete=complete)


def states(ledger: Ledger, keys: Iterable[str]) -> Mapping[DocumentId, bool]:
    """Return which of the touched keys are dirty."""
    return {key: dirty for key, (dirty, _) in ledger.journal_state(ALIAS, ids(*keys)).items()}


def _way(start: Phase, end: Phase) -> list[Phase]:
    """Return the phases after `start` on the shortest way to `end`."""
    ways: list[list[Phase]] = [[start]]
    for way in ways:
        if way[-1] is end:
            return way[1:]
        ways += [[*way, to] for at, to in TRANSITIONS if at is way[-1] and to not in way]
    raise AssertionError(f"no way leads from {start} to {end}")
