"""What MongoDB with Atlas Vector Search does with the commands of undrift, as far as its documentation says.

One command at a time, over the wire protocol; a command, a stage or an operator that is not here is refused as a server
refuses one that it does not know. Strict about what undrift sends: writes are acknowledged by a majority, everything
has a limit of its time, and a filter of a vector search names only what its index has.
"""

from __future__ import annotations

import io
import socketserver
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bson
import numpy as np
from bson import Decimal128
from bson.binary import Binary, UuidRepresentation

Document = dict[str, Any]
_MOST_BYTES = 16 * 1024 * 1024
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_MISSING = object()
#: Put into the commands of clients that are not undrift's: what they ask for is their affair.
_OTHERS = "$of_others"
#: Values of one type compare with one another only.
_KINDS: tuple[tuple[type, ...], ...] = ((bool,), (int, float), (str,), (bytes,))


class Refusal(Exception):
    """An error answer, with the server's number and name of it."""

    def __init__(self, code: int, name: str, said: str) -> None:
        super().__init__(said)
        self.code, self.name, self.said = code, name, said

    @property
    def body(self) -> Document:
        return {"ok": 0.0, "errmsg": self.said, "code": self.code, "codeName": self.name}


@dataclass
class Stored:
    """A collection."""

    number: uuid.UUID = field(default_factory=uuid.uuid4)
    documents: dict[Any, Document] = field(default_factory=dict)
    indexes: dict[str, Document] = field(default_factory=dict)


@dataclass
class MongoDb:
    """A primary member of a replica set, without persistence and without users."""

    #: Where it says that it is; clients go there whatever address they were given.
    address: str = ""
    #: Whether it has Atlas Search.
    searches: bool = True
    #: Whether its search indexes are built.
    is_built: bool = True
    #: Error answers that are given instead, by the command.
    planted: dict[str, Refusal] = field(default_factory=dict)
    #: Called before a command is carried out, by the command; what somebody else does at that moment.
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    commands: list[Document] = field(default_factory=list)
    collections: dict[str, Stored] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def answer(self, command: Document) -> Document:
        """Return what the server answers."""
        name = next(iter(command))
        if name in {"hello", "isMaster", "ismaster"}:
            return _hello(self.address)
        if (before := self.meanwhile.pop(name, None)) is not None:
            before()
        with self.lock:
            self.commands.append(command)
            del self.commands[:-500]
            try:
                if name in self.planted:
                    raise self.planted[name]
                work = _COMMANDS.get(name)
                if work is None:
                    raise Refusal(59, "CommandNotFound", f"no such command: '{name}'")
                return {**work(self, command), "ok": 1.0}
            except Refusal as refusal:
                return refusal.body

    def stored(self, name: str) -> Stored:
        """Return a collection that is made by what is written to it."""
        return self.collections.setdefault(name, Stored())


def _hello(address: str) -> Document:
    return {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "setName": "rs0",
        "setVersion": 1,
        "hosts": [address],
        "primary": address,
        "me": address,
        "secondary": False,
        "maxBsonObjectSize": _MOST_BYTES,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0,
        "maxWireVersion": 25,
        "readOnly": False,
        "ok": 1.0,
    }


def _create(server: MongoDb, command: Document) -> Document:
    name = command["create"]
    _require_majority(command)
    if name in server.collections:
        raise Refusal(48, "NamespaceExists", f"Collection {command['$db']}.{name} already exists.")
    server.collections[name] = Stored()
    return {}


def _drop(server: MongoDb, command: Document) -> Document:
    _require_majority(command)
    if server.collections.pop(command["drop"], None) is None:
        raise Refusal(26, "NamespaceNotFound", "ns not found")
    return {}


def _list_collections(server: MongoDb, command: Document) -> Document:
    asked = command.get("filter", {})
    assert asked.keys() <= {"name"}, asked
    found = [
        {
            "name": name,
            "type": "collection",
            "options": {},
            "info": {"readOnly": False, "uuid": Binary.from_uuid(stored.number, UuidRepresentation.STANDARD)},
        }
        for name, stored in sorted(server.collections.items())
        if name == asked.get("name", name)
    ]
    return _cursor(command, "$cmd.listCollections", found)


