"""What an embedding model has to pass, and models that are slow, that fail, or that change behind their name."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import numpy as np

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space, Truncation
from undrift.errors import EmbedderFailed, EmbedderRejected, EmbedderUnavailable, TextTooLong, UndriftError
from undrift.flow.answer import checked, defects
from undrift.flow.embed import EmbeddingDoor
from undrift.ports.embedder import Embedder, EmbedderLimits, TokenCount
from undrift.testing.clock import VirtualClock


class EmbedderConformance:
    """The contract of `undrift.ports.embedder.Embedder` as tests; pytest collects them from a subclass.

    Example:
        >>> class TestMyModel(EmbedderConformance):
        ...     def make_embedder(self):
        ...         from undrift.adapters.embedders.hashing import HashingEmbedder
        ...
        ...         return HashingEmbedder()
    """

    #: Least cosine between two vectors of the same text; below 1 for what computes in parallel.
    NOISE = 0.9999

    #: In canonical form, all different, with what models stumble over.
    TEXTS = (
        "A ferry leaves every hour.",
        "The last ferry leaves at nine, and nobody waits for those who come late.",
        "Fähre über den Fluss",
        "渡し船は一時間ごとに出ます。",
        "x",
        "return harbour.next_ferry(after=now)",
        "⛴ !!! ---",
        "THE LAST FERRY",
    )

    def make_embedder(self) -> Embedder:
        """Return the model to be tried; called once for each test, and twice by one."""
        raise NotImplementedError("a conformance test says which model it tries")

    def long_text(self, embedder: Embedder) -> str:
        """Return a text that is longer than the model takes, or long when it takes any length."""
        return "harbour " * (2 * (embedder.space.max_tokens or 5000))

    def setup_method(self) -> None:
        """Make the model."""
        self.embedder = self.make_embedder()

    def teardown_method(self) -> None:
        """Let go of it."""
        self.embedder.close()

    def test_the_space_is_the_same_for_the_same_settings(self) -> None:
        """Two workers with one configuration must meet in one space."""
        other = self.make_embedder()
        try:
            assert other.space == self.embedder.space
        finally:
            other.close()

    def test_every_text_gets_one_sound_vector(self) -> None:
        """Float32, finite, not zero, of the space's dimensions and length."""
        space = self.embedder.space
        for count in range(1, min(len(self.TEXTS), self.embedder.limits.batch_size) + 1):
            vectors = self.embedder.embed_documents(self._sent(self.TEXTS[:count]))

            assert vectors.dtype == np.float32
            assert not defects(checked(vectors, count, space), space)

    def test_a_full_batch_is_taken(self) -> None:
        """`limits.batch_size` is a promise."""
        count = self.embedder.limits.batch_size
        texts = self._sent([f"{self.TEXTS[number % len(self.TEXTS)]} {number}" for number in range(count)])

        assert self.embedder.embed_documents(texts).shape == (count, self.embedder.space.dimensions)

    def test_vectors_come_in_the_order_of_the_texts(self) -> None:
        """A vector must not depend on what else is in its batch."""
        texts = self._sent(self.TEXTS[: self.embedder.limits.batch_size])
        alone = np.concatenate([self.embedder.embed_documents([text]) for text in texts])

        self._assert_same(self.embedder.embed_documents(texts), alone)
        self._assert_same(self.embedder.embed_documents(texts[::-1]), alone[::-1])

    def test_different_texts_get_different_vectors(self) -> None:
        """A model that gives one vector for all finds nothing."""
        vectors = _directions(
            np.concatenate([self.embedder.embed_documents([text]) for text in self._sent(self.TEXTS)])
        )
        cosines = vectors @ vectors.T

        assert cosines[~np.eye(len(vectors), dtype=bool)].max() < self.NOISE

    def test_the_same_text_gets_the_same_vector_again(self) -> None:
        """Also from another instance, as in another worker."""
        texts = self._sent(self.TEXTS[: self.embedder.limits.batch_size])
        other = self.make_embedder()
        try:
            self._assert_same(self.embedder.embed_documents(texts), self.embedder.embed_documents(texts))
            self._assert_same(self.embedder.embed_documents(texts), other.embed_documents(texts))
        finally:
            other.close()

    def test_a_query_gets_one_sound_vector(self) -> None:
        """Shape (d,), not (1, d)."""
        vector = self.embedder.embed_query(self.embedder.space.query_prefix + self.TEXTS[0])

        assert vector.shape == (self.embedder.space.dimensions,)
        assert vector.dtype == np.float32
        assert not defects(vector[None, :], self.embedder.space)

    def test_a_long_text_is_treated_as_the_space_says(self) -> None:
        """Refused, or cut where the space declares it; taken whole without a limit."""
        text = self._sent([self.long_text(self.embedder)])
        refuses = self.embedder.space.max_tokens is not None and self.embedder.space.truncation is not Truncation.CUT
        try:
            vectors = self.embedder.embed_documents(text)
        except TextTooLong:
            assert refuses, "the text is refused, but the space does not say so"
        else:
            assert not refuses, "the text is longer than the space says, and was not refused"
            assert not defects(checked(vectors, 1, self.embedder.space), self.embedder.space)

    def test_threads_do_not_disturb_each_other(self) -> None:
        """The contract says: safe to call from several threads."""
        texts = self._sent(self.TEXTS)
        alone = np.concatenate([self.embedder.embed_documents([text]) for text in texts])
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda text: self.embedder.embed_documents([text])[0], texts * 4))

        self._assert_same(np.stack(together), np.concatenate([alone] * 4))

    def test_tokens_add_up(self) -> None:
        """Every text has some, and several have the sum."""
        each = [self.embedder.count_tokens([text]).tokens for text in self.TEXTS]

        assert min(each) >= 1
        assert self.embedder.count_tokens(self.TEXTS).tokens == sum(each)

    def test_no_texts_are_no_call(self) -> None:
        """What calls an embedder never sends an empty batch."""
        counting = FaultyEmbedder(self.embedder)
        embedded = EmbeddingDoor(counting, clock=VirtualClock()).documents([])

        assert embedded.vectors.shape == (0, self.embedder.space.dimensions)
        assert not counting.calls

    def test_closing_twice_is_harmless(self) -> None:
        """And so is closing what was never used."""
        self.embedder.close()
        self.embedder.close()

    def _sent(self, texts: Sequence[str]) -> list[str]:
        return [self.embedder.space.document_prefix + text for text in texts]

    def _assert_same(self, left: Vectors, right: Vectors) -> None:
        assert left.shape == right.shape
        assert (_directions(left) * _directions(right)).sum(axis=1).min() > self.NOISE


