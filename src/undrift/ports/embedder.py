"""What an embedding model must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from undrift.domain.notice import ModelNotice
from undrift.domain.pace import SeenLimits
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space


def _nobody(_reason: str) -> None:
    """Tell nobody."""


#: Called by an adapter that repeats a request by itself: with the reason before it waits, without one before it sends.
#: What it raises ends the call. It belongs to the thread that made the call.
BEFORE_RETRY: ContextVar[Callable[[str], None]] = ContextVar("before_retry", default=_nobody)


class Watch:
    """Told by an adapter what becomes of the requests of one call. This one pays no heed."""

    def unbilled(self) -> None:
        """Take note that the last request cost nothing: it was refused, or never left."""

    def billed(self, tokens: int) -> None:
        """Take note of what an answer says that it cost; told before the answer is looked at any further."""

    def cut(self, texts: int) -> None:
        """Take note that the model cut texts, as its space allows."""

    def sees(self, limits: SeenLimits, *, refused: bool) -> None:
        """Take note of what an answer says of the account's limits, and whether it is a refusal for the pace."""

    def told(self, notice: ModelNotice) -> None:
        """Take note of what the provider says about the model: its end, or a warning. Each is told once a process."""


#: Who is told. A request of which nothing is said may have been billed. It belongs to the thread that made the call.
WATCH: ContextVar[Watch] = ContextVar("watch", default=Watch())  # noqa: B039 - it has no state


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderLimits:
    """What a model takes, and what its work is worth.

    Attributes:
        batch_size: most texts in one call.
        concurrency: most calls at the same time.
        usd_per_million_tokens: the price; 0 for a model that costs nothing per token.
        paid: whether somebody is billed; a back-fill with it wants a budget.
        worth_keeping: whether vectors are kept on disk, so that none is paid for twice.
        reports_usage: whether answers say what they cost (`Watch.billed`).
        account: which account at a provider is asked, without giving its key away; None where there is no provider, and
            so no pace to share.
    """

    batch_size: int = 64
    concurrency: int = 1
    usd_per_million_tokens: float = 0.0
    paid: bool = False
    worth_keeping: bool = True
    reports_usage: bool = False
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens of some texts, and whether the model's own tokenizer counted them."""

    tokens: int
    exact: bool


class Embedder(Protocol):
    """A function from text to vectors of one space; safe to call from several threads.

    Only `flow.embed` calls it. Texts arrive not blank, in canonical form, with the space's prefix in front.
    """

    @property
    def space(self) -> Space:
        """The space every vector belongs to; known without a call to a remote model."""
        ...

    @property
    def limits(self) -> EmbedderLimits:
        """What the model takes."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts to be stored.

        Args:
            texts: 1 to `limits.batch_size` texts.

        Returns:
            Float32, shape (n, d), row i for text i. The answer is checked by the caller.

        Raises:
            EmbedderUnavailable: no answer, or one that says to try again later; nothing is known about single texts.
            EmbedderRejected: the model will not take this request, because of its texts or for good.
            TextTooLong: a text is longer than the model takes and the space says to refuse it.
        """
        ...

    def embed_query(self, text: str) -> Vector:
        """Embed a query; float32, shape (d,). Raises as `embed_documents`."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count what a call with these texts would be billed for; without a call to a remote model."""
        ...

    def close(self) -> None:
        """Let go of connections and memory."""
        ...


@runtime_checkable
class ReplacesKey(Protocol):
    """A model whose key may be replaced while it is used."""

    def read_key_again(self, read: Callable[[], str | None]) -> None:
        """Say how the key is found out that has taken the place of one that is refused."""
        ...
