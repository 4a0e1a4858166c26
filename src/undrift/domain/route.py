"""What an alias means now: which field serves, which follows, and what a write has to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NewType

from undrift.domain.shape import is_beside
from undrift.domain.space import SpaceId

AliasName = NewType("AliasName", str)
FieldKey = NewType("FieldKey", str)


class Mode(Enum):
    """What a write does besides writing the serving field."""

    #: Nothing: no migration runs, and the ledger is not on the path; allowed only under a valid lease.
    PASSIVE = "passive"
    #: It marks its documents dirty before, and closes the mark after; workers carry them to the follower.
    JOURNAL = "journal"
    #: It waits, for a short time that anybody may enforce: a cutover with `--freeze-writes` is draining.
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorField:
    """The place in a store that holds vectors of exactly one space.

    Attributes:
        store: name of the store in the configuration.
        collection: the collection's address in that store: its physical name and, where it is not all that a record
            has or not undrift's own, its shape (`domain.shape`), as in `docs?vector=large`.
        space: the only space whose vectors may be written to it or compared with its vectors.
    """

    store: str
    collection: str
    space: SpaceId

    @property
    def key(self) -> FieldKey:
        """The field's name in the journal."""
        return FieldKey(f"{self.store}/{self.collection}")

    def is_beside(self, other: VectorField) -> bool:
        """Whether both are vectors of the same records, which share their text and metadata."""
        return self.store == other.store and is_beside(self.collection, other.collection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The meaning of an alias, read and used as one value.

    Attributes:
        alias: the stable name that applications use.
        epoch: the route's number; it only grows.
        mode: what a write does besides writing the serving field.
        serving: the field that is the authority.
        follower: the field that is being made equal to it; None while no migration runs.
    """

    alias: AliasName
    epoch: int
    mode: Mode
    serving: VectorField
    follower: VectorField | None = None

    def other(self, source: FieldKey) -> VectorField | None:
        """Return the field that a document whose truth is in `source` has to be carried to."""
        return self.follower if source == self.serving.key else self.serving
