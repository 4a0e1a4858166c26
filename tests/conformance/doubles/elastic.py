"""What Elasticsearch and OpenSearch do with the requests of undrift, as far as their documentation says.

A search sees what was there at the last refresh, and there is none by itself; a read by id sees everything. A write to
an index that is not there makes it, unless an alias is demanded. Every write has a number, by which one can be made
conditional. Limits are the defaults: 10,000 hits, queries thirty deep.
"""

from __future__ import annotations

import copy
import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.conformance.doubles.http import Request, Response

_WINDOW = 10_000
_DEEPEST = 30
_MOST_TERMS = 65_536
_LONGEST_ID = 512
_FORBIDDEN = set('\\/*?"<>| ,#:')
_SIMILARITIES = {"cosine", "dot_product", "l2_norm", "max_inner_product"}
_COMMON = {
    "index.number_of_shards",
    "index.number_of_replicas",
    "index.refresh_interval",
    "index.mapping.ignore_malformed",
}


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.error = status, {"type": kind, "reason": reason}

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"root_cause": [self.error], **self.error}, "status": self.status}


@dataclass
class Stored:
    source: dict[str, Any]
    number: int
    version: int


@dataclass
class Index:
    name: str
    body: dict[str, Any]
    documents: dict[str, Stored] = field(default_factory=dict)
    visible: dict[str, dict[str, Any]] = field(default_factory=dict)
    number: int = -1

    def next_number(self) -> int:
        self.number += 1
        return self.number

    @property
    def properties(self) -> dict[str, Any]:
        return self.body.get("mappings", {}).get("properties", {})

    @property
    def aliases(self) -> dict[str, Any]:
        return self.body.get("aliases", {})


