"""The only door from text to vectors: batches, isolates bad texts, checks every answer, and pays for no text twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial

import numpy as np

from undrift import telemetry
from undrift.domain.record import Vector, Vectors, canonical_text, content_hash
from undrift.domain.space import Space, Truncation
from undrift.errors import (
    BadArgument,
    BudgetExhausted,
    EmbedderFailed,
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    ModelUnavailable,
    TextTooLong,
    UndriftError,
)
from undrift.flow.answer import checked, checked_query, defects, malformed, refuse_defects
from undrift.flow.batch import BatchDoor, Batching
from undrift.flow.line import Line
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.flow.pacing import Pacer
from undrift.flow.paying import Purse
from undrift.flow.splitting import combined, halves_of, whole
from undrift.flow.texts import Embedded, Failing, Progress, TextFailure, canonical, unfit
from undrift.ports.cache import VectorCache
from undrift.ports.embedder import Embedder, EmbedderLimits
from undrift.ports.runtime import Clock

#: A text that every model takes. When it is refused too, the refusal is not the fault of a document.
CONTROL_TEXT = "The door is open."
_OF_A_PART = "a part of it: "


class EmbeddingDoor:
    """Wraps one embedding model; safe to use from several threads.

    Its documents never run more than `limits.concurrency` calls at the same time, over all threads; a query does not
    wait for them.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        clock: Clock,
        cache: VectorCache | None = None,
        pacer: Pacer | None = None,
        batching: Batching | None = None,
    ) -> None:
        """Open the door.

        Args:
            embedder: the model; the door closes it.
            clock: what retries wait with.
            cache: where vectors are kept that are worth keeping; it is shared, so the door does not close it.
            pacer: the pace that the model's account shares with other processes. Migrations keep it; what an
                application writes keeps it only where a limit is configured; a search never waits for it.
            batching: how the provider's batch API is used, if it is.
        """
        self._embedder = embedder
        self._clock = clock
        self._cache = cache if embedder.limits.worth_keeping else None
        self._line = Line(limits=embedder.limits, clock=clock, pacer=pacer)
        self._batching = batching
        self._slots = threading.BoundedSemaphore(embedder.limits.concurrency)
        self._opening = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._most_texts = embedder.limits.batch_size
        self._is_silent = False

    @property
    def space(self) -> Space:
        """The space every vector belongs to."""
        return self._embedder.space

    @property
    def limits(self) -> EmbedderLimits:
        """What the model takes and costs."""
        return self._embedder.limits

    @property
    def batches(self) -> BatchDoor | None:
        """The door to the provider's batch API; None where the model has none, or nothing is kept."""
        return self._batching.door(self._embedder, cache=self._cache) if self._batching else None

    def documents(self, texts: Sequence[str], *, purse: Purse | None = None, oversight: Oversight = UNSEEN) -> Embedded:
        """Embed texts to be stored; any number of them, none included.

        A text that the model refuses is isolated by halving its batch and reported; the others get their vectors. When
        the model refuses a control text as well, nothing is wrong with the texts and its error is raised.

        Args:
            texts: n texts in any form; the same text is embedded once.
            purse: pays for each request.
            oversight: asked before each call of the model, and told what is waited for.

        Returns:
            One vector or one failure for each text.

        Raises:
            BadArgument: something in the sequence is not a text.
            EmbedderUnavailable: the model did not answer in time; what is done already is in the cache.
            EmbedderRejected: the model refuses every text: a wrong key, an unknown model.
            MalformedVectors: an answer is not what was asked for.
            BudgetExhausted: `purse` has no more; the request was not sent.
        """
        if isinstance(texts, str):
            raise BadArgument("documents are embedded as a list of texts, not one text", hint="put it into a list")
        forms = [canonical(text) for text in texts]
        progress = Progress(oversight=oversight)
        progress.failures.update((form, failure) for form in dict.fromkeys(forms) if (failure := unfit(form)))
        wanted = [form for form in dict.fromkeys(forms) if form not in progress.failures]
        cached = self._from_cache(wanted)
        progress.vectors.update(cached)
        # Long texts first: texts of one length waste no padding, and a lack of memory shows at once.
        missing = sorted((form for form in wanted if form not in cached), key=len, reverse=True)
        self._run(missing, progress, purse)
        none = np.full(self.space.dimensions, np.nan, dtype=np.float32)
        rows = [progress.vectors.get(form, none) for form in forms]
        vectors = np.array(rows, dtype=np.float32).reshape(len(forms), self.space.dimensions)
        failures = {row: progress.failures[form] for row, form in enumerate(forms) if form in progress.failures}
        reused = len(forms) - len(failures) - sum(form in progress.vectors for form in missing)
        split = len(progress.split.intersection(wanted))
        telemetry.count(telemetry.Metric.TEXTS_REUSED, reused)
        telemetry.count(telemetry.Metric.TEXTS_SPLIT, split)
        counts = {"tokens": progress.tokens, "reused": reused, "cut": progress.cut, "split": split}
        return Embedded(vectors=vectors, failures=failures, **counts)

    def query(self, text: str) -> Vector:
        """Embed a query; float32, shape (d,). Nothing is cached.

        Raises:
            BadArgument: it is not a text, or blank.
            TextTooLong: it is longer than the model takes.
            EmbedderUnavailable, EmbedderRejected, MalformedVectors: as for `documents`.
        """
        form = canonical(text)
        failure = unfit(form)
        if failure is not None:
            raise BadArgument(f"the query {text!r} cannot be embedded: {failure.reason.value}", failure.detail)
        vector: Vector = whole([form], self.space, lambda forms: np.stack([*map(self._query, forms)]))[0]
        return vector

    def _query(self, form: str) -> Vector:
        return checked_query(self.raw_query(form), self.space)

    def fresh(self, texts: Sequence[str], *, purse: Purse | None = None, oversight: Oversight = UNSEEN) -> Vectors:
        """Embed texts as documents past the cache, to prove what the model gives now.

        Args:
            texts: n texts that can be embedded.
            purse: pays for each request.
            oversight: as for `documents`.

        Returns:
            Float32, shape (n, d), row i for text i.

        Raises:
            UndriftError: as `documents`, and any text that fails.
        """
        vectors = self.otherwise(texts, prefix=self.space.document_prefix, purse=purse, oversight=oversight)
        refuse_defects(vectors, self.space)
        return vectors

    def raw_query(self, text: str) -> Vector:
        """Embed a query to look at the model; float32, shape (d,). What comes back may have no place in the space."""
        sent = self.space.query_prefix + canonical_text(text)
        answer = self._line.ask_for_query(
            partial(self._embedder.embed_query, sent), lambda: ([sent], self._embedder.count_tokens([sent]))
        )
        telemetry.count(telemetry.Metric.TEXTS_EMBEDDED)
        vector: Vector = checked([answer], 1, self.space)[0]
        return vector

    def otherwise(
        self, texts: Sequence[str], *, prefix: str, purse: Purse | None = None, oversight: Oversight = UNSEEN
    ) -> Vectors:
        """Embed texts as `fresh` does, with another prefix or unchecked, to see how vectors are made; for no store."""
        forms, progress = [canonical_text(text) for text in texts], Progress(oversight=oversight)
        request = partial(self._request, progress=progress, purse=purse, prefix=prefix)
        made = [whole(batch, self.space, request) for batch in self._batches(forms)]
        return np.concatenate([np.empty((0, self.space.dimensions), dtype=np.float32), *made])

    def count_tokens(self, texts: Sequence[str]) -> tuple[int, bool]:
        """Count what embedding these documents would be billed for, prefixes included, and say whether it is exact."""
        counted = self._embedder.count_tokens([self.space.document_prefix + canonical_text(text) for text in texts])
        return counted.tokens, counted.exact

    def close(self) -> None:
        """Let go of the model and the threads; calls under way end first."""
        with self._opening:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self._embedder.close()

    def _run(self, texts: list[str], progress: Progress, purse: Purse | None) -> None:
        """Embed unique texts, several batches at a time where the model takes that."""
        if self.limits.concurrency == 1 or len(texts) <= self._most_texts:
            for batch in self._batches(texts):
                self._settle(batch, progress, purse)
            return
        with self._opening:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.limits.concurrency, thread_name_prefix="undrift-embed")
            pool = self._pool
        futures = [pool.submit(self._settle, batch, progress, purse) for batch in self._batches(texts)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
        for future in futures:
            if not future.cancelled():
                future.result()

    def _batches(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        start = 0
        while start < len(texts):
            # Looked at every time, because the door may learn that the model takes fewer texts than it says.
            size = self._most_texts
            yield texts[start : start + size]
            start += size

    def _settle(self, texts: Sequence[str], progress: Progress, purse: Purse | None) -> None:
        """Give each text of a batch a vector or a failure."""
        if self._is_silent:
            # It costs next to nothing, where a request that fails may be billed with all that it asked for.
            self._request([CONTROL_TEXT], progress, purse)
            self._is_silent = False
        try:
            vectors = self._request(texts, progress, purse)
        except TextTooLong as error:
            self._settle_refused(texts, error, progress, purse)
        except EmbedderUnavailable as error:
            if not progress.oversight.is_work:
                raise
            self._settle_unanswered(texts, error, progress, purse)
        except ModelUnavailable:
            # No text is to blame, and none would fare better.
            raise
        except BudgetExhausted:
            # What is left may be enough for a part of them, if that is kept until the rest can be paid for.
            if len(texts) == 1 or self._cache is None:
                raise
            for half in (texts[: len(texts) // 2], texts[len(texts) // 2 :]):
                self._settle(half, progress, purse)
        except EmbedderRejected as error:
            if len(texts) == 1:
                self._prove_that_the_text_is_to_blame(error, progress, purse)
            self._settle_refused(texts, error, progress, purse)
        else:
            self._take(texts, vectors, progress, purse)

    def _settle_refused(
        self, texts: Sequence[str], error: UndriftError, progress: Progress, purse: Purse | None
    ) -> None:
        """Halve a batch that was refused, down to the text that is to blame."""
        if len(texts) == 1:
            if isinstance(error, TextTooLong) and self._split(texts[0], progress, purse):
                return
            reason = Failing.TOO_LONG if isinstance(error, TextTooLong) else Failing.REJECTED
            self._fail(texts[0], reason, ": ".join(filter(None, (error.message, error.detail))), progress)
            return
        failed_before = len(progress.failures) + len(progress.split)
        half = len(texts) // 2
        self._settle(texts[:half], progress, purse)
        self._settle(texts[half:], progress, purse)
        fails_for_now = isinstance(error, EmbedderUnavailable)
        if len(progress.failures) + len(progress.split) == failed_before and not fails_for_now:
            # No text was bad: together they were too much for one request.
            self._most_texts = min(self._most_texts, half)

    def _settle_unanswered(
        self, texts: Sequence[str], error: EmbedderUnavailable, progress: Progress, purse: Purse | None
    ) -> None:
        """Look for the text that a server fails at while it answers another; raise its error where it does not."""
        self._is_silent = True
        try:
            self._request([CONTROL_TEXT], progress, purse)
        except EmbedderUnavailable:
            raise error from None
        self._is_silent = False
        if len(texts) > 1:
            self._settle_refused(texts, error, progress, purse)
        elif not isinstance(error, EmbedderFailed):
            raise error
        else:
            try:
                vectors = self._request(texts, progress, purse)
            except EmbedderFailed as again:
                self._settle_refused(texts, again, progress, purse)
            else:
                self._take(texts, vectors, progress, purse)

    def _split(self, text: str, progress: Progress, purse: Purse | None) -> bool:
        """Embed a text in halves, where its space says so; False where it does not, or nothing is left to split."""
        halves = halves_of(text) if self.space.truncation is Truncation.SPLIT else None
        if halves is None:
            return False
        with progress.lock:
            progress.split.add(text)
        # Each half is a text like any other: it may be in the cache, or too long itself.
        known = {**self._from_cache(halves), **progress.vectors}
        if missing := [half for half in dict.fromkeys(halves) if half not in known]:
            self._settle(missing, progress, purse)
        failed = next((progress.failures[half] for half in halves if half in progress.failures), None)
        if failed is not None:
            self._fail(text, failed.reason, _OF_A_PART + failed.detail.removeprefix(_OF_A_PART), progress)
            return True
        known.update(progress.vectors)
        vector = combined([known[half] for half in halves], halves, self.space)
        self._take([text], vector[None, :], progress, purse)
        return True

    def _take(self, texts: Sequence[str], vectors: Vectors, progress: Progress, purse: Purse | None) -> None:
        """Keep the good rows of an answer at once; ask again for each bad one by itself."""
        bad = defects(vectors, self.space)
        if bad and len(texts) > 1 and len(bad) == len(texts):
            refuse_defects(vectors, self.space)
        good = {text: vector for row, (text, vector) in enumerate(zip(texts, vectors, strict=True)) if row not in bad}
        self._to_cache(good)
        with progress.lock:
            progress.vectors.update(good)
        for row, defect in bad.items():
            if len(texts) > 1:
                self._settle([texts[row]], progress, purse)
            else:
                self._prove_that_the_text_is_to_blame(malformed(self.space, defect), progress, purse)
                self._fail(texts[row], Failing.MALFORMED, defect, progress)

    def _prove_that_the_text_is_to_blame(self, error: UndriftError, progress: Progress, purse: Purse | None) -> None:
        """Pass when the model takes a control text; raise its error when it does not."""
        try:
            control = self._request([CONTROL_TEXT], progress, purse)
        except (EmbedderRejected, TextTooLong, MalformedVectors) as refused:
            raise error from refused
        if defects(control, self.space):
            raise error

    def _fail(self, text: str, reason: Failing, detail: str, progress: Progress) -> None:
        with progress.lock:
            progress.failures[text] = TextFailure(reason=reason, detail=detail)

    def _request(
        self, texts: Sequence[str], progress: Progress, purse: Purse | None, *, prefix: str | None = None
    ) -> Vectors:
        """Send one request; the answer's shape is checked, its rows are not.

        Texts that are together more than a minute of the account's pace should hold are sent in several.
        """
        prefix = self.space.document_prefix if prefix is None else prefix
        sent = [prefix + text for text in texts]
        counted = self._embedder.count_tokens(sent)
        most = self._line.most_tokens(progress.oversight)
        if most is not None and counted.tokens > most and len(texts) > 1:
            middle = len(texts) // 2
            halves = [self._request(half, progress, purse, prefix=prefix) for half in (texts[:middle], texts[middle:])]
            return np.concatenate(halves)
        meter = self._line.meter(sent, counted, purse=purse, oversight=progress.oversight)
        with (
            self._slots,
            telemetry.span("embeddings", gen_ai__request__model=self.space.model, undrift__texts=len(sent)),
        ):
            try:
                answer = self._line.ask(partial(self._embedder.embed_documents, sent), meter)
            finally:
                with progress.lock:
                    progress.tokens += meter.spent
                    progress.cut += meter.cut_texts
        telemetry.count(telemetry.Metric.TEXTS_EMBEDDED, len(texts))
        return checked(answer, len(texts), self.space)

    def _from_cache(self, texts: Sequence[str]) -> dict[str, Vector]:
        if self._cache is None or not texts:
            return {}
        hashes = {content_hash(text): text for text in texts}
        kept = self._cache.get(self.space.id, hashes)
        # A vector that would be refused from the model is refused from the disk, and made again.
        return {
            hashes[key]: vector
            for key, vector in kept.items()
            if vector.shape == (self.space.dimensions,) and not defects(vector[None, :], self.space)
        }

    def _to_cache(self, vectors: Mapping[str, Vector]) -> None:
        if self._cache is not None and vectors:
            self._cache.put(self.space.id, [content_hash(text) for text in vectors], np.array(list(vectors.values())))
