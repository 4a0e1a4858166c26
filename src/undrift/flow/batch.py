"""The door to a provider's batch API: it sends what the other door would send, and checks what comes back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar, cast

import numpy as np

from undrift.domain.batch import BatchJob, BatchMode
from undrift.domain.record import ContentHash, canonical_text, content_hash
from undrift.errors import EmbedderUnavailable
from undrift.flow.answer import defects
from undrift.flow.line import most_billed
from undrift.ports.batch import Answered, BatchService, Spool, SupportsBatches
from undrift.ports.cache import VectorCache
from undrift.ports.embedder import TokenCount

_T = TypeVar("_T")
#: Vectors that are checked and kept in one go.
_AT_ONCE = 256
#: What a vector takes in the cache beside its values, in bytes, about.
_BESIDE = 160
#: The part of the cache that one job may fill: there is another one that is carried over, and what was paid online.
_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What a job has brought.

    Attributes:
        kept: vectors that are in the cache now.
        tokens: what the answers say they are billed for.
        problems: why texts have none, a few of them.
        failed: texts that have none.
    """

    kept: int
    tokens: int
    problems: tuple[str, ...]
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What texts take in a job.

    Attributes:
        lines: the lines of its file, one a text.
        tokens: tokens, as they are estimated or counted.
        most_tokens: tokens that they can be billed for.
    """

    lines: tuple[bytes, ...]
    tokens: int
    most_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How a model's batch API is used.

    Attributes:
        spool: files of jobs, beside the cache.
        mode: whether it is used, unless a migration says otherwise.
        terms: tells the price of a million tokens, None for a part of that of other requests; and the most tokens of
            all jobs of the account that are not done, None where nobody knows. Asked for when a job is made.
    """

    spool: Spool
    mode: BatchMode = BatchMode.OFF
    terms: Callable[[], tuple[float | None, int | None]] = field(default=lambda: (None, None))

    def door(self, embedder: object, *, cache: VectorCache | None) -> BatchDoor | None:
        """Return the door to a model's batch API; None where it has none, or nothing is kept."""
        # Not isinstance: what stands in front of a model passes its attributes on, and has none of its own.
        service = getattr(embedder, "batches", None)
        if service is None or cache is None:
            return None
        model = cast(SupportsBatches, embedder)
        return BatchDoor(service, model, cache=cache, batching=self)


class BatchDoor:
    """The batch API of one embedding model, with the cache that it fills."""

    def __init__(
        self, service: BatchService, embedder: SupportsBatches, *, cache: VectorCache, batching: Batching
    ) -> None:
        """Open the door.

        Args:
            service: the provider's batch API.
            embedder: the model.
            cache: where the vectors go.
            batching: how the API is used.
        """
        self.service = service
        self.spool = batching.spool
        self.mode = batching.mode
        self._embedder = embedder
        self._space = embedder.space
        self._cache = cache
        self._terms = batching.terms

    @property
    def account(self) -> str:
        """The account whose queue the jobs are in; it gives no key away."""
        space = self._space
        return "/".join(filter(None, (space.channel, space.model, self._embedder.limits.account)))

    @property
    def usd_per_million_tokens(self) -> float:
        """The price of texts in batches."""
        online, (price, _) = self._embedder.limits.usd_per_million_tokens, self._terms()
        return online * self.service.limits.price if price is None else price

    @property
    def queue_tokens(self) -> int | None:
        """Most tokens of all jobs of the account that are not done; None where nobody knows."""
        return self._terms()[1]

    @property
    def most_items(self) -> int:
        """Texts in a job, so that its vectors have room in the cache."""
        each = 4 * self._space.dimensions + _BESIDE
        return max(1, min(self.service.limits.items, int(self.spool.capacity * _SHARE / each)))

    def missing(self, texts: Iterable[str]) -> dict[ContentHash, str]:
        """Return the texts that a job could embed and the cache has no vector of, in canonical form, by their hash."""
        forms = {content_hash(text): canonical_text(text) for text in texts}
        sendable = {key: form for key, form in forms.items() if form and _is_unicode(form)}
        kept = self._cache.get(self._space.id, sendable) if sendable else {}
        return {key: form for key, form in sendable.items() if key not in kept}

    def size_of(self, texts: Mapping[ContentHash, str]) -> Size:
        """Return what texts take in a job."""
        sent = [self._space.document_prefix + text for text in texts.values()]
        counted = self._embedder.count_tokens(sent) if sent else TokenCount(tokens=0, exact=True)
        return Size(
            lines=tuple(self.service.line(key, text) for key, text in zip(texts, sent, strict=True)),
            tokens=counted.tokens,
            most_tokens=most_billed(sent, counted, self._embedder.limits),
        )

    def kept(self, hashes: Collection[ContentHash]) -> int:
        """Return of how many texts the cache has vectors."""
        return sum(len(self._cache.get(self._space.id, part)) for part in _parts(iter(hashes)))

    def bring(self, job: BatchJob, admit: Callable[[], None]) -> Brought:
        """Read a job's answers into the cache as they come, however many there are; done again, it changes nothing.

        Args:
            job: a job that is over.
            admit: asked between two parts; what it raises ends the work.

        Raises:
            EmbedderUnavailable: the answers cannot be read to their end.
            ModelChanged: they are another model's.
            EmbedderUnavailable: the cache does not keep them.
        """
        tokens, kept, failed, problems = 0, 0, 0, dict[str, None]()
        for file in job.results:
            for part in _parts(self.service.results(file)):
                admit()
                good, bad = self._checked(part)
                self._keep(job, good)
                kept += len(good)
                failed += len(bad)
                tokens += sum(one.tokens for one in part)
                for problem in bad:
                    if len(problems) < 3:
                        problems[problem] = None
        return Brought(kept=kept, tokens=tokens, problems=tuple(problems), failed=failed)

    def _checked(self, part: list[Answered]) -> tuple[dict[ContentHash, np.ndarray], list[str]]:
        """Sort answers as those of the other door are: vectors that can be used, and why the others cannot."""
        bad = [one.problem for one in part if one.vector is None]
        whole = [one for one in part if one.vector is not None and one.vector.shape == (self._space.dimensions,)]
        short = len(part) - len(bad) - len(whole)
        bad += [f"a vector does not have {self._space.dimensions} dimensions"] * short
        if not whole:
            return {}, bad
        rows = np.array([one.vector for one in whole], dtype=np.float32)
        wrong = defects(rows, self._space)
        bad += wrong.values()
        return {ContentHash(one.key): rows[row] for row, one in enumerate(whole) if row not in wrong}, bad

    def _keep(self, job: BatchJob, good: dict[ContentHash, np.ndarray]) -> None:
        if not good:
            return
        self._cache.put(self._space.id, list(good), np.array(list(good.values()), dtype=np.float32))
        # A cache that cannot write says nothing: elsewhere that costs one request, here a whole job.
        if len(self._cache.get(self._space.id, good)) < len(good):
            raise EmbedderUnavailable(
                f"the vectors of batch job {job.id} cannot be kept on this machine",
                f"the cache of {self.spool.vault} has no room for them, or cannot be written",
                "free space on that disk; the job waits at the provider",
            )


def _parts(items: Iterator[_T]) -> Iterator[list[_T]]:
    while part := list(islice(items, _AT_ONCE)):
        yield part


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