class Elastic:
    """A cluster of one node."""

    def __init__(self, *, vendor: str, version: str) -> None:
        self.vendor = vendor
        self.version = version
        self.indexes: dict[str, Index] = {}
        #: Answers that are given instead, by the end of the path.
        self.planted: dict[str, Response | None] = {}
        self.scrolls: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.RLock()

    def answer(self, request: Request) -> Response | None:
        for end, planted in self.planted.items():
            if request.path.endswith(end):
                return None if planted is None else self._marked(planted)
        with self._lock:
            try:
                return self._marked(self._answer(request))
            except Refusal as refusal:
                return self._marked(Response(status=refusal.status, body=refusal.body))

    def _marked(self, response: Response) -> Response:
        product = {"X-Elastic-Product": "Elasticsearch"} if self.vendor == "elasticsearch" else {}
        return Response(status=response.status, body=response.body, headers={**product, **response.headers})

    def _answer(self, request: Request) -> Response:  # noqa: C901, PLR0912 - one case for each request
        match request.method, request.segments:
            case "GET", []:
                number = {"number": self.version}
                named = {"distribution": "opensearch"} if self.vendor == "opensearch" else {"build_flavor": "default"}
                return Response(body={"version": {**number, **named}, "tagline": "The OpenSearch Project"})
            case "POST" | "PUT", [*names, "_bulk"]:
                return self._bulk("".join(names), request)
            case "GET", ["_alias", name]:
                there = {
                    index.name: {"aliases": {name: {}}} for index in self.indexes.values() if name in index.aliases
                }
                return Response(status=200 if there else 404, body=there or {"error": "alias missing", "status": 404})
            case "POST", ["_aliases"]:
                return self._aliased(request.json["actions"])
            case "PUT", [name]:
                return self._create(name, request.json or {})
            case "GET", [name]:
                index = self._index(name)
                return Response(body={index.name: index.body})
            case "HEAD", [name]:
                return Response(status=200 if self._find(name) else 404)
            case "DELETE", [name]:
                if name not in self.indexes:
                    raise _no_index(name)
                del self.indexes[name]
                return Response(body={"acknowledged": True})
            case "POST", [name, "_refresh"]:
                index = self._index(name)
                index.visible = {id: stored.source for id, stored in index.documents.items()}
                return Response(body={"_shards": {"total": 1, "successful": 1, "failed": 0}})
            case "POST", ["_search", "scroll"]:
                return self._scrolled(request.json["scroll_id"])
            case "DELETE", ["_search", "scroll"]:
                for id in request.json["scroll_id"]:
                    self.scrolls.pop(id, None)
                return Response(body={"succeeded": True, "num_freed": 1})
            case "POST", [name, "_mget"]:
                return self._many(name, request)
            case "POST", [name, "_count"]:
                index = self._index(name)
                found = [id for id in index.visible if self._passes(index, id, request.json["query"])]
                return Response(body={"count": len(found), "_shards": {"total": 1, "successful": 1, "failed": 0}})
            case "POST", [name, "_search"]:
                index = self._index(name)
                found = self._search(index, request.json, all_pages="scroll" in request.params)
                return self._begun(index, request, found) if "scroll" in request.params else found
            case _:
                raise Refusal(
                    400, "illegal_argument_exception", f"no handler found for {request.method} {request.path}"
                )

    def _aliased(self, actions: list[dict[str, dict[str, str]]]) -> Response:
        for action in actions:
            ((kind, said),) = action.items()
            index = self._index(said["index"])
            if said["alias"] in self.indexes:
                raise Refusal(
                    400,
                    "invalid_alias_name_exception",
                    f"Invalid alias name [{said['alias']}]: an index exists with it",
                )
            if kind == "add":
                index.body.setdefault("aliases", {})[said["alias"]] = {}
            else:
                del index.body["aliases"][said["alias"]]
        return Response(body={"acknowledged": True})

    def _begun(self, index: Index, request: Request, found: Response) -> Response:
        assert request.json["sort"] == ["_doc"]
        id = f"scroll-{len(self.scrolls)}-{index.name}"
        hits, size = found.body["hits"]["hits"], request.json["size"]
        self.scrolls[id] = [hits[at : at + size] for at in range(0, len(hits), size)]
        return self._scrolled(id)

    def _scrolled(self, id: str) -> Response:
        if id not in self.scrolls:
            raise Refusal(404, "search_context_missing_exception", "No search context found")
        hits = self.scrolls[id].pop(0) if self.scrolls[id] else []
        shards = {"total": 1, "successful": 1, "failed": 0}
        return Response(body={"_scroll_id": id, "timed_out": False, "_shards": shards, "hits": {"hits": hits}})

    def _hides(self, index: Index) -> bool:
        """Whether vectors are left out of what is given back."""
        number = tuple(int(part) for part in self.version.split("."))
        kept = index.body.get("settings", {}).get("index.mapping.exclude_source_vectors") is False
        return self.vendor == "elasticsearch" and number >= (9, 2) and not kept

    def _shown(self, index: Index, source: dict[str, Any], named: Any, *, with_vectors: bool) -> dict[str, Any]:
        vectors = {name for name, mapping in index.properties.items() if mapping.get("type") == "dense_vector"}
        hidden = vectors if self._hides(index) and not with_vectors else set()
        return {key: value for key, value in _part(source, named).items() if key not in hidden}

    def _find(self, name: str) -> Index | None:
        if name in self.indexes:
            return self.indexes[name]
        return next((index for index in self.indexes.values() if name in index.aliases), None)

    def _index(self, name: str) -> Index:
        found = self._find(name)
        if found is None:
            raise _no_index(name)
        return found

    def _create(self, name: str, body: dict[str, Any]) -> Response:
        if name != name.lower() or name[0] in "-_+" or _FORBIDDEN & set(name) or len(name.encode()) > 255:
            raise Refusal(400, "invalid_index_name_exception", f"Invalid index name [{name}]")
        if name in self.indexes:
            raise Refusal(400, "resource_already_exists_exception", f"index [{name}/uuid] already exists")
        if self._find(name) is not None:
            raise Refusal(400, "invalid_index_name_exception", f"Invalid index name [{name}], already exists as alias")
        for key in body.get("settings", {}):
            if key not in self._settings():
                raise Refusal(
                    400, "illegal_argument_exception", f"unknown setting [{key}] please check that any required"
                )
        for mapping in body.get("mappings", {}).get("properties", {}).values():
            self._check_mapping(mapping)
        self.indexes[name] = Index(name=name, body=copy.deepcopy(body))
        return Response(body={"acknowledged": True, "shards_acknowledged": True, "index": name})

    def _settings(self) -> set[str]:
        number = tuple(int(part) for part in self.version.split("."))
        if self.vendor == "elasticsearch":
            return _COMMON | ({"index.mapping.exclude_source_vectors"} if number >= (9, 2) else set())
        return _COMMON | {"index.knn"} | ({"index.knn.derived_source.enabled"} if number >= (3,) else set())

    def _check_mapping(self, mapping: dict[str, Any]) -> None:
        kind = mapping.get("type", "object")
        theirs = {"elasticsearch": "dense_vector", "opensearch": "knn_vector"}[self.vendor]
        if kind not in {"object", "keyword", "text", "long", theirs}:
            raise Refusal(400, "mapper_parsing_exception", f"No handler for type [{kind}] declared on field")
        if kind == "dense_vector":
            is_indexed = mapping.get("index", True)
            if not 1 <= mapping["dims"] <= 4096:
                raise Refusal(
                    400, "mapper_parsing_exception", "The number of dimensions should be in the range [1, 4096]"
                )
            if "similarity" in mapping and (not is_indexed or mapping["similarity"] not in _SIMILARITIES):
                raise Refusal(400, "mapper_parsing_exception", "Field [similarity] can only be specified when indexed")
        if kind == "knn_vector" and not 1 <= mapping["dimension"] <= 16_000:
            raise Refusal(400, "mapper_parsing_exception", "Dimension value must be less than 16000")

    def _bulk(self, target: str, request: Request) -> Response:
        assert request.body.endswith(b"\n"), "a bulk request ends with a line end"
        lines = [json.loads(line) for line in request.body.splitlines()] if request.body else []
        items: list[dict[str, Any]] = []
        at = 0
        while at < len(lines):
            ((action, said),) = lines[at].items()
            source = None if action == "delete" else lines[at + 1]
            at += 1 if action == "delete" else 2
            items.append({action: self._item(said.get("_index", target), action, said, source, request)})
        errors = any("error" in next(iter(item.values())) for item in items)
        for name in {said["_index"] for item in items for said in item.values()}:
            if request.params.get("refresh") in {"true", ""} and (index := self._find(name)) is not None:
                index.visible = {id: stored.source for id, stored in index.documents.items()}
        return Response(body={"took": 1, "errors": errors, "items": items})

    def _item(self, target: str, action: str, said: dict[str, Any], source: Any, request: Request) -> dict[str, Any]:
        id = said["_id"]
        try:
            demands_alias = request.params.get("require_alias") == "true" and action != "delete"
            index = self._find(target)
            if index is None and (demands_alias or action == "delete"):
                raise _no_index(target)
            if index is not None and demands_alias and target not in index.aliases:
                raise _no_index(target)
            if index is None:
                self._create(target, {})
                index = self.indexes[target]
            status, result = self._applied(index, action, id, said, source)
            return {"_index": index.name, "_id": id, "status": status, "result": result}
        except Refusal as refusal:
            return {"_index": target, "_id": id, "status": refusal.status, "error": refusal.error}

    def _applied(self, index: Index, action: str, id: str, said: dict[str, Any], source: Any) -> tuple[int, str]:
        if not id or len(id.encode()) > _LONGEST_ID:
            raise Refusal(400, "illegal_argument_exception", f"id [{id}] is too long, must be no longer than 512 bytes")
        there = index.documents.get(id)
        if "if_seq_no" in said and (there is None or (said["if_seq_no"], said["if_primary_term"]) != (there.number, 1)):
            if there is None and action == "update":
                raise Refusal(404, "document_missing_exception", f"[{id}]: document missing")
            raise Refusal(409, "version_conflict_engine_exception", f"[{id}]: version conflict, required seqNo")
        if action == "delete":
            if there is None:
                return 404, "not_found"
            index.next_number()
            del index.documents[id]
            return 200, "deleted"
        if action == "create" and there is not None:
            raise Refusal(
                409, "version_conflict_engine_exception", f"[{id}]: version conflict, document already exists"
            )
        if action == "update":
            if there is None:
                raise Refusal(404, "document_missing_exception", f"[{id}]: document missing")
            is_script = "script" in source
            source = _scripted(there.source, source["script"]) if is_script else _merged(there.source, source["doc"])
        self._check(index, source)
        version = 1 if there is None else there.version + 1
        index.documents[id] = Stored(source=source, number=index.next_number(), version=version)
        return (201, "created") if there is None else (200, "updated")

    def _check(self, index: Index, source: dict[str, Any]) -> None:
        for name, mapping in index.properties.items():
            value = source.get(name)
            if value is None:
                continue
            if mapping.get("type") == "keyword":
                for term in value if isinstance(value, list) else [value]:
                    if len(str(term).encode()) > 32_766:
                        raise Refusal(
                            400,
                            "illegal_argument_exception",
                            f'Document contains at least one immense term in field="{name}"',
                        )
            if mapping.get("type") in {"dense_vector", "knn_vector"}:
                self._check_vector(mapping, value)

    def _check_vector(self, mapping: dict[str, Any], value: list[float]) -> None:
        dims = mapping.get("dims", mapping.get("dimension"))
        if len(value) != dims:
            raise Refusal(
                400, "document_parsing_exception", f"the number of dimensions [{len(value)}], expected [{dims}]"
            )
        vector = np.array(value, np.float32)
        space = mapping.get("similarity", mapping.get("method", {}).get("space_type", ""))
        if space.startswith("cosine") and float(np.abs(vector).max()) == 0:
            raise Refusal(400, "document_parsing_exception", "The [cosine] similarity does not support zero magnitude")
        if space == "dot_product" and abs(float(np.linalg.norm(vector)) - 1) > 1e-4:
            raise Refusal(
                400, "document_parsing_exception", "The [dot_product] similarity can only be used with unit-length"
            )

    def _many(self, name: str, request: Request) -> Response:
        index = self._find(name)
        named = request.params["_source_includes"].split(",")
        if "_source_exclude_vectors" in request.params and (self.vendor != "elasticsearch" or self.version < "9.2"):
            raise Refusal(400, "illegal_argument_exception", "request contains unrecognized parameter")
        answers: list[dict[str, Any]] = []
        for id in request.json["ids"]:
            if index is None:
                answers.append({"_index": name, "_id": id, "error": _no_index(name).error})
            elif (there := index.documents.get(id)) is None:
                answers.append({"_index": name, "_id": id, "found": False})
            else:
                with_vectors = request.params.get("_source_exclude_vectors") == "false"
                source = self._shown(index, there.source, named, with_vectors=with_vectors)
                version = {"_seq_no": there.number, "_primary_term": 1, "_version": there.version}
                answers.append({"_index": index.name, "_id": id, **version, "found": True, "_source": source})
        return Response(body={"docs": answers})

    def _search(self, index: Index, body: dict[str, Any], *, all_pages: bool = False) -> Response:
        size = body.get("size", 10)
        if size > _WINDOW:
            raise Refusal(
                400, "illegal_argument_exception", "Result window is too large, from + size must be <= [10000]"
            )
        scored = self._scored(index, body)
        order = body.get("sort", [{"_score": "desc"}])
        order = [{"_doc": "asc"}] if order == ["_doc"] else order
        keyed = sorted(
            (([_key(one, id, score, index.visible[id]) for one in order], id, score) for id, score in scored.items()),
            key=lambda one: [_ordered(said, value) for said, value in zip(order, one[0], strict=True)],
        )
        if "search_after" in body:
            after = [_ordered(said, value) for said, value in zip(order, body["search_after"], strict=True)]
            keyed = [one for one in keyed if [_ordered(s, v) for s, v in zip(order, one[0], strict=True)] > after]
        named = body.get("_source", True)
        hits = [
            {
                "_index": index.name,
                "_id": id,
                "_score": score if any("_score" in one for one in order) else None,
                **(
                    {}
                    if named is False
                    else {"_source": self._shown(index, index.visible[id], named, with_vectors=False)}
                ),
                **({"sort": key} if "sort" in body else {}),
            }
            for key, id, score in (keyed if all_pages else keyed[:size])
        ]
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        return Response(
            body={"took": 1, "timed_out": False, "_shards": shards, "hits": {"max_score": None, "hits": hits}}
        )

    def _scored(self, index: Index, body: dict[str, Any]) -> dict[str, float]:
        if "knn" in body:
            knn = body["knn"]
            if not knn["k"] <= knn["num_candidates"] <= _WINDOW:
                raise Refusal(
                    400, "illegal_argument_exception", "[num_candidates] cannot be less than [k] or exceed [10000]"
                )
            return self._nearest(index, knn["field"], knn["query_vector"], knn["k"], knn.get("filter"))
        query = body["query"]
        if "knn" in query:
            ((name, said),) = query["knn"].items()
            return self._nearest(index, name, said["vector"], said["k"], said.get("filter"))
        if "script_score" in query:
            said = query["script_score"]
            _require_depth(said["query"])
            ids = [id for id in index.visible if self._passes(index, id, said["query"])]
            score = self._script(index, said["script"])
            return {id: score(index.visible[id]) for id in ids}
        _require_depth(query)
        return {id: 0.0 for id in index.visible if self._passes(index, id, query)}

    def _nearest(self, index: Index, name: str, query: list[float], k: int, filter: Any) -> dict[str, float]:
        mapping = index.properties.get(name, {})
        space = mapping.get("similarity") or mapping.get("method", {}).get("space_type")
        if space is None:
            raise Refusal(
                400, "illegal_argument_exception", f"to perform knn search on field [{name}], it must be indexed"
            )
        if isinstance(filter, list):
            filter = {"bool": {"filter": filter}}
        if filter is not None:
            _require_depth(filter)
        ids = [id for id in index.visible if filter is None or self._passes(index, id, filter)]
        scores = {id: _indexed_score(space, query, index.visible[id][name]) for id in ids if name in index.visible[id]}
        return dict(sorted(scores.items(), key=lambda one: -one[1])[:k])

    def _script(self, index: Index, script: dict[str, Any]) -> Callable[[dict[str, Any]], float]:
        params, source = script["params"], script["source"]
        if script.get("lang") == "knn" and source == "knn_score" and self.vendor == "opensearch":
            space = params["space_type"]
            assert space == "innerproduct", "only this one is asked for"
            return lambda one: _single(_indexed_score(space, params["query_value"], one[params["field"]]))
        scripts = _ELASTICSEARCH if self.vendor == "elasticsearch" else _OPENSEARCH
        for pattern, formula in scripts:
            if (match := re.fullmatch(pattern, source)) is not None:
                name = match["field"] if "field" in match.groupdict() else params["field"]
                assert index.properties[name]["type"] in {"dense_vector", "knn_vector"}

                def score(one: dict[str, Any], formula: Any = formula, name: str = name) -> float:
                    value = _single(formula(*_arrays(params["query"], one[name])))
                    if value < 0:
                        raise Refusal(
                            400, "illegal_argument_exception", "script_score script returned an invalid score"
                        )
                    return value

                return score
        raise Refusal(400, "script_exception", f"compile error: {source}")

    def _passes(self, index: Index, id: str, query: dict[str, Any]) -> bool:
        ((kind, said),) = query.items()
        source = index.visible[id]
        match kind:
            case "match_all":
                return True
            case "match_none":
                return False
            case "ids":
                return id in said["values"]
            case "exists":
                return source.get(said["field"]) is not None
            case "term":
                ((name, value),) = said.items()
                return value in self._terms(index, source, name)
            case "terms":
                ((name, wanted),) = said.items()
                if len(wanted) > _MOST_TERMS:
                    raise Refusal(400, "illegal_argument_exception", "max_terms_count")
                return not set(wanted).isdisjoint(self._terms(index, source, name))
            case "range":
                ((name, bounds),) = said.items()
                return any(_between(term, bounds) for term in self._terms(index, source, name))
            case "bool":
                assert set(said) <= {"filter", "must_not", "should", "minimum_should_match"}
                passed = sum(self._passes(index, id, part) for part in said.get("should", []))
                return (
                    all(self._passes(index, id, part) for part in said.get("filter", []))
                    and not any(self._passes(index, id, part) for part in said.get("must_not", []))
                    and passed >= said.get("minimum_should_match", 0)
                )
            case _:
                raise Refusal(400, "parsing_exception", f"unknown query [{kind}]")

    def _terms(self, index: Index, source: dict[str, Any], name: str) -> list[str]:
        if index.properties.get(name, {}).get("type") != "keyword":
            raise Refusal(400, "query_shard_exception", f"[{name}] is not a keyword here")
        value = source.get(name)
        return [] if value is None else value if isinstance(value, list) else [value]


