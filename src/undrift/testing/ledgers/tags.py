"""The tags of records that may carry none: put before the record is written, told apart by the text they are of."""

from __future__ import annotations

from undrift.domain.record import DocumentId, SpaceTag, tag_from_stored
from undrift.domain.route import FieldKey
from undrift.testing.ledgers.bench import MOMENT_S, SETTLE_S, LedgerBench, ids

_FIELD, _OTHER = FieldKey("main/docs?tags=ledger"), FieldKey("main/other?tags=ledger")


def _tag(content: str, sequence: int = 0, space: str = "small-3-1") -> SpaceTag:
    return tag_from_stored(space, content, sequence)


def _put(bench: LedgerBench, id: str, content: str, sequence: int = 0) -> set[DocumentId]:
    return bench.ledger.put_tags(_FIELD, {DocumentId(id): _tag(content, sequence)})


class TagRules:
    """The rules about tags that are kept beside the records and not in them."""

    def test_a_tag_comes_back_whole_to_every_process(self, bench: LedgerBench) -> None:
        """Space, hash and sequence, by field and document; an unknown document has none."""
        odd = DocumentId("ä/\"' {},\\")
        big = 2**53 + 1
        assert bench.ledger.put_tags(_FIELD, {odd: _tag("c1", big), DocumentId("b"): _tag("c2")}) == set()

        found = bench.other.tags_of(_FIELD, [odd, *ids("b", "b", "unknown")])

        assert found == {odd: [_tag("c1", big)], DocumentId("b"): [_tag("c2")]}
        assert bench.other.tags_of(_OTHER, [odd]) == {}
        assert bench.other.tags_of(_FIELD, []) == {}

    def test_a_tag_of_another_text_stands_beside_the_first_and_is_told(self, bench: LedgerBench) -> None:
        """Which of the texts the record has is not known before its write has ended; the newest comes first."""
        assert _put(bench, "a", "old", 1) == set()
        bench.clock.advance(MOMENT_S)
        assert _put(bench, "a", "new", 2) == set(ids("a"))

        assert bench.other.tags_of(_FIELD, ids("a")) == {DocumentId("a"): [_tag("new", 2), _tag("old", 1)]}

    def test_a_tag_of_the_same_text_is_replaced(self, bench: LedgerBench) -> None:
        """With its sequence and its space; nothing else is there then."""
        _put(bench, "a", "same", 1)

        assert bench.other.put_tags(_FIELD, {DocumentId("a"): _tag("same", 5, "large-8-2")}) == set()
        assert bench.ledger.tags_of(_FIELD, ids("a")) == {DocumentId("a"): [_tag("same", 5, "large-8-2")]}

    def test_tags_of_other_texts_are_forgotten_only_when_no_write_of_them_can_be_under_way(
        self, bench: LedgerBench
    ) -> None:
        """A younger one stays: whose write lands last is not known before the horizon is over."""
        _put(bench, "a", "first")
        bench.clock.advance(SETTLE_S)
        _put(bench, "a", "second")
        bench.clock.advance(SETTLE_S / 2)
        _put(bench, "a", "third")

        bench.ledger.settle_tags(_FIELD, {DocumentId("a"): _tag("third").content}, older_than_s=SETTLE_S)

        assert bench.other.tags_of(_FIELD, ids("a")) == {DocumentId("a"): [_tag("third"), _tag("second")]}
        bench.clock.advance(SETTLE_S + MOMENT_S)
        bench.other.settle_tags(_FIELD, {DocumentId("a"): _tag("second").content}, older_than_s=SETTLE_S)
        assert bench.ledger.tags_of(_FIELD, ids("a")) == {DocumentId("a"): [_tag("second")]}

    def test_a_sequence_is_set_in_every_tag_of_a_document(self, bench: LedgerBench) -> None:
        """Whichever text the record has; documents without a tag get none."""
        _put(bench, "a", "old", 1)
        bench.clock.advance(MOMENT_S)
        _put(bench, "a", "new", 2)
        _put(bench, "b", "other", 3)

        bench.other.number_tags(_FIELD, ids("a", "unknown"), sequence=9)

        assert bench.ledger.tags_of(_FIELD, ids("a", "b", "unknown")) == {
            DocumentId("a"): [_tag("new", 9), _tag("old", 9)],
            DocumentId("b"): [_tag("other", 3)],
        }

    def test_the_tags_of_documents_that_are_gone_are_forgotten_after_the_horizon(self, bench: LedgerBench) -> None:
        """Of those documents only, of that field only; a write that may still land keeps its tag."""
        bench.ledger.put_tags(_FIELD, {id: _tag("c") for id in ids("a", "b")})
        bench.ledger.put_tags(_OTHER, {id: _tag("c") for id in ids("a")})

        bench.ledger.forget_tags(_FIELD, ids("a"), older_than_s=SETTLE_S)
        assert set(bench.other.tags_of(_FIELD, ids("a", "b"))) == set(ids("a", "b"))
        bench.clock.advance(SETTLE_S + MOMENT_S)
        bench.ledger.forget_tags(_FIELD, ids("a"), older_than_s=SETTLE_S)

        assert set(bench.other.tags_of(_FIELD, ids("a", "b"))) == set(ids("b"))
        assert set(bench.other.tags_of(_OTHER, ids("a"))) == set(ids("a"))

    def test_a_field_that_is_dropped_keeps_no_tags(self, bench: LedgerBench) -> None:
        """A collection of the same name that comes later begins without any."""
        bench.ledger.put_tags(_FIELD, {id: _tag("c") for id in ids("a", "b")})
        bench.ledger.put_tags(_OTHER, {id: _tag("c") for id in ids("a")})

        bench.other.drop_tags(_FIELD)

        assert bench.ledger.tags_of(_FIELD, ids("a", "b")) == {}
        assert set(bench.ledger.tags_of(_OTHER, ids("a"))) == set(ids("a"))

    def test_nothing_asked_is_nothing_done(self, bench: LedgerBench) -> None:
        """Empty calls are no errors."""
        assert bench.ledger.put_tags(_FIELD, {}) == set()
        bench.ledger.settle_tags(_FIELD, {}, older_than_s=0.0)
        bench.ledger.number_tags(_FIELD, [], sequence=1)
        bench.ledger.forget_tags(_FIELD, [], older_than_s=0.0)
        bench.ledger.drop_tags(_FIELD)
