"""What Weaviate does with the requests of undrift, as far as its specification and its source say.

REST and gRPC share one state. A batch to a collection that is not there makes one, as the server does unless it is told
not to. Values of tokenization `field` are trimmed before they are compared. Every object is kept whole on each replica;
some can be made to lag behind in what a search sees of them, until somebody asks for them with `ALL`.
"""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    weaviate_pb2_grpc,
)

from tests.conformance.doubles import http
from tests.conformance.doubles.http import Request, Response

_MOST = 10_000
_CLASS = re.compile(r"[A-Z][_0-9A-Za-z]{0,254}")
_OF_CLASS = {
    *("class", "description", "properties", "vectorConfig", "replicationConfig", "shardingConfig"),
    *("invertedIndexConfig", "multiTenancyConfig"),
}
_OF_PROPERTY = {"name", "dataType", "description", "indexFilterable", "indexSearchable", "tokenization"}
_OF_INDEX = {
    "hnsw": {"distance", "skipDefaultQuantization", "maxConnections", "efConstruction", "ef"},
    "flat": {"distance", "skipDefaultQuantization"},
}
_KINDS = {"text": str, "text[]": list, "int": float}
_OPERATOR = base_pb2.Filters.Operator
_LEVELS = {"ONE", "QUORUM", "ALL"}
#: What requests of gRPC may say; anything else would mean something that this server does not do.
_ASKED = {
    "SearchRequest": {
        *("collection", "limit", "after", "filters", "consistency_level", "properties", "metadata", "near_vector"),
        *("uses_123_api", "uses_125_api", "uses_127_api"),
    },
    "AggregateRequest": {"collection", "objects_count", "filters"},
    "BatchObjectsRequest": {"objects", "consistency_level"},
    "BatchDeleteRequest": {"collection", "filters", "verbose", "dry_run", "consistency_level"},
}


class Refusal(Exception):
    """An error answer of REST."""

    def __init__(self, status: int, *messages: str) -> None:
        super().__init__(*messages)
        self.status, self.messages = status, messages

    @property
    def response(self) -> Response:
        body = {"error": [{"message": message} for message in self.messages]} if self.messages else None
        return Response(status=self.status, body=body)


@dataclass
class Stored:
    properties: dict[str, Any]
    vectors: dict[str, bytes]


@dataclass
class Kept:
    definition: dict[str, Any]
    objects: dict[str, Stored] = field(default_factory=dict)

    @property
    def types(self) -> dict[str, str]:
        return {one["name"]: one["dataType"][0] for one in self.definition["properties"]}


@dataclass
class Call:
    """A call over gRPC that was made."""

    method: str
    request: Any


