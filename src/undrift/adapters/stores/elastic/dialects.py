"""What differs between Elasticsearch and OpenSearch: how a vector is mapped, searched and scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from undrift.domain.space import Metric

#: The most hits that one answer brings, and the most candidates that a search in an index may have.
WINDOW = 10_000
_VERSION_WITHOUT_VECTORS_IN_SOURCE = (9, 2)

#: Scores of a comparison with every vector: the nearer the greater, and never negative, which the engines refuse.
_EXACT_ELASTICSEARCH = {
    Metric.COSINE: "Math.max(0, cosineSimilarity(params.query, {field}) + 1.0)",
    Metric.DOT: "double s = dotProduct(params.query, {field}); return s < 0 ? 1 / (1 - s) : s + 1",
    Metric.L2: "1 / (1 + l2norm(params.query, {field}))",
}
_EXACT_OPENSEARCH = {
    Metric.COSINE: "Math.max(0, cosineSimilarity(params.query, doc[params.field]) + 1.0)",
    Metric.L2: "1 / (1 + Math.sqrt(l2Squared(params.query, doc[params.field])))",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """How vectors are indexed.

    Attributes:
        method: `hnsw`, or `none` when a search compares with all.
        m: connections of a vector in each layer.
        ef_construction: how many candidates are looked at when a vector is put in.
        ef_search: how many are looked at by a search, at least.
    """

    method: str
    m: int
    ef_construction: int
    ef_search: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What answers: its number, and whether it is a serverless project, whose number says nothing."""

    number: tuple[int, ...]
    is_serverless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one of the two engines is spoken to.

    Attributes:
        name: as in the configuration.
        title: as its makers write it.
        max_dimensions: of a vector field.
        type: the type of a vector field in a mapping.
        read: parameters of every search and count that has to see all that was acknowledged.
        mapping: makes the mapping of a vector field.
        described: reads dimensions and metric of a vector field's mapping; None when it is none that can be searched.
        presets: text, metadata and vector of the indexes that other programs make.
        settings: makes the settings of an index.
        exactly: makes a query that compares with every record.
        by_index: makes the part of a search that asks the index.
    """

    name: str
    title: str
    max_dimensions: int
    type: str
    read: Mapping[str, str]
    mapping: Callable[[int, Metric, Index], dict[str, Any]]
    described: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[int, Metric] | None]
    presets: Mapping[str, tuple[str, str, str]]
    settings: Callable[[Index, Version], dict[str, Any]]
    exactly: Callable[[str, list[float], Metric, dict[str, Any]], dict[str, Any]]
    by_index: Callable[[str, list[float], int, int, dict[str, Any] | None], dict[str, Any]]


def exact_score(score: float, metric: Metric) -> float:
    """Return what the score of a comparison with every record says: cosine, inner product or minus the distance."""
    match metric:
        case Metric.COSINE:
            return score - 1.0
        case Metric.DOT:
            return score - 1.0 if score >= 1.0 else 1.0 - 1.0 / score
        case Metric.L2:
            return 1.0 - 1.0 / score
        case _:
            assert_never(metric)


def indexed_score(score: float, metric: Metric) -> float:
    """Return what the score of a search in the index says; both engines score alike."""
    match metric:
        case Metric.COSINE:
            return 2.0 * score - 1.0
        case Metric.DOT:
            return exact_score(score, metric)
        case Metric.L2:
            return -math.sqrt(max(0.0, 1.0 / score - 1.0))
        case _:
            assert_never(metric)


_SIMILARITY = {Metric.COSINE: "cosine", Metric.DOT: "max_inner_product", Metric.L2: "l2_norm"}
#: Of vectors of length 1, the inner product is the cosine.
_METRICS = {**{name: metric for metric, name in _SIMILARITY.items()}, "dot_product": Metric.COSINE}
_SPACES = {Metric.COSINE: "cosinesimil", Metric.DOT: "innerproduct", Metric.L2: "l2"}
_OF_SPACE = {name: metric for metric, name in _SPACES.items()}


def _dense_vector(dimensions: int, metric: Metric, index: Index) -> dict[str, Any]:
    if index.method == "none":
        # Without an index the engine keeps no similarity; what it is, the mapping's own notes say.
        return {"type": "dense_vector", "dims": dimensions, "index": False}
    return {
        "type": "dense_vector",
        "dims": dimensions,
        "index": True,
        "similarity": _SIMILARITY[metric],
        "index_options": {"type": "hnsw", "m": index.m, "ef_construction": index.ef_construction},
    }


def _described_dense_vector(mapping: Mapping[str, Any], noted: Mapping[str, Any]) -> tuple[int, Metric] | None:
    metric = _METRICS.get(str(mapping.get("similarity", noted.get("metric", "cosine"))))
    if mapping.get("type") != "dense_vector" or "dims" not in mapping or metric is None:
        return None
    return int(mapping["dims"]), metric


def _elasticsearch_settings(index: Index, version: Version) -> dict[str, Any]:
    del index
    # Otherwise it would give back vectors that it has normalised.
    return {"index.mapping.exclude_source_vectors": False} if leaves_vectors_out(version) else {}


def leaves_vectors_out(version: Version) -> bool:
    """Whether an Elasticsearch of this version leaves vectors out of what it gives back, unless it is told not to."""
    return version.is_serverless or version.number >= _VERSION_WITHOUT_VECTORS_IN_SOURCE


def _elasticsearch_exactly(field: str, query: list[float], metric: Metric, condition: dict[str, Any]) -> dict[str, Any]:
    literal = "'" + field.replace("\\", "\\\\").replace("'", "\\'") + "'"
    script = {"source": _EXACT_ELASTICSEARCH[metric].replace("{field}", literal), "params": {"query": query}}
    return {"script_score": {"query": condition, "script": script}}


def _elasticsearch_by_index(
    field: str, query: list[float], k: int, candidates: int, condition: dict[str, Any] | None
) -> dict[str, Any]:
    knn: dict[str, Any] = {"field": field, "query_vector": query, "k": k, "num_candidates": candidates}
    if condition is not None:
        knn["filter"] = condition
    return {"knn": knn}


def _knn_vector(dimensions: int, metric: Metric, index: Index) -> dict[str, Any]:
    if index.method == "none":
        return {"type": "knn_vector", "dimension": dimensions}
    method = {
        "name": "hnsw",
        "engine": "lucene",
        "space_type": _SPACES[metric],
        "parameters": {"m": index.m, "ef_construction": index.ef_construction},
    }
    return {"type": "knn_vector", "dimension": dimensions, "method": method}


def _described_knn_vector(mapping: Mapping[str, Any], noted: Mapping[str, Any]) -> tuple[int, Metric] | None:
    if mapping.get("type") != "knn_vector" or "dimension" not in mapping:
        return None
    said = mapping.get("method", {}).get("space_type") or mapping.get("space_type")
    metric = _METRICS.get(str(noted["metric"])) if "metric" in noted else _OF_SPACE.get(str(said or "l2"))
    return None if metric is None else (int(mapping["dimension"]), metric)


def _opensearch_settings(index: Index, version: Version) -> dict[str, Any]:
    settings: dict[str, Any] = {"index.knn": index.method != "none"}
    if version.number >= (3,):
        settings["index.knn.derived_source.enabled"] = False
    return settings


def _opensearch_exactly(field: str, query: list[float], metric: Metric, condition: dict[str, Any]) -> dict[str, Any]:
    script: dict[str, Any]
    if metric is Metric.DOT:
        # Its own language for scripts has no inner product.
        script = {
            "lang": "knn",
            "source": "knn_score",
            "params": {"field": field, "query_value": query, "space_type": _SPACES[metric]},
        }
    else:
        script = {"source": _EXACT_OPENSEARCH[metric], "params": {"query": query, "field": field}}
    return {"script_score": {"query": condition, "script": script}}


def _opensearch_by_index(
    field: str, query: list[float], k: int, candidates: int, condition: dict[str, Any] | None
) -> dict[str, Any]:
    # Lucene looks at k candidates, so more are asked for than are wanted.
    knn: dict[str, Any] = {"vector": query, "k": max(k, candidates)}
    if condition is not None:
        knn["filter"] = condition
    return {"query": {"knn": {field: knn}}}


ELASTICSEARCH = Dialect(
    name="elasticsearch",
    title="Elasticsearch",
    max_dimensions=4096,
    type="dense_vector",
    read={},
    mapping=_dense_vector,
    described=_described_dense_vector,
    presets={"langchain": ("text", "metadata", "vector"), "llama_index": ("content", "metadata", "embedding")},
    settings=_elasticsearch_settings,
    exactly=_elasticsearch_exactly,
    by_index=_elasticsearch_by_index,
)
OPENSEARCH = Dialect(
    name="opensearch",
    title="OpenSearch",
    max_dimensions=16_000,
    type="knn_vector",
    # Where segments are replicated, the replicas lag behind a refresh.
    read={"preference": "_primary"},
    mapping=_knn_vector,
    described=_described_knn_vector,
    presets={"langchain": ("text", "metadata", "vector_field"), "llama_index": ("content", "metadata", "embedding")},
    settings=_opensearch_settings,
    exactly=_opensearch_exactly,
    by_index=_opensearch_by_index,
)


def noted(metric: Metric) -> dict[str, str]:
    """Return what a mapping's own notes say of the metric, whatever the engine keeps of it."""
    return {"metric": _SIMILARITY[metric]}
