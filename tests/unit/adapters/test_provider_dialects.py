"""Requests and answers of every dialect, from JSON as providers' own pages show it; nothing is sent."""

from __future__ import annotations

import base64
import csv
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from undrift.adapters.builtin import _PROVIDERS
from undrift.adapters.embedders.http import HttpEmbedder, profiles
from undrift.adapters.embedders.http.dialect import CountsTokens, Reply, Side
from undrift.adapters.embedders.http.known import all_known, known
from undrift.adapters.embedders.http.notices import notices
from undrift.domain.notice import NoticeKind
from undrift.errors import BadArgument, ModelUnavailable

TEXTS = ["the ferry", "the quay"]
#: Options without which a provider cannot be set up.
PLACES: dict[str, dict[str, Any]] = {
    "azure": {"base_url": "https://my.openai.azure.com"},
    "vertex": {"region": "europe-west1", "project": "ferries"},
    "bedrock": {"region": "eu-central-1"},
    **{name: {"base_url": "http://localhost:8080"} for name in ("vllm", "tei", "infinity", "lm_studio", "ollama")},
}


#: As the first version of undrift named them.
RECORDED_IDS = {
    "text-embedding-3-small-512-63b255b56989",
    "text-embedding-ada-002-1536-4fcf98d03904",
    "toy-768-422e65e9a152",
}


def embedder(provider: str, name: str = "some-model", **options: Any) -> HttpEmbedder:
    native = {} if known(profiles.PROFILES[provider].channel or "openai", name) else {"dimensions": 2}
    return HttpEmbedder(**{"provider": provider, "name": name, **native, **PLACES.get(provider, {}), **options})


def asked(provider: str, name: str = "some-model", side: Side = Side.DOCUMENT, **options: Any) -> dict[str, Any]:
    made = embedder(provider, name, **options)
    return made._dialect.request(TEXTS[: made.limits.batch_size], side).body


def address(provider: str, name: str = "some-model", **options: Any) -> str:
    made = embedder(provider, name, **options)
    return made._base_url + made._dialect.request(TEXTS[:1], Side.DOCUMENT).path


# Requests


@pytest.mark.parametrize(
    ("provider", "name", "options", "url"),
    [
        ("openai", "text-embedding-3-small", {}, "https://api.openai.com/v1/embeddings"),
        ("azure", "text-embedding-3-small", {}, "https://my.openai.azure.com/openai/v1/embeddings"),
        (
            "azure",
            "text-embedding-3-small",
            {"base_url": "https://my.openai.azure.com/openai/v1/"},
            "https://my.openai.azure.com/openai/v1/embeddings",
        ),
        (
            "azure",
            "text-embedding-3-small",
            {"deployment": "embed-prod", "api_version": "2024-10-21"},
            "https://my.openai.azure.com/openai/deployments/embed-prod/embeddings?api-version=2024-10-21",
        ),
        ("cohere", "embed-v4.0", {}, "https://api.cohere.com/v2/embed"),
        (
            "gemini",
            "gemini-embedding-001",
            {},
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-001:batchEmbedContents",
        ),
        (
            "vertex",
            "text-embedding-005",
            {},
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/ferries/locations/europe-west1"
            "/publishers/google/models/text-embedding-005:predict",
        ),
        (
            "vertex",
            "gemini-embedding-001",
            {"region": "global"},
            "https://aiplatform.googleapis.com/v1/projects/ferries/locations/global"
            "/publishers/google/models/gemini-embedding-001:predict",
        ),
        (
            "bedrock",
            "amazon.titan-embed-text-v2:0",
            {},
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/amazon.titan-embed-text-v2%3A0/invoke",
        ),
        ("voyage", "voyage-4", {}, "https://api.voyageai.com/v1/embeddings"),
        ("openrouter", "openai/text-embedding-3-small", {}, "https://openrouter.ai/api/v1/embeddings"),
        ("fireworks", "qwen3-embedding-8b", {}, "https://api.fireworks.ai/inference/v1/embeddings"),
        ("tei", "bge", {}, "http://localhost:8080/v1/embeddings"),
        ("ollama", "nomic-embed-text", {}, "http://localhost:8080/api/embed"),
    ],
)
def test_every_provider_is_called_where_it_is(provider: str, name: str, options: dict[str, Any], url: str) -> None:
    assert address(provider, name, **options) == url


