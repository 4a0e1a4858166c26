"""Spaces, aliases and what is remembered of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from undrift.domain.gate import VerificationReport
from undrift.domain.migration import MigrationId, Phase
from undrift.domain.route import AliasName, Mode
from undrift.domain.space import ProvenSpace, Space, SpaceId
from undrift.errors import AlreadyExists
from undrift.testing.ledgers.bench import (
    ALIAS,
    MOMENT_S,
    SOURCE,
    TARGET,
    LedgerBench,
    a_migration,
    begin,
    enter,
    make_alias,
    migration_of,
    present,
    write,
)

_SPACE = Space(channel="kit", model="small", revision="1", dimensions=3)


def _proven(value: float, model: str = "m") -> ProvenSpace:
    return ProvenSpace(space=_SPACE, model=model, probes=np.full((2, 3), value, np.float32))


def _report(compared: int, *, sample: float | None = None) -> VerificationReport:
    return VerificationReport(
        compared=compared,
        missing=1,
        extra=2,
        mismatched=3,
        requeued=4,
        explained=5,
        unverifiable=6,
        sampled=7,
        sample_min_cosine=sample,
        samples=({"kind": "missing", "id": "ä"},),
        max_sequence=8,
        epoch=9,
        finished=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


class AliasRules:
    """The rules about what is recorded once and read by everybody."""

    def test_a_space_comes_back_as_it_was_recorded(self, bench: LedgerBench) -> None:
        """Identity, model and probe vectors survive bit for bit."""
        kept = bench.ledger.record_space(_proven(0.1))

        found = present(bench.other.space(_SPACE.id))

        assert (found.space, found.model) == (_SPACE, "m") == (kept.space, kept.model)
        assert found.probes.dtype == np.float32
        assert np.array_equal(found.probes, _proven(0.1).probes)

    def test_a_space_that_is_there_stays_as_it_is(self, bench: LedgerBench) -> None:
        """The first probe vectors are the proof; a model that changed may not replace them."""
        bench.ledger.record_space(_proven(0.1))

        kept = bench.other.record_space(_proven(0.9, model="another"))

        assert kept.model == "m"
        assert np.array_equal(kept.probes, _proven(0.1).probes)

    def test_every_space_is_listed_and_an_unknown_one_is_none(self, bench: LedgerBench) -> None:
        """Nothing is invented for a space that nobody recorded."""
        other = ProvenSpace(space=replace(_SPACE, revision="2"), model="m2", probes=np.ones((1, 3), np.float32))
        bench.ledger.record_space(_proven(0.1))
        bench.ledger.record_space(other)

        assert {proven.space.id for proven in bench.other.spaces()} == {_SPACE.id, other.space.id}
        assert bench.ledger.space(SpaceId("nobody-3-0")) is None

    def test_an_alias_begins_passive_at_epoch_one(self, bench: LedgerBench) -> None:
        """Nothing is journaled before a migration."""
        route = make_alias(bench.ledger)

        assert (route.epoch, route.mode, route.serving, route.follower) == (1, Mode.PASSIVE, SOURCE, None)
        assert bench.other.route(ALIAS) == route

    def test_an_alias_is_made_once(self, bench: LedgerBench) -> None:
        """A second one of that name is refused, and the first stays as it is."""
        route = make_alias(bench.ledger)

        with pytest.raises(AlreadyExists):
            make_alias(bench.other, serving=TARGET)
        assert bench.ledger.route(ALIAS) == route

    def test_an_alias_is_read_whole(self, bench: LedgerBench) -> None:
        """Route, migration, sequence, model and mirror are of one moment."""
        bench.ledger.create_alias(ALIAS, SOURCE, model="old", mirror="inline")
        fresh = present(bench.other.alias(ALIAS))

        assert (fresh.route.serving, fresh.migration, fresh.sequence) == (SOURCE, None, 0)
        assert (fresh.model, fresh.mirror, fresh.needs_reconcile) == ("old", "inline", "")

    def test_the_state_of_an_alias_names_its_migration(self, bench: LedgerBench) -> None:
        """The running one, and the last one when none runs; the sequence grows with every write."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        running = present(bench.other.alias(ALIAS))
        enter(bench.ledger, Phase.ABORTING)
        enter(bench.ledger, Phase.ABORTED)
        ended = present(bench.other.alias(ALIAS))

        assert (present(running.migration).id, present(running.migration).phase) == ("m1", Phase.BACKFILL)
        assert running.sequence > 0
        assert present(ended.migration).is_final
        assert present(ended.migration).finished is not None

    def test_aliases_are_listed_sorted(self, bench: LedgerBench) -> None:
        """By name, whoever made them."""
        for name in ("zebra", "ant", "mole"):
            make_alias(bench.ledger, AliasName(name))

        assert bench.other.aliases() == ["ant", "mole", "zebra"]

    def test_an_alias_that_nobody_made_is_none(self, bench: LedgerBench) -> None:
        """Neither a route nor a state is invented for it."""
        assert bench.ledger.alias(ALIAS) is None
        assert bench.ledger.route(ALIAS) is None

    def test_the_state_of_an_alias_is_read_by_a_new_process_while_writers_are_held(self, bench: LedgerBench) -> None:
        """Whoever looks first during a freeze has to learn the time before it can say whether the hold is over."""
        begin(bench.ledger)
        bench.ledger.hold(present(bench.ledger.route(ALIAS)), 5.0)

        newcomer = bench.handle()
        try:
            assert present(newcomer.alias(ALIAS)).route.mode is Mode.HOLD
        finally:
            newcomer.close_ledger()


