"""The providers by the word that names them in a configuration: where they are, what they speak, and what they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from undrift.adapters.embedders.http.batch_dialect import BatchFlavour
from undrift.adapters.embedders.http.batch_gemini import GeminiBatches
from undrift.adapters.embedders.http.batch_mistral import MistralBatches
from undrift.adapters.embedders.http.batch_wire import BatchApi
from undrift.adapters.embedders.http.batches import openai_batches
from undrift.adapters.embedders.http.dialect import Dialect
from undrift.adapters.embedders.http.dialects.bedrock import bedrock
from undrift.adapters.embedders.http.dialects.cohere import Cohere
from undrift.adapters.embedders.http.dialects.gemini import Gemini
from undrift.adapters.embedders.http.dialects.ollama import Ollama
from undrift.adapters.embedders.http.dialects.openai import Flavour, OpenAi
from undrift.adapters.embedders.http.dialects.vertex import Vertex
from undrift.domain.space import Space


class Access(Enum):
    """How a provider knows who asks."""

    #: `Authorization: Bearer KEY`, if there is a key.
    BEARER = "bearer"
    #: `api-key: KEY`, as Azure wants it.
    API_KEY = "api-key"
    #: `x-goog-api-key: KEY`, as the Gemini API wants it.
    GOOGLE_KEY = "x-goog-api-key"
    #: A token of Google's, from the credentials of this machine when none is given.
    GOOGLE_TOKEN = "google"
    #: A signature with the AWS credentials of this machine, or a bearer key of Bedrock's.
    AWS = "aws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What only some providers ask for; empty where it was not given."""

    encoding: str = ""
    deployment: str = ""
    api_version: str = ""
    region: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A provider, or a kind of server.

    Attributes:
        speaks: makes its dialect for a space.
        base_url: where it is; `{region}` in it is replaced, and empty where nobody can know.
        version: the path that belongs to an address without one.
        channel: who computes the vectors; empty for the host.
        access: how it knows who asks.
        key_variable: where its key is looked for.
        tasks: what documents and queries are called; empty where it is not asked.
        wants_tasks: whether a request without one is refused.
        takes: options of its own.
        batch_size: texts in a request, unless somebody says otherwise.
        most_texts: most texts that a request can have the room for; None where only the server knows.
        can_cut: whether it gives shorter vectors when asked.
        batches: makes its batch API; None where it has none, or none that is known well enough.
        reports_usage: whether its answers say what they cost.
    """

    speaks: Callable[[Space, Place], Dialect]
    base_url: str = ""
    version: str = "/v1"
    channel: str = ""
    access: Access = Access.BEARER
    key_variable: str = ""
    tasks: tuple[str, str] = ("", "")
    wants_tasks: bool = False
    takes: frozenset[str] = frozenset()
    batch_size: int = 128
    most_texts: int | None = None
    can_cut: bool = True
    batches: BatchApi | None = None
    reports_usage: bool = True

    @property
    def wants_key(self) -> bool:
        """Whether nobody is let in without a key: not servers of one's own, nor whoever signs requests."""
        return bool(self.key_variable) and self.access not in (Access.AWS, Access.GOOGLE_TOKEN)


#: Options that only providers take which know the sides of a text, and those that only some dialects have.
_TASKS = frozenset({"document_task", "query_task"})
_ENCODING = frozenset({"encoding_format"})


def _openai(flavour: Flavour | None = None) -> Callable[[Space, Place], Dialect]:
    def speak(space: Space, place: Place) -> Dialect:
        return OpenAi(space=space, flavour=flavour or Flavour(), encoding=place.encoding)

    return speak


def _azure(space: Space, place: Place) -> Dialect:
    """Speak the present form, which knows no versions, or the one before it when a version is given."""
    deployment = place.deployment or space.model
    flavour = Flavour(encoding="base64")
    if place.api_version:
        path = f"/openai/deployments/{deployment}/embeddings?api-version={place.api_version}"
        return OpenAi(space=space, flavour=flavour, encoding=place.encoding, path=path, calls_it=deployment)
    return OpenAi(
        space=space, flavour=flavour, encoding=place.encoding, path="/openai/v1/embeddings", calls_it=deployment
    )


_VOYAGE = Flavour(
    # Floats are what it sends when nothing is asked for; the word itself it does not know.
    encoding="base64",
    dimensions_key="output_dimension",
    task_key="input_type",
    cut_key="truncation",
    always=MappingProxyType({"output_dtype": "float"}),
)
_JINA = Flavour(encoding_key="embedding_type", task_key="task", cut_key="truncate")
_MISTRAL = Flavour(dimensions_key="output_dimension")
_NVIDIA = Flavour(task_key="input_type", cut_key="truncate", cut_words=("NONE", "END"))
_OPENROUTER = Flavour(always=MappingProxyType({"provider": MappingProxyType({"allow_fallbacks": False})}))

