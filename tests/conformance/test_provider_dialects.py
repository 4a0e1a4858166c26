"""Every dialect against a server that speaks it, refuses in its words, and is sometimes not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import numpy as np
import pytest

import undrift
from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.http import HttpEmbedder, profiles
from undrift.domain.migration import RunStatus
from undrift.domain.notice import ModelNotice, NoticeKind
from undrift.errors import (
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    ModelRetired,
    ModelUnavailable,
    TextTooLong,
)
from undrift.flow.embed import EmbeddingDoor, Failing
from undrift.ports.embedder import WATCH, Embedder, Watch
from undrift.testing.clock import VirtualClock
from undrift.testing.embedders import EmbedderConformance
from undrift.testing.provider import AccountLimits, EmbeddingProvider, Spoil, rate_limited

D = 64
MODEL = HashingEmbedder(dimensions=D)
LIMIT = 1000
KEY = "secret-of-the-account"
TITAN, NOVA, COHERE = "amazon.titan-embed-text-v9", "amazon.nova-9", "cohere.embed-v9"
#: How each dialect reaches the server: provider, model, and where.
SPOKEN: dict[str, dict[str, Any]] = {
    "openai": {"provider": "openai", "name": "toy"},
    "azure": {"provider": "azure", "name": "toy", "deployment": "toy"},
    "azure-dated": {"provider": "azure", "name": "toy", "deployment": "toy", "api_version": "2024-10-21"},
    "cohere": {"provider": "cohere", "name": "toy"},
    "gemini": {"provider": "gemini", "name": "toy"},
    "vertex": {"provider": "vertex", "name": "toy", "region": "europe-west1", "project": "p"},
    "titan": {"provider": "bedrock", "name": TITAN, "region": "eu-central-1"},
    "nova": {"provider": "bedrock", "name": NOVA, "region": "eu-central-1"},
    "cohere-on-bedrock": {"provider": "bedrock", "name": COHERE, "region": "eu-central-1"},
    "voyage": {"provider": "voyage", "name": "toy"},
    "jina": {"provider": "jina", "name": "toy"},
    "nvidia": {"provider": "nvidia", "name": "toy"},
    "ollama": {"provider": "ollama", "name": "toy"},
}
#: Those that differ in more than the names of their keys.
DIALECTS = ("openai", "cohere", "gemini", "vertex", "titan", "cohere-on-bedrock", "ollama")


def serve(**options: Any) -> EmbeddingProvider:
    models = dict.fromkeys(("toy", TITAN, NOVA, COHERE), MODEL)
    return EmbeddingProvider(models, most_tokens=LIMIT, **{"api_key": KEY, **options})


def connect(provider: EmbeddingProvider, spoken: str, **options: Any) -> HttpEmbedder:
    embedder = HttpEmbedder(
        **{
            "base_url": provider.root,
            "api_key": KEY,
            "dimensions": D,
            "max_tokens": LIMIT,
            **SPOKEN[spoken],
            **options,
        }
    )
    embedder._sleep = lambda _: None
    return embedder


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    with serve() as running:
        yield running


class OverHttp(EmbedderConformance):
    spoken: ClassVar[str]
    running: ClassVar[EmbeddingProvider]

    @classmethod
    def setup_class(cls) -> None:
        cls.running = serve().start()

    @classmethod
    def teardown_class(cls) -> None:
        cls.running.stop()

    def make_embedder(self) -> Embedder:
        return connect(self.running, self.spoken)


class TestAzure(OverHttp):
    spoken = "azure"


class TestCohere(OverHttp):
    spoken = "cohere"


class TestGemini(OverHttp):
    spoken = "gemini"


class TestVertex(OverHttp):
    spoken = "vertex"


class TestTitan(OverHttp):
    spoken = "titan"


class TestOllama(OverHttp):
    spoken = "ollama"


@pytest.mark.parametrize("spoken", SPOKEN)
def test_vectors_arrive_in_order_and_the_sides_are_told_apart(provider: EmbeddingProvider, spoken: str) -> None:
    embedder = connect(provider, spoken)
    texts = ["the ferry", "the quay", "a light at sea"][: embedder.limits.batch_size]

    np.testing.assert_allclose(embedder.embed_documents(texts), MODEL.embed_documents(texts), atol=1e-6)
    embedder.embed_query("the ferry")
    embedder.close()

    document, query = provider.requests
    space = embedder.space
    assert (document.texts, query.texts) == (tuple(texts), ("the ferry",))
    assert (document.task, query.task) == (space.document_task, space.query_task)
    assert embedder.billed_tokens == (0 if spoken == "gemini" else document.tokens + query.tokens)


@pytest.mark.parametrize("spoken", ["openai", "azure", "cohere", "gemini", "vertex", "cohere-on-bedrock", "voyage"])
def test_shorter_vectors_are_asked_for_in_the_words_of_the_dialect(provider: EmbeddingProvider, spoken: str) -> None:
    embedder = connect(provider, spoken, dimensions=16, native_dimensions=D)

    assert embedder.embed_documents(["the ferry"]).shape == (1, 16)
    assert embedder.space.cut == 16
    embedder.close()


@pytest.mark.parametrize("spoken", DIALECTS)
def test_a_long_text_is_set_aside_or_cut_as_the_space_says(provider: EmbeddingProvider, spoken: str) -> None:
    long = "harbour " * (LIMIT + 5)
    refusing = connect(provider, spoken)
    with pytest.raises(TextTooLong):
        refusing.embed_query(long)
    done = EmbeddingDoor(refusing, clock=VirtualClock()).documents(["the ferry", long, "the quay"])

    assert {row: failure.reason for row, failure in done.failures.items()} == {1: Failing.TOO_LONG}
    refusing.close()
    if spoken not in ("openai", "titan"):
        cutting = connect(provider, spoken, truncation="cut")
        assert cutting.embed_documents([long]).shape == (1, D)
        cutting.close()


@pytest.mark.parametrize("spoken", DIALECTS)
def test_a_model_that_is_retired_in_the_middle_is_named_at_once_and_never_replaced(
    provider: EmbeddingProvider, spoken: str
) -> None:
    embedder = connect(provider, spoken, concurrency=1)
    name = embedder.space.model
    provider.retire(name, after=1)
    door = EmbeddingDoor(embedder, clock=VirtualClock())
    door.documents(["the ferry"])

    with pytest.raises(ModelUnavailable, match=f"model {name}") as caught:
        door.documents([f"text {number}" for number in range(50)])

    refused = [request for request in provider.requests if request.status != 200]
    # No batch is halved to look for a text that is to blame.
    assert len(refused) == 1
    assert {request.model for request in provider.requests} == {name}
    assert "with another model instead" in caught.value.detail
    assert f"undrift catalogue show {name}" in caught.value.hint
    door.close()


@pytest.mark.parametrize("spoken", ["openai", "titan"])
def test_who_says_that_a_model_is_gone_is_believed(provider: EmbeddingProvider, spoken: str) -> None:
    embedder = connect(provider, spoken)
    provider.retire(embedder.space.model)
    watch = Listening()
    token = WATCH.set(watch)
    try:
        for _ in range(2):
            with pytest.raises(ModelRetired, match="is retired at") as caught:
                embedder.embed_documents(["the ferry"])
    finally:
        WATCH.reset(token)
        embedder.close()

    assert "undrift plan ALIAS --to MODEL" in caught.value.hint
    assert [notice.kind for notice in embedder.notices] == [NoticeKind.RETIRED]
    assert watch.notices == embedder.notices


class Listening(Watch):
    def __init__(self) -> None:
        self.notices: list[ModelNotice] = []

    def told(self, notice: ModelNotice) -> None:
        self.notices.append(notice)


def test_what_a_provider_announces_is_told_once(provider: EmbeddingProvider) -> None:
    provider.announce("toy", {"Sunset": "Wed, 30 Jun 2027 00:00:00 GMT", "X-API-Warning": "use another model"})
    embedder = connect(provider, "cohere")
    watch = Listening()
    token = WATCH.set(watch)
    try:
        embedder.embed_documents(["the ferry"])
        embedder.embed_documents(["the quay"])
    finally:
        WATCH.reset(token)
        embedder.close()

    assert [(notice.channel, notice.model, notice.kind, notice.words) for notice in watch.notices] == [
        ("cohere", "toy", NoticeKind.SUNSET, "Wed, 30 Jun 2027 00:00:00 GMT"),
        ("cohere", "toy", NoticeKind.WARNING, "use another model"),
    ]
    assert embedder.notices == watch.notices


@pytest.mark.parametrize("spoken", DIALECTS)
def test_a_wrong_key_is_refused_and_not_shown(provider: EmbeddingProvider, spoken: str) -> None:
    embedder = connect(provider, spoken, api_key="wrong-key-of-somebody")

    with pytest.raises(ModelUnavailable, match="does not accept the key") as caught:
        embedder.embed_documents(["the ferry"])

    assert "wrong-key-of-somebody" not in str(caught.value)
    assert len(provider.requests) == 1
    embedder.close()


@pytest.mark.parametrize("spoken", DIALECTS)
def test_an_unknown_model_is_named(provider: EmbeddingProvider, spoken: str) -> None:
    unknown = {"titan": "amazon.titan-embed-none", "cohere-on-bedrock": "cohere.embed-none"}.get(
        spoken, "nobodys-model"
    )
    embedder = connect(provider, spoken, name=unknown)

    with pytest.raises(ModelUnavailable, match=f"has no model {unknown}"):
        embedder.embed_documents(["the ferry"])
    embedder.close()


@pytest.mark.parametrize("spoken", DIALECTS)
def test_being_too_fast_is_waited_out_as_long_as_the_provider_says(provider: EmbeddingProvider, spoken: str) -> None:
    waits: list[float] = []
    embedder = connect(provider, spoken)
    embedder._sleep = waits.append
    provider.script(rate_limited_for_ms(1500), rate_limited())

    embedder.embed_documents(["the ferry"])

    assert len(waits) == 2
    if spoken in ("openai", "gemini", "vertex", "ollama"):
        assert 1.5 <= waits[0] < 2
    embedder.close()


def rate_limited_for_ms(wait_ms: int) -> Any:
    from dataclasses import replace

    return replace(rate_limited(), headers={"retry-after-ms": str(wait_ms)})


def test_a_quota_of_nothing_is_hinted_at(provider: EmbeddingProvider) -> None:
    provider.script(*[rate_limited()] * 9)
    embedder = connect(provider, "titan")

    with pytest.raises(EmbedderUnavailable, match="limits the rate") as caught:
        embedder.embed_documents(["the ferry"])
    assert "Service Quotas" in caught.value.hint
    embedder.close()


@pytest.mark.parametrize("spoken", DIALECTS)
@pytest.mark.parametrize("fault", [Spoil.NOT_JSON, Spoil.NO_VECTORS, Spoil.TOO_FEW, Spoil.NAN, Spoil.SHORTER])
def test_a_spoiled_answer_is_never_used(provider: EmbeddingProvider, spoken: str, fault: Spoil) -> None:
    provider.script(*[fault] * 9)
    door = EmbeddingDoor(connect(provider, spoken), clock=VirtualClock())

    with pytest.raises(MalformedVectors):
        door.documents(["the ferry"])
    door.close()


@pytest.mark.parametrize("spoken", ["openai", "cohere", "gemini", "vertex", "cohere-on-bedrock"])
def test_what_is_too_much_for_one_request_is_sent_in_several(spoken: str) -> None:
    with serve(most_texts=8) as provider:
        embedder = connect(provider, spoken, batch_size=64)
        texts = [f"text {number}" for number in range(40)]
        done = EmbeddingDoor(embedder, clock=VirtualClock()).documents(texts)
        embedder.close()

    assert not done.failures
    np.testing.assert_allclose(done.vectors, MODEL.embed_documents(texts), atol=1e-6)


def test_a_request_with_too_many_tokens_is_halved_too() -> None:
    with serve(most_tokens_per_request=300) as provider:
        embedder = connect(provider, "openai", batch_size=64)
        texts = [f"{'word ' * 20} {number}" for number in range(40)]
        done = EmbeddingDoor(embedder, clock=VirtualClock()).documents(texts)
        embedder.close()

    assert not done.failures
    assert max(request.tokens for request in provider.requests) <= 300


def test_limits_are_kept_and_told_as_openai_does() -> None:
    with serve(limits=AccountLimits(requests_per_min=60, tokens_per_min=6000, bucket_s=60)) as provider:
        answer = httpx2.post(
            f"{provider.url}/embeddings",
            json={"model": "toy", "input": ["the ferry"]},
            headers={"Authorization": f"Bearer {KEY}"},
        )

    assert answer.headers["x-ratelimit-limit-requests"] == "60"
    assert answer.headers["x-ratelimit-remaining-requests"] == "59"


def test_a_model_that_silently_changes_is_another_model_behind_the_same_name(provider: EmbeddingProvider) -> None:
    other = HashingEmbedder(dimensions=D, seed="other")
    embedder = connect(provider, "openai")
    provider.swap("toy", other, after=1)

    before, after = (embedder.embed_documents(["the ferry"]) for _ in range(2))
    embedder.close()

    np.testing.assert_allclose(before, MODEL.embed_documents(["the ferry"]), atol=1e-6)
    np.testing.assert_allclose(after, other.embed_documents(["the ferry"]), atol=1e-6)


def test_the_server_lists_the_models_that_are_there(provider: EmbeddingProvider) -> None:
    provider.retire("toy")
    listed = httpx2.get(f"{provider.url}/models", headers={"Authorization": f"Bearer {KEY}"}).json()

    assert [model["id"] for model in listed["data"]] == [TITAN, NOVA, COHERE]
    assert httpx2.get(f"{provider.url}/models").status_code == 401


@pytest.mark.parametrize(("path", "status"), [("/v1/chat/completions", 404), ("/nothing", 404)])
def test_what_the_server_does_not_speak_it_does_not_answer(provider: EmbeddingProvider, path: str, status: int) -> None:
    assert httpx2.post(provider.root + path, json={}).status_code == status


# Credentials of the clouds


def test_requests_to_bedrock_are_signed_with_the_credentials_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFNOBODY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-nobody")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serve(api_key="AKIDOFNOBODY") as provider:
        embedder = connect(provider, "titan", api_key=None)
        seen: list[httpx2.Request] = []
        embedder._client().event_hooks["request"].append(seen.append)

        np.testing.assert_allclose(
            embedder.embed_documents(["the ferry"]), MODEL.embed_documents(["the ferry"]), atol=1e-6
        )
        embedder.close()

    signature = seen[0].headers["authorization"]
    assert "/eu-central-1/bedrock/aws4_request" in signature
    assert "x-amz-security-token" in signature
    assert seen[0].headers["x-amz-security-token"] == "a-session"
    assert "the-secret-of-nobody" not in str(seen[0].headers)


def test_bedrock_without_credentials_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    embedder = HttpEmbedder(provider="bedrock", name=TITAN, dimensions=D, region="eu-central-1")

    with pytest.raises(ModelUnavailable, match="needs credentials") as caught:
        embedder.embed_documents(["the ferry"])
    assert "aws configure" in caught.value.hint
    embedder.close()


class Token:
    """Credentials of Google's library, as far as it is asked for them."""

    def __init__(self, address: str) -> None:
        self.address, self.token, self.fetched = address, "", 0

    @property
    def valid(self) -> bool:
        return bool(self.token)

    def refresh(self, request: Any) -> None:
        answer = request(self.address, method="GET", headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status == 200
        assert json.loads(answer.data)["object"] == "list"
        self.token, self.fetched = KEY, self.fetched + 1


def test_tokens_of_google_are_fetched_with_our_own_client_and_kept(
    provider: EmbeddingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = pytest.importorskip("google.auth")
    token = Token(f"{provider.url}/models")
    monkeypatch.setattr(auth, "default", lambda scopes: (token, "a-project"))
    embedder = connect(provider, "vertex", api_key=None)

    for text in ("the ferry", "the quay"):
        assert embedder.embed_documents([text]).shape == (1, D)
    embedder.close()
    assert token.fetched == 1


def test_google_without_credentials_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("google.auth")
    from google.auth.exceptions import DefaultCredentialsError

    def none(scopes: list[str]) -> None:
        raise DefaultCredentialsError("there are none")

    monkeypatch.setattr(auth, "default", none)
    embedder = HttpEmbedder(provider="vertex", name="text-embedding-005", region="europe-west1", project="p")

    with pytest.raises(ModelUnavailable, match="needs credentials") as caught:
        embedder.embed_documents(["the ferry"])
    assert "gcloud auth" in caught.value.hint
    embedder.close()


# A migration

CONFIG = """
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 16
[models.new]
provider = "{provider}"
name = "toy"
base_url = "{url}"
dimensions = 64
paid = false
batch_size = 8
concurrency = 1
api_key_file = "key"
[aliases.kb]
store = "main"
model = "old"
"""


def test_a_migration_halts_when_its_model_is_retired(provider: EmbeddingProvider, tmp_path: Path) -> None:
    pytest.importorskip("sqlite_vec")
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    config = tmp_path / "undrift.toml"
    config.write_text(CONFIG.format(provider="openai", url=provider.url), encoding="utf-8")
    # The probe texts and the first pieces come through.
    provider.retire("toy", after=6)
    with undrift.open(config) as plane:
        alias = plane.alias("kb")
        alias.upsert([Document(id=f"d{number}", text=f"text {number}") for number in range(100)])
        plane.register("kb", "new")
        with pytest.raises(ModelRetired, match="model toy is retired"):
            plane.work("kb", lambda _: False)
        status = plane.status("kb")
        hits = alias.search("text 7", k=3)

    assert status["run_status"] == RunStatus.HALTED.value
    assert hits[0].id == "d7"
    assert {request.model for request in provider.requests} == {"toy"}


def test_every_provider_is_spoken_to_here() -> None:
    untested = set(profiles.PROFILES) - {one["provider"] for one in SPOKEN.values()}

    # These speak as OpenAI does, at other addresses; their requests are tested by themselves.
    assert untested == {"mistral", "together", "fireworks", "openrouter", "vllm", "tei", "infinity", "lm_studio"}


def test_a_refusal_of_one_text_is_still_looked_for(provider: EmbeddingProvider) -> None:
    embedder = connect(provider, "openai")
    with pytest.raises(EmbedderRejected):
        embedder.embed_documents([""])
    embedder.close()
