"""The bracket around a write: open, close, reap."""

from __future__ import annotations

import pytest

from undrift.domain.migration import Phase
from undrift.domain.operation import Foreign, Held, Opened, Passive
from undrift.domain.route import AliasName
from undrift.testing.ledgers.bench import (
    ALIAS,
    DEADLINE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    SOURCE,
    TARGET,
    YOU,
    LedgerBench,
    Mark,
    begin,
    claim,
    enter,
    flip,
    ids,
    make_alias,
    opened,
    present,
    route_of,
    states,
    write,
)


class BracketRules:
    """What `open`, `close` and `reap` promise to writers and to those who carry documents over."""

    def test_nothing_is_opened_while_no_journal_is_wanted(self, bench: LedgerBench) -> None:
        """The caller may go ahead under its lease, and nothing is marked."""
        route = make_alias(bench.ledger)

        answer = bench.ledger.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S)

        assert answer == Passive(route=route)
        assert bench.mark(ALIAS, "a") is None
        assert bench.operations(ALIAS) == 0

    def test_open_marks_before_the_store_is_asked(self, bench: LedgerBench) -> None:
        """MARK BEFORE WRITE: once `open` has returned, everybody sees the mark, with the serving field as source."""
        begin(bench.ledger)

        answer = opened(bench.ledger, "a", "b")

        assert answer.route == route_of(bench.other)
        for key in ("a", "b"):
            assert bench.mark(ALIAS, key) == Mark(dirty=True, source=SOURCE.key, sequence=answer.sequence, open=1)
        assert bench.operations(ALIAS) == 1
        assert bench.mark(ALIAS, "c") is None

    def test_the_sequence_grows_with_every_operation(self, bench: LedgerBench) -> None:
        """Whichever documents it is about."""
        begin(bench.ledger)

        sequences = [opened(handle, key).sequence for handle in (bench.ledger, bench.other) for key in ("a", "b")]

        assert sequences == sorted(set(sequences))

    def test_open_answers_that_writers_are_held(self, bench: LedgerBench) -> None:
        """Nothing is opened while a cutover drains."""
        begin(bench.ledger)
        bench.ledger.hold(route_of(bench.ledger), 5.0)

        assert isinstance(bench.other.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S), Held)
        assert bench.operations(ALIAS) == 0
        assert bench.mark(ALIAS, "a") is None

    def test_a_document_whose_truth_is_in_the_other_field_waits(self, bench: LedgerBench) -> None:
        """FOREIGN SOURCE WAITS: nothing of the call is opened, not even its other documents."""
        begin(bench.ledger, Phase.READY)
        write(bench.ledger, "a")
        flip(bench.ledger)

        answer = bench.other.open(ALIAS, ids("b", "a"), client=ME, deadline_s=DEADLINE_S)

        assert isinstance(answer, Foreign)
        assert answer.keys == ("a",)
        assert present(bench.mark(ALIAS, "a")).source == SOURCE.key
        assert bench.mark(ALIAS, "b") is None
        assert bench.operations(ALIAS) == 0

    def test_a_document_is_written_again_when_it_was_carried_over(self, bench: LedgerBench) -> None:
        """Then its source is the field that serves now."""
        begin(bench.ledger, Phase.READY)
        write(bench.ledger, "a")
        flip(bench.ledger)
        bench.ledger.clear(ALIAS, claim(bench.ledger), owner=ME)

        opened(bench.other, "a")

        assert present(bench.mark(ALIAS, "a")).source == TARGET.key

    def test_close_ends_an_operation_and_leaves_its_documents_dirty(self, bench: LedgerBench) -> None:
        """CLOSE BUMPS SEQ: whoever read the store before the write landed finds another number."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a")

        assert bench.other.close(ALIAS, operation.operation, ids("a"))

        mark = present(bench.mark(ALIAS, "a"))
        assert (mark.dirty, mark.open) == (True, 0)
        assert mark.sequence > operation.sequence
        assert bench.operations(ALIAS) == 0

    def test_a_claim_between_open_and_close_does_not_clear_what_landed_after_it(self, bench: LedgerBench) -> None:
        """CLOSE BUMPS SEQ, seen from the worker."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a").operation
        bench.clock.advance(60)  # long enough that any ledger hands out a document that is being written
        claims = claim(bench.other)
        bench.ledger.close(ALIAS, operation, ids("a"))

        assert [one.key for one in claims] == ["a"]
        assert bench.other.clear(ALIAS, claims, owner=ME) == 0
        assert states(bench.ledger, "a") == {"a": True}

    def test_overlapping_operations_are_counted(self, bench: LedgerBench) -> None:
        """A document is being written until the last of them has ended."""
        begin(bench.ledger)
        first, second = opened(bench.ledger, "a", "b"), opened(bench.other, "b", client=YOU)

        bench.ledger.close(ALIAS, first.operation, ids("a", "b"))

        assert present(bench.mark(ALIAS, "a")).open == 0
        assert present(bench.mark(ALIAS, "b")).open == 1
        assert bench.ledger.close(ALIAS, second.operation, ids("b"))
        assert present(bench.mark(ALIAS, "b")).open == 0

    def test_an_operation_is_closed_once(self, bench: LedgerBench) -> None:
        """A second close may not be acknowledged, and marks the documents again."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a").operation
        assert bench.ledger.close(ALIAS, operation, ids("a"))

        assert not bench.ledger.close(ALIAS, operation, ids("a"))
        assert present(bench.mark(ALIAS, "a")).open == 0

    def test_an_operation_of_another_alias_is_not_closed(self, bench: LedgerBench) -> None:
        """Numbers of operations mean nothing without their alias."""
        begin(bench.ledger)
        make_alias(bench.ledger, AliasName("another"))
        operation = opened(bench.ledger, "a").operation

        assert not bench.ledger.close(AliasName("another"), operation, ids("a"))
        assert bench.operations(ALIAS) == 1

    def test_close_after_reaping_may_not_be_acknowledged(self, bench: LedgerBench) -> None:
        """CLOSE CHECKS REAPED: the document may have been carried and cleared before the write landed."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a").operation
        bench.clock.advance(DEADLINE_S + SETTLE_S + MOMENT_S)
        assert bench.other.reap(ALIAS, SETTLE_S) == 1
        bench.other.clear(ALIAS, claim(bench.other), owner=ME)
        cleared = present(bench.mark(ALIAS, "a"))

        assert not bench.ledger.close(ALIAS, operation, ids("a"))

        mark = present(bench.mark(ALIAS, "a"))
        assert not cleared.dirty
        assert mark.dirty
        assert mark.sequence > cleared.sequence
        assert (mark.source, mark.open) == (SOURCE.key, 0)

    def test_close_after_reaping_takes_a_claim_its_certainty(self, bench: LedgerBench) -> None:
        """The document was read before the late write landed, so the claim may not clear it."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a").operation
        bench.clock.advance(DEADLINE_S + SETTLE_S + MOMENT_S)
        bench.other.reap(ALIAS, SETTLE_S)
        claims = claim(bench.other)

        bench.ledger.close(ALIAS, operation, ids("a"))

        assert bench.other.clear(ALIAS, claims, owner=ME) == 0
        assert states(bench.ledger, "a") == {"a": True}

    def test_close_after_reaping_and_a_flip_leaves_the_source_that_holds_the_truth(self, bench: LedgerBench) -> None:
        """A document that is dirty keeps its source; a clean one gets the field that serves now."""
        begin(bench.ledger, Phase.READY)
        late = opened(bench.ledger, "dirty", "clean").operation
        bench.clock.advance(DEADLINE_S + SETTLE_S + MOMENT_S)
        bench.other.reap(ALIAS, SETTLE_S)
        bench.other.clear(ALIAS, claim(bench.other, only=ids("clean")), owner=ME)
        flip(bench.other)

        assert not bench.ledger.close(ALIAS, late, ids("dirty", "clean"))

        assert present(bench.mark(ALIAS, "dirty")).source == SOURCE.key
        assert present(bench.mark(ALIAS, "clean")).source == TARGET.key

    def test_close_after_the_end_of_the_migration_marks_nothing(self, bench: LedgerBench) -> None:
        """There is no other field any more; the write is still not acknowledged."""
        begin(bench.ledger)
        operation = opened(bench.ledger, "a").operation
        bench.clock.advance(DEADLINE_S + SETTLE_S + MOMENT_S)
        bench.other.reap(ALIAS, SETTLE_S)
        bench.other.clear(ALIAS, claim(bench.other), owner=ME)
        enter(bench.other, Phase.ABORTING)

        assert not bench.ledger.close(ALIAS, operation, ids("a"))
        assert not present(bench.mark(ALIAS, "a")).dirty

    @pytest.mark.parametrize("early_s", [0.0, DEADLINE_S, DEADLINE_S + SETTLE_S - MOMENT_S])
    def test_nothing_is_reaped_that_may_still_be_sent_or_land(self, bench: LedgerBench, early_s: float) -> None:
        """REAP WAITS D: neither before the deadline nor before the fence horizon after it."""
        begin(bench.ledger)
        opened(bench.ledger, "a")
        bench.clock.advance(early_s)

        assert bench.other.reap(ALIAS, SETTLE_S) == 0
        assert bench.operations(ALIAS) == 1

    def test_what_can_be_in_flight_no_more_is_reaped(self, bench: LedgerBench) -> None:
        """The documents stay dirty, with another number, and can be carried over; younger operations stay open."""
        begin(bench.ledger)
        dead = opened(bench.ledger, "a", "b")
        bench.clock.advance(DEADLINE_S)
        opened(bench.ledger, "b", client=YOU)
        bench.clock.advance(SETTLE_S + MOMENT_S)

        assert bench.other.reap(ALIAS, SETTLE_S) == 1
        assert bench.other.reap(ALIAS, SETTLE_S) == 0

        first, second = present(bench.mark(ALIAS, "a")), present(bench.mark(ALIAS, "b"))
        assert (first.dirty, first.open, second.dirty, second.open) == (True, 0, True, 1)
        assert first.sequence > dead.sequence
        assert bench.operations(ALIAS) == 1

    def test_a_write_in_a_new_migration_begins_with_a_new_number(self, bench: LedgerBench) -> None:
        """Numbers of operations are not used again, so a late close cannot end somebody else's."""
        begin(bench.ledger)
        first = opened(bench.ledger, "a").operation
        bench.ledger.close(ALIAS, first, ids("a"))

        second = opened(bench.ledger, "a").operation

        assert second != first

    def test_the_reverse_is_journaled_too(self, bench: LedgerBench) -> None:
        """After a cutover, writes are marked with the new serving field as their source: that is the way back."""
        begin(bench.ledger, Phase.REVERSING)

        answer = bench.ledger.open(ALIAS, ids("a"), client=ME, deadline_s=DEADLINE_S)

        assert isinstance(answer, Opened)
        assert present(bench.mark(ALIAS, "a")).source == TARGET.key
