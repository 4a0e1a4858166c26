"""A server that speaks Qdrant's REST interface and lets the real engine, Qdrant Edge, do what is asked.

It is no Qdrant server: it shows that the adapter's requests are what the interface says, how it takes answers, errors,
delays and deaths, and that several processes get along. Errors are worded and numbered as Qdrant's source has them.

    python -m tests.conformance.qdrant_wire FOLDER SOCKET_FILE [VERSION [API_KEY]]
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import qdrant_edge as edge

from undrift.adapters.stores.qdrant.edge_filters import edge_filter
from undrift.adapters.stores.qdrant.shards import Shards
from undrift.errors import BadFilter, CollectionMissing, FieldInUse

_DISTANCES = {"Cosine", "Dot", "Euclid", "Manhattan"}


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Qdrant:
    """Collections as shards in a folder, and aliases in a file beside them."""

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self.numbers = tuple(int(word) for word in version.split(".")[:2])
        self.shards = Shards.of(folder)
        self.shards.enter()
        self._aliases = folder / ".aliases.json"
        self._guard = threading.RLock()

    def aliases(self) -> dict[str, str]:
        return json.loads(self._aliases.read_text()) if self._aliases.exists() else {}

    def shard(self, name: str) -> Any:
        try:
            return self.shards.opened(self.aliases().get(name, name)).shard
        except CollectionMissing as error:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!") from error

    def update(self, name: str, operation: Any) -> None:
        self.shard(name)
        with self.shards.opened(self.aliases().get(name, name)).writing:
            self._run(name, lambda: self.shard(name).update(operation))

    def _run(self, name: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:
            self.shard(name)
            if "No point with id" in str(error):
                raise Refused(404, f"Not found: {error} found") from error
            raise Refused(400, f"Wrong input: {error}") from error

    def filter(self, name: str, asked: Any) -> Any:
        try:
            return edge_filter(self._with_bools(name, asked)) if asked else None
        except BadFilter as error:
            raise Refused(400, f"Format error in JSON body: {error}") from error

    def _with_bools(self, name: str, asked: Any) -> Any:
        """Put ids in the place of what the engine's Python binding cannot ask for: true and false."""
        if isinstance(asked, list):
            return [self._with_bools(name, one) for one in asked]
        if not isinstance(asked, dict):
            return asked
        match = asked.get("match")
        if isinstance(match, dict) and isinstance(match.get("value"), bool):
            return {
                "has_id": [id for id, payload in self._all(name) if match["value"] in _values(payload, asked["key"])]
            }
        if "has_id" in asked:
            return asked
        return {key: self._with_bools(name, one) for key, one in asked.items()}

    def _all(self, name: str) -> list[tuple[Any, Any]]:
        found, _ = self.shard(name).scroll(edge.ScrollRequest(limit=10**6, with_payload=True, with_vector=False))
        return [(_id(one.id), one.payload or {}) for one in found]

    # Collections

    def info(self, name: str) -> Any:
        shard = self.shard(name)
        config = self.shards.config(self.aliases().get(name, name))
        vectors = config["vectors"]
        info = shard.info()
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": info.segments_count,
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "payload_schema": {},
            "config": {
                "params": {
                    "vectors": vectors[""] if set(vectors) == {""} else vectors,
                    "sparse_vectors": {key: {} for key in config.get("sparse_vectors") or {}},
                },
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
            },
        }

    def create(self, name: str, body: Any) -> Any:
        vectors = body["vectors"]
        named = {"": vectors} if "size" in vectors else vectors
        for one in named.values():
            if one["distance"] not in _DISTANCES or not 1 <= one["size"] <= 65536:
                raise Refused(422, f"Validation error in JSON body: {one}")
        if any(char in name for char in '<>:"/\\|?*\0\x1f') or len(name) > 255:
            raise Refused(422, f"Validation error in path parameters: [name: value {name} cannot be used]")
        made = {
            key: edge.EdgeVectorParams(size=one["size"], distance=getattr(edge.Distance, one["distance"]))
            for key, one in named.items()
        }
        with self._guard:
            if name in self.aliases():
                raise Refused(
                    400,
                    f"Wrong input: Can't create collection with name {name}. Alias with the same name already exists",
                )
            try:
                sparse = {key: edge.EdgeSparseVectorParams() for key in body.get("sparse_vectors") or {}}
                self.shards.make(name, edge.EdgeConfig(vectors=made, sparse_vectors=sparse or None))
            except FieldInUse as error:
                raise Refused(409, f"Wrong input: Collection `{name}` already exists!") from error
        return True

    def delete(self, name: str) -> Any:
        was = self.shards.has(name)
        self.shards.remove(name)
        with self._guard:
            self._aliases.parent.mkdir(parents=True, exist_ok=True)
            self._aliases.write_text(json.dumps({a: c for a, c in self.aliases().items() if c != name}))
        return was

    def change_aliases(self, body: Any) -> Any:
        with self._guard:
            there = self.aliases()
            for action in body["actions"]:
                match action:
                    case {"create_alias": {"collection_name": name, "alias_name": alias}}:
                        if not self.shards.has(name):
                            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
                        if self.shards.has(alias):
                            raise Refused(409, f"Wrong input: Collection `{alias}` already exists!")
                        there[alias] = name
                    case {"delete_alias": {"alias_name": alias}}:
                        there.pop(alias, None)
            self._aliases.write_text(json.dumps(there))
        return True

    # Points

    def upsert(self, name: str, body: Any) -> None:
        if "batch" in body:
            batch = body["batch"]
            vectors = batch["vectors"]
            if isinstance(vectors, dict):
                vectors = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
            payloads = batch.get("payloads") or [None] * len(batch["ids"])
            points = list(zip(batch["ids"], vectors, payloads, strict=True))
        else:
            points = [(one["id"], one["vector"], one.get("payload")) for one in body["points"]]
        made = [edge.Point(id, _taken(vector), payload) for id, vector, payload in points]
        # What a version does not know it does not read: serde leaves unknown keys out.
        condition = self.filter(name, body.get("update_filter")) if self.numbers >= (1, 16) else None
        word = body.get("update_mode") if self.numbers >= (1, 17) else None
        mode = {"insert_only": edge.UpdateMode.InsertOnly, "update_only": edge.UpdateMode.UpdateOnly}.get(word)
        self.update(name, edge.UpdateOperation.upsert_points(made, condition, mode))

    def set_payload(self, name: str, body: Any, *, overwrite: bool = False) -> None:
        kind = edge.UpdateOperation
        if body.get("points") is not None:
            make = kind.overwrite_payload if overwrite else kind.set_payload
            operation = make(body["points"], body["payload"], body.get("key"))
        else:
            make = kind.overwrite_payload_by_filter if overwrite else kind.set_payload_by_filter
            operation = make(self.filter(name, body["filter"]), body["payload"], body.get("key"))
        self.update(name, operation)

    def delete_points(self, name: str, body: Any) -> None:
        if "points" in body:
            self.update(name, edge.UpdateOperation.delete_points(body["points"]))
        else:
            self.update(name, edge.UpdateOperation.delete_points_by_filter(self.filter(name, body["filter"])))

    def update_vectors(self, name: str, body: Any) -> None:
        made = [edge.PointVectors(one["id"], _taken(one["vector"])) for one in body["points"]]
        condition = self.filter(name, body.get("update_filter")) if self.numbers >= (1, 18) else None
        self.update(name, edge.UpdateOperation.update_vectors(made, condition))

    def delete_vectors(self, name: str, body: Any) -> None:
        if "points" in body:
            self.update(name, edge.UpdateOperation.delete_vectors(body["points"], body["vector"]))
        else:
            chosen = self.filter(name, body["filter"])
            self.update(name, edge.UpdateOperation.delete_vectors_by_filter(chosen, body["vector"]))

    def batch(self, name: str, body: Any) -> None:
        for operation in body["operations"]:
            match operation:
                case {"set_payload": asked}:
                    self.set_payload(name, asked)
                case {"overwrite_payload": asked}:
                    self.set_payload(name, asked, overwrite=True)
                case {"upsert": asked}:
                    self.upsert(name, asked)
                case {"delete": asked}:
                    self.delete_points(name, asked)
                case {"update_vectors": asked}:
                    self.update_vectors(name, asked)
                case {"delete_vectors": asked}:
                    self.delete_vectors(name, asked)
                case _:
                    raise Refused(400, f"Format error in JSON body: {operation}")

    def retrieve(self, name: str, body: Any) -> Any:
        vectors = body.get("with_vector", False)
        found = self._run(name, lambda: self.shard(name).retrieve(body["ids"], body.get("with_payload", True), vectors))
        return [_point(one) for one in found]

    def scroll(self, name: str, body: Any) -> Any:
        request = edge.ScrollRequest(
            offset=body.get("offset"),
            limit=body.get("limit", 10),
            filter=self.filter(name, body.get("filter")),
            with_payload=body.get("with_payload", True),
            with_vector=body.get("with_vector", False),
        )
        found, offset = self._run(name, lambda: self.shard(name).scroll(request))
        return {"points": [_point(one) for one in found], "next_page_offset": None if offset is None else _id(offset)}

    def count(self, name: str, body: Any) -> Any:
        request = edge.CountRequest(exact=True, filter=self.filter(name, body.get("filter")))
        return {"count": self._run(name, lambda: self.shard(name).count(request))}

    def query(self, name: str, body: Any) -> Any:
        params, asked = body.get("params") or {}, body["query"]
        request = edge.QueryRequest(
            limit=body.get("limit", 10),
            query=edge.Query.Nearest(asked["nearest"] if isinstance(asked, dict) else asked, body.get("using")),
            filter=self.filter(name, body.get("filter")),
            with_payload=body.get("with_payload", False),
            with_vector=body.get("with_vector", False),
            params=edge.SearchParams(exact=bool(params.get("exact")), hnsw_ef=params.get("hnsw_ef")),
        )
        found = self._run(name, lambda: self.shard(name).query(request))
        return {"points": [{**_point(one), "version": 0, "score": one.score} for one in found]}