class Weaviate:
    """A cluster, as whoever asks it sees it."""

    def __init__(self, *, version: str = "1.33.1", key: str | None = None, message_bytes: int = 104_858_000) -> None:
        self.version, self.key, self.message_bytes = version, key, message_bytes
        self.kept: dict[str, Kept] = {}
        self.aliases: dict[str, str] = {}
        self.calls: list[Call] = []
        #: What is answered over gRPC instead: a status with what it says, or a reply.
        self.planted: dict[str, Any] = {}
        #: And over REST, by method and the end of the path; None hangs up.
        self.planted_rest: dict[tuple[str, str], Response | None] = {}
        #: Objects that the replica which a search asks does not have yet.
        self.lagging: set[str] = set()
        #: Objects that replicas have in different states.
        self.doubtful: set[str] = set()
        #: Whether an object that is asked for with `ALL` is the same everywhere afterwards.
        self.repairs = True
        self.lock = threading.RLock()

    def answer(self, request: Request) -> Response | None:
        for (method, end), planted in self.planted_rest.items():
            if request.method == method and request.path.endswith(end):
                return planted
        with self.lock:
            try:
                if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
                    said = {"code": 401, "message": "unauthorized: invalid api key"}
                    return Response(status=401, body=said)
                return self._answer(request)
            except Refusal as refusal:
                return refusal.response

    def _answer(self, request: Request) -> Response:
        match request.method, request.segments:
            case "GET", ["v1", ".well-known", "openid-configuration"]:
                return Response(status=404)
            case "GET", ["v1", "meta"]:
                said = {"version": self.version, "grpcMaxMessageSize": self.message_bytes}
                return Response(body={"hostname": "http://[::]:8080", "modules": {}, **said})
            case "POST", ["v1", "schema"]:
                return self._create(request.json)
            case "GET", ["v1", "schema", name]:
                found = self.kept.get(self.aliases.get(name, name))
                return Response(status=404) if found is None else Response(body=found.definition)
            case "DELETE", ["v1", "schema", name]:
                self.kept.pop(name, None)
                return Response()
            case (("HEAD" | "PATCH" | "DELETE"), ["v1", "objects", name, id]):
                return self._object(request, name, id)
            case _, ["v1", "aliases", *names]:
                return self._alias(request, *names)
            case _:
                raise Refusal(404)

    def _create(self, said: dict[str, Any]) -> Response:
        name = said["class"]
        name = name[:1].upper() + name[1:]
        if not _CLASS.fullmatch(name):
            raise Refusal(422, f"'{name}' is not a valid class name")
        for other, item in [*((one, "class") for one in self.kept), *((one, "alias") for one in self.aliases)]:
            if other == name:
                raise Refusal(422, f"{item} name {name} already exists")
            if other.lower() == name.lower():
                raise Refusal(422, f'class already exists: found similar {item} "{other}"')
        assert said.keys() <= _OF_CLASS, said.keys() - _OF_CLASS
        for one in said["properties"]:
            assert one.keys() <= _OF_PROPERTY, one.keys() - _OF_PROPERTY
            assert one["dataType"][0] in _KINDS
            if one["dataType"][0] == "int" and "tokenization" in one:
                raise Refusal(422, f"property '{one['name']}': Tokenization is not allowed for data type 'int'")
            if one["dataType"][0] == "int" and one.get("indexSearchable"):
                raise Refusal(422, "`indexSearchable` is allowed only for text/text[] data types")
        self.kept[name] = Kept(_completed({**copy.deepcopy(said), "class": name}))
        return Response(body=self.kept[name].definition)

    def _object(self, request: Request, name: str, id: str) -> Response:
        if request.params.get("consistency_level", "QUORUM") not in _LEVELS:
            raise Refusal(422, "unrecognized consistency level")
        uuid.UUID(id)
        found = self.kept.get(self.aliases.get(name, name))
        if found is None:
            raise Refusal(422, f"class '{name}' not present in schema, or given class does not exist")
        if request.method == "HEAD":
            if self.repairs and request.params.get("consistency_level") == "ALL":
                self.lagging.discard(id)
                self.doubtful.discard(id)
            return Response(status=204 if id in found.objects else 404)
        if id not in found.objects:
            return Response(status=404)
        if request.method == "DELETE":
            del found.objects[id]
            return Response(status=204)
        assert request.json.keys() <= {"class", "properties"}, request.json.keys()
        there = found.objects[id]
        said = request.json["properties"]
        for key in said:
            if key not in found.types:
                raise Refusal(422, f"invalid object: no such prop with name '{key}' found in class '{name}'")
        given = {key: float(value) if found.types[key] == "int" else value for key, value in said.items()}
        found.objects[id] = Stored({**there.properties, **given}, there.vectors)
        return Response(status=204)

    def _alias(self, request: Request, *names: str) -> Response:
        match request.method, names:
            case "GET", [name]:
                if name not in self.aliases:
                    return Response(status=404)
                return Response(body={"alias": name, "class": self.aliases[name]})
            case "POST", []:
                name, target = request.json["alias"], request.json["class"]
                if target not in self.kept:
                    raise Refusal(422, f"create alias: {name}, class not found, {target}")
                if name in self.aliases:
                    raise Refusal(422, f"create alias: {name}, alias already exists")
                if name in self.kept:
                    raise Refusal(422, f"create alias: class {name} already exists")
                self.aliases[name] = target
                return Response(body=request.json)
            case "PUT", [name]:
                if name not in self.aliases:
                    return Response(status=404)
                if request.json["class"] not in self.kept:
                    raise Refusal(422, f"replace alias: class {request.json['class']} does not exist")
                self.aliases[name] = request.json["class"]
                return Response(body={"alias": name, "class": self.aliases[name]})
            case _:
                raise Refusal(404)

    # gRPC

    def search(self, request: Any) -> Any:
        found = self._of(request.collection)
        limit = request.limit or 10
        if limit > _MOST:
            raise ValueError("query maximum results exceeded")
        for name in request.properties.non_ref_properties:
            if name not in found.types:
                raise ValueError(f"no such prop with name '{name}' found in class '{request.collection}'")
        passes = _passes(request.filters, found) if request.HasField("filters") else lambda id, one: True
        there = [(id, one) for id, one in sorted(found.objects.items()) if id not in self.lagging and passes(id, one)]
        if request.after:
            assert not request.HasField("filters"), "a cursor goes with no filter"
            there = [(id, one) for id, one in there if id > request.after]
        distances: dict[str, float] = {}
        if request.HasField("near_vector"):
            (name,) = request.near_vector.targets.target_vectors
            there, distances = _nearest(there, name, request.near_vector, found)
        reply = search_get_pb2.SearchReply()
        for id, one in there[:limit]:
            self._add(reply, request, id, one, distances.get(id))
        return reply

    def _add(self, reply: Any, request: Any, id: str, one: Stored, distance: float | None) -> None:
        result = reply.results.add()
        result.metadata.id_as_bytes = uuid.UUID(id).bytes
        if distance is not None and request.metadata.distance:
            result.metadata.distance, result.metadata.distance_present = distance, True
        for name in ("creation_time_unix", "last_update_time_unix"):
            if getattr(request.metadata, name):
                # Nobody asks when; the client only wants to be told.
                setattr(result.metadata, name, 1_760_000_000_000)
                setattr(result.metadata, f"{name}_present", True)
        if request.metadata.is_consistent:
            result.metadata.is_consistent, result.metadata.is_consistent_present = id not in self.doubtful, True
        named = request.metadata.vectors or (one.vectors if request.metadata.vector else [])
        single = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
        for name in named:
            if name in one.vectors:
                result.metadata.vectors.add(name=name, vector_bytes=one.vectors[name], type=single)
        is_all = not request.HasField("properties") or request.properties.return_all_nonref_properties
        for name in one.properties if is_all else request.properties.non_ref_properties:
            if name in one.properties:
                result.properties.non_ref_props.fields[name].CopyFrom(_value(one.properties[name]))

    def aggregate(self, request: Any) -> Any:
        found = self._of(request.collection)
        passes = _passes(request.filters, found) if request.HasField("filters") else lambda id, one: True
        count = sum(1 for id, one in found.objects.items() if passes(id, one))
        return aggregate_pb2.AggregateReply(single_result=aggregate_pb2.AggregateReply.Single(objects_count=count))

    def batch_objects(self, request: Any) -> Any:
        reply = batch_pb2.BatchObjectsReply()
        for index, said in enumerate(request.objects):
            try:
                self._put(said)
            except ValueError as error:
                reply.errors.add(index=index, error=str(error))
        return reply

    def _put(self, said: Any) -> None:
        properties = _given(said)
        if said.collection not in self.kept and said.collection not in self.aliases:
            made = [{"name": name, "dataType": ["text"]} for name in properties]
            self._create({"class": said.collection, "properties": made, "vectorConfig": {}})
        found = self._of(said.collection)
        for name, value in properties.items():
            if name not in found.types:
                raise ValueError(f"no such prop with name '{name}' found in class '{said.collection}'")
            if not isinstance(value, _KINDS[found.types[name]]):
                raise ValueError(f"invalid {found.types[name]} property '{name}' on class '{said.collection}'")
        for vector in said.vectors:
            if vector.name not in found.definition["vectorConfig"]:
                raise ValueError(f"named vector {vector.name} is not configured for collection {said.collection}")
            there = next(
                (one.vectors[vector.name] for one in found.objects.values() if vector.name in one.vectors), None
            )
            if there is not None and len(there) != len(vector.vector_bytes):
                raise ValueError(
                    f"new node has a vector with length {len(vector.vector_bytes) // 4}. Existing nodes have vectors "
                    f"with length {len(there) // 4}"
                )
        id = str(uuid.UUID(said.uuid))
        found.objects[id] = Stored(properties, {one.name: one.vector_bytes for one in said.vectors})

    def batch_delete(self, request: Any) -> Any:
        found = self._of(request.collection, "batch delete params: ")
        passes = _passes(request.filters, found)
        gone = [id for id, one in found.objects.items() if passes(id, one)][:_MOST]
        for id in gone:
            del found.objects[id]
        return batch_delete_pb2.BatchDeleteReply(matches=len(gone), successful=len(gone))

    def _of(self, name: str, before: str = "") -> Kept:
        found = self.kept.get(self.aliases.get(name, name))
        if found is None:
            raise ValueError(f"{before}could not find class {name} in schema")
        return found