def _insert(server: MongoDb, command: Document) -> Document:
    _require_majority(command)
    stored = server.stored(command["insert"])
    errors, done = [], 0
    for at, document in enumerate(command["documents"]):
        if _key(document["_id"]) in stored.documents:
            errors.append(_duplicate(command["insert"], at, document["_id"]))
        else:
            stored.documents[_key(document["_id"])] = _checked(document)
            done += 1
    return {"n": done, **({"writeErrors": errors} if errors else {})}


def _update(server: MongoDb, command: Document) -> Document:
    _require_majority(command)
    stored = server.stored(command["update"])
    matched, changed, upserted = 0, 0, []
    for at, one in enumerate(command["updates"]):
        assert one.keys() <= {"q", "u", "multi", "upsert"}, one
        fits = [document for document in stored.documents.values() if _fits(one["q"], document)]
        for document in fits if one.get("multi") else fits[:1]:
            new = _updated(document, one["u"], inserting=False)
            matched += 1
            changed += new != document
            stored.documents[_key(document["_id"])] = _checked(new)
        if not fits and one.get("upsert"):
            made = _updated({"_id": one["q"]["_id"]}, one["u"], inserting=True)
            stored.documents[_key(made["_id"])] = _checked(made)
            upserted.append({"index": at, "_id": made["_id"]})
    return {
        "n": matched + len(upserted),
        "nModified": changed,
        **({"upserted": upserted} if upserted else {}),
    }


def _delete(server: MongoDb, command: Document) -> Document:
    _require_majority(command)
    stored = server.collections.get(command["delete"], Stored())
    gone = 0
    for one in command["deletes"]:
        fits = [_key(document["_id"]) for document in stored.documents.values() if _fits(one["q"], document)]
        for id in fits[: one["limit"] or None]:
            del stored.documents[id]
            gone += 1
    return {"n": gone}


def _find(server: MongoDb, command: Document) -> Document:
    _require_majority_read(command)
    known = {"find", "filter", "projection", "sort", "limit", "batchSize", "singleBatch", *_AROUND}
    assert command.keys() <= known, command
    stored = server.collections.get(command["find"], Stored())
    found = [document for document in stored.documents.values() if _fits(command.get("filter", {}), document)]
    if "sort" in command:
        assert command["sort"] == {"_id": 1}
        found.sort(key=lambda document: _order(document["_id"]))
    found = found[: command.get("limit") or None]
    return _cursor(command, command["find"], [_projected(one, command.get("projection")) for one in found])


def _aggregate(server: MongoDb, command: Document) -> Document:
    assert command.keys() <= {"aggregate", "pipeline", "cursor", *_AROUND}, command
    name, pipeline = command["aggregate"], command["pipeline"]
    stored = server.collections.get(name, Stored())
    first, *rest = pipeline
    ((stage, said),) = first.items()
    match stage:
        case "$match":
            _require_majority_read(command)
            found = [document for document in stored.documents.values() if _fits(said, document)]
        case "$vectorSearch":
            _require_search(server)
            found = _nearest(server, stored, said)
        case "$listSearchIndexes":
            _require_search(server)
            found = [
                {"name": one, "type": "vectorSearch", "status": "READY" if server.is_built else "PENDING"}
                | {"queryable": server.is_built, "latestDefinition": definition}
                for one, definition in stored.indexes.items()
                if one == said.get("name", one)
            ]
        case _:
            raise Refusal(40324, "Location40324", f"Unrecognized pipeline stage name: '{stage}'")
    for one in rest:
        ((stage, said),) = one.items()
        if stage == "$group":
            assert said == {"_id": 1, "n": {"$sum": 1}}, said
            found = [{"_id": 1, "n": len(found)}] if found else []
        elif stage == "$project":
            found = [_projected(document, said) for document in found]
        elif stage in {"$set", "$addFields"}:
            assert said == {"score": {"$meta": "vectorSearchScore"}}, said
            # Nobody here looks at more than the order.
            found = [{**document, "score": 1 / (1 + at)} for at, document in enumerate(found)]
        else:
            raise Refusal(40324, "Location40324", f"Unrecognized pipeline stage name: '{stage}'")
    return _cursor(command, name, found)


