"""Promises about tags that are put beside vectors which are there already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from undrift.domain.record import NO_TAG, DocumentId, Entry, Record, tag_for
from undrift.domain.route import VectorField
from undrift.ports.store import SupportsTagging, VectorStore
from undrift.testing.stores.bench import SideDoor, StoreBench
from undrift.testing.stores.samples import SPACE, UNICODE_IDS, assert_same, records


class TaggingTests(StoreBench):
    """`tag`, of stores that support it."""

    def test_a_record_gets_a_tag_and_nothing_else_of_it_changes(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """Vector, text and metadata stay as their writer left them, to the bit; ids that are not there are left out.

        Failing? Write the tag's parts alone, and do not make records.
        """
        tagging = supporting(store)
        written = [replace(one, tag=NO_TAG) for one in records([*UNICODE_IDS[:9], "a-long-one"], self.dimensions)]
        for one in written:
            side_door.write(field, one)

        done = tagging.tag(field, [*map(_entry, written[1:]), _entry(replace(written[0], id=DocumentId("nobody")))])

        assert done == {one.id for one in written[1:]}
        for one in written[1:]:
            wanted = replace(one, tag=tag_for(one.text, SPACE.id))
            assert_same(side_door.read(field, one.id), wanted)
            assert_same(store.fetch(field, [one.id])[one.id], wanted)
        assert store.count(field) == len(written)

    def test_a_record_that_was_written_anew_is_left_alone(
        self, store: VectorStore, side_door: SideDoor, field: VectorField
    ) -> None:
        """The tag is of another text then.

        Failing? The text is compared in the same statement that writes the tag, letter by letter.
        """
        tagging = supporting(store)
        old, kept = (replace(one, tag=NO_TAG) for one in records(["a", "b"], self.dimensions))
        new = replace(old, text=old.text + " ")
        side_door.write(field, new)
        side_door.write(field, kept)

        assert tagging.tag(field, [_entry(old), _entry(kept)]) == {kept.id}

        assert store.entries(field, [old.id])[old.id].text == new.text
        assert not getattr(store.entries(field, [old.id])[old.id].tag, "content", "")

    def test_to_tag_nothing_does_nothing(self, store: VectorStore, field: VectorField) -> None:
        """An empty call is no error.

        Failing? Return early.
        """
        assert supporting(store).tag(field, []) == set()


def supporting(store: VectorStore) -> SupportsTagging:
    """Return the store when it can tag what is there; the test is skipped otherwise."""
    if not isinstance(store, SupportsTagging):
        pytest.skip(f"{store.capabilities.name} has no tag")
    return store


def _entry(record: Record) -> Entry:
    return Entry(id=record.id, text=record.text, metadata={}, tag=tag_for(record.text, SPACE.id))