def _completed(said: dict[str, Any]) -> dict[str, Any]:
    """Fill in what the server decides."""
    replication = {"factor": 1, "deletionStrategy": "NoAutomatedResolution", **said.get("replicationConfig", {})}
    desired = said.get("shardingConfig", {}).get("desiredCount", 1)
    for name, vector in said["vectorConfig"].items():
        assert vector.keys() == {"vectorizer", "vectorIndexType", "vectorIndexConfig"}, name
        index, kind = vector["vectorIndexConfig"], vector["vectorIndexType"]
        assert index.keys() <= _OF_INDEX[kind], index.keys() - _OF_INDEX[kind]
        assert index["distance"] in {"cosine", "dot", "l2-squared"}
        defaults: dict[str, Any] = {"vectorCacheMaxObjects": 1_000_000_000_000}
        if kind == "hnsw":
            defaults |= {"cleanupIntervalSeconds": 300, "dynamicEfMin": 100, "dynamicEfMax": 500, "dynamicEfFactor": 8}
            defaults |= {"ef": -1, "efConstruction": 128, "maxConnections": 32, "flatSearchCutoff": 40_000}
            defaults |= {"skip": False}
        vector["vectorIndexConfig"] = {**defaults, **index}
    for one in said["properties"]:
        one.setdefault("indexFilterable", True)
        one.setdefault("indexSearchable", one["dataType"][0].startswith("text"))
    stopwords = {"preset": "en", "additions": None, "removals": None}
    return {
        **said,
        "invertedIndexConfig": {
            "bm25": {"b": 0.75, "k1": 1.2},
            "cleanupIntervalSeconds": 60,
            "stopwords": stopwords,
        },
        "multiTenancyConfig": {"enabled": False, "autoTenantCreation": False, "autoTenantActivation": False},
        "replicationConfig": replication,
        "shardingConfig": {
            "virtualPerPhysical": 128,
            "desiredCount": desired,
            "actualCount": desired,
            "desiredVirtualCount": 128 * desired,
            "actualVirtualCount": 128 * desired,
            "key": "_id",
            "strategy": "hash",
            "function": "murmur3",
        },
    }