def _create_indexes(server: MongoDb, command: Document) -> Document:
    _require_search(server)
    stored = server.collections.get(command["createSearchIndexes"])
    if stored is None:
        raise Refusal(26, "NamespaceNotFound", "collection does not exist")
    made = []
    for one in command["indexes"]:
        assert one["type"] == "vectorSearch"
        if one["name"] in stored.indexes:
            raise Refusal(68, "IndexAlreadyExists", f"Index {one['name']} already exists")
        for path in one["definition"]["fields"]:
            if path["type"] == "vector":
                assert path.keys() == {"type", "path", "numDimensions", "similarity"}
                assert path["similarity"] in {"cosine", "euclidean", "dotProduct"}
                if not 1 <= path["numDimensions"] <= 8192:
                    raise Refusal(2, "BadValue", '"numDimensions" must be in [1, 8192]')
            else:
                assert path.keys() == {"type", "path"}
        stored.indexes[one["name"]] = one["definition"]
        made.append({"id": uuid.uuid4().hex[:24], "name": one["name"]})
    return {"indexesCreated": made}


def _drop_index(server: MongoDb, command: Document) -> Document:
    _require_search(server)
    stored = server.collections.get(command["dropSearchIndex"], Stored())
    if stored.indexes.pop(command["name"], None) is None:
        raise Refusal(27, "IndexNotFound", f"search index {command['name']} not found")
    return {}


def _nearest(server: MongoDb, stored: Stored, said: Document) -> list[Document]:
    assert said.keys() <= {"index", "path", "queryVector", "limit", "exact", "numCandidates", "filter"}, said
    if said.get("exact", False) is ("numCandidates" in said):
        raise Refusal(8, "UnknownError", '"numCandidates" is required, unless "exact" is true')
    definition = stored.indexes.get(said["index"])
    if definition is None or not server.is_built:
        # A search in an index that is not there finds nothing, and is no error.
        return []
    paths = {one["path"]: one for one in definition["fields"]}
    path = paths.get(said["path"])
    if path is None or path["type"] != "vector":
        raise Refusal(8, "UnknownError", f"Path '{said['path']}' needs to be indexed as vector")
    if len(said["queryVector"]) != path["numDimensions"]:
        raise Refusal(8, "UnknownError", f"vector field is indexed with {path['numDimensions']} dimensions")
    _require_filter(said.get("filter", {}), {one for one, kind in paths.items() if kind["type"] == "filter"})
    query = np.array(said["queryVector"], np.float64)
    found = []
    for document in stored.documents.values():
        vector = _vector(document.get(said["path"]))
        if vector is not None and len(vector) == len(query) and _fits(said.get("filter", {}), document):
            found.append((_distance(path["similarity"], query, vector), len(found), document))
    return [document for _, _, document in sorted(found, key=lambda one: one[:2])[: said["limit"]]]


def _distance(similarity: str, query: Any, vector: Any) -> float:
    if similarity == "euclidean":
        return float(np.float32(((query - vector) ** 2).sum()))
    lengths = np.sqrt((query @ query) * (vector @ vector)) if similarity == "cosine" else 1
    return float(np.float32(-(query @ vector) / lengths))


def _vector(stored: Any) -> Any:
    if isinstance(stored, bytes) and stored[:2] == b"\x27\x00":
        return np.frombuffer(stored[2:], "<f4").astype(np.float64)
    return np.array(stored, np.float64) if isinstance(stored, list) and stored else None