def _no_index(name: str) -> Refusal:
    return Refusal(404, "index_not_found_exception", f"no such index [{name}]")


def _merged(there: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A partial update merges objects, and replaces everything else, lists too."""
    merged = dict(there)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _scripted(there: dict[str, Any], script: dict[str, Any]) -> dict[str, Any]:
    """The two scripts that change metadata; how they are written is compared letter by letter."""
    number = "; if (ctx._source.undrift_space != null) { ctx._source.undrift_sequence = params.sequence }"
    params, changed = script["params"], copy.deepcopy(there)
    assert script["lang"] == "painless"
    match script["source"].removesuffix(number):
        case "ctx._source[params.at].putAll(params.changes)":
            changed[params["at"]].update(params["changes"])
        case "ctx._source.putAll(params.changes)":
            changed.update(params["changes"])
        case other:
            raise Refusal(400, "script_exception", f"compile error: {other}")
    if script["source"].endswith(number) and changed.get("undrift_space") is not None:
        changed["undrift_sequence"] = params["sequence"]
    return changed


def _require_depth(query: Any, depth: int = 1) -> None:
    if depth > _DEEPEST:
        raise Refusal(
            400, "illegal_argument_exception", "The nested depth of the query exceeds the maximum nested depth"
        )
    for parts in query.get("bool", {}).values():
        for part in parts if isinstance(parts, list) else []:
            _require_depth(part, depth + 1)


def _between(term: str, bounds: dict[str, str]) -> bool:
    """Terms order as their bytes in UTF-8 do."""
    found = term.encode()
    tests = {
        "gt": lambda bound: found > bound,
        "gte": lambda bound: found >= bound,
        "lt": lambda bound: found < bound,
        "lte": lambda bound: found <= bound,
    }
    return all(tests[kind](bound.encode()) for kind, bound in bounds.items())


def _key(said: dict[str, str], id: str, score: float, source: dict[str, Any]) -> Any:
    ((name, _),) = said.items()
    return score if name == "_score" else id[::-1] if name == "_doc" else source.get(name)


def _ordered(said: dict[str, str], value: Any) -> Any:
    ((_, direction),) = said.items()
    if isinstance(value, float | int):
        return -value if direction == "desc" else value
    assert direction == "asc"
    # Documents without a value come last.
    return (value is None, (value or "").encode())


def _part(source: dict[str, Any], named: Any) -> dict[str, Any]:
    return source if named is True or named == ["*"] else {key: value for key, value in source.items() if key in named}


def _arrays(left: list[float], right: list[float]) -> tuple[Any, Any]:
    return np.array(left, np.float32).astype(np.float64), np.array(right, np.float32).astype(np.float64)


def _single(score: float) -> float:
    """A score is a float of 32 bits."""
    return float(np.float32(score))


def _cosine(query: Any, vector: Any) -> float:
    return float(query @ vector / np.sqrt((query @ query) * (vector @ vector)))


def _l2(query: Any, vector: Any) -> float:
    return math.sqrt(float(((query - vector) ** 2).sum()))


def _positive(product: float) -> float:
    return 1 / (1 - product) if product < 0 else product + 1


def _indexed_score(space: str, query: list[float], stored: list[float]) -> float:
    left, right = _arrays(query, stored)
    match space:
        case "cosine" | "cosinesimil":
            return _single((1 + _cosine(left, right)) / 2)
        case "max_inner_product" | "innerproduct":
            return _single(_positive(float(left @ right)))
        case "l2_norm" | "l2":
            return _single(1 / (1 + _l2(left, right) ** 2))
        case _:
            raise AssertionError(space)


_ELASTICSEARCH: list[tuple[str, Callable[[Any, Any], float]]] = [
    (
        r"Math\.max\(0, cosineSimilarity\(params\.query, '(?P<field>\w+)'\) \+ 1\.0\)",
        lambda query, vector: max(0.0, _cosine(query, vector) + 1.0),
    ),
    (
        r"double s = dotProduct\(params\.query, '(?P<field>\w+)'\); return s < 0 \? 1 / \(1 - s\) : s \+ 1",
        lambda query, vector: _positive(float(query @ vector)),
    ),
    (r"1 / \(1 \+ l2norm\(params\.query, '(?P<field>\w+)'\)\)", lambda query, vector: 1 / (1 + _l2(query, vector))),
]
_OPENSEARCH: list[tuple[str, Callable[[Any, Any], float]]] = [
    (
        r"Math\.max\(0, cosineSimilarity\(params\.query, doc\[params\.field\]\) \+ 1\.0\)",
        lambda query, vector: max(0.0, _cosine(query, vector) + 1.0),
    ),
    (
        r"1 / \(1 \+ Math\.sqrt\(l2Squared\(params\.query, doc\[params\.field\]\)\)\)",
        lambda query, vector: 1 / (1 + _l2(query, vector)),
    ),
]
