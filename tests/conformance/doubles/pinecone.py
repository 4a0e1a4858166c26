"""What Pinecone does with the requests of undrift, as far as its specification and its client say.

Every index has a log. A write is acknowledged with its number in the log, and seen later: by queries and by everything
else at different times, each after so many reads. A query says up to which number it has seen, a fetch does not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from tests.conformance.doubles.http import Request, Response

_MOST_ROWS, _MOST_BYTES, _MOST_HITS, _PAGE = 1_000, 2 * 2**20, 10_000, 100
_MOST_METADATA = 40 * 1024
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_METRICS = {"cosine", "dotproduct", "euclidean"}
#: Keys that a request may have, by the end of its path.
_ASKED = {
    "upsert": {"vectors", "namespace"},
    "update": {"id", "setMetadata", "namespace"},
    "delete": {"ids", "namespace"},
    "query": {"topK", "vector", "filter", "namespace", "includeValues", "includeMetadata"},
    "describe_index_stats": set(),
}


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, message: str, *, flat: bool = False) -> None:
        super().__init__(message)
        # The control plane and the data plane word errors differently.
        self.body = (
            {"code": code, "message": message, "details": []}
            if flat
            else {"error": {"code": code, "message": message}, "status": status}
        )
        self.status = status


Rows = dict[str, dict[str, Any]]
Change = Callable[[Rows], None]


@dataclass
class View:
    """What one way of reading has seen."""

    rows: dict[str, Rows] = field(default_factory=dict)
    reached: int = 0
    #: Reads that a write is not seen by yet, by its number.
    waits: dict[int, int] = field(default_factory=dict)


@dataclass
class Index:
    definition: dict[str, Any]
    log: list[tuple[str, Change]] = field(default_factory=list)
    queried: View = field(default_factory=View)
    fetched: View = field(default_factory=View)

    def read(self, view: View, lag: int) -> View:
        """Bring a view forward as far as it is due: each write is overlooked by so many reads."""
        due = view.reached
        for number in range(view.reached + 1, len(self.log) + 1):
            left = view.waits.setdefault(number, lag)
            view.waits[number] = left - 1
            if left <= 0 and due == number - 1:
                due = number
        for number in range(view.reached + 1, due + 1):
            namespace, change = self.log[number - 1]
            change(view.rows.setdefault(namespace, {}))
            del view.waits[number]
        view.reached = due
        return view


class Pinecone:
    """A project, and its indexes behind one address."""

    def __init__(self, *, key: str = "key", query_lag: int = 1, fetch_lag: int = 1) -> None:
        self.key, self.query_lag, self.fetch_lag = key, query_lag, fetch_lag
        self.port = 0
        self.indexes: dict[str, Index] = {}
        #: Looks at an index that is made or deleted before it is ready or gone.
        self.slow = 1
        self.leaving: dict[str, int] = {}
        self.pending: dict[str, int] = {}
        self.says_numbers = True
        #: Answers that are given instead, by the end of the path; None hangs up.
        self.planted: dict[str, Response | None] = {}
        self.lock = threading.RLock()

    def answer(self, request: Request) -> Response | None:
        for end, planted in self.planted.items():
            if request.path.endswith(end):
                return planted
        with self.lock:
            try:
                assert request.headers.get("x-pinecone-api-version") == "2026-07"
                if request.headers.get("api-key") != self.key:
                    raise Refusal(401, "UNAUTHENTICATED", "Invalid API key.")
                return self._answer(request)
            except Refusal as refusal:
                return Response(status=refusal.status, body=refusal.body)

    def _answer(self, request: Request) -> Response:
        match request.method, request.segments:
            case "POST", ["indexes"]:
                return self._create(request.json)
            case "GET", ["indexes", name]:
                return Response(body=self._described(name))
            case "DELETE", ["indexes", name]:
                self._described(name)
                del self.indexes[name]
                self.leaving[name] = self.slow
                return Response(status=202)
            case method, ["i", host, *rest]:
                index = next((one for one in self.indexes.values() if one.definition["host"].endswith(host)), None)
                if index is None:
                    raise Refusal(404, "NOT_FOUND", "index not found", flat=True)
                return self._of_index(method, index, "/".join(rest), request)
            case _:
                raise Refusal(404, "NOT_FOUND", f"no route {request.method} {request.path}")

    def _create(self, said: dict[str, Any]) -> Response:
        assert said.keys() == {"name", "schema", "deployment", "tags"}, said.keys()
        name = said["name"]
        if not _NAME.fullmatch(name):
            raise Refusal(400, "INVALID_ARGUMENT", "Name must consist of lower case alphanumeric characters or '-'")
        if name in self.indexes or self.leaving.get(name):
            raise Refusal(409, "ALREADY_EXISTS", "Resource already exists.")
        ((vector, kind),) = said["schema"]["fields"].items()
        assert vector == "_values"
        assert kind.keys() == {"type", "dimension", "metric"}
        if not 1 <= kind["dimension"] <= 20_000 or kind["metric"] not in _METRICS:
            raise Refusal(400, "INVALID_ARGUMENT", "Bad request. The request body included invalid parameters.")
        assert all(len(value) <= 120 for value in said["tags"].values())
        host = f"http://127.0.0.1:{self.port}/i/{name}-{len(self.indexes)}{id(said):x}"
        status = {"ready": False, "state": "Initializing"}
        made = {**said, "host": host, "status": status, "deletion_protection": "disabled"}
        self.indexes[name] = Index(made)
        self.pending[name] = self.slow
        return Response(status=201, body=made)

    def _described(self, name: str) -> dict[str, Any]:
        if self.leaving.get(name):
            self.leaving[name] -= 1
            status = {"ready": False, "state": "Terminating"}
            return {"name": name, "host": "http://127.0.0.1:1/i/gone", "status": status, **_GONE}
        if name not in self.indexes:
            raise Refusal(404, "NOT_FOUND", f"Index {name} not found.")
        found = self.indexes[name].definition
        if self.pending.get(name):
            self.pending[name] -= 1
        else:
            found["status"] = {"ready": True, "state": "Ready"}
        return found

    def _of_index(self, method: str, index: Index, path: str, request: Request) -> Response:
        body = request.json or {}
        assert body.keys() <= _ASKED.get(path.rpartition("/")[2], set()), body.keys()
        namespace = body.get("namespace") or request.params.get("namespace") or "__default__"
        match method, path:
            case "POST", "vectors/upsert":
                return self._upsert(index, namespace, body["vectors"], len(request.body))
            case "POST", "vectors/update":
                return self._logged(index, namespace, _update(body["id"], body["setMetadata"]), {})
            case "POST", "vectors/delete":
                if len(body["ids"]) > _MOST_ROWS:
                    raise Refusal(400, "3", "cannot delete more than 1000 ids at a time", flat=True)
                return self._logged(index, namespace, _delete(body["ids"]), {})
            case "POST", "query":
                return self._query(index, namespace, body)
            case "GET", "vectors/fetch":
                # Every id is a parameter of its own.
                ids = [value for key, value in parse_qsl(request.query) if key == "ids"]
                assert len(ids) <= _MOST_ROWS
                assert len(request.query) < 8_000
                rows = index.read(index.fetched, self.fetch_lag).rows.get(namespace, {})
                return Response(body={"vectors": {id: rows[id] for id in ids if id in rows}, "namespace": namespace})
            case "GET", "vectors/list":
                rows = index.read(index.fetched, self.fetch_lag).rows.get(namespace, {})
                limit, after = int(request.params.get("limit", 100)), request.params.get("paginationToken", "")
                assert limit <= _PAGE
                ids = [id for id in sorted(rows) if id > after]
                pagination = {"next": ids[limit - 1]} if len(ids) > limit else None
                return Response(body={"vectors": [{"id": id} for id in ids[:limit]], "pagination": pagination})
            case "POST", "describe_index_stats":
                views = index.read(index.fetched, self.fetch_lag).rows
                counts = {name: {"vectorCount": len(rows)} for name, rows in views.items() if rows}
                total = sum(len(rows) for rows in views.values())
                dimension = index.definition["schema"]["fields"]["_values"]["dimension"]
                return Response(body={"namespaces": counts, "dimension": dimension, "totalVectorCount": total})
            case _:
                raise Refusal(404, "5", f"no route {method} {path}", flat=True)

    def _upsert(self, index: Index, namespace: str, vectors: list[dict[str, Any]], length: int) -> Response:
        if length > _MOST_BYTES:
            raise Refusal(413, "11", "Request size exceeds the maximum supported size of 2097152 bytes", flat=True)
        if len(vectors) > _MOST_ROWS:
            raise Refusal(400, "3", "The number of vectors exceeds the batch size limit of 1000", flat=True)
        dimension = index.definition["schema"]["fields"]["_values"]["dimension"]
        for one in vectors:
            assert one.keys() == {"id", "values", "metadata"}
            if not one["id"].isascii() or not 1 <= len(one["id"]) <= 512:
                raise Refusal(400, "3", f"Vector ID must be ASCII, but got '{one['id']}'", flat=True)
            if len(one["values"]) != dimension:
                said = f"Vector dimension {len(one['values'])} does not match the dimension of the index {dimension}"
                raise Refusal(400, "3", said, flat=True)
            if not np.array(one["values"], np.float64).astype(np.float32).any():
                raise Refusal(400, "3", "Dense vectors must contain at least one non-zero value.", flat=True)
            _check_metadata(one["id"], one["metadata"])
        kept = {
            one["id"]: {
                "id": one["id"],
                "values": [float(value) for value in np.array(one["values"], np.float64).astype(np.float32)],
                "metadata": _as_kept(one["metadata"]),
            }
            for one in vectors
        }
        return self._logged(index, namespace, lambda rows: rows.update(kept), {"upsertedCount": len(kept)})

    def _logged(self, index: Index, namespace: str, change: Change, body: dict[str, Any]) -> Response:
        index.log.append((namespace, change))
        headers = {"x-pinecone-request-lsn": str(len(index.log))} if self.says_numbers else {}
        return Response(body=body, headers=headers)

    def _query(self, index: Index, namespace: str, body: dict[str, Any]) -> Response:
        if not 1 <= body["topK"] <= _MOST_HITS:
            raise Refusal(400, "3", "Invalid request. topK must be between 1 and 10000", flat=True)
        assert not body["includeValues"]
        assert not body["includeMetadata"]
        view = index.read(index.queried, self.query_lag)
        passes = _passes(body["filter"]) if "filter" in body else lambda metadata: True
        there = [(id, row) for id, row in view.rows.get(namespace, {}).items() if passes(row["metadata"])]
        matches = _nearest(there, body["vector"], index.definition["schema"]["fields"]["_values"])
        headers = {"x-pinecone-max-indexed-lsn": str(view.reached)}
        return Response(body={"matches": matches[: body["topK"]], "namespace": namespace}, headers=headers)


_GONE = {
    "schema": {"fields": {"_values": {"type": "dense_vector", "dimension": 1, "metric": "cosine"}}},
    "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
    "deletion_protection": "disabled",
}


def _update(id: str, said: dict[str, Any]) -> Change:
    _check_metadata(id, said)

    def change(rows: Rows) -> None:
        if id in rows:
            rows[id] = {**rows[id], "metadata": {**rows[id]["metadata"], **_as_kept(said)}}

    return change


def _delete(ids: list[str]) -> Change:
    def change(rows: Rows) -> None:
        for id in ids:
            rows.pop(id, None)

    return change


def _check_metadata(id: str, metadata: dict[str, Any]) -> None:
    size = 0
    for key, value in metadata.items():
        is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not (is_list or isinstance(value, str | bool | int | float)):
            said = f"Metadata value must be a string, number, boolean or list of strings, got '{value}' for '{key}'"
            raise Refusal(400, "3", said, flat=True)
        size += len(key.encode()) + len(str(value).encode())
    if size > _MOST_METADATA:
        said = f"Metadata size is {size} bytes, which exceeds the limit of {_MOST_METADATA} bytes per vector ({id})"
        raise Refusal(400, "3", said, flat=True)


def _as_kept(metadata: dict[str, Any]) -> dict[str, Any]:
    """Numbers are floats."""
    return {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in metadata.items()
    }


def _passes(said: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    ((key, value),) = said.items()
    if key in {"$and", "$or"}:
        assert value
        parts = [_passes(one) for one in value]
        every = all if key == "$and" else any
        return lambda metadata: every(part(metadata) for part in parts)
    if key.startswith("$"):
        raise Refusal(400, "3", f"{key} is not a supported operator", flat=True)
    ((operator, wanted),) = value.items()
    if operator != "$in":
        raise Refusal(400, "3", f"the {operator} operator is not supported by the double", flat=True)

    def has(metadata: dict[str, Any]) -> bool:
        there = metadata.get(key, [])
        return not set(there if isinstance(there, list) else [there]).isdisjoint(wanted)

    return has


def _nearest(there: list[tuple[str, Any]], query: list[float], kind: dict[str, Any]) -> list[dict[str, Any]]:
    if len(query) != kind["dimension"]:
        said = f"Vector dimension {len(query)} does not match the dimension of the index {kind['dimension']}"
        raise Refusal(400, "3", said, flat=True)
    if not there:
        return []
    rows, wanted = np.array([row["values"] for _, row in there]), np.array(query)
    match kind["metric"]:
        case "cosine":
            found = rows @ wanted / np.sqrt((rows * rows).sum(axis=1) * (wanted @ wanted))
        case "dotproduct":
            found = rows @ wanted
        case _:
            found = ((rows - wanted) ** 2).sum(axis=1)
    scored = [{"id": id, "score": float(np.float32(score))} for (id, _), score in zip(there, found, strict=True)]
    return sorted(scored, key=lambda one: one["score"], reverse=kind["metric"] != "euclidean")
