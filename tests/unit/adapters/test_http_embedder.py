from __future__ import annotations

import base64
import datetime
import json
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from typing import Any

import httpx2
import numpy as np
import pytest

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.http import HttpEmbedder, dialect
from undrift.adapters.embedders.http.refusal import is_unbilled, refusal
from undrift.errors import (
    BadArgument,
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    ModelChanged,
    TextTooLong,
    UndriftError,
)
from undrift.flow.embed import EmbeddingDoor, Failing
from undrift.testing.clock import VirtualClock
from undrift.testing.provider import (
    AnswerAs,
    EmbeddingProvider,
    Fault,
    Refuse,
    Spoil,
    Wait,
    quota_exhausted,
    rate_limited,
)

D = 64
KEY = "sk-do-not-tell-anybody-1234567890"
MODEL = HashingEmbedder(dimensions=D)
TEXTS = ["the ferry", "the quay", "a light at sea"]


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    with EmbeddingProvider({"toy": MODEL, "text-embedding-3-small": HashingEmbedder(dimensions=1536)}) as running:
        yield running


class Client:
    """An embedder whose waits are noted and not waited."""

    def __init__(self, base_url: str, **options: Any) -> None:
        self.embedder = HttpEmbedder(**{"name": "toy", "dimensions": D, "base_url": base_url, **options})
        self.waits: list[float] = []
        self.embedder._sleep = self.waits.append

    def embed(self, texts: list[str] = TEXTS) -> Any:
        return self.embedder.embed_documents(texts)


