"""Reads of a collection: by id, in the order of ids, in numbers, and the nearest to a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from undrift.adapters.stores.elastic.collections import Found, path
from undrift.adapters.stores.elastic.conditions import EVERYTHING
from undrift.adapters.stores.elastic.dialects import WINDOW, Dialect, Index, exact_score, indexed_score
from undrift.adapters.stores.elastic.documents import fields
from undrift.adapters.stores.elastic.places import ID
from undrift.adapters.stores.elastic.wire import Wire
from undrift.domain.record import DocumentId, Vector
from undrift.errors import CollectionMissing, StoreRejected, StoreUnavailable
from undrift.ports.store import Part

#: Ids of one request by id.
_IDS = 500
#: How long the engine keeps what a list of ids is read from, between two pages.
_SCROLL = "1m"
#: Hits of a page, and most ids that a query can leave out.
_UNSEEN = 100
_MOST_SEEN = 60_000


class Reading:
    """Asks one cluster."""

    def __init__(self, wire: Wire, dialect: Dialect, index: Index) -> None:
        """Use a wire."""
        self._wire = wire
        self._dialect = dialect
        self._index = index

    def refresh(self, found: Found) -> None:
        """Let searches and counts see everything that was acknowledged."""
        self._wire.ask("POST", path(found.name, "_refresh"), collection=found.name)

    def by_id(self, found: Found, ids: Sequence[DocumentId], named: Sequence[str]) -> list[dict[str, Any]]:
        """Return the documents of these ids that are there: a read of the log, not of the index, so it misses nothing.

        Raises:
            CollectionMissing: there is no such index.
        """
        wanted = list(dict.fromkeys(ids))
        there: list[dict[str, Any]] = []
        params = {"_source_includes": ",".join(named), "realtime": "true"}
        if found.hides_vectors and (found.places.vector in named or "*" in named):
            params["_source_exclude_vectors"] = "false"
        for start in range(0, len(wanted), _IDS):
            answer = self._wire.ask(
                "POST",
                path(found.name, "_mget"),
                collection=found.name,
                body={"ids": wanted[start : start + _IDS]},
                params=params,
            )
            for document in answer.body["docs"]:
                if "error" in document:
                    error = document["error"]
                    raise self._wire.refused(int(error.get("status", 503)), error, found.name)
                if document.get("found"):
                    there.append(document)
        if not wanted:
            # A collection that is missing is said to be, also when nothing is asked of it.
            answer = self._wire.ask("HEAD", path(found.name), collection=found.name, allowed=frozenset({404}))
            if answer.status == 404:
                raise CollectionMissing(f"{self._wire.place.name} has no collection {found.name}")
        return there

    def count(self, found: Found, query: dict[str, Any] | None) -> int:
        """Return how many documents a refreshed index has."""
        answer = self._wire.ask(
            "POST",
            path(found.name, "_count"),
            collection=found.name,
            body={"query": query or (EVERYTHING if found.is_own else _has_vector(found))},
            params=self._dialect.read,
        )
        _require_all_shards(answer.body, self._wire.place.name, counted=True)
        return int(answer.body["count"])

    def in_order(
        self,
        found: Found,
        query: dict[str, Any] | None,
        *,
        after: str,
        until: str | None,
        limit: int,
        parts: Part | None,
    ) -> Iterator[dict[str, Any]]:
        """Yield documents in the order of their ids, as many as are asked for and more; read in pages of the limit.

        Args:
            found: the collection.
            query: which ones; None for all.
            after: ids up to this one are left out.
            until: ids behind this one are left out; None for none.
            limit: how many are read at a time.
            parts: what to read of each; None for the id alone.
        """
        size = min(limit, WINDOW)
        source = False if parts is None else fields(found.places, parts)
        while True:
            bounds = {"gt": after, **({} if until is None else {"lte": until})}
            conditions = [{"range": {ID: bounds}}, *([] if query is None else [query])]
            body = {
                "query": {"bool": {"filter": conditions}},
                "sort": [{ID: "asc"}],
                "size": size,
                "_source": source,
                "track_total_hits": False,
            }
            page = self._hits(found, body)
            yield from page
            if len(page) < size:
                return
            after = page[-1]["sort"][0]

    def nearest(
        self,
        found: Found,
        query: Vector,
        condition: dict[str, Any] | None,
        *,
        k: int,
        accepts: Callable[[Mapping[str, Any]], bool] | None,
    ) -> list[tuple[float, dict[str, Any]]]:
        """Return the k nearest documents with their scores, equal ones in the order of their ids.

        Args:
            found: the collection.
            query: float32, shape (d,).
            condition: a query for a superset of what may be found; None for all.
            k: how many.
            accepts: what of the superset is asked for; None for all of it.
        """
        candidates = max(k, self._index.ef_search)
        if found.is_indexed and self._index.method != "none" and accepts is None and candidates <= WINDOW:
            named = fields(found.places, Part.TEXT)
            asked = self._dialect.by_index(found.places.vector, query.tolist(), k, candidates, condition)
            hits = self._hits(found, {**asked, "size": k, "_source": named, "track_total_hits": False})
            if len(hits) >= k:
                scored = [(indexed_score(hit["_score"], found.metric), hit) for hit in hits]
                return sorted(scored, key=lambda one: (-one[0], one[1]["_id"]))[:k]
            # An index may give up before it has found enough.
        nearest: list[tuple[float, dict[str, Any]]] = []
        pages = self._by_nearness if found.is_own else self._unseen_by_nearness
        for hit in pages(found, query, condition, size=min(k, WINDOW)):
            if accepts is None or accepts(hit["_source"]):
                nearest.append((exact_score(hit["_score"], found.metric), hit))
                if len(nearest) == k:
                    break
        return nearest

    def _by_nearness(
        self, found: Found, query: Vector, condition: dict[str, Any] | None, *, size: int
    ) -> Iterator[dict[str, Any]]:
        places = found.places
        among = {"bool": {"filter": [_has_vector(found), *([] if condition is None else [condition])]}}
        body: dict[str, Any] = {
            "query": self._dialect.exactly(places.vector, query.tolist(), found.metric, among),
            "sort": [{"_score": "desc"}, {ID: "asc"}],
            "size": size,
            "_source": fields(places, Part.TEXT),
            "track_total_hits": False,
        }
        while True:
            page = self._hits(found, body)
            yield from page
            if len(page) < size:
                return
            body["search_after"] = page[-1]["sort"]

    def _unseen_by_nearness(
        self, found: Found, query: Vector, condition: dict[str, Any] | None, *, size: int
    ) -> Iterator[dict[str, Any]]:
        """Yield documents by nearness where none has a key to go on from: each page leaves out what has been seen.

        Raises:
            StoreRejected: so many have been seen that the engine takes no longer list of them.
        """
        places, seen = found.places, list[str]()
        size = min(WINDOW, max(_UNSEEN, size))
        while len(seen) <= _MOST_SEEN:
            among = {
                "bool": {
                    "filter": [_has_vector(found), *([] if condition is None else [condition])],
                    "must_not": [{"ids": {"values": seen}}] if seen else [],
                }
            }
            body = {
                "query": self._dialect.exactly(places.vector, query.tolist(), found.metric, among),
                "size": size,
                "_source": fields(places, Part.TEXT),
                "track_total_hits": False,
            }
            page = self._hits(found, body)
            # Equal ones come in any order; the last score may go on behind the page.
            last = page[-1]["_score"] if len(page) == size else None
            whole = [hit for hit in page if hit["_score"] != last] or page
            yield from sorted(whole, key=lambda hit: (-hit["_score"], hit["_id"]))
            seen += [hit["_id"] for hit in whole]
            if len(page) < size:
                return
        raise StoreRejected(
            f"a search in collection {found.name} looked at {len(seen)} documents that do not match",
            "how an index of somebody else is filtered, the engine is not asked",
            'use a filter of the engine\'s own: {"$native": ...}',
        )

    def every_id(self, found: Found) -> Iterator[DocumentId]:
        """Yield the ids of all documents with a vector, in any order, as they were at one moment."""
        body = {"query": _has_vector(found), "sort": ["_doc"], "size": WINDOW, "_source": False}
        said = self._wire.ask(
            "POST",
            path(found.name, "_search"),
            collection=found.name,
            body=body,
            params={"scroll": _SCROLL, **self._dialect.read},
        ).body
        while hits := said["hits"]["hits"]:
            _require_all_shards(said, self._wire.place.name, counted=False)
            yield from (DocumentId(hit["_id"]) for hit in hits)
            more = {"scroll": _SCROLL, "scroll_id": said["_scroll_id"]}
            said = self._wire.ask("POST", "/_search/scroll", collection=found.name, body=more).body
        self._wire.ask(
            "DELETE",
            "/_search/scroll",
            collection=found.name,
            body={"scroll_id": [said["_scroll_id"]]},
            allowed=frozenset({404}),
        )

    def _hits(self, found: Found, body: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self._wire.ask(
            "POST", path(found.name, "_search"), collection=found.name, body=body, params=self._dialect.read
        )
        _require_all_shards(answer.body, self._wire.place.name, counted=False)
        hits: list[dict[str, Any]] = answer.body["hits"]["hits"]
        return hits


def _has_vector(found: Found) -> dict[str, Any]:
    return {"exists": {"field": found.places.vector}}


def _require_all_shards(body: Mapping[str, Any], name: str, *, counted: bool) -> None:
    """Pass when nothing is missing from an answer: both engines also answer when a shard is away."""
    shards = body.get("_shards", {})
    if body.get("timed_out") or shards.get("failed", 0):
        reasons = [str(one.get("reason", {}).get("reason", "")) for one in shards.get("failures", [])]
        raise StoreUnavailable(
            f"{name} answered with a part of what it has",
            "; ".join(filter(None, dict.fromkeys(reasons)))
            or f"a {'count' if counted else 'search'} failed on a shard",
            "look at the cluster's health",
        )