def _given(said: Any) -> dict[str, Any]:
    """Return the properties of an object of a batch."""
    known = {"non_ref_properties", "text_array_properties", "empty_list_props"}
    sent = {one.name for one, _ in said.properties.ListFields()}
    assert sent <= known, sent - known
    return {
        **dict(said.properties.non_ref_properties.items()),
        **{one.prop_name: list(one.values) for one in said.properties.text_array_properties},
        **{name: [] for name in said.properties.empty_list_props},
    }


def _value(value: Any) -> Any:
    match value:
        case float():
            return properties_pb2.Value(int_value=int(value))
        case list():
            texts = properties_pb2.TextValues(values=value)
            return properties_pb2.Value(list_value=properties_pb2.ListValue(text_values=texts))
        case _:
            return properties_pb2.Value(text_value=value)


def _passes(said: Any, found: Kept) -> Callable[[str, Stored], bool]:
    inner = [_passes(one, found) for one in said.filters]
    match said.operator:
        case _OPERATOR.OPERATOR_AND:
            assert inner
            return lambda id, one: all(part(id, one) for part in inner)
        case _OPERATOR.OPERATOR_OR:
            assert inner
            return lambda id, one: any(part(id, one) for part in inner)
        case _OPERATOR.OPERATOR_NOT:
            (part,) = inner
            return lambda id, one: not part(id, one)
        case _OPERATOR.OPERATOR_EQUAL:
            return _finds(said.target.property, [said.value_text], found)
        case _OPERATOR.OPERATOR_CONTAINS_ANY:
            assert said.value_text_array.values, "filtering on empty lists is not supported"
            return _finds(said.target.property, said.value_text_array.values, found)
        case _:
            raise ValueError(f"unknown filter operator {said.operator}")