@pytest.fixture
def connect(provider: EmbeddingProvider) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        clients.append(Client(provider.url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.embedder.close()


Connect = Callable[..., Client]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_arrive_bit_for_bit(connect: Connect, encoding: str) -> None:
    np.testing.assert_array_equal(connect(encoding_format=encoding).embed(), MODEL.embed_documents(TEXTS))


def test_a_query_is_one_text(connect: Connect, provider: EmbeddingProvider) -> None:
    np.testing.assert_array_equal(connect().embedder.embed_query("the ferry"), MODEL.embed_query("the ferry"))
    assert provider.requests[0].texts == ("the ferry",)


def test_answers_out_of_order_are_put_in_order(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(Spoil.SHUFFLED)

    np.testing.assert_array_equal(connect().embed(), MODEL.embed_documents(TEXTS))


def test_dimensions_are_sent_only_where_they_cut(connect: Connect, provider: EmbeddingProvider) -> None:
    connect().embed()
    connect(name="text-embedding-3-small", dimensions=None).embed()
    connect(name="text-embedding-3-small", dimensions=1536).embed()
    cut = connect(name="text-embedding-3-small", dimensions=512)
    vectors = cut.embed()

    assert [request.body.get("dimensions") for request in provider.requests] == [None, None, None, 512]
    assert (cut.embedder.space.dimensions, cut.embedder.space.cut) == (512, 512)
    assert vectors.shape == (3, 512)


def test_what_a_server_of_ones_own_cuts_is_asked_for(connect: Connect, provider: EmbeddingProvider) -> None:
    client = connect(dimensions=16, native_dimensions=D)

    assert client.embed().shape == (3, 16)
    assert provider.requests[0].body["dimensions"] == client.embedder.space.cut == 16


def test_billed_tokens_are_added_up_from_the_answers(connect: Connect, provider: EmbeddingProvider) -> None:
    client = connect()
    client.embed()
    client.embed(["one more"])

    assert client.embedder.billed_tokens == sum(request.tokens for request in provider.requests) == 10


@pytest.mark.parametrize(
    "fault",
    [
        rate_limited(),
        Refuse(status=500),
        Refuse(status=503),
        Refuse(status=529),
        Refuse(status=408),
        Refuse(status=418, headers={"x-should-retry": "true"}),
        Spoil.HANG_UP,
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again(connect: Connect, provider: EmbeddingProvider, fault: Fault) -> None:
    provider.script(fault, fault)
    client = connect()

    np.testing.assert_array_equal(client.embed(), MODEL.embed_documents(TEXTS))
    assert len(client.waits) == 2
    assert 0 < client.waits[0] < client.waits[1] < 2


@pytest.mark.parametrize(("status", "requests"), [(500, 5), (503, 8)])
def test_a_request_that_a_server_fails_at_is_not_paid_for_as_often_as_one_that_it_refuses(
    connect: Connect, provider: EmbeddingProvider, status: int, requests: int
) -> None:
    provider.script(*[Refuse(status=status)] * 9)
    client = connect()

    with pytest.raises(EmbedderUnavailable):
        client.embed()

    assert len(client.waits) == requests - 1


@pytest.mark.parametrize(("status", "free"), [(429, True), (503, True), (500, False), (502, False), (504, False)])
def test_only_what_may_have_been_computed_may_have_been_billed(status: int, *, free: bool) -> None:
    assert is_unbilled(status) is free


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7, 7.5),
        ({"retry-after-ms": "1500", "Retry-After": "60"}, 1.5, 2),
        ({"Retry-After": "0"}, 0, 0.5),
        ({"Retry-After": "soon"}, 0.2, 1),
        ({}, 0.2, 1),
    ],
)
def test_the_servers_own_wait_is_honoured(
    connect: Connect, provider: EmbeddingProvider, headers: dict[str, str], least: float, most: float
) -> None:
    provider.script(Refuse(status=429, headers=headers))
    client = connect()
    client.embed()

    assert least <= client.waits[0] <= most


def test_the_servers_own_wait_may_be_a_date(connect: Connect, provider: EmbeddingProvider) -> None:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    provider.script(Refuse(status=503, headers={"Retry-After": format_datetime(moment)}))
    client = connect(patience_s=10_000)
    client.embed()

    assert 3000 < client.waits[0] < 3601


def test_a_wait_beyond_all_patience_is_not_begun(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(rate_limited(retry_after="3600"))
    client = connect(patience_s=60)

    with pytest.raises(EmbedderUnavailable, match="limits the rate"):
        client.embed()

    assert client.waits == []
    assert len(provider.requests) == 1


def test_a_query_is_waited_for_less_long_than_a_document(connect: Connect, provider: EmbeddingProvider) -> None:
    client = connect(patience_s=60, query_patience_s=5)
    provider.script(rate_limited(retry_after="30"))
    with pytest.raises(EmbedderUnavailable):
        client.embedder.embed_query("ferry")
    provider.script(rate_limited(retry_after="30"))
    client.embed()

    assert len(client.waits) == 1


def test_a_server_that_stays_down_is_given_up(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(*[Refuse(status=503, message="overloaded")] * 50)
    client = connect()

    with pytest.raises(EmbedderUnavailable, match=r"127\.0\.0\.1 cannot serve model toy") as caught:
        client.embed()

    assert "HTTP 503" in caught.value.detail
    assert "overloaded" in caught.value.detail
    assert len(provider.requests) == 8


def test_a_server_that_is_not_there_is_waited_for_and_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")

        with pytest.raises(EmbedderUnavailable, match=r"127\.0\.0\.1 did not answer for model toy"):
            client.embed()

    assert len(client.waits) == 7
    client.embedder.close()


def test_a_server_that_comes_back_is_used_again(provider: EmbeddingProvider) -> None:
    client = Client(provider.url)
    client.embed()
    port = int(provider.url.split(":")[2].split("/")[0])
    provider.stop()
    restarted: list[EmbeddingProvider] = []

    def restart(seconds: float) -> None:
        if not restarted:
            restarted.append(EmbeddingProvider({"toy": MODEL}, port=port).start())

    client.embedder._sleep = restart
    try:
        np.testing.assert_array_equal(client.embed(), MODEL.embed_documents(TEXTS))
    finally:
        client.embedder.close()
        restarted[0].stop()


def test_an_answer_that_takes_too_long_is_asked_for_again(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(Wait(seconds=60))
    client = connect(timeout_s=0.5)

    np.testing.assert_array_equal(client.embed(), MODEL.embed_documents(TEXTS))
    assert client.waits


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (quota_exhausted(), EmbedderRejected, "may not spend more"),
        (Refuse(status=401, code="invalid_api_key"), EmbedderRejected, "does not accept the key"),
        (Refuse(status=403, message="forbidden"), EmbedderRejected, "does not accept the key"),
        (Refuse(status=403, code="model_not_found", message="no access"), EmbedderRejected, "has no model"),
        (Refuse(status=410, message="Gone"), EmbedderRejected, "is retired"),
        (
            Refuse(status=400, message="Model X is not supported. Supported models are ['a']."),
            EmbedderRejected,
            "no model",
        ),
        (Refuse(status=400, message="'$.input' is invalid"), EmbedderRejected, "refused a request"),
        (
            Refuse(status=422, message="batch size 64 > maximum allowed batch size 32"),
            EmbedderRejected,
            "refused a request",
        ),
        (Refuse(status=500, headers={"x-should-retry": "false"}), EmbedderRejected, "refused a request"),
        (Refuse(status=308, headers={"Location": "https://elsewhere/v1"}), EmbedderRejected, "https://elsewhere/v1"),
        (
            Refuse(
                status=400, message="This model's maximum context length is 8192 tokens, however you requested 29265"
            ),
            TextTooLong,
            "longer than model toy",
        ),
        (Refuse(status=400, message="Invalid 'input[0]': maximum input length is 8192 tokens."), TextTooLong, "longer"),
        (Refuse(status=413, message="`inputs` must have less than 512 tokens. Given: 666"), TextTooLong, "longer"),
        (
            Refuse(
                status=400,
                code="max_tokens_per_request",
                message="Requested 306153 tokens, max 300000 tokens per request",
            ),
            EmbedderRejected,
            "refused a request",
        ),
    ],
    ids=lambda value: value.message[:30] if isinstance(value, Refuse) else "",
)
def test_what_cannot_pass_is_refused_at_once(
    connect: Connect, provider: EmbeddingProvider, fault: Refuse, error: type[UndriftError], words: str
) -> None:
    provider.script(fault)
    client = connect()

    with pytest.raises(error, match=words) as caught:
        client.embed()

    assert client.waits == []
    assert len(provider.requests) == 1
    assert f"HTTP {fault.status}" in caught.value.detail


def test_a_retired_model_is_named_and_nothing_is_embedded_with_another(
    connect: Connect, provider: EmbeddingProvider
) -> None:
    client = connect()
    client.embed()
    provider.retire("toy")

    with pytest.raises(EmbedderRejected, match="model toy is retired") as caught:
        client.embed()

    assert "undrift plan" in caught.value.hint
    assert {request.model for request in provider.requests} == {"toy"}


def test_an_unknown_model_is_named(connect: Connect) -> None:
    with pytest.raises(EmbedderRejected, match="has no model unheard-of"):
        connect(name="unheard-of").embed()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"error": {"message": "bad", "type": "invalid_request_error", "code": null}}', "invalid_request_error: bad"),
        ('{"error": "model \\"x\\" too old"}', 'model "x" too old'),
        ('{"detail": "Malformed request"}', "Malformed request"),
        ('{"object": "error", "message": "Too many inputs", "code": 3210}', "3210: Too many inputs"),
        ('{"error": "Input validation error", "error_type": "Validation"}', "Input validation error"),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ("<html>\n<h1>Bad   Request</h1></html>", "<h1>Bad Request</h1>"),
        ("", "HTTP 400"),
        ("[]", "[]"),
    ],
)
def test_every_form_of_an_error_body_is_shown(body: str, detail: str) -> None:
    found = refusal(400, {}, body.encode(), model="toy", host="example.com")

    assert detail in found.error.detail
    assert not found.may_change


