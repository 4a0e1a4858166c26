"""Writes to a collection: bulk requests, and what became of each document in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.elastic.collections import Found, path
from undrift.adapters.stores.elastic.wire import SHARD_TIMEOUT, Wire
from undrift.domain.record import DocumentId
from undrift.errors import CollectionMissing, StoreRejected, StoreUnavailable

#: Bytes of one request; the engines take ten times as much.
_MOST_BYTES = 8_000_000
#: How often a change is tried whose document others changed at the same time.
_TRIES = 100
_CONFLICT = 409
_GONE = 404


class Writing:
    """Writes to one cluster."""

    def __init__(self, wire: Wire) -> None:
        """Use a wire."""
        self._wire = wire

    def send(self, found: Found, lines: Sequence[bytes], *, allowed: frozenset[int] = frozenset()) -> list[int]:
        """Send what shall be done with documents, and return the status of each.

        Args:
            found: the collection.
            lines: one document's each.
            allowed: statuses that are no errors here.

        Raises:
            StoreRejected: the cluster does not take one, and nothing has been written.
            StoreUnavailable: it did not take all of them, or did not say.
            CollectionMissing: there is no such index.
        """
        statuses: list[int] = []
        if not found.is_own:
            self._require(found)
        for body in _requests(lines):
            answer = self._wire.ask(
                "POST",
                path(found.target, "_bulk"),
                collection=found.name,
                body=body,
                params={**({"require_alias": "true"} if found.is_own else {}), "timeout": SHARD_TIMEOUT},
            )
            items = [next(iter(item.values())) for item in answer.body["items"]]
            bad = [item for item in items if item["status"] >= 300 and not _is_allowed(item, allowed)]
            if bad:
                raise self._failure(found, bad, written=len(statuses) + len(items) - len(bad))
            statuses += [item["status"] for item in items]
        return statuses

    def conditionally(
        self,
        found: Found,
        ids: Sequence[DocumentId],
        read: Callable[[Sequence[DocumentId]], Sequence[Mapping[str, Any]]],
        line: Callable[[Mapping[str, Any]], bytes | None],
    ) -> set[DocumentId]:
        """Change documents by what is in them: each is read, and changed only if it is still what was read.

        Args:
            found: the collection.
            ids: which documents; those that are not there are left out.
            read: reads documents with their versions.
            line: what shall be done with a document; None for nothing.

        Returns:
            The ids of those that were changed.

        Raises:
            StoreUnavailable: others changed the same documents all the time; each was changed whole or not at all.
        """
        left, changed = list(ids), set[DocumentId]()
        for _ in range(_TRIES):
            asked = [(DocumentId(one["_id"]), said) for one in read(left) if (said := line(one)) is not None]
            if not asked:
                return changed
            statuses = self.send(found, [said for _, said in asked], allowed=frozenset({_CONFLICT, _GONE}))
            changed |= {id for (id, _), status in zip(asked, statuses, strict=True) if status < 300}
            left = [id for (id, _), status in zip(asked, statuses, strict=True) if status == _CONFLICT]
            if not left:
                return changed
        raise StoreUnavailable(
            f"{self._wire.place.name} is busy: others change {left[0]!r} of collection {found.name} all the time",
            f"tried {_TRIES} times; each document was changed whole or not at all",
        )

    def _require(self, found: Found) -> None:
        """Pass when an index is there that has no alias of ours: a write would make it."""
        answer = self._wire.ask("HEAD", path(found.name), collection=found.name, allowed=frozenset({404}))
        if answer.status == 404:
            raise CollectionMissing(f"{self._wire.place.name} has no collection {found.name}")

    def _failure(self, found: Found, bad: Sequence[Mapping[str, Any]], *, written: int) -> Exception:
        errors = [self._wire.refused(item["status"], item.get("error", {}), found.name) for item in bad]
        missing = [error for error in errors if isinstance(error, CollectionMissing)]
        if missing:
            return missing[0]
        first, item = errors[0], bad[0]
        if isinstance(first, StoreRejected) and written:
            # To say that nothing was written would be wrong.
            return StoreUnavailable(
                f"{self._wire.place.name} took {written} documents of a write, and not {item['_id']!r}",
                first.message,
                "write it again without that document",
            )
        if isinstance(first, StoreRejected):
            return StoreRejected(first.message, f"document {item['_id']!r}: {first.detail}", first.hint)
        return first


def _is_allowed(item: Mapping[str, Any], allowed: frozenset[int]) -> bool:
    """Whether a refusal is none: a missing document may be, a missing index never is."""
    kind = item.get("error", {}).get("type", "")
    return item["status"] in allowed and kind != "index_not_found_exception"


def _requests(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yield bodies of requests that are not too long."""
    body: list[bytes] = []
    size = 0
    for line in lines:
        if body and size + len(line) > _MOST_BYTES:
            yield b"".join(body)
            body, size = [], 0
        body.append(line)
        size += len(line)
    if body:
        yield b"".join(body)