def _finds(name: str, values: Any, found: Kept) -> Callable[[str, Stored], bool]:
    if name == "_id":
        ids = set(values)
        return lambda id, one: id in ids
    if name not in found.types:
        raise ValueError(f"no such prop with name '{name}' found in class '{found.definition['class']}'")
    (mapping,) = (one for one in found.definition["properties"] if one["name"] == name)
    if not mapping["indexFilterable"]:
        raise ValueError(
            f"Filtering by property '{name}' requires inverted index. Is `indexFilterable` option of it set?"
        )
    assert mapping["tokenization"] == "field"
    wanted = {value.strip() for value in values}
    kind = found.types[name]

    def has(id: str, one: Stored) -> bool:
        there = one.properties.get(name)
        return any(value.strip() in wanted for value in (there if kind == "text[]" else [there] if there else []))

    return has


def _nearest(there: Any, name: str, near: Any, found: Kept) -> tuple[Any, dict[str, float]]:
    (asked,) = near.vectors
    query = np.frombuffer(asked.vector_bytes, "<f4")
    distance = found.definition["vectorConfig"][name]["vectorIndexConfig"]["distance"]
    there = [(id, one) for id, one in there if name in one.vectors]
    if not there:
        return [], {}
    block = np.stack([np.frombuffer(one.vectors[name], "<f4") for _, one in there])
    if block.shape[1] != len(query):
        raise ValueError(f"vector search: vector lengths don't match: {block.shape[1]} vs {len(query)}")
    if distance == "cosine":
        # They are normalised in the index, each by itself.
        block, query = (_normalised(block), _normalised(query[None])[0])
    rows, wanted = block.astype(np.float64), query.astype(np.float64)
    if distance == "l2-squared":
        apart = ((rows - wanted) ** 2).sum(axis=1)
    else:
        apart = (1 if distance == "cosine" else 0) - (rows * wanted).sum(axis=1)
    distances = {id: float(np.float32(one)) for (id, _), one in zip(there, apart, strict=True)}
    return sorted(there, key=lambda one: distances[one[0]]), distances


def _normalised(block: Any) -> Any:
    lengths = np.sqrt((block.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    return (block / lengths).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running server.

    Attributes:
        port: of REST.
        grpc_port: of gRPC.
        http: what REST was asked.
    """

    port: int
    grpc_port: int
    http: http.Server

    @property
    def url(self) -> str:
        return f"weaviate://127.0.0.1:{self.port}"


@contextmanager
def serving(double: Weaviate) -> Iterator[Running]:
    """Serve both protocols until the end of the context."""
    methods = {
        "Search": double.search,
        "Aggregate": double.aggregate,
        "BatchObjects": double.batch_objects,
        "BatchDelete": double.batch_delete,
    }

    class Servicer(weaviate_pb2_grpc.WeaviateServicer):
        pass

    def handler(name: str) -> Callable[[Any, Any, Any], Any]:
        def handle(_: Any, request: Any, context: Any) -> Any:
            said = {one.name for one, _ in request.ListFields()}
            assert said <= _ASKED[type(request).__name__], said
            with double.lock:
                double.calls.append(Call(name, request))
                del double.calls[:-500]
                sent = dict(context.invocation_metadata())
                if double.key is not None and sent.get("authorization") != f"Bearer {double.key}":
                    context.abort(grpc.StatusCode.UNKNOWN, "extract auth: unauthorized: invalid api key")
                planted = double.planted.get(name)
                if isinstance(planted, tuple):
                    context.abort(*planted)
                if planted is not None:
                    return planted
                try:
                    return methods[name](request)
                except ValueError as error:
                    # What the server returns as an error of Go arrives without a code.
                    context.abort(grpc.StatusCode.UNKNOWN, str(error))

        return handle

    for name in methods:
        setattr(Servicer, name, handler(name))
    with ThreadPoolExecutor(8) as pool, http.serving(double.answer) as served:
        options = [("grpc.max_receive_message_length", double.message_bytes), ("grpc.so_reuseport", 0)]
        server = grpc.server(pool, options=options)
        weaviate_pb2_grpc.add_WeaviateServicer_to_server(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield Running(port=served.port, grpc_port=port, http=served)
        finally:
            server.stop(None).wait()
