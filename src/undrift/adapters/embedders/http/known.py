"""What decides a request to a well-known model: its sizes, whether their length is 1, and how it tells the sides apart.

Each group says where its facts were read, and when. Prices and dates of retirement are the catalogue's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model of one channel.

    Attributes:
        native: length of the longest vectors that it gives.
        default: length of those that it gives unasked; None for the longest.
        sizes: lengths that can be asked for; None for any up to the longest, () for the default only.
        max_tokens: the longest text.
        normalized: whether vectors have length 1 at every size (True), at none (False), or uncut ones only (None).
        has_tasks: whether it wants to know the side of a text.
        document_prefix: put in front of documents, where it is told by words.
        query_prefix: put in front of queries.
        usd_per_million_tokens: the price, where the embedder has always known it.
        answers_as: a name that it answers with besides its own.
        source: where this was read, and when.
    """

    native: int
    default: int | None = None
    sizes: tuple[int, ...] | None = ()
    max_tokens: int
    normalized: bool | None = True
    has_tasks: bool = True
    document_prefix: str = ""
    query_prefix: str = ""
    usd_per_million_tokens: float | None = None
    answers_as: tuple[str, ...] = ()
    source: str

    @property
    def usual(self) -> int:
        """The length of vectors when nobody asks for another one."""
        return self.default or self.native

    def gives(self, dimensions: int) -> bool:
        """Whether vectors of that length can be asked for."""
        if self.sizes is None:
            return 1 <= dimensions <= self.native
        return dimensions == self.usual or dimensions in self.sizes

    def is_normalized(self, dimensions: int) -> bool:
        """Whether vectors of that length have length 1."""
        return dimensions == self.native if self.normalized is None else self.normalized


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Facts that were read at one place."""

    source: str
    models: dict[str, dict[str, Any]]


_VOYAGE = {"native": 2048, "default": 1024, "sizes": (256, 512, 1024, 2048), "max_tokens": 32_000}
_VOYAGE_OLD = {"native": 1024, "max_tokens": 32_000}
_COHERE_V3 = {"native": 1024, "max_tokens": 512}
_COHERE_V4 = {"native": 1536, "sizes": (256, 512, 1024, 1536), "max_tokens": 128_000}
_COHERE_V5 = {"native": 2048, "sizes": (256, 512, 768, 1024, 1536, 2048), "max_tokens": 128_000}
#: What gemini-embedding-2 was trained to see; a task it ignores without a word.
_GEMINI_2 = {
    "native": 3072,
    "sizes": None,
    "max_tokens": 8192,
    "has_tasks": False,
    "document_prefix": "title: none | text: ",
    "query_prefix": "task: search result | query: ",
}
_GEMINI_1 = {"native": 3072, "sizes": None, "max_tokens": 2048, "normalized": None}
_VERTEX = {"native": 768, "sizes": None, "max_tokens": 2048}
_OPENAI = _Read(
    source="openai SDK 3.54.0 and the price list, 2026-11-22",
    models={
        "text-embedding-3-small": {"native": 1536, "sizes": None, "max_tokens": 8192, "usd_per_million_tokens": 0.02},
        "text-embedding-3-large": {"native": 3072, "sizes": None, "max_tokens": 8192, "usd_per_million_tokens": 0.13},
        "text-embedding-ada-002": {
            "native": 1536,
            "max_tokens": 8192,
            "usd_per_million_tokens": 0.10,
            "answers_as": ("text-embedding-ada-002-v2", "ada"),
        },
    },
)
_READ: dict[str, _Read] = {
    "openai": _OPENAI,
    "azure-openai": _OPENAI,
    "cohere": _Read(
        source="docs.cohere.com, 2026-11-22",
        models={
            "embed-v5.0-pro": _COHERE_V5,
            "embed-v5.0-fast": _COHERE_V5,
            "embed-v4.0": _COHERE_V4,
            "embed-english-v3.0": _COHERE_V3,
            "embed-multilingual-v3.0": _COHERE_V3,
            "embed-english-light-v3.0": {"native": 384, "max_tokens": 512},
            "embed-multilingual-light-v3.0": {"native": 384, "max_tokens": 512},
        },
    ),
    "gemini-api": _Read(
        source="Google's pages as of 2026-08-20 and mteb 2.26.24, 2026-11-22",
        models={"gemini-embedding-2": _GEMINI_2, "gemini-embedding-001": _GEMINI_1},
    ),
    "vertex": _Read(
        source="Google's pages as of 2026-08-20, 2026-11-22",
        models={
            "gemini-embedding-001": _GEMINI_1,
            "text-embedding-005": _VERTEX,
            "text-embedding-004": _VERTEX,
            "text-multilingual-embedding-002": _VERTEX,
        },
    ),
    "voyage": _Read(
        source="docs.voyageai.com and mteb 2.26.24, 2026-11-22",
        models={
            **dict.fromkeys(("voyage-4-large", "voyage-4", "voyage-4-lite", "voyage-code-4"), _VOYAGE),
            **dict.fromkeys(("voyage-3.5", "voyage-3.5-lite", "voyage-3-large", "voyage-code-3"), _VOYAGE),
            **dict.fromkeys(("voyage-3", "voyage-finance-2", "voyage-multilingual-2"), _VOYAGE_OLD),
            "voyage-law-2": {"native": 1024, "max_tokens": 16_000},
            "voyage-3-lite": {"native": 512, "max_tokens": 32_000},
            "voyage-code-2": {"native": 1536, "max_tokens": 16_000},
        },
    ),
    "mistral": _Read(
        source="mistralai SDK 3.7.0, 2026-11-22",
        models={
            "mistral-embed": {"native": 1024, "max_tokens": 8192},
            "codestral-embed": {"native": 3072, "default": 1536, "sizes": None, "max_tokens": 8192},
        },
    ),
    "jina": _Read(
        source="mteb 2.26.24, 2026-11-22",
        models={
            "jina-embeddings-v5-text-small": {
                "native": 1024,
                "sizes": (32, 64, 128, 256, 512, 768, 1024),
                "max_tokens": 32_768,
            },
            "jina-embeddings-v5-text-nano": {
                "native": 768,
                "sizes": (32, 64, 128, 256, 512, 768),
                "max_tokens": 8192,
            },
            "jina-embeddings-v3": {"native": 1024, "sizes": None, "max_tokens": 8192},
            "jina-embeddings-v2-base-en": {"native": 768, "max_tokens": 8192, "has_tasks": False},
            "jina-embeddings-v2-small-en": {"native": 512, "max_tokens": 8192, "has_tasks": False},
        },
    ),
    "nvidia-nim": _Read(
        source="NIM release notes and build.nvidia.com, 2026-11-22",
        models={
            "nv-embedqa-e5-v5": {"native": 1024, "max_tokens": 512},
            "llama-3.2-nv-embedqa-1b-v2": {
                "native": 2048,
                "sizes": (384, 512, 768, 1024, 2048),
                "max_tokens": 8192,
            },
        },
    ),
    "bedrock": _Read(
        source="LiteLLM 1.109.1, mteb 2.26.24 and the user guide of Amazon Nova, 2026-11-22",
        models={
            "amazon.titan-embed-text-v2:0": {
                "native": 1024,
                "sizes": (256, 512, 1024),
                "max_tokens": 8192,
                "has_tasks": False,
            },
            "amazon.titan-embed-text-v1": {
                "native": 1536,
                "max_tokens": 8192,
                "normalized": False,
                "has_tasks": False,
            },
            "amazon.nova-2-multimodal-embeddings-v1:0": {
                "native": 3072,
                "sizes": (256, 384, 1024, 3072),
                "max_tokens": 8172,
            },
            "cohere.embed-english-v3": _COHERE_V3,
            "cohere.embed-multilingual-v3": _COHERE_V3,
            "cohere.embed-v4:0": _COHERE_V4,
        },
    ),
}


def known(channel: str, model: str) -> Known | None:
    """Return what is known of a model, or None; on Bedrock a region group (`us.`, `global.`) may stand in front."""
    read = _READ.get(channel)
    if read is None:
        return None
    facts = read.models.get(model)
    if facts is None and channel == "bedrock":
        facts = next((facts for name, facts in read.models.items() if model.endswith(f".{name}")), None)
    if facts is None and channel == "nvidia-nim":
        facts = read.models.get(model.rpartition("/")[2])
    return None if facts is None else Known(source=read.source, **facts)


def all_known() -> dict[tuple[str, str], Known]:
    """Return every model by channel and name."""
    return {
        (channel, model): Known(source=read.source, **facts)
        for channel, read in _READ.items()
        for model, facts in read.models.items()
    }