def test_openai_is_asked_in_its_own_way() -> None:
    assert asked("openai", "text-embedding-3-small", dimensions=512) == {
        "model": "text-embedding-3-small",
        "input": TEXTS,
        "encoding_format": "base64",
        "dimensions": 512,
    }


def test_azure_is_asked_for_the_deployment() -> None:
    body = asked("azure", "text-embedding-3-small", deployment="embed-prod")

    assert body["model"] == "embed-prod"
    assert embedder("azure", "text-embedding-3-small", deployment="embed-prod").space.channel == "azure-openai"


def test_cohere_is_told_the_side_the_format_and_to_cut_nothing() -> None:
    assert asked("cohere", "embed-v4.0", dimensions=256) == {
        "model": "embed-v4.0",
        "texts": TEXTS,
        "input_type": "search_document",
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 256,
    }


def test_each_text_is_a_request_of_its_own_for_gemini() -> None:
    request = {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": TEXTS[0]}]},
        "taskType": "RETRIEVAL_DOCUMENT",
        "outputDimensionality": 768,
    }

    assert asked("gemini", "gemini-embedding-001", dimensions=768) == {
        "requests": [request, {**request, "content": {"parts": [{"text": TEXTS[1]}]}}]
    }


def test_the_second_gemini_is_told_the_side_in_words_because_it_ignores_tasks() -> None:
    space = embedder("gemini", "gemini-embedding-2").space

    assert (space.document_task, space.query_task) == ("", "")
    assert space.query_prefix == "task: search result | query: "
    assert "taskType" not in asked("gemini", "gemini-embedding-2")["requests"][0]
    with pytest.raises(BadArgument, match="does not listen to a task"):
        embedder("gemini", "gemini-embedding-2", document_task="RETRIEVAL_DOCUMENT")


def test_vertex_is_told_not_to_cut() -> None:
    assert asked("vertex", "text-embedding-005", dimensions=256) == {
        "instances": [{"content": text, "task_type": "RETRIEVAL_DOCUMENT"} for text in TEXTS],
        "parameters": {"autoTruncate": False, "outputDimensionality": 256},
    }


def test_bedrock_is_asked_in_the_form_of_the_models_family() -> None:
    assert asked("bedrock", "amazon.titan-embed-text-v2:0", dimensions=512) == {
        "inputText": TEXTS[0],
        "dimensions": 512,
        "normalize": True,
        "embeddingTypes": ["float"],
    }
    assert asked("bedrock", "amazon.titan-embed-text-v1") == {"inputText": TEXTS[0]}
    assert asked("bedrock", "eu.cohere.embed-v4:0", side=Side.QUERY) == {
        "texts": TEXTS,
        "input_type": "search_query",
        "embedding_types": ["float"],
        "truncate": "NONE",
    }
    assert asked("bedrock", "amazon.nova-2-multimodal-embeddings-v1:0", dimensions=1024) == {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 1024,
            "text": {"truncationMode": "NONE", "value": TEXTS[0]},
        },
    }
    with pytest.raises(BadArgument, match=r"begin with amazon\.titan-embed, amazon\.nova, cohere\.embed"):
        embedder("bedrock", "twelvelabs.marengo-embed-3-0-v1:0")


@pytest.mark.parametrize(
    ("provider", "name", "body"),
    [
        (
            "voyage",
            "voyage-4",
            {"output_dimension": 1024, "input_type": "document", "truncation": False, "output_dtype": "float"},
        ),
        ("mistral", "codestral-embed", {"output_dimension": 1536, "encoding_format": "float"}),
        ("jina", "jina-embeddings-v3", {"task": "retrieval.passage", "truncate": False, "embedding_type": "float"}),
        ("nvidia", "nvidia/nv-embedqa-e5-v5", {"input_type": "passage", "truncate": "NONE"}),
        ("openrouter", "openai/text-embedding-3-small", {"provider": {"allow_fallbacks": False}}),
        ("together", "BAAI/bge-base-en-v1.5", {"encoding_format": "float"}),
    ],
)
def test_every_flavour_of_openais_dialect_is_spoken(provider: str, name: str, body: dict[str, Any]) -> None:
    sent = asked(provider, name)

    assert {key: sent.get(key) for key in body} == body
    assert sent["input"] == TEXTS


