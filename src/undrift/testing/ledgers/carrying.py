"""Dirty documents: who carries them over, and when they are clean."""

from __future__ import annotations

import pytest

from undrift.domain.migration import Phase
from undrift.domain.operation import Foreign
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    SOURCE,
    TARGET,
    YOU,
    LedgerBench,
    begin,
    claim,
    enter,
    flip,
    ids,
    lay_out,
    lease,
    opened,
    present,
    publish,
    states,
    write,
)


def _keys(ledger: Ledger, limit: int = 100) -> list[str]:
    return [one.key for one in claim(ledger, limit=limit)]


class CarryingRules:
    """What a worker that carries documents over may count on."""

    def test_a_claim_says_what_to_carry_and_from_where(self, bench: LedgerBench) -> None:
        """Key, source, number and how often it failed."""
        begin(bench.ledger)
        write(bench.ledger, "a")

        (one,) = claim(bench.other)

        assert (one.key, one.source, one.attempts) == ("a", SOURCE.key, 0)
        assert one.sequence == present(bench.mark(ALIAS, "a")).sequence

    def test_documents_are_claimed_oldest_first_and_no_more_than_asked_for(self, bench: LedgerBench) -> None:
        """Age counts from when it became dirty, not from the last write."""
        begin(bench.ledger)
        for key in ("c", "a", "b"):
            write(bench.ledger, key)
            bench.clock.advance(1)
        write(bench.ledger, "c")

        assert _keys(bench.other, limit=2) == ["c", "a"]
        assert _keys(bench.other) == ["b"]

    def test_documents_that_writers_wait_for_come_first(self, bench: LedgerBench) -> None:
        """However old the others are."""
        begin(bench.ledger, Phase.READY)
        write(bench.ledger, "young")
        flip(bench.ledger)
        bench.clock.advance(5)
        write(bench.ledger, "here")
        enter(bench.ledger, Phase.ROLLED_BACK)
        bench.clock.advance(5)

        assert [(one.key, one.source) for one in claim(bench.other)] == [("here", TARGET.key), ("young", SOURCE.key)]

    def test_a_document_has_one_carrier(self, bench: LedgerBench) -> None:
        """Two would overwrite each other."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        write(bench.ledger, "b")

        assert _keys(bench.ledger, limit=1) == ["a"]
        assert [one.key for one in claim(bench.other, owner=YOU)] == ["b"]
        assert _keys(bench.ledger) == []

    def test_a_claim_that_ended_is_taken_over_after_the_horizon(self, bench: LedgerBench) -> None:
        """TAKEOVER WAITS D: what the dead worker sent last may land until then."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        claim(bench.ledger)

        bench.clock.advance(LEASE_S + SETTLE_S - MOMENT_S)
        assert claim(bench.other, owner=YOU) == []
        bench.clock.advance(2 * MOMENT_S)
        assert [one.key for one in claim(bench.other, owner=YOU)] == ["a"]

    def test_a_claim_that_was_taken_over_clears_nothing(self, bench: LedgerBench) -> None:
        """The late worker does not give back what is not its own any more."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        late = claim(bench.ledger)
        bench.clock.advance(LEASE_S + SETTLE_S + MOMENT_S)
        claim(bench.other, owner=YOU)

        assert bench.ledger.clear(ALIAS, late, owner=ME) == 0
        bench.ledger.postpone(ALIAS, late, owner=ME, delay_s=0.0, error="late")
        assert claim(bench.other) == []
        assert states(bench.ledger, "a") == {"a": True}

    def test_only_the_documents_asked_for_are_claimed(self, bench: LedgerBench) -> None:
        """For a writer that waits for its own."""
        begin(bench.ledger)
        for key in ("a", "b", "c"):
            write(bench.ledger, key)

        assert [one.key for one in claim(bench.other, only=ids("c", "x"))] == ["c"]
        assert claim(bench.other, only=[]) == []

    def test_documents_in_a_piece_that_is_being_published_are_left_alone(self, bench: LedgerBench) -> None:
        """SYNC DEFERS PUBLISH: the publication could land on top of what is carried; other ranges do not wait."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d", "f")
        piece = present(lease(bench.ledger))
        publish(bench.ledger, piece, "a")
        second = present(lease(bench.ledger, owner=YOU))
        for key in ("a", "b", "c"):
            write(bench.ledger, key)

        assert second.lo == "b"
        assert _keys(bench.other) == ["c"]
        bench.ledger.published(ALIAS, piece, owner=ME)
        assert _keys(bench.other) == ["a", "b"]

    @pytest.mark.parametrize("phase", [Phase.JOURNALING, Phase.RETIRING, Phase.ABORTING])
    def test_nothing_is_carried_while_somebody_may_write_past_the_journal(
        self, bench: LedgerBench, phase: Phase
    ) -> None:
        """DRAIN BEFORE BACKFILL holds for touched documents as well; after the journal ended, none follows."""
        begin(bench.ledger, Phase.JOURNALING if phase is Phase.JOURNALING else Phase.READY)
        write(bench.ledger, "a")
        if phase is Phase.RETIRING:
            enter(bench.ledger, Phase.REVERSING)
        if phase is not Phase.JOURNALING:
            enter(bench.ledger, phase)

        assert claim(bench.other) == []
        assert claim(bench.other, only=ids("a")) == []

    def test_a_document_that_nobody_touched_meanwhile_becomes_clean(self, bench: LedgerBench) -> None:
        """And stays touched: it belongs to the journal for the rest of the migration."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        write(bench.ledger, "b")

        assert bench.ledger.clear(ALIAS, claim(bench.ledger), owner=ME) == 2
        assert states(bench.other, ("a", "b", "c")) == {"a": False, "b": False}
        assert claim(bench.other) == []

    def test_a_document_that_was_written_meanwhile_stays_dirty(self, bench: LedgerBench) -> None:
        """CLEAR NEEDS SAME SEQ; it can be claimed again at once."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        write(bench.ledger, "b")
        claims = claim(bench.ledger)
        write(bench.other, "a")

        assert bench.ledger.clear(ALIAS, claims, owner=ME) == 1
        assert states(bench.other, ("a", "b")) == {"a": True, "b": False}
        assert [one.key for one in claim(bench.other, owner=YOU)] == ["a"]

    def test_a_document_that_is_being_written_stays_dirty(self, bench: LedgerBench) -> None:
        """CLEAR NEEDS NO OPEN: its write may land after it was read, without another number before the close."""
        begin(bench.ledger)
        opened(bench.ledger, "a")
        bench.clock.advance(60)
        claims = claim(bench.other)

        assert [one.sequence for one in claims] == [present(bench.mark(ALIAS, "a")).sequence]
        assert bench.other.clear(ALIAS, claims, owner=ME) == 0
        assert states(bench.ledger, "a") == {"a": True}

    def test_a_document_that_is_written_all_the_time_is_behind_by_what_came_after_it_was_carried(
        self, bench: LedgerBench
    ) -> None:
        """Else its age would grow for as long as somebody writes it, and traffic could never move."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        bench.clock.advance(60.0)
        claims = claim(bench.ledger)
        bench.clock.advance(1.0)
        write(bench.ledger, "a")
        bench.clock.advance(2.0)

        assert bench.ledger.clear(ALIAS, claims, owner=ME) == 0
        assert bench.ledger.lag(ALIAS).oldest_s == pytest.approx(3.0)

    def test_what_was_postponed_waits_and_is_counted(self, bench: LedgerBench) -> None:
        """Then it is tried again; a write in the meantime makes it young."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        bench.ledger.postpone(ALIAS, claim(bench.ledger), owner=ME, delay_s=3.0, error="no answer")

        assert claim(bench.other) == []
        bench.clock.advance(3.0 + MOMENT_S)
        (again,) = claim(bench.other)
        assert again.attempts == 1
        bench.other.postpone(ALIAS, [again], owner=ME, delay_s=1000.0, error="no answer")
        write(bench.ledger, "a")
        assert [one.attempts for one in claim(bench.other)] == [0]

    def test_a_difference_is_marked_to_heal(self, bench: LedgerBench) -> None:
        """From the serving field, a document that nobody has touched as well as one that is clean."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        bench.ledger.clear(ALIAS, claim(bench.ledger), owner=ME)

        bench.ledger.mark(ALIAS, ids("a", "b"))

        assert states(bench.other, ("a", "b")) == {"a": True, "b": True}
        assert {one.source for one in claim(bench.other)} == {SOURCE.key}

    def test_a_mark_may_name_the_other_field_as_the_truth(self, bench: LedgerBench) -> None:
        """Writes to such a document wait until it is carried over; one that is dirty already keeps its source."""
        begin(bench.ledger, Phase.REVERSING)
        write(bench.ledger, "b")

        bench.other.mark(ALIAS, ids("a", "b"), source=SOURCE.key)

        assert (present(bench.mark(ALIAS, "a")).source, present(bench.mark(ALIAS, "b")).source) == (
            SOURCE.key,
            TARGET.key,
        )
        assert bench.ledger.lag(ALIAS).foreign == 1
        assert isinstance(bench.ledger.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S), Foreign)
        assert [(one.key, one.source) for one in claim(bench.ledger, limit=1)] == [("a", SOURCE.key)]

    def test_documents_touched_since_a_number_are_counted(self, bench: LedgerBench) -> None:
        """A comparison that began at that number says nothing about them."""
        begin(bench.ledger)
        write(bench.ledger, "a", "b")
        began = present(bench.ledger.alias(ALIAS)).sequence
        assert bench.other.touched(ALIAS, after=began) == 0
        write(bench.ledger, "b", "c")

        assert bench.other.touched(ALIAS, after=began) == 2
        assert bench.other.touched(ALIAS, after=0) == 3

    def test_a_mark_leaves_a_dirty_document_as_it_is(self, bench: LedgerBench) -> None:
        """Its source may be the other field; whoever carries it may clear it."""
        begin(bench.ledger, Phase.READY)
        write(bench.ledger, "a")
        flip(bench.ledger)
        before = present(bench.mark(ALIAS, "a"))
        claims = claim(bench.other)

        bench.ledger.mark(ALIAS, ids("a"))

        assert bench.mark(ALIAS, "a") == before
        assert bench.other.clear(ALIAS, claims, owner=ME) == 1

    def test_the_journal_knows_what_was_touched(self, bench: LedgerBench) -> None:
        """Whether it is dirty, and its number; nothing of what was not."""
        begin(bench.ledger)
        write(bench.ledger, "a")
        stored = present(bench.mark(ALIAS, "a"))

        assert bench.other.journal_state(ALIAS, ids("a", "b")) == {"a": (True, stored.sequence)}
        assert bench.other.journal_state(ALIAS, []) == {}

    def test_the_lag_counts_what_is_behind(self, bench: LedgerBench) -> None:
        """Dirty documents, those whose truth is in the other field, open writes, and the age of the oldest."""
        begin(bench.ledger, Phase.READY)
        empty = bench.other.lag(ALIAS)
        write(bench.ledger, "a")
        bench.clock.advance(4)
        flip(bench.ledger)
        opened(bench.ledger, "b")

        lag = bench.other.lag(ALIAS)

        assert (empty.dirty, empty.foreign, empty.open, empty.oldest_s) == (0, 0, 0, None)
        assert (lag.dirty, lag.foreign, lag.open) == (2, 1, 1)
        assert abs(present(lag.oldest_s) - 4) < MOMENT_S
        assert (empty.slowest, lag.slowest) == ("", ME)
        assert abs(lag.slowest_s - DEADLINE_S) < MOMENT_S

    def test_nothing_is_behind_where_there_is_no_follower_any_more(self, bench: LedgerBench) -> None:
        """What was dirty when the source was let go is no lag that grows until the next migration."""
        begin(bench.ledger, Phase.REVERSING)
        write(bench.ledger, "a")
        assert bench.other.lag(ALIAS).dirty == 1
        enter(bench.ledger, Phase.RETIRING)

        lag = bench.other.lag(ALIAS)

        assert (lag.dirty, lag.foreign, lag.oldest_s) == (0, 0, None)

    def test_what_may_still_be_written_to_the_follower_is_counted(self, bench: LedgerBench) -> None:
        """Pieces that are being published and claims, until their leases and the horizon are over."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        publish(bench.ledger, present(lease(bench.ledger)), "a")
        lease(bench.ledger, owner=YOU)
        write(bench.ledger, "x")
        claim(bench.ledger)

        assert bench.other.in_flight(ALIAS, SETTLE_S) == 2
        bench.clock.advance(LEASE_S + SETTLE_S - MOMENT_S)
        assert bench.other.in_flight(ALIAS, SETTLE_S) == 2
        bench.clock.advance(2 * MOMENT_S)
        assert bench.other.in_flight(ALIAS, SETTLE_S) == 0

    def test_what_was_given_back_is_not_in_flight(self, bench: LedgerBench) -> None:
        """Cleared, postponed or published."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        piece = present(lease(bench.ledger))
        publish(bench.ledger, piece)
        write(bench.ledger, "x")
        write(bench.ledger, "y")
        bench.ledger.clear(ALIAS, claim(bench.ledger, limit=1), owner=ME)
        bench.ledger.postpone(ALIAS, claim(bench.ledger), owner=ME, delay_s=1.0, error="")
        bench.ledger.published(ALIAS, piece, owner=ME)

        assert bench.other.in_flight(ALIAS, SETTLE_S) == 0


class QuarantineRules:
    """Documents that cannot be carried over are remembered with their reasons."""

    def test_a_document_is_set_aside_with_its_reason(self, bench: LedgerBench) -> None:
        """And listed by id, no more than asked for."""
        begin(bench.ledger)
        bench.ledger.quarantine(ALIAS, {key: ("too_long", f"{key} has 9 tokens") for key in ids("b", "a", "c")})

        found = bench.other.quarantined(ALIAS)

        assert [(one.key, one.reason, one.detail) for one in found] == [
            (key, "too_long", f"{key} has 9 tokens") for key in ("a", "b", "c")
        ]
        assert found[0].first_seen == bench.clock.now()
        assert [one.key for one in bench.other.quarantined(ALIAS, limit=2)] == ["a", "b"]
        assert [one.key for one in bench.other.quarantined(ALIAS, only=ids("c", "d", "a"))] == ["a", "c"]
        assert bench.other.quarantined(ALIAS, only=[]) == []
        assert bench.other.quarantined_count(ALIAS) == 3

    def test_the_first_time_is_kept_and_the_reason_renewed(self, bench: LedgerBench) -> None:
        """An operator wants to know since when, and why now."""
        begin(bench.ledger)
        began = bench.clock.now()
        bench.ledger.quarantine(ALIAS, {ids("a")[0]: ("too_long", "9")})
        bench.clock.advance(60)
        bench.ledger.quarantine(ALIAS, {ids("a")[0]: ("rejected", "no")})

        (found,) = bench.ledger.quarantined(ALIAS)

        assert (found.reason, found.detail, found.first_seen) == ("rejected", "no", began)

    def test_a_document_is_let_out_again(self, bench: LedgerBench) -> None:
        """One that was never in is no error."""
        begin(bench.ledger)
        bench.ledger.quarantine(ALIAS, dict.fromkeys(ids("a", "b"), ("rejected", "")))

        bench.other.release(ALIAS, ids("a", "x"))
        bench.other.release(ALIAS, [])

        assert [one.key for one in bench.ledger.quarantined(ALIAS)] == ["b"]

    def test_nothing_is_in_quarantine_at_first(self, bench: LedgerBench) -> None:
        """Nor does setting nothing aside change that."""
        begin(bench.ledger)
        bench.ledger.quarantine(ALIAS, {})
        bench.ledger.release(ALIAS, ids("a"))

        assert bench.ledger.quarantined(ALIAS) == []
        assert bench.ledger.quarantined_count(ALIAS) == 0

    def test_reaping_takes_as_long_in_every_handle(self, bench: LedgerBench) -> None:
        """Whoever reaps counts on the same time as whoever opened."""
        begin(bench.ledger)
        opened(bench.ledger, "a")
        newcomer = bench.handle()
        try:
            bench.clock.advance(DEADLINE_S + SETTLE_S - MOMENT_S)
            assert newcomer.reap(ALIAS, SETTLE_S) == 0
            bench.clock.advance(2 * MOMENT_S)
            assert newcomer.reap(ALIAS, SETTLE_S) == 1
        finally:
            newcomer.close_ledger()
