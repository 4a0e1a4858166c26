"""The tags of records that may carry none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from undrift.adapters.ledgers.sqlite.session import Session
from undrift.adapters.sqlite import Durability
from undrift.domain.record import ContentHash, DocumentId, SpaceTag, tag_from_stored
from undrift.domain.route import FieldKey


class TagTables(Session):
    """One row for each text that a document may have."""

    def put_tags(self, field: FieldKey, tags: Mapping[DocumentId, SpaceTag]) -> set[DocumentId]:
        """Add tags before the records are written."""
        if not tags:
            return set()
        with self._write(Durability.FULL) as connection:
            now = self._time()
            others = connection.executemany(
                "SELECT key FROM tag WHERE field = ? AND key = ? AND content != ?",
                [(field, id, tag.content) for id, tag in tags.items()],
            )
            found = {DocumentId(key) for (key,) in others}
            connection.executemany(
                "INSERT INTO tag (field, key, content, space, sequence, written) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (field, key, content) DO UPDATE SET space = excluded.space, "
                "sequence = excluded.sequence, written = excluded.written",
                [(field, id, tag.content, tag.space, tag.sequence, now) for id, tag in tags.items()],
            )
        return found

    def tags_of(self, field: FieldKey, ids: Sequence[DocumentId]) -> dict[DocumentId, list[SpaceTag]]:
        """Return the tags of documents."""
        found: dict[DocumentId, list[SpaceTag]] = {}
        with self._snapshot():
            for id in dict.fromkeys(ids):
                rows = self._read(
                    "SELECT space, content, sequence FROM tag WHERE field = ? AND key = ? ORDER BY written DESC",
                    (field, id),
                )
                if rows:
                    found[id] = [tag_from_stored(*row) for row in rows]
        return found

    def settle_tags(self, field: FieldKey, keep: Mapping[DocumentId, ContentHash], *, older_than_s: float) -> None:
        """Forget the tags of other texts."""
        if keep:
            with self._write(Durability.NORMAL) as connection:
                before = self._time() - older_than_s
                connection.executemany(
                    "DELETE FROM tag WHERE field = ? AND key = ? AND content != ? AND written < ?",
                    [(field, id, content, before) for id, content in keep.items()],
                )

    def number_tags(self, field: FieldKey, ids: Sequence[DocumentId], *, sequence: int) -> None:
        """Set the sequence in all tags of documents."""
        if ids:
            with self._write(Durability.NORMAL) as connection:
                connection.executemany(
                    "UPDATE tag SET sequence = ? WHERE field = ? AND key = ?", [(sequence, field, id) for id in ids]
                )

    def forget_tags(self, field: FieldKey, ids: Sequence[DocumentId], *, older_than_s: float) -> None:
        """Forget the tags of documents that are gone."""
        if ids:
            with self._write(Durability.NORMAL) as connection:
                before = self._time() - older_than_s
                connection.executemany(
                    "DELETE FROM tag WHERE field = ? AND key = ? AND written < ?", [(field, id, before) for id in ids]
                )

    def drop_tags(self, field: FieldKey) -> None:
        """Forget every tag of a field."""
        with self._write(Durability.NORMAL) as connection:
            connection.execute("DELETE FROM tag WHERE field = ?", (field,))