def test_ollama_is_told_not_to_cut() -> None:
    assert asked("ollama", "nomic-embed-text") == {"model": "nomic-embed-text", "input": TEXTS, "truncate": False}
    assert asked("ollama", "nomic-embed-text", truncation="cut")["truncate"] is True


@pytest.mark.parametrize(
    ("provider", "name", "document", "query"),
    [
        ("cohere", "embed-v4.0", "search_document", "search_query"),
        ("voyage", "voyage-4", "document", "query"),
        ("jina", "jina-embeddings-v3", "retrieval.passage", "retrieval.query"),
        ("nvidia", "nv-embedqa-e5-v5", "passage", "query"),
        ("gemini", "gemini-embedding-001", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("vertex", "text-embedding-005", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("bedrock", "cohere.embed-english-v3", "search_document", "search_query"),
        ("bedrock", "amazon.nova-2-multimodal-embeddings-v1:0", "GENERIC_INDEX", "GENERIC_RETRIEVAL"),
    ],
)
def test_documents_and_queries_are_never_confused(provider: str, name: str, document: str, query: str) -> None:
    sent = {side: str(asked(provider, name, side)) for side in Side}

    assert f"'{document}'" in sent[Side.DOCUMENT]
    assert f"'{query}'" not in sent[Side.DOCUMENT]
    assert f"'{query}'" in sent[Side.QUERY]
    assert f"'{document}'" not in sent[Side.QUERY]


@pytest.mark.parametrize("provider", ["voyage", "jina", "nvidia", "vertex"])
def test_what_is_cut_is_asked_for_only_where_the_space_says_so(provider: str) -> None:
    refuses, cuts = (asked(provider, truncation=truncation) for truncation in ("refuse", "cut"))

    assert refuses != cuts
    assert embedder(provider, truncation="cut").space.id != embedder(provider).space.id


# What makes the space


@pytest.mark.parametrize(
    "options",
    [
        {"document_task": "classification"},
        {"query_task": "search_document"},
        {"dimensions": 512},
        {"document_prefix": "passage: "},
        {"normalized": False},
        {"truncation": "cut"},
        {"max_tokens": 512},
        {"revision": "2026-05"},
    ],
    ids=str,
)
def test_whatever_changes_a_vector_changes_the_space(options: dict[str, Any]) -> None:
    assert embedder("cohere", "embed-v4.0", **options).space.id != embedder("cohere", "embed-v4.0").space.id


def test_what_changes_no_vector_changes_no_space() -> None:
    plain = embedder("cohere", "embed-v4.0").space

    assert embedder("cohere", "embed-v4.0", batch_size=3, api_key="k" * 9, base_url="http://localhost:1").space == plain


def test_spaces_that_were_recorded_before_there_were_more_providers_keep_their_ids() -> None:
    ids = {
        embedder("openai", "text-embedding-ada-002").space.id,
        embedder("openai", "text-embedding-3-small", dimensions=512).space.id,
        embedder("openai", "toy", base_url="http://localhost:11434/v1", dimensions=768).space.id,
    }

    assert ids == RECORDED_IDS


def test_the_first_gemini_is_normalized_uncut_only() -> None:
    assert embedder("gemini", "gemini-embedding-001").space.normalized
    assert not embedder("gemini", "gemini-embedding-001", dimensions=768).space.normalized
    assert embedder("gemini", "gemini-embedding-2", dimensions=768).space.normalized
    with pytest.raises(BadArgument, match="does not give vectors of length 1 with 768 dimensions"):
        embedder("gemini", "gemini-embedding-001", dimensions=768, normalized=True)


def test_sizes_that_a_model_does_not_have_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(BadArgument, match="no vectors of 300 dimensions") as caught:
        embedder("cohere", "embed-v4.0", dimensions=300)
    assert "256, 512, 1024, 1536" in caught.value.detail
    with pytest.raises(BadArgument, match="cannot give 64"):
        embedder("lm_studio", "nomic", dimensions=64, native_dimensions=768)
    assert embedder("voyage", "voyage-4", dimensions=2048).space.cut is None
    assert embedder("voyage", "voyage-4").space.cut == 1024


@pytest.mark.parametrize(
    ("provider", "options", "words"),
    [
        ("openai", {"document_task": "x"}, "provider openai has no document_task"),
        ("together", {"region": "eu"}, "provider together has no region"),
        ("cohere", {"encoding_format": "base64"}, "provider cohere has no encoding_format"),
        ("cohere", {"query_task": ""}, "wants a document_task and a query_task"),
        ("vertex", {"project": None}, "provider vertex needs a project"),
        ("bedrock", {"region": "eu/../../evil"}, "provider bedrock needs a region"),
        ("azure", {"base_url": None}, "nobody says where"),
        ("vllm", {"base_url": "ftp://host"}, "no http address"),
    ],
)
def test_an_option_that_cannot_be_is_refused(provider: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        embedder(provider, "amazon.titan-embed-text-v2:0" if provider == "bedrock" else "some-model", **options)


@pytest.mark.parametrize(
    "provider", [name for name, profile in profiles.PROFILES.items() if profile.wants_key and name != "azure"]
)
def test_without_a_key_nothing_is_sent_and_the_variable_is_named(provider: str) -> None:
    with pytest.raises(ModelUnavailable, match="needs a key") as caught:
        embedder(provider).embed_documents(TEXTS)

    assert profiles.PROFILES[provider].key_variable in caught.value.hint


def test_the_registry_and_the_profiles_agree() -> None:
    assert {name: profile.key_variable for name, profile in profiles.PROFILES.items()} == _PROVIDERS


def test_what_is_known_of_models_is_what_the_catalogue_says() -> None:
    with files("undrift.adapters.feeds").joinpath("catalogue.csv").open(encoding="utf-8") as table:
        facts = {(row["channel"], row["model"], row["attribute"]): row["value"] for row in csv.DictReader(table)}
    compared = 0
    for (channel, model), its in all_known().items():
        for attribute, value in (("dimensions", its.usual), ("max_tokens", its.max_tokens)):
            if (channel, model, attribute) in facts:
                assert facts[channel, model, attribute] == str(value), (channel, model, attribute)
                compared += 1
        assert its.source.strip()
    assert compared > 60


# Answers

ROW = [0.6, -0.8]


@pytest.mark.parametrize(
    ("provider", "name", "body", "headers", "tokens"),
    [
        (
            "openai",
            "text-embedding-3-small",
            {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": ROW}],
                "model": "text-embedding-3-small",
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            },
            {},
            5,
        ),
        (
            "voyage",
            "voyage-4",
            {
                "object": "list",
                "data": [
                    {
                        "object": "embedding",
                        "index": 0,
                        "embedding": base64.b64encode(np.array(ROW, "<f4").tobytes()).decode(),
                    }
                ],
                "model": "voyage-4",
                "usage": {"total_tokens": 10},
            },
            {},
            10,
        ),
        (
            "cohere",
            "embed-v4.0",
            {
                "id": "5807ee2e",
                "embeddings": {"float": [ROW]},
                "texts": ["the ferry"],
                "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 3}},
                "response_type": "embeddings_by_type",
            },
            {},
            3,
        ),
        ("gemini", "gemini-embedding-001", {"embeddings": [{"values": ROW}]}, {}, 0),
        (
            "vertex",
            "text-embedding-005",
            {
                "predictions": [
                    {"embeddings": {"statistics": {"truncated": False, "token_count": 6.0}, "values": ROW}}
                ],
                "metadata": {"billableCharacterCount": 9},
            },
            {},
            6,
        ),
        (
            "bedrock",
            "amazon.titan-embed-text-v2:0",
            {"embedding": ROW, "embeddingsByType": {"float": ROW}, "inputTextTokenCount": 4},
            {},
            4,
        ),
        (
            "bedrock",
            "cohere.embed-english-v3",
            {"embeddings": [ROW], "id": "x", "response_type": "embeddings_floats"},
            {"x-amzn-bedrock-input-token-count": "7"},
            7,
        ),
        (
            "bedrock",
            "amazon.nova-2-multimodal-embeddings-v1:0",
            {"embeddings": [{"embeddingType": "TEXT", "embedding": ROW}]},
            {"x-amzn-bedrock-input-token-count": "8"},
            8,
        ),
        (
            "ollama",
            "nomic-embed-text",
            {"model": "nomic-embed-text", "embeddings": [ROW], "total_duration": 14143917, "prompt_eval_count": 8},
            {},
            8,
        ),
    ],
)
def test_every_answer_is_read(
    provider: str, name: str, body: dict[str, Any], headers: dict[str, str], tokens: int
) -> None:
    dialect = embedder(provider, name)._dialect

    np.testing.assert_array_equal(dialect.answer(body, 1).vectors, np.array([ROW], dtype=np.float32))
    assert dialect.tokens(body, headers) == tokens
    with pytest.raises(ValueError, match="vectors for 2 texts"):
        dialect.answer(body, 2)


@pytest.mark.parametrize(
    ("provider", "name", "body"),
    [
        ("cohere", "embed-v4.0", {"embeddings": {"int8": [[1, 2]]}}),
        ("cohere", "embed-v4.0", {}),
        ("gemini", "gemini-embedding-001", {"embeddings": [{"vector": ROW}]}),
        ("gemini", "gemini-embedding-001", {"embeddings": "none"}),
        ("vertex", "text-embedding-005", {"predictions": [{"embeddings": None}]}),
        ("bedrock", "amazon.titan-embed-text-v2:0", {"message": "hm"}),
        ("bedrock", "amazon.nova-2-multimodal-embeddings-v1:0", {"embeddings": [{}]}),
        ("ollama", "nomic-embed-text", {"embedding": ROW}),
    ],
)
def test_an_answer_without_vectors_is_refused(provider: str, name: str, body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="vector"):
        embedder(provider, name)._dialect.answer(body, 1)


def test_vertex_says_how_many_texts_it_cut() -> None:
    made = [
        {"embeddings": {"statistics": {"truncated": cut, "token_count": 3}, "values": ROW}} for cut in (True, False)
    ]

    assert embedder("vertex", "text-embedding-005")._dialect.answer({"predictions": made}, 2).cut == 1


def test_gemini_counts_tokens_when_asked() -> None:
    dialect = embedder("gemini", "gemini-embedding-001")._dialect

    assert isinstance(dialect, CountsTokens)
    assert dialect.count_request("the ferry").path == "/models/gemini-embedding-001:countTokens"
    assert dialect.counted({"totalTokens": 31}) == 31
    with pytest.raises(ValueError, match="totalTokens"):
        dialect.counted({})


# What is said beside the vectors


def said(headers: dict[str, str], body: dict[str, Any] | None = None) -> list[tuple[NoticeKind, str, Any, str]]:
    found = notices(Reply(headers=headers, body=body or {}), channel="cohere", model="embed-english-v2.0")
    return [(notice.kind, notice.words, notice.moment, notice.link) for notice in found]


def test_deprecation_and_sunset_are_read_as_the_standards_write_them() -> None:
    link = (
        '<https://api.example/deprecations>; rel="deprecation"; type="text/html", <https://api.example/s>; rel=sunset'
    )
    headers = {"deprecation": "@1767225600", "sunset": "Tue, 30 Jun 2026 23:59:59 GMT", "link": link}

    assert said(headers) == [
        (
            NoticeKind.DEPRECATION,
            "@1767225600",
            datetime(2026, 1, 1, tzinfo=UTC),
            "https://api.example/deprecations",
        ),
        (
            NoticeKind.SUNSET,
            "Tue, 30 Jun 2026 23:59:59 GMT",
            datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC),
            "https://api.example/s",
        ),
    ]


def test_warnings_of_cohere_and_of_gateways_are_read() -> None:
    headers = {"x-api-warning": "model is deprecated", "warning": '299 - "use another one", 199 - "slow"'}

    assert [words for _, words, _, _ in said(headers, {"meta": {"warnings": ["will be removed"]}})] == [
        "model is deprecated",
        "use another one",
        "will be removed",
    ]


@pytest.mark.parametrize("headers", [{}, {"deprecation": "false"}, {"link": "<x>; rel=next"}, {"warning": "199 - x"}])
def test_silence_is_no_notice(headers: dict[str, str]) -> None:
    assert said(headers, {"meta": {"warnings": None}}) == []


def test_a_moment_that_nobody_can_read_is_not_guessed() -> None:
    assert said({"sunset": "next spring", "deprecation": "true"}) == [
        (NoticeKind.DEPRECATION, "true", None, ""),
        (NoticeKind.SUNSET, "next spring", None, ""),
    ]