class EvidenceRules:
    """The rules about verification, settings, golden sets and the history."""

    def test_a_verification_comes_back_as_it_was_saved(self, bench: LedgerBench) -> None:
        """The last one only; a report without samples too."""
        begin(bench.ledger)
        assert bench.ledger.verification(ALIAS) is None

        bench.ledger.save_verification(ALIAS, _report(10))
        first = bench.other.verification(ALIAS)
        bench.ledger.save_verification(ALIAS, _report(20, sample=0.9995))

        assert first == _report(10)
        assert bench.other.verification(ALIAS) == _report(20, sample=0.9995)

    def test_a_verification_speaks_for_its_migration_only(self, bench: LedgerBench) -> None:
        """The next migration begins without evidence."""
        first = begin(bench.ledger, Phase.VERIFY)
        bench.ledger.save_verification(ALIAS, _report(10))
        enter(bench.ledger, Phase.ABORTING)
        enter(bench.ledger, Phase.ABORTED)
        bench.ledger.register_migration(replace(first, id="m2", phase=Phase.REGISTERED), who="kit")  # type: ignore[arg-type]

        assert bench.ledger.verification(ALIAS) is None

    def test_an_alias_without_a_migration_has_no_verification(self, bench: LedgerBench) -> None:
        """Nor has one that nobody made."""
        assert bench.ledger.verification(ALIAS) is None
        make_alias(bench.ledger)
        assert bench.ledger.verification(ALIAS) is None

    def test_a_bookmark_comes_back_until_it_is_forgotten(self, bench: LedgerBench) -> None:
        """Any JSON, the last one of each name, for every process."""
        begin(bench.ledger)
        bench.ledger.save_bookmark(ALIAS, "verify.run", {"cursor": "ä", "kinds": {"missing": 2}, "sample": ["a"]})
        bench.ledger.save_bookmark(ALIAS, "reconcile", {"seen": 1})
        bench.other.save_bookmark(ALIAS, "reconcile", {"seen": 2, "last": None})

        assert bench.other.bookmark(ALIAS, "verify.run") == {"cursor": "ä", "kinds": {"missing": 2}, "sample": ["a"]}
        assert bench.ledger.bookmark(ALIAS, "reconcile") == {"seen": 2, "last": None}
        assert bench.ledger.bookmark(ALIAS, "another") is None
        assert bench.ledger.bookmark(AliasName("another"), "reconcile") is None
        bench.other.save_bookmark(ALIAS, "reconcile", None)
        assert bench.ledger.bookmark(ALIAS, "reconcile") is None
        assert bench.ledger.bookmark(ALIAS, "verify.run") is not None

    def test_a_bookmark_lies_in_its_migration_only(self, bench: LedgerBench) -> None:
        """How far a comparison of other fields had come says nothing."""
        make_alias(bench.ledger)
        bench.ledger.save_bookmark(ALIAS, "reconcile", {"seen": 0})
        assert bench.ledger.bookmark(ALIAS, "reconcile") is None
        first = a_migration()
        bench.ledger.register_migration(first, who="kit")
        bench.ledger.save_bookmark(ALIAS, "reconcile", {"seen": 1})
        enter(bench.ledger, Phase.ABORTING)
        assert bench.other.bookmark(ALIAS, "reconcile") == {"seen": 1}
        enter(bench.ledger, Phase.ABORTED)
        bench.ledger.register_migration(replace(first, id=MigrationId("m2")), who="kit")

        assert bench.other.bookmark(ALIAS, "reconcile") is None

    def test_settings_are_kept_until_they_are_set_again(self, bench: LedgerBench) -> None:
        """Each by itself."""
        begin(bench.ledger)
        bench.ledger.tune(ALIAS, {"rate": "5", "workers": "2"})
        bench.other.tune(ALIAS, {"rate": "7"})

        assert bench.ledger.tuning(ALIAS) == {"rate": "7", "workers": "2"}
        assert bench.ledger.tuning(AliasName("another")) == {}

    def test_a_golden_set_is_replaced_by_one_of_its_name(self, bench: LedgerBench) -> None:
        """What is kept is any JSON."""
        bench.ledger.save_golden("b", {"queries": [1, 2], "text": "ü"})
        bench.ledger.save_golden("a", {})
        bench.other.save_golden("b", {"queries": [3]})

        assert bench.ledger.golden("b") == {"queries": [3]}
        assert bench.ledger.golden("a") == {}
        assert bench.ledger.golden("c") is None
        assert bench.ledger.golden_names() == ["a", "b"]

    def test_the_history_tells_who_did_what_newest_first(self, bench: LedgerBench) -> None:
        """With the time and the epoch; at most as much as is asked for."""
        began = bench.clock.now()
        begin(bench.ledger, Phase.JOURNALING)
        bench.clock.advance(60)
        enter(bench.ledger, Phase.BACKFILL)

        lines = bench.other.history(ALIAS)

        assert [line.action for line in lines] == ["backfill", "journaling", "migration_registered", "alias_created"]
        assert [line.epoch for line in lines] == [2, 2, 1, 1]
        assert (lines[0].who, lines[0].at, lines[-1].at) == ("kit", bench.clock.now(), began)
        assert bench.other.history(ALIAS, limit=2) == lines[:2]
        assert bench.other.history(AliasName("another")) == []

    def test_a_handle_that_was_closed_opens_again(self, bench: LedgerBench) -> None:
        """Closing is letting go, not an end; closing twice is nothing."""
        make_alias(bench.ledger)
        bench.ledger.close_ledger()
        bench.ledger.close_ledger()
        bench.clock.advance(MOMENT_S)

        assert bench.ledger.aliases() == [ALIAS]
        begin_again = bench.ledger.golden_names()
        assert begin_again == []

    def test_no_transaction_is_shared_with_what_lives_elsewhere(self, bench: LedgerBench) -> None:
        """A store that the ledger does not know cannot take part in its transactions."""
        assert bench.ledger.transaction_with(object()) is None

    def test_a_migration_is_read_back_whole(self, bench: LedgerBench) -> None:
        """Every attribute survives."""
        registered = begin(bench.ledger, Phase.REGISTERED)

        assert migration_of(bench.other) == registered
        assert (registered.source, registered.target, registered.target_model) == (SOURCE, TARGET, "new")