def _require_filter(query: Document, paths: set[str]) -> None:
    for key, value in query.items():
        if key in {"$and", "$or", "$nor"}:
            for part in value:
                _require_filter(part, paths)
        elif key not in paths:
            raise Refusal(8, "UnknownError", f"Path '{key}' needs to be indexed as filter")
        else:
            operators = value.keys() if isinstance(value, Mapping) else {"$eq"}
            unknown = operators - {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$not"}
            if unknown:
                raise Refusal(8, "UnknownError", f'"filter.{key}" unrecognized operator {min(unknown)}')


def _fits(query: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    for key, wanted in query.items():
        if key == "$and":
            good = all(_fits(part, document) for part in wanted)
        elif key == "$or":
            good = any(_fits(part, document) for part in wanted)
        elif key == "$nor":
            good = not any(_fits(part, document) for part in wanted)
        elif key.startswith("$"):
            raise Refusal(2, "BadValue", f"unknown top level operator: {key}")
        else:
            good = _holds(wanted, _at(document, key))
        if not good:
            return False
    return True


def _holds(wanted: Any, value: Any) -> bool:
    if not (isinstance(wanted, Mapping) and wanted and all(key.startswith("$") for key in wanted)):
        return _compared("$eq", value, wanted)
    return all(_compared(operator, value, bound) for operator, bound in wanted.items())


def _compared(operator: str, value: Any, bound: Any) -> bool:
    values = [*value, value] if isinstance(value, list) else [value]
    match operator:
        case "$exists":
            return (value is not _MISSING) is bool(bound)
        case "$eq":
            return any(_equal(one, bound) for one in values)
        case "$ne":
            return not any(_equal(one, bound) for one in values)
        case "$in":
            return any(_equal(one, other) for one in values for other in bound)
        case "$elemMatch":
            return isinstance(value, list) and any(_holds(bound, one) for one in value)
        case "$gt" | "$gte" | "$lt" | "$lte":
            return any(_ordered(operator, one, bound) for one in values)
        case _:
            raise Refusal(2, "BadValue", f"unknown operator: {operator}")


def _equal(value: Any, bound: Any) -> bool:
    if bound is None:
        return value is None or value is _MISSING
    return value is not _MISSING and isinstance(value, bool) is isinstance(bound, bool) and bool(value == bound)


def _ordered(operator: str, value: Any, bound: Any) -> bool:
    if not any(isinstance(value, kind) and isinstance(bound, kind) for kind in _KINDS):
        return False
    left, right = _order(value), _order(bound)
    return {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[operator]


def _order(value: Any) -> Any:
    # Strings order by their bytes where nobody asks for a collation.
    return value.encode() if isinstance(value, str) else value


def _at(document: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(document, Mapping) or key not in document:
            return _MISSING
        document = document[key]
    return document


def _updated(document: Document, said: Document, *, inserting: bool) -> Document:
    if not any(key.startswith("$") for key in said):
        # A replacement: everything but the id goes.
        return {"_id": document["_id"], **said}
    unknown = said.keys() - {"$set", "$setOnInsert", "$unset"}
    if unknown:
        raise Refusal(9, "FailedToParse", f"Unknown modifier: {min(unknown)}")
    paths = [path for one in said.values() for path in one]
    for one in paths:
        if any(other != one and other.startswith(one + ".") for other in paths) or paths.count(one) > 1:
            raise Refusal(40, "ConflictingUpdateOperators", f"Updating the path '{one}' would create a conflict")
    new = bson.decode(bson.encode(document))
    for path, value in [*said.get("$set", {}).items(), *(said.get("$setOnInsert", {}).items() if inserting else ())]:
        *way, last = path.split(".")
        inner = new
        for key in way:
            inner = inner.setdefault(key, {})
        inner[last] = value
    for path in said.get("$unset", {}):
        *way, last = path.split(".")
        inner = _at(new, ".".join(way)) if way else new
        if isinstance(inner, dict):
            inner.pop(last, None)
    return new


def _projected(document: Document, said: Mapping[str, Any] | None) -> Document:
    if not said:
        return document
    if all(value == 0 for value in said.values()):
        return {key: value for key, value in document.items() if key not in said}
    assert all(value == 1 for value in said.values()), said
    found: Document = {"_id": document["_id"]}
    for path in said:
        value = _at(document, path)
        if value is not _MISSING:
            *way, last = path.split(".")
            inner = found
            for key in way:
                inner = inner.setdefault(key, {})
            inner[last] = value
    return found


def _checked(document: Document) -> Document:
    if len(bson.encode(document)) > _MOST_BYTES:
        raise Refusal(10334, "BSONObjectTooLarge", "BSONObj size is invalid. Size must be between 0 and 16793600(16MB)")
    return document


def _key(id: Any) -> Any:
    return bson.encode({"": id}) if isinstance(id, dict | Decimal128) else id


def _duplicate(name: str, at: int, id: Any) -> Document:
    said = f'E11000 duplicate key error collection: {name} index: _id_ dup key: {{ _id: "{id}" }}'
    return {"index": at, "code": 11000, "errmsg": said, "keyPattern": {"_id": 1}, "keyValue": {"_id": id}}


def _cursor(command: Document, name: str, found: list[Document]) -> Document:
    # All in one batch, which a server may do as well as several.
    return {"cursor": {"id": bson.int64.Int64(0), "ns": f"{command['$db']}.{name}", "firstBatch": found}}


def _require_majority(command: Document) -> None:
    if command.get(_OTHERS):
        return
    assert command.get("writeConcern", {}).get("w") == "majority", command
    assert command.get("maxTimeMS", 0) > 0, command


def _require_majority_read(command: Document) -> None:
    if command.get(_OTHERS):
        return
    assert command.get("readConcern", {}).get("level") == "majority", command
    assert command.get("maxTimeMS", 0) > 0, command


def _require_search(server: MongoDb) -> None:
    if not server.searches:
        raise Refusal(
            31082,
            "SearchNotEnabled",
            "Using Atlas Search Database Commands and the $listSearchIndexes aggregation stage requires additional "
            "configuration.",
        )


#: What a client may send with every command.
_AROUND = frozenset(
    {_OTHERS, "$db", "lsid", "$clusterTime", "readConcern", "writeConcern", "maxTimeMS", "$readPreference", "comment"}
)
_COMMANDS: dict[str, Callable[[MongoDb, Document], Document]] = {
    "ping": lambda server, command: {},
    "endSessions": lambda server, command: {},
    "buildInfo": lambda server, command: {"version": "8.0.12"},
    "create": _create,
    "drop": _drop,
    "listCollections": _list_collections,
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "find": _find,
    "aggregate": _aggregate,
    "createSearchIndexes": _create_indexes,
    "dropSearchIndex": _drop_index,
}


@contextmanager
def serving(server: MongoDb) -> Iterator[int]:
    """Serve until the end of the context, and say at which port."""

    class Connection(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            self.of_others = False
            try:
                while len(head := self.rfile.read(16)) == 16:
                    size, request, _, kind = struct.unpack("<iiii", head)
                    self.wfile.write(self.replied(kind, request, self.rfile.read(size - 16)))
                    self.wfile.flush()
            except ConnectionError:
                return

        def replied(self, kind: int, request: int, body: bytes) -> bytes:
            command = _first(body) if kind == _OP_QUERY else _message(body)
            if "client" in command:
                self.of_others = command["client"].get("application", {}).get("name") != "undrift"
            if self.of_others:
                command[_OTHERS] = True
            answer = bson.encode(server.answer(command))
            code, head = _OP_MSG, struct.pack("<I", 0) + b"\0"
            if kind == _OP_QUERY:
                code, head = _OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1)
            return struct.pack("<iiii", 16 + len(head) + len(answer), 0, request, code) + head + answer

    class Sockets(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        block_on_close = False

    with Sockets(("127.0.0.1", 0), Connection) as sockets:
        thread = threading.Thread(target=sockets.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        server.address = f"127.0.0.1:{sockets.server_address[1]}"
        thread.start()
        try:
            yield sockets.server_address[1]
        finally:
            sockets.shutdown()
            thread.join()


def _first(body: bytes) -> Document:
    """Return the first word of a client to a server that it does not know yet, which is in an older format."""
    return bson.decode(body[body.index(b"\0", 4) + 9 :])


def _message(body: bytes) -> Document:
    """Return the command of a message, whose lists may stand beside it."""
    stream, command = io.BytesIO(body), Document()
    (flags,) = struct.unpack("<I", stream.read(4))
    assert not flags & ~0x1_0000, flags
    while section := stream.read(1):
        (size,) = struct.unpack("<i", stream.read(4))
        rest = stream.read(size - 4)
        if section == b"\0":
            command |= bson.decode(struct.pack("<i", size) + rest)
            continue
        end = rest.index(b"\0")
        command[rest[:end].decode()] = bson.decode_all(rest[end + 1 :])
    return command