@pytest.mark.parametrize("fault", [Spoil.NOT_JSON, Spoil.NO_VECTORS, Spoil.TOO_FEW, Spoil.BAD_INDEX])
def test_an_answer_that_cannot_be_read_is_refused(connect: Connect, provider: EmbeddingProvider, fault: Spoil) -> None:
    provider.script(fault)

    with pytest.raises(MalformedVectors, match=r"model toy at 127\.0\.0\.1"):
        connect().embed()


@pytest.mark.parametrize("fault", [Spoil.NAN, Spoil.ZERO, Spoil.SHORTER])
def test_bad_values_are_refused_at_the_door(connect: Connect, provider: EmbeddingProvider, fault: Spoil) -> None:
    provider.script(*[fault] * 9)

    with pytest.raises(MalformedVectors):
        EmbeddingDoor(connect().embedder, clock=VirtualClock()).documents(TEXTS[:1])


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"data": [{"index": 0, "embedding": "no base64!"}]}, "base64"),
        ({"data": [{"index": 0, "embedding": base64.b64encode(b"abc").decode()}]}, "base64 of float32"),
        ({"data": [{"index": 0, "embedding": None}]}, "missing"),
        ({"data": [{"index": 0, "embedding": []}]}, "missing"),
        ({"data": [{"index": 0, "embedding": [1, "x"]}]}, "list of numbers"),
        ({"data": [{"index": 0, "embedding": [[1.0]]}]}, "list of lists"),
        ({"data": [{"index": 1, "embedding": [1.0]}]}, "indexes"),
        ({"data": [[1.0]]}, "`data`"),
        ({"data": []}, "0 vectors for 1 texts"),
    ],
)
def test_a_malformed_vector_is_described(answer: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        dialect.vectors(answer, 1)


@pytest.mark.parametrize("content", [b"", b"null", b'["data"]', b"<html>"])
def test_an_answer_that_is_no_object_is_described(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        dialect.parse(content)


def test_ragged_vectors_are_refused() -> None:
    data = [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]

    with pytest.raises(ValueError, match="one length"):
        dialect.vectors({"data": data}, 2)


def test_vectors_without_an_index_are_taken_as_they_come() -> None:
    np.testing.assert_array_equal(dialect.vectors({"data": [{"embedding": [1]}, {"embedding": [2]}]}, 2), [[1], [2]])


def test_a_failure_behind_a_gateways_status_200_is_seen(connect: Connect) -> None:
    client = connect()
    answers = iter([{"error": {"code": 503, "message": "upstream"}}, {"error": {"code": 401, "message": "no"}}])
    client.embedder._opened = os.getpid(), FakeConnection(answers)  # type: ignore[assignment]

    with pytest.raises(EmbedderRejected, match="does not accept the key"):
        client.embed()

    assert len(client.waits) == 1


def test_requests_under_way_when_a_key_is_replaced_are_all_sent_again(connect: Connect) -> None:
    """Only the first of them sees the key change; none of them is a reason to halt."""
    client = connect(api_key=KEY)
    client.embedder.read_key_again(lambda: "sk-another-0123456789")
    old = httpx2.Request("POST", "http://localhost", headers={"Authorization": f"Bearer {KEY}"})
    new = httpx2.Request("POST", "http://localhost", headers={"Authorization": "Bearer sk-another-0123456789"})

    refused = [client.embedder._refusal(401, httpx2.Response(401, request=sent)) for sent in (old, old, new)]

    assert [one.may_change for one in refused] == [True, True, False]
    assert isinstance(refused[-1].error, EmbedderRejected)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"), "no certificate"),
        (httpx2.LocalProtocolError(f"Illegal header value {KEY}"), "cannot be sent"),
    ],
)
def test_a_connection_that_cannot_be_made_is_not_tried_again(connect: Connect, error: Exception, words: str) -> None:
    client = connect(api_key=KEY)
    client.embedder._opened = os.getpid(), FakeConnection(iter([error]))  # type: ignore[assignment]

    with pytest.raises(EmbedderRejected, match=words) as caught:
        client.embed()

    assert client.waits == []
    assert KEY not in str(caught.value)


