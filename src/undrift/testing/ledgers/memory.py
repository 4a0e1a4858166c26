"""Memos, of which each change is a compare-and-swap, and series, which only grow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

from undrift.testing.ledgers.bench import LedgerBench, present

_NOON = datetime(2026, 1, 1, 12, 0, 0, 123457, tzinfo=UTC)
_TURNS, _ADDED = 4, 5


def _add_one(bench: LedgerBench) -> int:
    """Count up a memo a few times, as often as it takes; return how often somebody else was faster."""
    ledger, beaten = bench.handle(), 0
    for _ in range(_ADDED):
        while True:
            memo = present(ledger.recall("count"))
            if ledger.remember("count", str(int(memo.text) + 1), version=memo.version):
                break
            beaten += 1
    ledger.close_ledger()
    return beaten


class MemoryRules:
    """The rules about what the look-out keeps."""

    def test_a_memo_comes_back_whole_to_every_process(self, bench: LedgerBench) -> None:
        """Whatever characters its key and its text are of."""
        key, text = "alert/ä/\"' {},\\%_*", '{"words": "ß\\n\n"}'
        assert bench.ledger.recall(key) is None

        assert bench.ledger.remember(key, text, version=0)

        memo = present(bench.other.recall(key))
        assert (memo.key, memo.text) == (key, text)
        assert memo.version > 0
        assert bench.other.recall(key + "x") is None

    def test_a_memo_is_written_only_over_the_version_that_was_read(self, bench: LedgerBench) -> None:
        """Of two who have read the same, the second is told so, and nothing of its is kept."""
        assert bench.ledger.remember("k", "one", version=0)
        read = present(bench.ledger.recall("k"))
        assert bench.other.remember("k", "two", version=read.version)

        assert not bench.ledger.remember("k", "mine", version=read.version)
        assert not bench.ledger.remember("k", "mine", version=0)

        now = present(bench.ledger.recall("k"))
        assert now.text == "two"
        assert now.version > read.version

    def test_a_memo_that_is_not_there_has_no_version_to_write_over(self, bench: LedgerBench) -> None:
        """Only what is meant to be new is."""
        assert not bench.ledger.remember("k", "mine", version=1)

        assert bench.other.recall("k") is None

    def test_a_memo_is_forgotten_only_in_the_version_that_was_read(self, bench: LedgerBench) -> None:
        """What somebody has written since stays."""
        bench.ledger.remember("k", "one", version=0)
        read = present(bench.ledger.recall("k"))
        bench.other.remember("k", "two", version=read.version)

        assert not bench.ledger.forget("k", version=read.version)
        assert bench.ledger.forget("k", version=present(bench.ledger.recall("k")).version)
        assert bench.other.recall("k") is None
        assert not bench.ledger.forget("k", version=read.version)

    def test_a_memo_that_is_made_anew_is_not_taken_for_the_one_before(self, bench: LedgerBench) -> None:
        """Who has read the first may not write over the second, however much alike they are."""
        bench.ledger.remember("k", "same", version=0)
        read = present(bench.ledger.recall("k"))
        bench.other.forget("k", version=read.version)
        bench.other.remember("k", "same", version=0)

        assert not bench.ledger.remember("k", "mine", version=read.version)
        assert not bench.ledger.forget("k", version=read.version)
        assert present(bench.other.recall("k")).version > read.version

    def test_memos_are_found_by_how_their_keys_begin(self, bench: LedgerBench) -> None:
        """In the order of the keys by code point, and by no pattern."""
        for key in ("a/b", "a/B", "a/ä", "ab", "a_", "A/b", "a%"):
            bench.ledger.remember(key, key.upper(), version=0)

        assert [(memo.key, memo.text) for memo in bench.other.recall_all("a/")] == [
            ("a/B", "A/B"),
            ("a/b", "A/B"),
            ("a/ä", "A/Ä"),
        ]
        assert [memo.key for memo in bench.other.recall_all("a_")] == ["a_"]
        assert [memo.key for memo in bench.other.recall_all("a%")] == ["a%"]
        assert len(bench.other.recall_all("")) == 7
        assert bench.other.recall_all("none") == []

    def test_of_many_who_begin_a_memo_at_once_one_does(self, bench: LedgerBench) -> None:
        """So one of many processes tells of an alert."""

        def begin(number: int) -> bool:
            ledger = bench.handle()
            try:
                return ledger.remember("alert", f"told by {number}", version=0)
            finally:
                ledger.close_ledger()

        with ThreadPoolExecutor(_TURNS) as pool:
            won = list(pool.map(begin, range(_TURNS)))

        assert sum(won) == 1
        assert present(bench.ledger.recall("alert")).text == f"told by {won.index(True)}"

    def test_no_change_is_lost_of_many_who_change_a_memo_at_once(self, bench: LedgerBench) -> None:
        """Who was not fast enough reads again."""
        bench.ledger.remember("count", "0", version=0)

        with ThreadPoolExecutor(_TURNS) as pool:
            list(pool.map(_add_one, [bench] * _TURNS))

        assert present(bench.ledger.recall("count")).text == str(_TURNS * _ADDED)

    def test_a_series_gives_its_newest_observations_first(self, bench: LedgerBench) -> None:
        """By the moment that was observed, whatever the zone it is given in; of equal moments the later entered."""
        later = (_NOON + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=5)))
        for moment, text in ((later, "later"), (_NOON, "first"), (_NOON, "second ä\n")):
            bench.ledger.observe("s", moment, text, keep=10)
        bench.ledger.observe("other", _NOON, "other", keep=10)

        assert [(one.moment, one.text) for one in bench.other.observed("s")] == [
            (later, "later"),
            (_NOON, "second ä\n"),
            (_NOON, "first"),
        ]
        assert [one.text for one in bench.other.observed("s", limit=1)] == ["later"]
        assert bench.other.observed("s")[0].moment.utcoffset() == timedelta(0)
        assert bench.other.observed("unknown") == []

    def test_a_series_keeps_the_newest_of_its_observations(self, bench: LedgerBench) -> None:
        """As many as was asked for last; one that is older than all of them does not stay."""
        for number in range(6):
            bench.ledger.observe("s", _NOON + timedelta(seconds=number), str(number), keep=4)
        bench.ledger.observe("other", _NOON, "other", keep=1)

        assert [one.text for one in bench.other.observed("s")] == ["5", "4", "3", "2"]
        bench.other.observe("s", _NOON, "too late", keep=4)
        assert [one.text for one in bench.ledger.observed("s")] == ["5", "4", "3", "2"]
        bench.other.observe("s", _NOON + timedelta(hours=1), "6", keep=2)
        assert [one.text for one in bench.ledger.observed("s")] == ["6", "5"]
        assert [one.text for one in bench.ledger.observed("other")] == ["other"]
