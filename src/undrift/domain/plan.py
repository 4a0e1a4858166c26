"""What will be done, as values that can be printed, tested and resumed before anything is touched.

Every plan is computed from the state, and leaves out what the state shows to be done. A plan that was killed after any
step is therefore resumed by computing it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from undrift.domain.migration import Migration, Phase
from undrift.domain.route import FieldKey, Mode, Route, VectorField


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateField:
    """Make an empty collection for the target; a collection that somebody else made is never taken."""

    field: VectorField


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalWrites:
    """Tell every client to journal its writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitClients:
    """Wait until every client has acknowledged the route, or its lease and the fence horizon are over."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitScans:
    """Wait until no scan of a field can miss what was written to it before this step."""

    field: VectorField
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitWorkers:
    """Wait until no worker's write to the follower can be in flight any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWrites:
    """Make writers wait, for at most this long, while the last dirty documents are carried over."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Carry dirty documents over until at most this many are left."""

    at_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Make the follower serve and the serving field follow: one compare-and-swap of the route.

    Both limits are looked at once more in that very transaction; None allows any number.

    Attributes:
        to: the field that will serve.
        phase: the phase that begins with it.
        max_dirty: most dirty documents there may be.
        max_quarantined: most documents there may be in quarantine.
    """

    to: FieldKey
    phase: Phase
    max_dirty: int | None
    max_quarantined: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleForeign:
    """Carry over the documents whose truth is still in the field that served before; writes to them wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJournal:
    """Tell every client to write the serving field only; from here the other field falls behind."""

    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOffBatches:
    """See to it that the provider works on no batch job any more, and wait for what it bills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropField:
    """Delete a collection with everything in it, or its vectors where the records have others and stay."""

    field: VectorField
    records_stay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Record that the migration is over."""

    phase: Phase


Step = (
    CreateField
    | JournalWrites
    | AwaitClients
    | AwaitScans
    | AwaitWorkers
    | HoldWrites
    | Drain
    | Flip
    | SettleForeign
    | StopJournal
    | CallOffBatches
    | DropField
    | Finish
)
Plan = tuple[Step, ...]


def plan_start(route: Route, migration: Migration, *, scans_lag_s: float = 0.0) -> Plan:
    """Return the steps from a registered migration to the first read of its back-fill.

    Args:
        route: what the alias means now.
        migration: the migration.
        scans_lag_s: how long a scan of the source may miss what another process inserted; what was inserted past the
            journal must be seen by the back-fill, so that long is waited once nobody writes past it any more.
    """
    scans = (AwaitScans(field=migration.source, seconds=scans_lag_s),) if scans_lag_s else ()
    if migration.phase is Phase.REGISTERED:
        return (CreateField(field=migration.target), JournalWrites(), AwaitClients(epoch=route.epoch + 1), *scans)
    if migration.phase is Phase.JOURNALING:
        return (AwaitClients(epoch=route.epoch), *scans)
    return ()


def plan_cutover(route: Route, migration: Migration, *, freeze_s: float | None, accept_quarantine: bool) -> Plan:
    """Return the steps that make the target serve; with `freeze_s`, writers wait for the last dirty documents."""
    to = migration.target
    if route.serving == to:
        return (SettleForeign(),)
    max_quarantined = None if accept_quarantine else 0
    if freeze_s is not None:
        step = Flip(to=to.key, phase=Phase.REVERSING, max_dirty=0, max_quarantined=max_quarantined)
        # Nothing is left to carry over, but outside readers may have to be told.
        return (HoldWrites(seconds=freeze_s), step, SettleForeign())
    step = Flip(to=to.key, phase=Phase.REVERSING, max_dirty=MAX_DIRTY_AT_CUTOVER, max_quarantined=max_quarantined)
    return (Drain(at_most=MAX_DIRTY_AT_CUTOVER), step, SettleForeign())