class SlowEmbedder:
    """A model that takes its time; other calls go through meanwhile."""

    def __init__(self, embedder: Embedder, *, seconds: float, sleep: Callable[[float], None]) -> None:
        """Wrap a model; every call sleeps first."""
        self._embedder = embedder
        self._seconds = seconds
        self._sleep = sleep

    @property
    def space(self) -> Space:
        """The wrapped model's."""
        return self._embedder.space

    @property
    def limits(self) -> EmbedderLimits:
        """The wrapped model's."""
        return self._embedder.limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Sleep, then embed."""
        self._sleep(self._seconds)
        return self._embedder.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """Sleep, then embed."""
        self._sleep(self._seconds)
        return self._embedder.embed_query(text)

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count at once."""
        return self._embedder.count_tokens(texts)

    def close(self) -> None:
        """Close the wrapped model."""
        self._embedder.close()


class Fault(Enum):
    """What goes wrong with one call."""

    #: No answer.
    UNAVAILABLE = "unavailable"
    #: The server says that it failed.
    FAILED = "failed"
    #: A refusal of the request.
    REJECTED = "rejected"
    #: A refusal because of a text's length.
    TOO_LONG = "too_long"
    #: The first vector has a value that is not a number.
    NAN = "nan"
    #: The first vector is zero.
    ZERO = "zero"
    #: The first vector is twice as long.
    STRETCHED = "stretched"
    #: The last vector is missing.
    TOO_FEW = "too_few"
    #: Every vector has one dimension less.
    SHORTER = "shorter"
    #: Words instead of numbers.
    WORDS = "words"


