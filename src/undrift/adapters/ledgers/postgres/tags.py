"""The tags of records that may carry none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from undrift.adapters.ledgers.postgres.session import Session, array_of
from undrift.domain.record import ContentHash, DocumentId, SpaceTag, tag_from_stored
from undrift.domain.route import FieldKey

_PUT = """
WITH given AS (
    SELECT key, content, space, sequence
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS one (key, content, space, sequence)
), put AS (
    INSERT INTO undrift.tag (field, key, content, space, sequence, written)
    SELECT %s, key, content, space, sequence, undrift.now() FROM given ORDER BY key
    ON CONFLICT (field, key, content) DO UPDATE
    SET space = excluded.space, sequence = excluded.sequence, written = excluded.written
)
SELECT DISTINCT given.key FROM given JOIN undrift.tag AS kept ON kept.field = %s AND kept.key = given.key
WHERE kept.content <> given.content
"""


class TagTables(Session):
    """One row for each text that a document may have."""

    def put_tags(self, field: FieldKey, tags: Mapping[DocumentId, SpaceTag]) -> set[DocumentId]:
        """Add tags before the records are written."""
        if not tags:
            return set()
        columns = (
            array_of(list(tags)),
            array_of([tag.content for tag in tags.values()]),
            array_of([tag.space for tag in tags.values()]),
            array_of([str(tag.sequence) for tag in tags.values()]),
        )
        (rows,) = self._run((_PUT, (*columns, field, field)), durable=True)
        return {DocumentId(key) for (key,) in rows}

    def tags_of(self, field: FieldKey, ids: Sequence[DocumentId]) -> dict[DocumentId, list[SpaceTag]]:
        """Return the tags of documents."""
        rows = self._read(
            "SELECT key, space, content, sequence FROM undrift.tag WHERE field = %s AND key = ANY(%s::text[]) "
            "ORDER BY written DESC",
            (field, array_of(list(ids))),
        )
        found: dict[DocumentId, list[SpaceTag]] = {}
        for key, space, content, sequence in rows:
            found.setdefault(DocumentId(key), []).append(tag_from_stored(space, content, sequence))
        return found

    def settle_tags(self, field: FieldKey, keep: Mapping[DocumentId, ContentHash], *, older_than_s: float) -> None:
        """Forget the tags of other texts."""
        if keep:
            sql = (
                "DELETE FROM undrift.tag AS kept USING unnest(%s::text[], %s::text[]) AS given (key, content) "
                "WHERE kept.field = %s AND kept.key = given.key AND kept.content <> given.content "
                "AND kept.written < undrift.now() - %s"
            )
            self._run((sql, (array_of(list(keep)), array_of(list(keep.values())), field, older_than_s)))

    def number_tags(self, field: FieldKey, ids: Sequence[DocumentId], *, sequence: int) -> None:
        """Set the sequence in all tags of documents."""
        if ids:
            sql = "UPDATE undrift.tag SET sequence = %s WHERE field = %s AND key = ANY(%s::text[])"
            self._run((sql, (sequence, field, array_of(list(ids)))))

    def forget_tags(self, field: FieldKey, ids: Sequence[DocumentId], *, older_than_s: float) -> None:
        """Forget the tags of documents that are gone."""
        if ids:
            sql = "DELETE FROM undrift.tag WHERE field = %s AND key = ANY(%s::text[]) AND written < undrift.now() - %s"
            self._run((sql, (field, array_of(list(ids)), older_than_s)))

    def drop_tags(self, field: FieldKey) -> None:
        """Forget every tag of a field."""
        self._run(("DELETE FROM undrift.tag WHERE field = %s", (field,)))