def _id(id: Any) -> Any:
    return id if isinstance(id, int) else str(id)


def _point(one: Any) -> dict[str, Any]:
    return {"id": _id(one.id), "payload": one.payload, "vector": _given(one.vector)}


def _given(vector: Any) -> Any:
    """Return vectors as JSON has them; a sparse one is two lists."""
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    return {name: _given(one) for name, one in vector.items()} if isinstance(vector, dict) else vector


def _taken(vector: Any) -> Any:
    if isinstance(vector, dict) and vector.keys() == {"indices", "values"}:
        return edge.SparseVector(vector["indices"], vector["values"])
    return {name: _taken(one) for name, one in vector.items()} if isinstance(vector, dict) else vector


def _values(payload: Any, path: str) -> list[Any]:
    """Return the values at a path, those of a list one by one; a Boolean equals no number here."""
    found: Any = payload
    for step in path.split(".") if '"' not in path else path.strip('"').replace('"."', "\0").split("\0"):
        found = found.get(step.strip('"')) if isinstance(found, dict) else None
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, bool)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    qdrant: Qdrant
    api_key = ""
    log: ClassVar[list[tuple[str, str, dict[str, str]]]] = []
    faults: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, *words: Any) -> None:
        pass

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path, dict(parse_qsl(parts.query))
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"{}")
        if path == "/_log":
            self._answer(200, self.log)
            return
        if path == "/_faults":
            self.faults[:] = body
            self._answer(200, True)
            return
        self.log.append((self.command, path, query))
        fault = self._fault(path)
        if self.api_key and self.headers.get("api-key") != self.api_key:
            given = (
                "Invalid API key or JWT"
                if self.headers.get("api-key")
                else "Must provide an API key or an Authorization bearer token"
            )
            self._answer(403 if self.headers.get("api-key") else 401, given, error=True)
            return
        try:
            time.sleep(fault.get("before_s", 0))
            if "status" in fault:
                raise Refused(fault["status"], fault.get("text", "Service internal error"))
            result = self._route(path.strip("/").split("/"), body)
            time.sleep(fault.get("after_s", 0))
            if fault.get("cut"):
                self.close_connection = True
                self.connection.close()
                return
            self._answer(200, fault.get("result", result))
        except Refused as error:
            self._answer(error.status, str(error), error=True)
        except Exception as error:
            self._answer(500, f"Service internal error: {error!r}", error=True)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _handle  # noqa: N815 - names of the standard library

    def _fault(self, path: str) -> dict[str, Any]:
        for fault in list(self.faults):
            if fault["path"] in path:
                self.faults.remove(fault)
                return fault
        return {}

    def _route(self, steps: list[str], body: Any) -> Any:  # noqa: C901, PLR0912 - one case for each request
        qdrant, words = self.qdrant, [unquote(step) for step in steps]
        match self.command, words:
            case "GET", [""]:
                return {"title": "qdrant - vector search engine", "version": qdrant.version}
            case "GET", ["collections"]:
                names = [unquote(one.name) for one in qdrant.shards.folder.iterdir() if not one.name.startswith(".")]
                return {"collections": [{"name": name} for name in sorted(names)]}
            case "GET", ["aliases"]:
                return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in qdrant.aliases().items()]}
            case "POST", ["collections", "aliases"]:
                return qdrant.change_aliases(body)
            case "PUT", ["collections", name]:
                return qdrant.create(name, body)
            case "GET", ["collections", name]:
                return qdrant.info(name)
            case "DELETE", ["collections", name]:
                return qdrant.delete(name)
            case "GET", ["collections", name, "exists"]:
                return {"exists": qdrant.shards.has(name) or name in qdrant.aliases()}
            case "PUT", ["collections", name, "index"]:
                kind = getattr(edge.PayloadSchemaType, body["field_schema"].capitalize())
                qdrant.update(name, edge.UpdateOperation.create_field_index(body["field_name"], kind))
            case "PUT", ["collections", name, "vectors", vector] if qdrant.numbers >= (1, 18):
                config = body["dense"]
                distance = getattr(edge.Distance, config["distance"])
                qdrant.update(name, edge.UpdateOperation.create_dense_vector(vector, config["size"], distance))
            case "DELETE", ["collections", name, "vectors", vector] if qdrant.numbers >= (1, 18):
                qdrant.update(name, edge.UpdateOperation.delete_vector_name(vector))
            case "PUT", ["collections", name, "points"]:
                qdrant.upsert(name, body)
            case "POST", ["collections", name, "points"]:
                return qdrant.retrieve(name, body)
            case "POST", ["collections", name, "points", "scroll"]:
                return qdrant.scroll(name, body)
            case "POST", ["collections", name, "points", "count"]:
                return qdrant.count(name, body)
            case "POST", ["collections", name, "points", "query"]:
                return qdrant.query(name, body)
            case "POST", ["collections", name, "points", "delete"]:
                qdrant.delete_points(name, body)
            case "POST", ["collections", name, "points", "payload"]:
                qdrant.set_payload(name, body)
            case "PUT", ["collections", name, "points", "payload"]:
                qdrant.set_payload(name, body, overwrite=True)
            case "PUT", ["collections", name, "points", "vectors"]:
                qdrant.update_vectors(name, body)
            case "POST", ["collections", name, "points", "vectors", "delete"]:
                qdrant.delete_vectors(name, body)
            case "POST", ["collections", name, "points", "batch"]:
                qdrant.batch(name, body)
                return [{"operation_id": 1, "status": "completed"} for _ in body["operations"]]
            case _:
                raise Refused(404, "")
        return {"operation_id": 1, "status": "completed"}

    def _answer(self, status: int, result: Any, *, error: bool = False) -> None:
        said = {"status": {"error": result}} if error else {"result": result, "status": "ok"}
        if self.path == "/" and not error:
            said = result
        content = json.dumps({**said, "time": 0.001}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of this server."""


def main(folder: str, told: str, version: str = "1.19.0", api_key: str = "") -> None:
    Handler.qdrant = Qdrant(Path(folder), version)
    Handler.api_key = api_key
    with Server(("127.0.0.1", 0), Handler) as server:
        Path(told + ".new").write_text(str(server.server_address[1]))
        Path(told + ".new").rename(told)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