PROFILES = {
    "openai": Profile(
        speaks=_openai(),
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        takes=_ENCODING,
        batches=openai_batches(BatchFlavour()),
    ),
    "azure": Profile(
        speaks=_azure,
        version="",
        channel="azure-openai",
        access=Access.API_KEY,
        key_variable="AZURE_OPENAI_API_KEY",
        takes=frozenset({"deployment", "api_version"}) | _ENCODING,
        batches=openai_batches(BatchFlavour()),
    ),
    "cohere": Profile(
        speaks=lambda space, _: Cohere(space=space),
        base_url="https://api.cohere.com/v2",
        version="/v2",
        channel="cohere",
        key_variable="CO_API_KEY",
        tasks=("search_document", "search_query"),
        wants_tasks=True,
        takes=_TASKS,
        batch_size=96,
    ),
    "gemini": Profile(
        speaks=lambda space, _: Gemini(space=space),
        base_url="https://generativelanguage.googleapis.com/v1beta",
        version="/v1beta",
        channel="gemini-api",
        access=Access.GOOGLE_KEY,
        key_variable="GEMINI_API_KEY",
        reports_usage=False,
        tasks=("RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        takes=_TASKS,
        batch_size=100,
        batches=GeminiBatches,
    ),
    "vertex": Profile(
        speaks=lambda space, place: Vertex(space=space, project=place.project, region=place.region),
        base_url="https://{region}-aiplatform.googleapis.com/v1",
        channel="vertex",
        access=Access.GOOGLE_TOKEN,
        key_variable="GOOGLE_ACCESS_TOKEN",
        tasks=("RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        takes=_TASKS | {"region", "project"},
        batch_size=64,
    ),
    "bedrock": Profile(
        speaks=lambda space, _: bedrock(space),
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        version="",
        channel="bedrock",
        access=Access.AWS,
        key_variable="AWS_BEARER_TOKEN_BEDROCK",
        takes=frozenset({"region"}),
        batch_size=1,
        most_texts=1,
    ),
    "voyage": Profile(
        speaks=_openai(_VOYAGE),
        base_url="https://api.voyageai.com/v1",
        channel="voyage",
        key_variable="VOYAGE_API_KEY",
        tasks=("document", "query"),
        takes=_TASKS | _ENCODING,
        batches=openai_batches(
            BatchFlavour(most_items=100_000, most_bytes=1_000_000_000, price=0.67, window="12h", is_model_of_job=True)
        ),
    ),
    "mistral": Profile(
        speaks=_openai(_MISTRAL),
        base_url="https://api.mistral.ai/v1",
        channel="mistral",
        key_variable="MISTRAL_API_KEY",
        batches=openai_batches(MistralBatches()),
        takes=_ENCODING,
    ),
    "jina": Profile(
        speaks=_openai(_JINA),
        base_url="https://api.jina.ai/v1",
        channel="jina",
        key_variable="JINA_API_KEY",
        tasks=("retrieval.passage", "retrieval.query"),
        takes=_TASKS | _ENCODING,
    ),
    "nvidia": Profile(
        speaks=_openai(_NVIDIA),
        base_url="https://integrate.api.nvidia.com/v1",
        channel="nvidia-nim",
        key_variable="NVIDIA_API_KEY",
        tasks=("passage", "query"),
        takes=_TASKS | _ENCODING,
        batch_size=64,
    ),
    "together": Profile(
        speaks=_openai(),
        base_url="https://api.together.xyz/v1",
        channel="together",
        key_variable="TOGETHER_API_KEY",
        takes=_ENCODING,
        can_cut=False,
    ),
    "fireworks": Profile(
        speaks=_openai(),
        base_url="https://api.fireworks.ai/inference/v1",
        channel="fireworks",
        key_variable="FIREWORKS_API_KEY",
        takes=_ENCODING,
    ),
    "openrouter": Profile(
        speaks=_openai(_OPENROUTER),
        base_url="https://openrouter.ai/api/v1",
        channel="openrouter",
        key_variable="OPENROUTER_API_KEY",
        takes=_ENCODING,
    ),
    "vllm": Profile(speaks=_openai(), takes=_ENCODING),
    "tei": Profile(speaks=_openai(), takes=_ENCODING, batch_size=32),
    "infinity": Profile(speaks=_openai(), takes=_ENCODING),
    "lm_studio": Profile(speaks=_openai(), can_cut=False, batch_size=32),
    "ollama": Profile(speaks=lambda space, _: Ollama(space=space), version="/api", batch_size=32),
}


def profile(provider: str, model: str) -> Profile:
    """Return a provider; on Bedrock it depends on the family of the model what a request can have.

    Raises:
        KeyError: there is no such provider.
    """
    found = PROFILES[provider]
    if provider != "bedrock" or "amazon.titan" in model:
        return found
    if "amazon.nova" in model:
        purposes = ("GENERIC_INDEX", "GENERIC_RETRIEVAL")
        return replace(found, takes=found.takes | _TASKS, tasks=purposes, wants_tasks=True)
    return replace(
        found,
        takes=found.takes | _TASKS,
        tasks=("search_document", "search_query"),
        wants_tasks=True,
        batch_size=96,
        most_texts=96,
    )
