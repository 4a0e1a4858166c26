"""The pieces of a back-fill, and who works on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from undrift.domain.checkpoint import Chunk
from undrift.domain.client import ClientId
from undrift.domain.forecast import PARTS, Share
from undrift.domain.migration import Phase, RunStatus
from undrift.errors import LeaseLost, StaleRoute
from undrift.ports.ledger import Ledger
from undrift.testing.ledgers.bench import (
    ALIAS,
    LEASE_S,
    ME,
    MOMENT_S,
    SETTLE_S,
    YOU,
    LedgerBench,
    begin,
    claim,
    enter,
    lay_out,
    lease,
    migration_of,
    present,
    publish,
    states,
    write,
)


def prolong(ledger: Ledger, chunk: Chunk) -> bool:
    """Prolong the lease of a piece of the kit's first worker."""
    return ledger.prolong_chunk(ALIAS, chunk, owner=ME, lease_s=LEASE_S)


def _number(chunk: Chunk | None) -> int | None:
    return None if chunk is None else chunk.number


class BackfillRules:
    """What those who lay out, lease and publish pieces may count on."""

    def test_pieces_are_appended_and_counted(self, bench: LedgerBench) -> None:
        """The total is what was laid out; the end is known when it is said."""
        begin(bench.ledger)
        assert bench.other.last_chunk(migration_of(bench.other).id) is None

        lay_out(bench.ledger, "b", "d", complete=False)
        first = migration_of(bench.other)
        lay_out(bench.other, "f")
        last = migration_of(bench.ledger)

        assert (first.total, first.planned) == (20, False)
        assert (last.total, last.planned) == (30, True)
        assert bench.ledger.last_chunk(last.id) == Chunk(number=2, lo="d", hi="f", count=10)

    def test_a_layout_that_turns_out_complete_stays_so(self, bench: LedgerBench) -> None:
        """Also when there is no piece at all."""
        begin(bench.ledger)
        bench.ledger.add_chunks(migration_of(bench.ledger).id, [], complete=True)

        assert (migration_of(bench.other).planned, migration_of(bench.other).total) == (True, 0)
        assert lease(bench.ledger) is None
        assert bench.ledger.chunk_progress(migration_of(bench.ledger).id) == (0, 0, 0)

    @pytest.mark.parametrize(("number", "lo"), [(1, "c"), (1, ""), (2, "b"), (0, "b"), (0, "")])
    def test_pieces_that_leave_a_gap_or_overlap_are_refused(self, bench: LedgerBench, number: int, lo: str) -> None:
        """Another process was first, from another reading of the field; nothing of the call is kept."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", complete=False)
        wrong = Chunk(number=number, lo=lo, hi="f", count=10)

        with pytest.raises(StaleRoute):
            bench.other.add_chunks(migration_of(bench.other).id, [wrong], complete=True)

        assert (migration_of(bench.ledger).total, migration_of(bench.ledger).planned) == (10, False)
        assert bench.ledger.last_chunk(migration_of(bench.ledger).id) == Chunk(number=0, lo="", hi="b", count=10)

    def test_the_first_piece_begins_at_the_beginning(self, bench: LedgerBench) -> None:
        """Nothing may be left out before it."""
        begin(bench.ledger)

        with pytest.raises(StaleRoute):
            bench.ledger.add_chunks(
                migration_of(bench.ledger).id, [Chunk(number=0, lo="a", hi="b", count=1)], complete=True
            )

    def test_each_piece_has_one_worker(self, bench: LedgerBench) -> None:
        """In the order of their numbers, until there is none."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")

        taken = [lease(bench.ledger), lease(bench.other, owner=YOU), lease(bench.ledger)]

        assert [_number(piece) for piece in taken] == [0, 1, None]

    def test_a_lease_that_ended_is_taken_at_once_when_nothing_was_written(self, bench: LedgerBench) -> None:
        """With another fence, so that the old owner is told."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        first = present(lease(bench.ledger))

        bench.clock.advance(LEASE_S - MOMENT_S)
        assert lease(bench.other, owner=YOU) is None
        bench.clock.advance(2 * MOMENT_S)
        second = present(lease(bench.other, owner=YOU))

        assert second.fence > first.fence
        with pytest.raises(LeaseLost):
            publish(bench.ledger, first, "a")
        with pytest.raises(LeaseLost):
            bench.ledger.release_chunk(ALIAS, first, owner=ME)

    def test_a_lease_that_is_prolonged_is_not_taken(self, bench: LedgerBench) -> None:
        """Again and again, as long as the model takes; one that has ended as well, while nobody has the piece."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        piece = present(lease(bench.ledger))

        for pause in (LEASE_S - MOMENT_S, LEASE_S - MOMENT_S, LEASE_S + MOMENT_S):
            bench.clock.advance(pause)
            assert prolong(bench.ledger, piece)
            assert lease(bench.other, owner=YOU) is None

        assert publish(bench.ledger, piece, "a") == ["a"]

    def test_a_piece_that_another_worker_took_is_not_prolonged(self, bench: LedgerBench) -> None:
        """It is told, and the new owner's lease stays as it was: to the fence, the old one is a stranger."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        first = present(lease(bench.ledger))
        bench.clock.advance(LEASE_S + MOMENT_S)
        second = present(lease(bench.other, owner=YOU))
        bench.clock.advance(LEASE_S - MOMENT_S)

        assert not prolong(bench.ledger, first)
        assert not prolong(bench.ledger, second)
        bench.clock.advance(2 * MOMENT_S)

        assert present(lease(bench.ledger)).fence > second.fence

    def test_a_piece_that_is_being_published_is_not_prolonged(self, bench: LedgerBench) -> None:
        """TAKEOVER WAITS D is counted from the lease that publishing began with."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        piece = present(lease(bench.ledger))
        publish(bench.ledger, piece, "a")

        assert not prolong(bench.ledger, piece)
        bench.ledger.published(ALIAS, piece, owner=ME)
        assert not prolong(bench.ledger, piece)

    def test_a_piece_that_may_have_been_written_is_taken_after_the_horizon(self, bench: LedgerBench) -> None:
        """TAKEOVER WAITS D, counted from the lease that publishing began with."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        piece = present(lease(bench.ledger))
        bench.clock.advance(LEASE_S - 1)
        publish(bench.ledger, piece, "a")

        bench.clock.advance(LEASE_S + SETTLE_S - MOMENT_S)
        assert lease(bench.other, owner=YOU) is None
        bench.clock.advance(2 * MOMENT_S)
        assert _number(lease(bench.other, owner=YOU)) == 0
        with pytest.raises(LeaseLost):
            bench.ledger.published(ALIAS, piece, owner=ME)

    @pytest.mark.parametrize("status", [RunStatus.PAUSED, RunStatus.STOPPED, RunStatus.HALTED])
    def test_no_piece_is_taken_or_published_while_the_migration_does_not_run(
        self, bench: LedgerBench, status: RunStatus
    ) -> None:
        """A pause really stops the load."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        piece = present(lease(bench.ledger))
        bench.other.save_run_status(migration_of(bench.other).id, status, reason="", who="kit")

        assert lease(bench.other, owner=YOU) is None
        with pytest.raises(LeaseLost):
            publish(bench.ledger, piece, "a")

    def test_no_piece_is_taken_or_published_in_another_phase(self, bench: LedgerBench) -> None:
        """A worker that slept through a cancellation writes nothing."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        piece = present(lease(bench.ledger))
        enter(bench.other, Phase.ABORTING)

        assert lease(bench.other, owner=YOU) is None
        with pytest.raises(LeaseLost):
            publish(bench.ledger, piece, "a")

    def test_documents_that_were_touched_are_not_published(self, bench: LedgerBench) -> None:
        """PUBLISH SKIPS TOUCHED, dirty or clean again: the piece was read before, and the journal has newer ones."""
        begin(bench.ledger)
        lay_out(bench.ledger, "d")
        piece = present(lease(bench.ledger))
        write(bench.other, "b")
        bench.other.clear(ALIAS, claim(bench.other), owner=ME)
        write(bench.other, "c")

        allowed = publish(bench.ledger, piece, "a", "b", "c", "d")

        assert states(bench.ledger, ("b", "c")) == {"b": False, "c": True}
        assert allowed == ["a", "d"]

    def test_documents_outside_of_the_piece_do_not_matter(self, bench: LedgerBench) -> None:
        """The end belongs to a piece, the beginning to the one before."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        lease(bench.ledger)
        piece = present(lease(bench.ledger))
        write(bench.other, "b")
        write(bench.other, "d")

        assert publish(bench.ledger, piece, "c", "d") == ["c"]

    def test_a_piece_is_published_by_its_owner_under_its_fence(self, bench: LedgerBench) -> None:
        """Once; nobody else's word counts."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b")
        piece = present(lease(bench.ledger))

        with pytest.raises(LeaseLost):
            publish(bench.other, piece, "a", owner=YOU)
        with pytest.raises(LeaseLost):
            publish(bench.ledger, replace(piece, fence=piece.fence + 1), "a")
        with pytest.raises(LeaseLost):
            bench.ledger.published(ALIAS, piece, owner=ME)
        assert publish(bench.ledger, piece, "a") == ["a"]
        with pytest.raises(LeaseLost):
            publish(bench.ledger, piece, "a")
        with pytest.raises(LeaseLost):
            bench.ledger.release_chunk(ALIAS, piece, owner=ME)
        with pytest.raises(LeaseLost):
            bench.other.published(ALIAS, piece, owner=YOU)
        bench.ledger.published(ALIAS, piece, owner=ME)
        with pytest.raises(LeaseLost):
            bench.ledger.published(ALIAS, piece, owner=ME)

    def test_a_piece_that_was_given_back_is_taken_at_once(self, bench: LedgerBench) -> None:
        """With another fence."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d")
        piece = present(lease(bench.ledger))
        with pytest.raises(LeaseLost):
            bench.other.release_chunk(ALIAS, piece, owner=YOU)

        bench.ledger.release_chunk(ALIAS, piece, owner=ME)
        again = present(lease(bench.other, owner=YOU))

        assert (again.number, again.fence > piece.fence) == (0, True)

    def test_progress_counts_what_is_published(self, bench: LedgerBench) -> None:
        """Documents, pieces, and pieces in all."""
        begin(bench.ledger)
        lay_out(bench.ledger, "b", "d", "f")
        piece = present(lease(bench.ledger))
        publish(bench.ledger, piece)
        lease(bench.ledger)
        before = bench.other.chunk_progress(migration_of(bench.other).id)
        bench.ledger.published(ALIAS, piece, owner=ME)

        assert before == (0, 0, 3)
        assert bench.other.chunk_progress(migration_of(bench.other).id) == (10, 1, 3)
        assert lease(bench.other) is not None
        assert lease(bench.other) is None

    def test_what_was_published_when_and_by_whom_is_known(self, bench: LedgerBench) -> None:
        """Twenty parts of the time between the first piece and the last; the first is not in it."""
        id = begin(bench.ledger).id
        assert bench.other.published_over_time(id).rate_per_s is None
        assert bench.other.shares(id) == {}
        lay_out(bench.ledger, "b", "d", "f", "h", "j")
        for owner in (ME, YOU, ME, ME):
            piece = present(lease(bench.ledger, owner=owner))
            publish(bench.ledger, piece, owner=owner)
            bench.ledger.published(ALIAS, piece, owner=owner)
            bench.clock.advance(5.0)
        lease(bench.ledger, owner=YOU)

        found = bench.other.published_over_time(id)

        assert found.seconds == pytest.approx(15.0, abs=1.0)
        assert (len(found.parts), sum(found.parts), found.parts[-1]) == (PARTS, 30, 10)
        assert bench.other.shares(id) == {ME: Share(documents=30, in_hand=0), YOU: Share(documents=10, in_hand=1)}

        bench.clock.advance(3600.0)
        stalled = bench.other.published_over_time(id)

        assert stalled.seconds > 3000.0
        assert (len(stalled.parts), sum(stalled.parts), stalled.parts[-1]) == (PARTS, 30, 0)

    def test_workers_that_lease_at_once_get_different_pieces(self, bench: LedgerBench) -> None:
        """Each its own, and together all."""
        begin(bench.ledger)
        pieces = 40
        lay_out(bench.ledger, *(f"{number:02d}" for number in range(pieces)))

        def work(name: int) -> list[int]:
            handle, mine = bench.handle(), []
            while (piece := lease(handle, owner=ClientId(str(name)))) is not None:
                mine.append(piece.number)
            handle.close_ledger()
            return mine

        with ThreadPoolExecutor(4) as pool:
            taken = [number for mine in pool.map(work, range(4)) for number in mine]

        assert sorted(taken) == list(range(pieces))

    def test_two_that_lay_out_at_once_leave_no_gap(self, bench: LedgerBench) -> None:
        """Whoever comes second is told, reads again and goes on."""
        begin(bench.ledger)
        ends = [f"{number:02d}" for number in range(20)]

        def lay(_: int) -> None:
            handle = bench.handle()
            while _lay_next(handle, ends):
                pass
            handle.close_ledger()

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lay, range(3)))

        bounds = []
        while (piece := lease(bench.ledger)) is not None:
            bounds.append((piece.lo, piece.hi))
        assert bounds == list(zip(["", *ends[:-1]], ends, strict=True))


def _lay_next(ledger: Ledger, ends: list[str]) -> bool:
    """Append the next piece, unless somebody else does; False when there is none."""
    last = ledger.last_chunk(migration_of(ledger).id)
    number, lo = (last.number + 1, last.hi) if last else (0, "")
    if number == len(ends):
        return False
    piece = Chunk(number=number, lo=lo, hi=ends[number], count=1)
    try:
        ledger.add_chunks(migration_of(ledger).id, [piece], complete=number + 1 == len(ends))
    except StaleRoute:
        # Somebody else was first: the next look finds that piece.
        return True
    return True