def plan_rollback(route: Route, migration: Migration, *, drain: bool) -> Plan:
    """Return the steps that make the source serve again; without `drain`, dirty documents follow later."""
    to = migration.source
    if route.serving == to:
        return (SettleForeign(),)
    max_dirty = MAX_DIRTY_AT_CUTOVER if drain else None
    step = Flip(to=to.key, phase=Phase.ROLLED_BACK, max_dirty=max_dirty, max_quarantined=None)
    before = (Drain(at_most=MAX_DIRTY_AT_CUTOVER),) if drain else ()
    return (*before, step, SettleForeign())


def plan_completion(route: Route, migration: Migration) -> Plan:
    """Return the steps that let the source go; the last of them but one cannot be taken back."""
    steps: list[Step] = []
    if migration.phase is not Phase.RETIRING:
        steps.append(StopJournal(phase=Phase.RETIRING))
    epoch = route.epoch if route.mode is Mode.PASSIVE else route.epoch + 1
    return (
        *steps,
        AwaitClients(epoch=epoch),
        AwaitWorkers(),
        DropField(field=migration.source, records_stay=migration.is_in_place),
        Finish(phase=Phase.DONE),
    )


def plan_cancel(route: Route, migration: Migration, *, drop: bool, has_batches: bool = False) -> Plan:
    """Return the steps that give a migration up; the target is kept unless it is to be dropped.

    Args:
        route: what the alias means now.
        migration: the migration.
        drop: whether the target is to be dropped.
        has_batches: whether the provider may be at work on batch jobs of it.
    """
    steps: list[Step] = []
    if migration.phase is Phase.ROLLED_BACK:
        # A rollback that was interrupted may have left the truth of documents in the target only.
        steps.append(SettleForeign())
    if migration.phase is not Phase.ABORTING:
        steps.append(StopJournal(phase=Phase.ABORTING))
    epoch = route.epoch if route.mode is Mode.PASSIVE and not steps else route.epoch + 1
    steps += [AwaitClients(epoch=epoch), AwaitWorkers()]
    if has_batches:
        steps.append(CallOffBatches())
    if drop:
        steps.append(DropField(field=migration.target, records_stay=migration.is_in_place))
    return (*steps, Finish(phase=Phase.ABORTED))


#: Dirty documents that a cutover may leave to be carried over afterwards; writes to them wait that long.
MAX_DIRTY_AT_CUTOVER = 100


#: What steps do that are always the same.
_SAYINGS = {
    JournalWrites: "journal every write",
    AwaitWorkers: "wait until no worker writes any more",
    CallOffBatches: "call off the batch jobs at the provider",
    SettleForeign: "carry over the documents whose truth is still in the other field",
}


def describe(step: Step) -> str:
    """Say in a few words what a step will do."""
    match step:
        case JournalWrites() | AwaitWorkers() | SettleForeign() | CallOffBatches():
            return _SAYINGS[type(step)]
        case CreateField(field=field):
            return f"create {field.key} for vectors of {field.space}"
        case AwaitClients(epoch=epoch):
            return f"wait until every client has acknowledged epoch {epoch}"
        case AwaitScans(field=field, seconds=seconds):
            return f"wait {seconds:g} s: scans of {field.key} lag"
        case HoldWrites(seconds=seconds):
            return f"make writers wait for at most {seconds:g} s, and carry the last dirty documents over"
        case Drain(at_most=at_most):
            return f"carry dirty documents over until at most {at_most} are left"
        case Flip(to=to, phase=phase):
            return f"make {to} serve ({phase.value})"
        case StopJournal(phase=phase):
            return f"stop journaling writes ({phase.value})"
        case DropField(field=field, records_stay=records_stay):
            what = "which are beside others in the same records" if records_stay else "with everything in it"
            return f"drop the vectors of {field.key}, {what}" if records_stay else f"drop {field.key} {what}"
        case Finish(phase=phase):
            return f"record that the migration is {phase.value}"
        case _:
            assert_never(step)
