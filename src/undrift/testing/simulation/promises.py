"""The promises I1 to I11 of the protocol, each looked at where it can be broken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from undrift.adapters.stores.memory import StoredRecord
from undrift.domain.gate import Verdict
from undrift.domain.migration import SYNCING, Migration, Phase
from undrift.domain.record import Record, Vector, content_hash
from undrift.domain.route import Mode, VectorField
from undrift.testing.simulation.history import Outcome, Write
from undrift.testing.simulation.world import ALIAS, World

#: The fields are equal in these, but for what is dirty.
_EQUAL = (Phase.READY, Phase.REVERSING, Phase.ROLLED_BACK)


#: What a gate embeds to prove the way back.
_CONTROL = "undrift proves the way back"


class Promises:
    """Looks at a world from its side door, without being seen."""

    def __init__(self, world: World) -> None:
        """Look at a world."""
        self._world = world

    def at_write(self, field: VectorField, records: Sequence[Record]) -> None:
        """I3: a record carries the space of its field, the hash of its text, and the vector of both."""
        model = self._world.model_of(field.space)
        for record in records:
            if record.tag.space != field.space:
                self._world.broken("I3", f"{record.id} is tagged {record.tag.space} in {field.key}")
            elif record.tag.content != content_hash(record.text):
                self._world.broken("I3", f"{record.id} has the hash of another text than {record.text!r}")
            elif not np.array_equal(record.vector, model.vector(record.text)):
                self._world.broken("I3", f"{record.id} has a vector that is not of {record.text!r} in {field.space}")

    def at_search(self, field: VectorField, vector: Vector) -> None:
        """I4: no query meets vectors of another model."""
        if not self._world.model_of(field.space).made(vector):
            self._world.broken("I4", f"a query of another model meets {field.key}")

    def at_any_landing(self, key: str) -> None:
        """I6: nothing lands in either field that is not expected there."""
        self._unexplained("I6", only=key)

    def at_landing(self, field: VectorField, opened: str, write: Write) -> None:
        """I5: a journaled write goes where it was opened; nobody writes past the journal once the source is read."""
        if opened:
            if opened != field.key and not write.overslept:
                self._world.broken("I5", f"a write opened on {opened} landed in {field.key}")
            return
        state = self._world.ledger.alias(ALIAS)
        migration = state.migration if state else None
        if state is None or migration is None or migration.is_final:
            return
        if state.route.mode is Mode.JOURNAL and migration.phase in SYNCING:
            self._world.broken("I5", f"a write landed past the journal while the migration is {migration.phase.value}")

    def at_flip(self) -> None:
        """I6 and I10: what was acknowledged is in the field that serves now, or is known to be missing; gates held."""
        self._unexplained("I6")
        world = self._world
        migration = world.migration()
        if migration is None or migration.phase is not Phase.REVERSING:
            return
        report = world.ledger.verification(ALIAS)
        if report is None or report.verdict is not Verdict.PASS:
            world.broken("I10", "a cutover without a passed comparison")
        if world.ledger.quarantined_count(ALIAS):
            world.broken("I10", "a cutover with documents in quarantine")
        state = world.ledger.alias(ALIAS)
        if state is not None and state.needs_reconcile:
            world.broken("I10", "a cutover though a full comparison is needed")

    def at_phase(self) -> None:
        """I6: a migration that says that its fields are equal says so rightly."""
        migration = self._world.migration()
        if migration is not None and migration.phase in _EQUAL:
            self._unexplained("I6")

    def at_drop(self, field: VectorField) -> None:
        """I11: nothing is dropped that nobody asked to drop, and nothing that serves."""
        world = self._world
        migration = world.migration()
        route = world.route()
        if route.serving == field:
            world.broken("I11", f"{field.key} is dropped, and it serves")
        if migration is None:
            world.broken("I11", f"{field.key} is dropped, and there is no migration")
            return
        verb = "complete" if field == migration.source else "cancel --drop"
        if verb not in world.asked:
            world.broken("I11", f"{field.key} is dropped, and nobody asked for {verb}")

    def at_refusal(self, write: Write, error: Exception) -> None:
        """I1: an error that says that nothing was written says so rightly."""
        if write.landings:
            self._world.broken("I1", f"{type(error).__name__} says that nothing was written, but {write}")

    def at_the_end(self) -> None:
        """I1, I2 and I3: both fields are equal, and each has what the acknowledged writes say."""
        world = self._world
        route = world.route()
        self._unexplained("I1")
        for write in world.history.writes:
            if write.outcome is Outcome.REFUSED and write.landings:
                world.broken("I1", f"a client was told that nothing was written, but {write}")
        for place in (route.serving, route.follower):
            if place is None:
                continue
            found = world.records(place)
            for key in sorted({*found, *(key for write in world.history.writes for key in write.keys)}):
                wrong = world.history.wrongs(key, found.get(key))
                if wrong:
                    self._world.broken("I2" if "is there again" in wrong else "I1", f"{place.key}: {wrong}")

    def at_most_once(self) -> None:
        """I8: where nothing went wrong, no text is embedded twice for the same field."""
        for name, model in sorted(self._world.models.items()):
            for text, times in model.asked.items():
                if times > 1 and text != _CONTROL:
                    self._world.broken("I8", f"{text!r} was embedded {times} times by {name}")

    def at_clear(self) -> None:
        """I6: what a worker says is carried over is carried over."""
        self._unexplained("I6")

    def _unexplained(self, promise: str, only: str | None = None) -> None:
        """Look for documents that differ though nothing says that they do."""
        world = self._world
        state = world.ledger.alias(ALIAS)
        if state is None or state.migration is None or state.route.follower is None:
            return
        if state.migration.phase not in SYNCING:
            return
        serving, follower = state.route.serving, state.route.follower
        here, there = world.rows(serving), world.rows(follower)
        for key in sorted({*here, *there}) if only is None else [only]:
            one, other = here.get(key), there.get(key)
            if one is other or (one and other and (one.text, one.metadata) == (other.text, other.metadata)):
                continue
            if not self._explained(key, state.migration):
                left, right = (_said(row) for row in (one, other))
                world.broken(
                    promise, f"{key} is {left} in {serving.key} and {right} in {follower.key}, and nothing says so"
                )
                return

    def _explained(self, key: str, migration: Migration) -> bool:
        """Whether it is known that the fields differ in a document: it is dirty, or its piece is not published yet."""
        world = self._world
        rows = world.database.read("SELECT state FROM dirty WHERE alias = ? AND key = ?", (ALIAS, key))
        if rows and rows[0][0] == 1:
            return True
        # Who was stopped after his last look at the clock tells of his write when he ends it, not before.
        if any(
            write.overslept and write.outcome is Outcome.PENDING and key in write.keys for write in world.history.writes
        ):
            return True
        pieces = world.database.read(
            "SELECT min(state) FROM chunk WHERE migration = ? AND lo < ? AND ? <= hi", (migration.id, key, key)
        )
        ((published,),) = pieces
        # What no piece has is not laid out yet, or was overlooked.
        return not rows and (not migration.planned if published is None else published != 3)


def _said(row: StoredRecord | None) -> str:
    return "absent" if row is None else f"{row.text!r} {row.metadata}"