class FakeConnection:
    """Answers, or errors to raise, in place of a network."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self.answers = answers

    def post(self, url: str, **options: Any) -> Any:
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(200, json=answer, request=httpx2.Request("POST", url))

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("text-embedding-3-small", "text-embedding-3-small", True),
        ("text-embedding-3-small", "text-embedding-3-small-2024-01-25", True),
        ("mistral-embed", "mistral-embed-2312", True),
        ("openai/text-embedding-3-small", "text-embedding-3-small", True),
        ("nomic-embed-text", "nomic-embed-text:latest", True),
        ("nomic-embed-text:latest", "nomic-embed-text", True),
        ("Toy", "toy", True),
        ("text-embedding-3-small", "text-embedding-3-large", False),
        ("voyage-4", "voyage-4-large", False),
        ("nomic-embed-text", "nomic-embed-text-v2", False),
        ("gemini-embedding", "gemini-embedding-2", False),
        ("toy", "to", False),
        ("toy", "another", False),
    ],
)
def test_another_model_is_told_from_a_dated_name(asked: str, answered: str, same: bool) -> None:
    assert (dialect.dated_name(asked, answered) is not None) is same


def test_an_answer_of_another_model_is_never_used(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(AnswerAs(model="toy-large"))

    with pytest.raises(ModelChanged, match="answered for model toy with model toy-large"):
        connect().embed()


def test_a_gateways_own_name_can_be_allowed(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(AnswerAs(model="deployment-7"), AnswerAs(model="toy"))
    client = connect(answers_as="deployment-7")

    assert client.embed().shape == (3, D)
    with pytest.raises(ModelChanged):
        client.embed()


def test_openais_second_name_of_ada_is_known(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.swap("text-embedding-ada-002", HashingEmbedder(dimensions=1536))
    provider.script(AnswerAs(model="text-embedding-ada-002-v2"))

    assert connect(name="text-embedding-ada-002", dimensions=None).embed().shape == (3, 1536)


def test_a_revision_that_changes_while_it_is_used_is_seen(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(AnswerAs(model="toy-2026-01-01"), None, AnswerAs(model="toy-2026-02-02"))
    client = connect()
    client.embed()
    client.embed()

    with pytest.raises(ModelChanged, match="changed the revision of model toy"):
        client.embed()


def test_the_key_is_sent_and_never_shown(provider: EmbeddingProvider) -> None:
    seen: list[str] = []
    with EmbeddingProvider({"toy": MODEL}, api_key=KEY) as guarded:
        client = Client(guarded.url, api_key=KEY, headers={"x-gateway": "another-secret"})
        client.embed()
        guarded.script(
            Refuse(status=401, message="Incorrect API key provided: {key}"),
            Refuse(status=400, message="x" * 480 + "you sent {key} and another-secret"),
            *[Refuse(status=500, message="crashed with {key}")] * 9,
        )
        for error in (EmbedderRejected, EmbedderRejected, EmbedderUnavailable):
            with pytest.raises(error) as caught:
                client.embed()
            seen += [
                str(caught.value),
                repr(caught.value),
                repr(caught.value.__cause__),
                repr(caught.value.__context__),
            ]
        seen += [repr(client.embedder), str(client.embedder.space)]
        client.embedder.close()

    assert "***" in "".join(seen)
    assert KEY[:10] not in "".join(seen)
    assert "another-secret" not in "".join(seen)


def test_a_wrong_key_says_where_to_look(connect: Connect) -> None:
    with EmbeddingProvider({"toy": MODEL}, api_key=KEY) as guarded:
        client = Client(guarded.url, api_key="sk-wrong")
        with pytest.raises(EmbedderRejected, match="does not accept the key for model toy") as caught:
            client.embed()
        client.embedder.close()

    assert "api_key_env" in caught.value.hint


@pytest.mark.parametrize("key", ["line\nbreak", "caf\u00e9", "tab\t"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(BadArgument) as caught:
        HttpEmbedder(name="toy", dimensions=D, api_key=key)

    assert key not in str(caught.value)


def test_the_password_in_an_address_is_not_shown() -> None:
    embedder = HttpEmbedder(name="toy", dimensions=D, base_url="http://user:hunter2@localhost:1/v1")

    assert "hunter2" not in repr(embedder) + str(embedder.space)


@pytest.mark.parametrize(
    ("options", "dimensions", "cut"),
    [
        ({"name": "text-embedding-ada-002"}, 1536, None),
        ({"name": "text-embedding-3-small"}, 1536, None),
        ({"name": "text-embedding-3-large"}, 3072, None),
        ({"name": "text-embedding-3-large", "dimensions": 256}, 256, 256),
        ({"name": "bge-m3", "dimensions": 1024}, 1024, None),
        ({"name": "qwen", "dimensions": 256, "native_dimensions": 1024}, 256, 256),
    ],
)
def test_dimensions_are_known_before_the_first_request(
    options: dict[str, Any], dimensions: int, cut: int | None
) -> None:
    space = HttpEmbedder(**options).space

    assert (space.dimensions, space.cut) == (dimensions, cut)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "unheard-of"},
        {"name": "text-embedding-ada-002", "dimensions": 512},
        {"name": "text-embedding-3-small", "dimensions": 3072},
        {"name": "bge-m3", "dimensions": 0},
        {"name": "toy", "dimensions": D, "base_url": "localhost:8080"},
        {"name": "toy", "dimensions": D, "base_url": "ftp://localhost"},
    ],
)
def test_what_cannot_be_is_refused_before_the_first_request(options: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        HttpEmbedder(**options)


@pytest.mark.parametrize(
    ("base_url", "sent_to"),
    [
        ("http://localhost:8080", "http://localhost:8080/v1/embeddings"),
        ("http://localhost:8080/", "http://localhost:8080/v1/embeddings"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1/embeddings"),
        ("https://host/openai/v1/", "https://host/openai/v1/embeddings"),
    ],
)
def test_an_address_may_be_written_with_or_without_its_version(base_url: str, sent_to: str) -> None:
    assert HttpEmbedder(name="toy", dimensions=D, base_url=base_url)._base_url + "/embeddings" == sent_to


@pytest.mark.parametrize(
    ("base_url", "paid", "channel"),
    [
        ("https://api.openai.com/v1", True, "openai"),
        ("https://api.mistral.ai/v1", True, "api.mistral.ai"),
        ("http://localhost:8080", False, "localhost"),
        ("http://127.0.0.1:8080", False, "localhost"),
        ("http://[::1]:8080", False, "localhost"),
        ("http://10.1.2.3", False, "10.1.2.3"),
        ("http://tei:80", False, "tei"),
        ("http://gpu.internal", False, "gpu.internal"),
        ("http://8.8.8.8", True, "8.8.8.8"),
    ],
)
def test_who_is_not_on_this_network_is_taken_to_send_a_bill(base_url: str, paid: bool, channel: str) -> None:
    embedder = HttpEmbedder(name="toy", dimensions=D, base_url=base_url)

    assert (embedder.limits.paid, embedder.space.channel) == (paid, channel)
    assert HttpEmbedder(name="toy", dimensions=D, base_url=base_url, paid=not paid).limits.paid is not paid


def test_prices_are_openais_or_the_users() -> None:
    assert HttpEmbedder(name="text-embedding-3-small").limits.usd_per_million_tokens == 0.02
    assert HttpEmbedder(name="text-embedding-3-small", usd_per_million_tokens=0.5).limits.usd_per_million_tokens == 0.5
    assert HttpEmbedder(name="toy", dimensions=D).limits.usd_per_million_tokens == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("a", 1), ("abcd", 1), ("abcde", 2), ("a" * 400, 100), ("渡し船", 3), ("渡し船 abc", 4), ("é", 1), ("", 1)],
)
def test_tokens_are_estimated_by_the_documented_rule(text: str, tokens: int) -> None:
    counted = HttpEmbedder(name="toy", dimensions=D).count_tokens([text, text])

    assert counted.tokens == 2 * tokens
    assert not counted.exact


def test_a_long_text_among_others_is_isolated_through_the_door(connect: Connect) -> None:
    with EmbeddingProvider({"toy": MODEL}, most_tokens=50, most_texts=4) as strict:
        client = Client(strict.url, batch_size=8)
        texts = [*(f"text {number}" for number in range(12)), "long " * 60]
        embedded = EmbeddingDoor(client.embedder, clock=VirtualClock()).documents(texts)
        client.embedder.close()

    assert {row: failure.reason for row, failure in embedded.failures.items()} == {12: Failing.TOO_LONG}
    np.testing.assert_allclose(embedded.vectors[:12], MODEL.embed_documents(texts[:12]), atol=1e-6)


def test_a_wrong_key_is_raised_and_quarantines_nothing(connect: Connect) -> None:
    with EmbeddingProvider({"toy": MODEL}, api_key=KEY) as guarded:
        client = Client(guarded.url, api_key="sk-wrong", batch_size=8)
        with pytest.raises(EmbedderRejected, match="does not accept the key"):
            EmbeddingDoor(client.embedder, clock=VirtualClock()).documents([f"text {number}" for number in range(40)])
        requests = guarded.requests
        client.embedder.close()

    # Five batches of eight: 8, 4, 2, 1 texts and the control text each, and not one request a text.
    assert len(requests) <= 5 * 5


def test_a_child_process_does_not_speak_on_its_parents_connections(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    client.embed()
    parents = client.embedder._opened
    monkeypatch.setattr(os, "getpid", lambda: -1)
    np.testing.assert_array_equal(client.embed(), MODEL.embed_documents(TEXTS))

    assert client.embedder._opened is not None
    assert client.embedder._opened[1] is not parents[1]  # type: ignore[index]
    client.embedder.close()
    monkeypatch.undo()
    parents[1].close()  # type: ignore[index]


def test_a_closed_embedder_opens_again(connect: Connect) -> None:
    client = connect()
    client.embed()
    client.embedder.close()
    client.embedder.close()

    assert client.embed().shape == (3, D)


def test_errors_survive_a_process_boundary(connect: Connect, provider: EmbeddingProvider) -> None:
    provider.script(Refuse(status=401))
    with pytest.raises(EmbedderRejected) as caught:
        connect().embed()

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_provider_refuses_what_openai_refuses(provider: EmbeddingProvider) -> None:
    def post(content: bytes | str, path: str = "/embeddings") -> int:
        return httpx2.post(provider.url + path, content=content).status_code

    assert post("{") == 400
    assert post("[]") == 400
    assert post("{}", "/nothing") == 404
    assert post(json.dumps({"model": "toy", "input": [""]})) == 400
    assert post(json.dumps({"model": "toy", "input": []})) == 400
    assert post(json.dumps({"model": "toy", "input": "one text"})) == 400
    assert post(json.dumps({"model": "toy", "input": ["ferry"]})) == 200
