"""Carries those documents of a back-fill first that matter most, by the way of those that writers touch.

To mark a document that nobody has touched is always safe: it belongs to the journal from then on, and the piece in
whose range it lies leaves it out. So the pieces stay ranges of ids, and the first documents are chosen one by one.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from undrift.domain.migration import Migration
from undrift.domain.order import has_recent, in_order, named_first, recent_note
from undrift.domain.record import DocumentId
from undrift.migrate.sync import BATCH, carry_dirty
from undrift.migrate.workshop import Workshop
from undrift.ports.store import Part

#: Records read at a time while the newest are looked for.
_PAGE = 2_000


@dataclass(slots=True, kw_only=True)
class First:
    """What one worker knows of the documents that come first."""

    workshop: Workshop
    _queue: deque[DocumentId] = field(default_factory=deque)
    _open: list[str] = field(default_factory=list)
    _taken: set[tuple[str, str]] = field(default_factory=set)

    def look_up(self, migration: Migration, on_page: Callable[[], None]) -> None:
        """Name the newest documents in the ledger, once; for whoever coordinates, before the pieces are laid out.

        Args:
            migration: the migration.
            on_page: called between two pages of the scan.
        """
        shop = self.workshop
        if not shop.order.keys:
            return
        notes = shop.ledger.tuning(shop.alias)
        for key in shop.order.keys:
            if has_recent(notes, key):
                continue
            newest = heapq.nlargest(shop.order.documents, self._dated(migration, key, on_page))
            shop.ledger.tune(shop.alias, recent_note(key, [id for _, id in newest]))

    def carry(self, notes: Mapping[str, str]) -> int:
        """Carry the next few of the first documents; 0 when there are none any more.

        Those that are in the journal already were carried by another worker, or are about to be.

        Args:
            notes: the notes in the ledger, as of the last look.
        """
        shop = self.workshop
        if not self._queue:
            self._take_up(notes)
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            touched = shop.ledger.journal_state(shop.alias, batch)
            fresh = [id for id in batch if id not in touched]
            if fresh:
                shop.ledger.mark(shop.alias, fresh)
                carry_dirty(shop, only=fresh)
                return len(fresh)
        return 0

    def _take_up(self, notes: Mapping[str, str]) -> None:
        """Queue what the notes name; those of which nothing is left are taken down."""
        shop = self.workshop
        if self._open:
            shop.ledger.tune(shop.alias, dict.fromkeys(self._open, ""))
        # The last look may be older than that.
        wanted = {item for item in named_first(notes).items() if item not in self._taken}
        self._open = [name for name, _ in wanted]
        self._taken |= wanted
        self._queue.extend(DocumentId(id) for id in in_order(wanted, shop.order))

    def _dated(
        self, migration: Migration, key: str, on_page: Callable[[], None]
    ) -> Iterator[tuple[tuple[bool, float, str], str]]:
        """Yield how new each document is, with its id; one without the key, or with anything but a number or a text."""
        store, after = self.workshop.store_of(migration.source), ""
        while True:
            page = store.scan(migration.source, after=after, limit=_PAGE, parts=Part.NONE)
            for entry in page:
                value = entry.metadata.get(key)
                if isinstance(value, str):
                    yield (True, 0.0, value), entry.id
                elif isinstance(value, int | float) and not isinstance(value, bool):
                    yield (False, float(value), ""), entry.id
            if len(page) < _PAGE:
                return
            after = page[-1].id
            on_page()
