from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from undrift import telemetry
from undrift.adapters.embedders.callable import CallableEmbedder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.record import ContentHash, Vector, Vectors, content_hash
from undrift.domain.space import SpaceId
from undrift.errors import (
    BadArgument,
    BudgetExhausted,
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    TextTooLong,
)
from undrift.flow.embed import CONTROL_TEXT, EmbeddingDoor, Failing
from undrift.flow.line import ATTEMPTS
from undrift.flow.oversight import Oversight
from undrift.ports.embedder import Embedder, EmbedderLimits
from undrift.testing.clock import VirtualClock
from undrift.testing.embedders import Fault, FaultyEmbedder

D = 32
MODEL = HashingEmbedder(dimensions=D)
KEPT = EmbedderLimits(batch_size=4, concurrency=1, worth_keeping=True)
PARALLEL = EmbedderLimits(batch_size=4, concurrency=3, worth_keeping=True)
WORDS = [f"word{number} " + "harbour " * (number % 5) for number in range(11)]


class MemoryCache:
    """The port, in a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[SpaceId, ContentHash], Vector] = {}

    def get(self, space: SpaceId, hashes: Iterable[ContentHash]) -> dict[ContentHash, Vector]:
        return {hash: self.kept[space, hash] for hash in hashes if (space, hash) in self.kept}

    def put(self, space: SpaceId, hashes: Sequence[ContentHash], vectors: Vectors) -> None:
        for hash, vector in zip(hashes, vectors, strict=True):
            self.kept.setdefault((space, hash), vector.copy())

    def forget(self, space: SpaceId, hashes: Iterable[ContentHash]) -> None:
        for hash in hashes:
            self.kept.pop((space, hash), None)

    def close(self) -> None: ...


class Purse:
    """A purse that remembers, with a limit."""

    def __init__(self, limit: int = 10**9) -> None:
        self.limit = limit
        self.spent = 0
        self.asked: list[int] = []
        self.lock = threading.Lock()

    def reserve(self, tokens: int) -> bool:
        with self.lock:
            if self.spent + tokens > self.limit:
                raise BudgetExhausted("the next request would cost more than is left")
            self.asked.append(tokens)
            self.spent += tokens
        return True

    def settle(self, reserved: int, billed: int) -> None:
        with self.lock:
            self.spent += billed - reserved


def faulty(*faults: Fault | None, limits: EmbedderLimits = KEPT, **options: object) -> FaultyEmbedder:
    return FaultyEmbedder(MODEL, faults=faults, limits=limits, **options)  # type: ignore[arg-type]


def door_to(embedder: Embedder, cache: MemoryCache | None = None) -> EmbeddingDoor:
    return EmbeddingDoor(embedder, clock=VirtualClock(), cache=cache)


def truth(texts: Sequence[str]) -> Vectors:
    return np.concatenate([MODEL.embed_documents([text]) for text in texts])


def sent(embedder: FaultyEmbedder) -> list[str]:
    return [text for call in embedder.calls for text in call]


@pytest.mark.parametrize("limits", [KEPT, PARALLEL])
def test_every_text_gets_its_own_vector_whatever_batch_it_was_in(limits: EmbedderLimits) -> None:
    embedder = faulty(limits=limits)
    door = door_to(embedder)

    embedded = door.documents(WORDS)
    door.close()

    np.testing.assert_allclose(embedded.vectors, truth([text.strip() for text in WORDS]), atol=1e-6)
    assert embedded.vectors.dtype == np.float32
    assert embedded.vectors.flags.c_contiguous
    assert not embedded.failures
    assert sorted(map(len, embedder.calls)) == [3, 4, 4]


def test_texts_of_like_length_share_a_batch_longest_first() -> None:
    embedder = faulty()
    door_to(embedder).documents(["a" * length for length in (3, 9, 1, 7, 5, 2, 8, 4)])

    assert [[len(text) for text in call] for call in embedder.calls] == [[9, 8, 7, 5], [4, 3, 2, 1]]


def test_no_texts_are_no_call() -> None:
    embedder = faulty()

    embedded = door_to(embedder).documents([])

    assert embedded.vectors.shape == (0, D)
    assert (embedded.tokens, embedded.reused, embedded.failures) == (0, 0, {})
    assert not embedder.calls


def test_the_prefixes_of_the_space_are_put_in_front_on_their_own_side() -> None:
    seen: list[str] = []

    def remember(texts: list[str]) -> Vectors:
        seen.extend(texts)
        return MODEL.embed_documents(texts)

    door = door_to(
        CallableEmbedder(function=remember, dimensions=D, name="m", document_prefix="passage: ", query_prefix="query: ")
    )
    door.documents(["  harbour\r\n"])
    door.query(" ferry ")

    assert seen == ["passage: harbour", "query: ferry"]


def test_the_same_text_in_another_form_is_sent_once() -> None:
    embedder = faulty()

    embedded = door_to(embedder).documents(["caf\u00e9", "  cafe\u0301\n", "tea", "caf\u00e9"])

    assert sorted(sent(embedder)) == ["caf\u00e9", "tea"]
    assert embedded.reused == 2
    np.testing.assert_array_equal(embedded.vectors[0], embedded.vectors[1])
    np.testing.assert_array_equal(embedded.vectors[0], embedded.vectors[3])


def test_what_is_in_the_cache_is_not_sent_again() -> None:
    cache = MemoryCache()
    door_to(faulty(), cache).documents(WORDS[:5])
    embedder = faulty()
    before = telemetry.counted(telemetry.Metric.TEXTS_REUSED), telemetry.counted(telemetry.Metric.TEXTS_EMBEDDED)

    embedded = door_to(embedder, cache).documents(WORDS)

    assert embedded.reused == 5
    assert len(sent(embedder)) == 6
    np.testing.assert_allclose(embedded.vectors, truth([text.strip() for text in WORDS]), atol=1e-6)
    assert telemetry.counted(telemetry.Metric.TEXTS_REUSED) - before[0] == 5
    assert telemetry.counted(telemetry.Metric.TEXTS_EMBEDDED) - before[1] == 6


def test_what_is_not_worth_keeping_is_not_cached() -> None:
    cache = MemoryCache()

    door_to(MODEL, cache).documents(WORDS)

    assert not cache.kept


@pytest.mark.parametrize(
    "damage",
    [np.zeros(D, np.float32), np.full(D, np.nan, np.float32), np.ones(D, np.float32), np.ones(D - 1, np.float32)],
    ids=["zero", "nan", "not unit length", "wrong dimensions"],
)
def test_a_damaged_vector_of_the_cache_is_made_again(damage: Vector) -> None:
    cache = MemoryCache()
    cache.kept[MODEL.space.id, content_hash("ferry")] = damage

    embedded = door_to(faulty(), cache).documents(["ferry"])

    np.testing.assert_allclose(embedded.vectors, truth(["ferry"]), atol=1e-6)
    assert embedded.reused == 0


def test_what_was_answered_before_a_failure_is_in_the_cache() -> None:
    cache = MemoryCache()
    embedder = faulty(None, *[Fault.UNAVAILABLE] * ATTEMPTS)

    with pytest.raises(EmbedderUnavailable):
        door_to(embedder, cache).documents(WORDS)

    assert len(cache.kept) == KEPT.batch_size


def test_a_failure_of_one_worker_ends_the_call_and_keeps_what_the_others_have() -> None:
    cache = MemoryCache()
    embedder = FaultyEmbedder(MODEL, limits=PARALLEL, poison={WORDS[3].strip(): Fault.TOO_FEW})
    door = door_to(embedder, cache)

    with pytest.raises(MalformedVectors):
        door.documents([*WORDS, *(f"more {number}" for number in range(9))])
    door.close()

    assert all(len(call) <= PARALLEL.batch_size for call in embedder.calls)
    assert content_hash(WORDS[3]) not in {hash for _, hash in cache.kept}


def test_a_short_outage_is_waited_for() -> None:
    clock = VirtualClock()
    embedder = faulty(Fault.UNAVAILABLE, Fault.UNAVAILABLE)

    embedded = EmbeddingDoor(embedder, clock=clock).documents(["ferry"])

    assert not embedded.failures
    assert clock.monotonic() - VirtualClock().monotonic() == pytest.approx(0.5 + 1.0)


def test_an_outage_is_not_waited_for_forever() -> None:
    embedder = faulty(*[Fault.UNAVAILABLE] * 50)

    with pytest.raises(EmbedderUnavailable):
        door_to(embedder).documents(["ferry"])

    assert len(embedder.calls) == ATTEMPTS


def test_a_model_that_has_waited_long_by_itself_is_not_asked_again() -> None:
    clock = VirtualClock()
    calls = []

    def patient(texts: list[str]) -> Vectors:
        calls.append(texts)
        clock.advance(60)
        raise ConnectionError("gave up after a minute")

    door = EmbeddingDoor(CallableEmbedder(function=patient, dimensions=D, name="m"), clock=clock)
    with pytest.raises(EmbedderUnavailable):
        door.documents(["ferry"])

    assert len(calls) == 1


@pytest.mark.parametrize("limits", [KEPT, PARALLEL])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.REJECTED, Failing.REJECTED),
        (Fault.TOO_LONG, Failing.TOO_LONG),
        (Fault.NAN, Failing.MALFORMED),
        (Fault.ZERO, Failing.MALFORMED),
        (Fault.STRETCHED, Failing.MALFORMED),
    ],
)
def test_one_poisonous_text_fails_alone(fault: Fault, reason: Failing, limits: EmbedderLimits) -> None:
    bad = 6
    embedder = FaultyEmbedder(MODEL, limits=limits, poison={WORDS[bad].strip(): fault})
    cache = MemoryCache()
    door = door_to(embedder, cache)

    embedded = door.documents(WORDS)
    door.close()

    assert {row: failure.reason for row, failure in embedded.failures.items()} == {bad: reason}
    assert embedded.failures[bad].detail
    assert np.isnan(embedded.vectors[bad]).all()
    others = [row for row in range(len(WORDS)) if row != bad]
    np.testing.assert_allclose(embedded.vectors[others], truth([WORDS[row].strip() for row in others]), atol=1e-6)
    assert content_hash(WORDS[bad]) not in {hash for _, hash in cache.kept}


WORK = Oversight(is_work=True)


@pytest.mark.parametrize("limits", [KEPT, PARALLEL])
def test_a_text_that_a_server_fails_at_again_and_again_fails_alone(limits: EmbedderLimits) -> None:
    embedder = FaultyEmbedder(MODEL, limits=limits, poison={WORDS[6].strip(): Fault.FAILED})
    door = door_to(embedder, MemoryCache())

    embedded = door.documents(WORDS, oversight=WORK)
    door.close()

    assert {row: failure.reason for row, failure in embedded.failures.items()} == {6: Failing.REJECTED}
    assert "fails" in embedded.failures[6].detail
    others = [row for row in range(len(WORDS)) if row != 6]
    np.testing.assert_allclose(embedded.vectors[others], truth([WORDS[row].strip() for row in others]), atol=1e-6)
    # The next batches are as large as before.
    assert len(door.documents([f"more {n}" for n in range(8)], oversight=WORK).vectors) == 8
    assert len(embedder.calls[-1]) == limits.batch_size


def test_a_batch_that_gets_no_answer_while_another_text_does_is_halved() -> None:
    embedder = FaultyEmbedder(MODEL, limits=KEPT, faults=[*[Fault.UNAVAILABLE] * ATTEMPTS])

    embedded = door_to(embedder).documents(WORDS[:4], oversight=WORK)

    assert not embedded.failures
    assert [len(call) for call in embedder.calls] == [*[4] * ATTEMPTS, 1, 2, 2]


def test_a_single_text_is_not_blamed_for_an_outage() -> None:
    embedder = FaultyEmbedder(MODEL, limits=KEPT, poison={"ferry": Fault.UNAVAILABLE})

    with pytest.raises(EmbedderUnavailable):
        door_to(embedder).documents(["ferry"], oversight=WORK)


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.UNAVAILABLE])
def test_a_silent_server_is_asked_for_little_until_it_answers(fault: Fault) -> None:
    """Each request that fails may be billed with the most that it can have cost."""
    down = [fault] * (5 * ATTEMPTS)
    embedder, purse = FaultyEmbedder(MODEL, limits=KEPT, faults=down), Purse()
    door = door_to(embedder, MemoryCache())

    for _ in range(4):
        with pytest.raises(EmbedderUnavailable):
            door.documents(WORDS, oversight=WORK, purse=purse)
    embedded = door.documents(WORDS, oversight=WORK, purse=purse)

    assert not embedded.failures
    assert [len(call) for call in embedder.calls[: len(down)]] == [*[4] * ATTEMPTS, *[1] * (4 * ATTEMPTS)]
    assert len(embedder.calls) == len(down) + 1 + 3


def test_what_an_application_writes_does_not_wait_for_a_control_text() -> None:
    embedder = FaultyEmbedder(MODEL, limits=KEPT, poison={"ferry": Fault.FAILED})

    with pytest.raises(EmbedderUnavailable):
        door_to(embedder).documents(["ferry", "harbour"])

    assert CONTROL_TEXT not in sent(embedder)


def test_good_texts_of_a_refused_batch_are_paid_for_once() -> None:
    embedder = faulty(poison={WORDS[0].strip(): Fault.REJECTED})

    door_to(embedder).documents(WORDS)

    answered = [text for call in embedder.calls if WORDS[0].strip() not in call for text in call]
    assert sorted(answered) == sorted([*(text.strip() for text in WORDS[1:]), CONTROL_TEXT])


def test_a_refusal_of_everything_is_nobodys_fault_and_is_raised() -> None:
    embedder = FaultyEmbedder(MODEL, limits=KEPT, faults=[Fault.REJECTED] * 99)

    with pytest.raises(EmbedderRejected, match="refuses the request"):
        door_to(embedder).documents(WORDS)

    assert len(embedder.calls) < 6


def test_a_model_that_is_refused_in_the_middle_does_not_quarantine_the_rest() -> None:
    embedder = FaultyEmbedder(MODEL, limits=KEPT, faults=[None, *[Fault.REJECTED] * 99])

    with pytest.raises(EmbedderRejected):
        door_to(embedder).documents(WORDS)


def test_a_model_that_gives_only_bad_vectors_is_not_the_texts_fault() -> None:
    for fault in (Fault.NAN, Fault.ZERO, Fault.STRETCHED):
        with pytest.raises(MalformedVectors):
            door_to(faulty(*[fault] * 99)).documents(["ferry"])


def test_a_bad_row_that_is_good_when_asked_again_is_no_failure() -> None:
    embedded = door_to(faulty(Fault.NAN)).documents(WORDS[:4])

    assert not embedded.failures
    np.testing.assert_allclose(embedded.vectors, truth([text.strip() for text in WORDS[:4]]), atol=1e-6)


@pytest.mark.parametrize("fault", [Fault.TOO_FEW, Fault.SHORTER, Fault.WORDS])
def test_an_answer_of_another_shape_is_refused_whole(fault: Fault) -> None:
    cache = MemoryCache()

    with pytest.raises(MalformedVectors, match=MODEL.space.model):
        door_to(faulty(fault), cache).documents(WORDS[:4])

    assert not cache.kept


def test_batches_that_are_too_much_for_a_request_become_smaller_and_stay_so() -> None:
    calls: list[int] = []

    def at_most_two(texts: list[str]) -> Vectors:
        calls.append(len(texts))
        if len(texts) > 2:
            raise ValueError("too many inputs")
        return MODEL.embed_documents(texts)

    door = door_to(CallableEmbedder(function=at_most_two, dimensions=D, name="m", batch_size=8))
    first = door.documents(WORDS[:8])
    calls.clear()
    second = door.documents(WORDS[:8])

    assert not first.failures
    assert not second.failures
    assert calls == [2, 2, 2, 2]


def test_blank_and_broken_texts_fail_without_a_call() -> None:
    embedder = faulty()

    embedded = door_to(embedder).documents(["", " \n\t", "half \ud800 pair", "fine"])

    assert {row: failure.reason for row, failure in embedded.failures.items()} == {
        0: Failing.BLANK,
        1: Failing.BLANK,
        2: Failing.NOT_UNICODE,
    }
    assert sent(embedder) == ["fine"]


@pytest.mark.parametrize("texts", ["one text", [b"bytes"], [None]])
def test_what_is_no_list_of_texts_is_the_callers_mistake(texts: list[str]) -> None:
    with pytest.raises(BadArgument):
        door_to(MODEL).documents(texts)


def test_tokens_are_counted_with_the_prefix() -> None:
    door = door_to(CallableEmbedder(function=MODEL.embed_documents, dimensions=D, name="m", document_prefix="12345678"))

    assert door.documents(["abcd"]).tokens == 3
    assert door.count_tokens(["abcd", "abcd"]) == (6, False)


def test_spending_is_asked_for_before_each_request() -> None:
    purse = Purse()
    embedder = faulty()

    embedded = door_to(embedder).documents(WORDS, purse=purse)

    assert len(purse.asked) == len(embedder.calls) == 3
    assert purse.spent == embedded.tokens == MODEL.count_tokens(WORDS).tokens


def test_a_refused_request_is_given_back() -> None:
    purse = Purse()
    embedder = faulty(poison={WORDS[0].strip(): Fault.REJECTED})

    embedded = door_to(embedder).documents(WORDS, purse=purse)

    good = MODEL.count_tokens([*WORDS[1:], CONTROL_TEXT]).tokens
    assert purse.spent == embedded.tokens == good


@pytest.mark.parametrize("limits", [KEPT, PARALLEL])
def test_an_exhausted_budget_stops_before_the_request(limits: EmbedderLimits) -> None:
    embedder = faulty(limits=limits)
    cache = MemoryCache()
    first_batch = sorted((text.strip() for text in WORDS), key=len, reverse=True)[:4]
    purse = Purse(limit=MODEL.count_tokens(first_batch).tokens)
    door = door_to(embedder, cache)

    with pytest.raises(BudgetExhausted):
        door.documents(WORDS, purse=purse)
    door.close()

    assert purse.spent == MODEL.count_tokens(sent(embedder)).tokens <= purse.limit
    assert len(cache.kept) == len(sent(embedder))


def test_no_more_calls_run_at_once_than_the_model_takes_over_all_threads() -> None:
    running = threading.Semaphore(PARALLEL.concurrency)
    crowded = threading.Event()
    full = threading.Barrier(PARALLEL.concurrency)

    def busy(texts: list[str]) -> Vectors:
        if not running.acquire(blocking=False):
            crowded.set()
            raise AssertionError("more calls than the model takes")
        try:
            full.wait(timeout=30)
            return MODEL.embed_documents(texts)
        finally:
            running.release()

    door = door_to(
        CallableEmbedder(function=busy, dimensions=D, name="m", batch_size=1, concurrency=PARALLEL.concurrency)
    )
    threads = [threading.Thread(target=door.documents, args=([f"{name} {n}" for n in range(6)],)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    door.close()

    assert not crowded.is_set()
    assert not full.broken


def test_a_query_does_not_wait_for_a_batch_of_documents() -> None:
    inside, let_go = threading.Event(), threading.Event()

    def slow(texts: list[str]) -> Vectors:
        inside.set()
        assert let_go.wait(timeout=30)
        return MODEL.embed_documents(texts)

    door = door_to(
        CallableEmbedder(function=slow, query_function=MODEL.embed_documents, dimensions=D, name="m", concurrency=1)
    )
    thread = threading.Thread(target=door.documents, args=(["ferry"],))
    thread.start()
    assert inside.wait(timeout=30)
    vector = door.query("ferry")
    let_go.set()
    thread.join()

    np.testing.assert_allclose(vector, truth(["ferry"])[0], atol=1e-6)


@pytest.mark.parametrize("text", ["", "  \n", None, "half \ud800 pair"])
def test_a_query_that_is_no_text_is_the_callers_mistake(text: str) -> None:
    embedder = faulty()

    with pytest.raises(BadArgument):
        door_to(embedder).query(text)

    assert not embedder.calls


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.NAN, MalformedVectors),
        (Fault.ZERO, MalformedVectors),
        (Fault.STRETCHED, MalformedVectors),
        (Fault.SHORTER, MalformedVectors),
        (Fault.TOO_LONG, TextTooLong),
        (Fault.REJECTED, EmbedderRejected),
    ],
)
def test_a_query_is_checked_like_a_document(fault: Fault, error: type[Exception]) -> None:
    with pytest.raises(error):
        door_to(faulty(fault)).query("ferry")


def test_fresh_vectors_pass_the_cache_by() -> None:
    cache = MemoryCache()
    cache.kept[MODEL.space.id, content_hash("ferry")] = truth(["something else"])[0]

    purse = Purse()
    fresh = door_to(faulty(), cache).fresh([" ferry ", *WORDS], purse=purse)

    assert purse.spent == MODEL.count_tokens(["ferry", *WORDS]).tokens
    np.testing.assert_allclose(fresh, truth(["ferry", *(text.strip() for text in WORDS)]), atol=1e-6)


def test_fresh_vectors_are_checked() -> None:
    with pytest.raises(MalformedVectors):
        door_to(faulty(Fault.NAN)).fresh(["ferry"])


def test_an_answer_in_another_number_format_is_brought_to_float32() -> None:
    def halves(texts: list[str]) -> object:
        return np.asfortranarray(MODEL.embed_documents(texts).astype(np.float64))

    embedded = door_to(CallableEmbedder(function=halves, dimensions=D, name="m", normalized=True)).documents(WORDS)

    assert embedded.vectors.dtype == np.float32


def test_a_value_beyond_float32_is_not_finite() -> None:
    def huge(texts: list[str]) -> object:
        return np.full((len(texts), D), 1e300)

    with pytest.raises(MalformedVectors, match="cannot be used"):
        door_to(CallableEmbedder(function=huge, dimensions=D, name="m")).documents(["ferry"])


def test_length_is_only_looked_at_where_the_space_promises_it() -> None:
    def long(texts: list[str]) -> Vectors:
        return MODEL.embed_documents(texts) * 5

    free = door_to(CallableEmbedder(function=long, dimensions=D, name="m", normalized=False)).documents(["ferry"])
    assert np.linalg.norm(free.vectors[0]) == pytest.approx(5, rel=1e-5)
    with pytest.raises(MalformedVectors, match="cannot be used"):
        door_to(CallableEmbedder(function=long, dimensions=D, name="m", normalized=True)).documents(["ferry"])