class FaultyEmbedder:
    """A model that fails on demand, and remembers its calls."""

    def __init__(
        self,
        embedder: Embedder,
        *,
        faults: Sequence[Fault | None] = (),
        poison: Mapping[str, Fault] | None = None,
        changes_into: Embedder | None = None,
        after: int = 0,
        limits: EmbedderLimits | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            embedder: the model.
            faults: what goes wrong with the next calls, one each; None lets one through.
            poison: texts (as they are sent) with which a call always fails so; vectors are spoiled in their place.
            changes_into: another model that takes over silently, the space staying what it was.
            after: calls after which it does.
            limits: other limits than the model's.
        """
        self._embedder = embedder
        self._faults = deque(faults)
        self._poison = dict(poison or {})
        self._changed = changes_into
        self._after = after
        self._limits = limits or embedder.limits
        self._lock = threading.Lock()
        self.calls: list[list[str]] = []

    @property
    def space(self) -> Space:
        """The wrapped model's."""
        return self._embedder.space

    @property
    def limits(self) -> EmbedderLimits:
        """The limits given, or the wrapped model's."""
        return self._limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed, or fail as scripted."""
        fault, embedder = self._next(texts)
        _raise(fault)
        vectors = _spoil(embedder.embed_documents(texts), fault, 0)
        for place, text in enumerate(texts):
            poison = self._poison.get(text)
            _raise(poison)
            vectors = _spoil(vectors, poison, place)
        return vectors

    def embed_query(self, text: str) -> Vector:
        """Embed, or fail as scripted."""
        fault, embedder = self._next([text])
        fault = fault or self._poison.get(text)
        _raise(fault)
        vectors = _spoil(embedder.embed_query(text)[None, :], fault, 0)
        vector: Vector = vectors[0] if len(vectors) else vectors
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count as the wrapped model does."""
        return self._embedder.count_tokens(texts)

    def close(self) -> None:
        """Close the wrapped model."""
        self._embedder.close()

    def _next(self, texts: Sequence[str]) -> tuple[Fault | None, Embedder]:
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
            is_changed = self._changed is not None and len(self.calls) >= self._after
            self.calls.append(list(texts))
        return fault, self._changed if is_changed and self._changed is not None else self._embedder


def _raise(fault: Fault | None) -> None:
    errors: dict[Fault | None, UndriftError] = {
        Fault.UNAVAILABLE: EmbedderUnavailable("the faulty model does not answer"),
        Fault.FAILED: EmbedderFailed("the faulty model fails"),
        Fault.REJECTED: EmbedderRejected("the faulty model refuses the request"),
        Fault.TOO_LONG: TextTooLong("a text is longer than the faulty model takes"),
    }
    if fault in errors:
        raise errors[fault]


def _spoil(vectors: Vectors, fault: Fault | None, place: int) -> Vectors:
    spoiled = vectors.copy()
    match fault:
        case Fault.NAN:
            spoiled[place, 0] = np.nan
        case Fault.ZERO:
            spoiled[place] = 0
        case Fault.STRETCHED:
            spoiled[place] *= 2
        case Fault.TOO_FEW:
            return spoiled[:-1]
        case Fault.SHORTER:
            return np.ascontiguousarray(spoiled[:, 1:])
        case Fault.WORDS:
            return np.full(spoiled.shape, "word", dtype=object)
        case _:
            pass
    return spoiled


def _directions(vectors: Vectors) -> Vectors:
    directions: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return directions
