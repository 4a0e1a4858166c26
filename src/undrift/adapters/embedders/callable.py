"""Any Python function from texts to vectors as an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space
from undrift.errors import BadArgument, EmbedderRejected, EmbedderUnavailable, MalformedVectors, UndriftError
from undrift.ports.embedder import EmbedderLimits, TokenCount

#: Texts in, one vector for each out: an array, nested lists, or anything else numpy makes an array of.
EmbeddingFunction = Callable[[list[str]], Any]


class CallableEmbedder:
    """A function of the user's own, so that exactly the code that built an index goes on serving it.

    What the function raises decides what happens: `ConnectionError` and `TimeoutError` (and their subclasses) are tried
    again, an error of undrift passes as it is, anything else is a refusal of the texts it was called with.
    """

    def __init__(
        self,
        *,
        function: EmbeddingFunction,
        dimensions: int,
        name: str | None = None,
        revision: str = "1",
        query_function: EmbeddingFunction | None = None,
        metric: Metric | str = Metric.COSINE,
        normalized: bool = False,
        document_prefix: str = "",
        query_prefix: str = "",
        batch_size: int = 64,
        concurrency: int = 1,
        usd_per_million_tokens: float = 0.0,
        paid: bool = False,
        worth_keeping: bool = True,
    ) -> None:
        """Describe the function.

        Args:
            function: called with 1 to `batch_size` texts.
            dimensions: length of its vectors.
            name: what the model is called; by default as the function is.
            revision: its version; give another one whenever the function begins to give other vectors.
            query_function: called with one text when queries are embedded by another function.
            metric: how its vectors are compared.
            normalized: whether all its vectors have length 1; checked when said.
            document_prefix: put in front of every document before the function sees it.
            query_prefix: put in front of every query.
            batch_size: most texts in a call.
            concurrency: most calls at the same time; above 1 the function has to be safe for threads.
            usd_per_million_tokens: what its work costs.
            paid: whether somebody is billed.
            worth_keeping: whether its vectors are kept on disk, so that none is paid for twice.

        Raises:
            BadArgument: it is not a function, or a number is out of range.
        """
        name = name or f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', 'function')}"
        for given in (function, query_function):
            if given is not None and not callable(given):
                raise BadArgument(f"the embedding function of model {name} is a {type(given).__name__}, not a function")
        if dimensions < 1 or batch_size < 1 or concurrency < 1:
            raise BadArgument(f"model {name} needs dimensions, batch_size and concurrency of at least 1")
        self._function = function
        self._query_function = query_function or function
        self._space = Space(
            channel="callable",
            model=name,
            revision=revision,
            dimensions=dimensions,
            metric=Metric(metric),
            normalized=normalized,
            document_prefix=document_prefix,
            query_prefix=query_prefix,
        )
        self._limits = EmbedderLimits(
            batch_size=batch_size,
            concurrency=concurrency,
            usd_per_million_tokens=usd_per_million_tokens,
            paid=paid,
            worth_keeping=worth_keeping,
        )

    @property
    def space(self) -> Space:
        """The space as it was described."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """The limits as they were described."""
        return self._limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Call the function; raises as the class says."""
        return self._call(self._function, list(texts))

    def embed_query(self, text: str) -> Vector:
        """Call the query function with one text; it may return one vector or one row."""
        answer = self._call(self._query_function, [text])
        return answer[0] if answer.ndim == 2 and len(answer) == 1 else answer

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Estimate 4 characters a token; a function says nothing about tokens."""
        return TokenCount(tokens=sum(max(1, -(-len(text) // 4)) for text in texts), exact=False)

    def close(self) -> None:
        """Nothing to let go of."""

    def _call(self, function: EmbeddingFunction, texts: list[str]) -> Vectors:
        name = self._space.model
        try:
            answer = function(texts)
        except UndriftError:
            raise
        except (ConnectionError, TimeoutError) as error:
            raise EmbedderUnavailable(
                f"the function of model {name} did not answer", f"{type(error).__name__}: {error}"
            ) from error
        except Exception as error:
            raise EmbedderRejected(
                f"the function of model {name} failed for {len(texts)} texts", f"{type(error).__name__}: {error}"
            ) from error
        try:
            if answer is None:
                raise TypeError("nothing was returned")
            with np.errstate(over="ignore"):
                return np.ascontiguousarray(answer, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise MalformedVectors(
                f"the function of model {name} returned a {type(answer).__name__} that is no array of numbers",
                str(error),
                "return one list or array of the same length for each text",
            ) from error
