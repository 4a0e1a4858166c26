"""Models in ONNX files of this machine, run by onnxruntime alone; nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from undrift.adapters import model_folder
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space, Truncation
from undrift.errors import BadArgument, EmbedderRejected, EmbedderUnavailable, MissingExtra, TextTooLong
from undrift.ports.embedder import WATCH, EmbedderLimits, TokenCount

_HINT = "pip install 'undrift[onnx]'"
#: Where models keep their graph, in the order in which it is looked for.
_GRAPHS = ("model.onnx", "onnx/model.onnx")
#: Beside the graph, what decides a vector; large graphs keep their weights in a file of its own.
_DECISIVE = ("tokenizer.json", "config.json", "1_Pooling/config.json")
#: Tokens that are computed at a time, padding included; bounds the memory that long texts take.
_TOKENS_AT_ONCE = 16_384


class Pooling(Enum):
    """How the vectors of a text's tokens become one."""

    #: Their average.
    MEAN = "mean"
    #: That of the first token.
    CLS = "cls"
    #: That of the last token.
    LAST = "last"
    #: The graph does it.
    NONE = "none"


#: What sentence-transformers calls them in `1_Pooling/config.json`.
_POOLINGS = {
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_lasttoken": Pooling.LAST,
}


class OnnxEmbedder:
    """A transformer in an ONNX file, on the CPU or a GPU, without torch.

    The folder has the graph (`model.onnx` or `onnx/model.onnx`) and `tokenizer.json`, as the Hugging Face hub and
    `optimum-cli export onnx` write it. Texts of one length are computed together, so that padding costs little.
    """

    def __init__(
        self,
        *,
        path: str,
        name: str | None = None,
        file: str | None = None,
        revision: str | None = None,
        device: str = "cpu",
        batch_size: int = 32,
        threads: int | None = None,
        pooling: Pooling | str | None = None,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation | str = Truncation.REFUSE,
        document_prefix: str | None = None,
        query_prefix: str | None = None,
        normalized: bool = True,
        metric: Metric | str = Metric.COSINE,
    ) -> None:
        """Find the model and read what it says of itself; the graph is loaded at the first text.

        Args:
            path: the model's folder.
            name: what the model is called; by default as the folder.
            file: the graph in the folder, such as `onnx/model_quantized.onnx`; another graph is another revision.
            revision: its version; a hash of its graph, weights and settings when not given.
            device: `cpu`, or `cuda` with `onnxruntime-gpu`.
            batch_size: texts in a call.
            threads: threads on the CPU; one a usable core when not given.
            pooling: `mean`, `cls`, `last`, or `none` where the graph does it; as the model's files say when not given.
            dimensions: keep that many of the vector's first dimensions; only for models trained for it.
            max_tokens: the longest text; the model's own limit when not given.
            truncation: `refuse`, `cut` or `split` what is longer.
            document_prefix: put in front of documents; the model's own prompt when not given.
            query_prefix: put in front of queries; the model's own prompt when not given.
            normalized: whether vectors are brought to length 1.
            metric: how vectors are compared.

        Raises:
            BadArgument: there is no such model here, or an argument does not fit it.
            MissingExtra: the library is not installed.
        """
        for package in ("onnxruntime", "tokenizers"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(f"{package} is not installed", "it runs models in ONNX files", _HINT)
        if device not in ("cpu", "cuda"):
            raise BadArgument(f"onnxruntime has no device {device!r} here", hint="cpu or cuda")
        self._folder = Path(path).expanduser().resolve()
        self._graph = _graph(self._folder, file)
        self._device = device
        self._threads = threads
        model = name or self._folder.name
        self._pooling = _pooling(self._folder) if pooling is None else Pooling(pooling)
        self._turn = threading.RLock()
        self._session: Any = None
        self._tokenizer: Any = None
        native = _native_dimensions(self._folder) or self._declared_dimensions(model)
        if dimensions is not None and not 1 <= dimensions <= native:
            raise BadArgument(f"model {model} has vectors of {native} dimensions; {dimensions} of them cannot be kept")
        own_document_prefix, own_query_prefix = model_folder.prompts(self._folder)
        own_limit = model_folder.own_max_tokens(self._folder)
        if max_tokens is not None and own_limit is not None and max_tokens > own_limit:
            raise BadArgument(f"model {model} takes at most {own_limit} tokens; max_tokens cannot be {max_tokens}")
        files = [self._graph, *self._graph.parent.glob(f"{self._graph.name}[._]data")]
        files += [self._folder / part for part in _DECISIVE if (self._folder / part).is_file()]
        self._space = Space(
            channel="onnx",
            model=model,
            revision=revision or model_folder.revision(self._folder, tuple(files)),
            dimensions=dimensions or native,
            metric=Metric(metric),
            normalized=normalized,
            cut=dimensions if dimensions is not None and dimensions < native else None,
            document_prefix=own_document_prefix if document_prefix is None else document_prefix,
            query_prefix=own_query_prefix if query_prefix is None else query_prefix,
            max_tokens=max_tokens or own_limit,
            truncation=Truncation(truncation),
        )
        self._limits = EmbedderLimits(batch_size=batch_size, concurrency=1)

    @property
    def space(self) -> Space:
        """The space every vector belongs to; its revision is a hash of the graph and what belongs to it."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """One call at a time, which has all the threads, and vectors worth keeping."""
        return self._limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; raises `TextTooLong` when the space refuses what would be cut."""
        return self._embed(texts)

    def embed_query(self, text: str) -> Vector:
        """Embed a query; raises as `embed_documents`."""
        vector: Vector = self._embed([text])[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count with the model's own tokenizer."""
        return TokenCount(tokens=sum(map(len, self._token_ids(texts))), exact=True)

    def close(self) -> None:
        """Let go of the graph; a later text loads it again."""
        with self._turn:
            self._session = self._tokenizer = None

    def _embed(self, texts: Sequence[str]) -> Vectors:
        ids = self._token_ids(texts)
        limit = self._space.max_tokens
        if limit is not None:
            longest = max(map(len, ids))
            if longest > limit and self._space.truncation is not Truncation.CUT:
                raise TextTooLong(
                    f"a text of {longest} tokens is longer than the {limit} that model {self._space.model} takes",
                    "a longer text would be cut, and its end not be found",
                    'split the text, or declare truncation = "split" or "cut" for the model',
                )
            WATCH.get().cut(sum(len(one) > limit for one in ids))
            # The tokenizer cuts by itself, because it knows which tokens have to stay at the end.
            ids = self._token_ids(texts, limit) if longest > limit else ids
        vectors = np.empty((len(texts), self._space.dimensions), dtype=np.float32)
        for rows in _of_one_length(ids):
            vectors[rows] = self._compute([ids[row] for row in rows])[:, : self._space.dimensions]
        if self._space.normalized:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            # A vector of zeros stays one, and is refused where every answer is checked.
            np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def _compute(self, ids: list[list[int]]) -> Vectors:
        """Run the graph on texts of about one length; float32, shape (n, native dimensions)."""
        session = self._load()
        mask = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        padded = np.zeros_like(mask)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {
            "input_ids": padded,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
            "position_ids": np.maximum(np.cumsum(mask, axis=1) - 1, 0),
        }
        try:
            found = session.run(None, {one.name: given[one.name] for one in session.get_inputs()})
        except KeyError as error:
            raise EmbedderRejected(
                f"model {self._space.model} wants an input that nobody has for it", f"its graph asks for {error}"
            ) from error
        # onnxruntime raises its own errors, which have no class in common but this one.
        except Exception as error:
            raise EmbedderUnavailable(
                f"model {self._space.model} could not embed {len(ids)} texts",
                str(error),
                "set a smaller batch_size for the model",
            ) from error
        return self._pooled(found, mask)

    def _pooled(self, found: list[NDArray[Any]], mask: NDArray[np.int64]) -> Vectors:
        rank = 2 if self._pooling is Pooling.NONE else 3
        output = next((one for one in found if one.ndim == rank), None)
        if output is None:
            shapes = ", ".join(str(one.shape) for one in found)
            raise EmbedderRejected(
                f"the graph of model {self._space.model} has no output of {rank} axes",
                f"its outputs have the shapes {shapes}",
                'set pooling = "none" for a graph that gives one vector a text, else mean, cls or last',
            )
        tokens = output.astype(np.float32, copy=False)
        match self._pooling:
            case Pooling.NONE:
                return tokens
            case Pooling.MEAN:
                weights = mask[:, :, np.newaxis].astype(np.float32)
                return np.asarray((tokens * weights).sum(axis=1) / weights.sum(axis=1), dtype=np.float32)
            case Pooling.CLS:
                return np.asarray(tokens[:, 0])
            case Pooling.LAST:
                return np.asarray(tokens[np.arange(len(tokens)), mask.sum(axis=1) - 1])
            case _:
                assert_never(self._pooling)

    def _token_ids(self, texts: Sequence[str], limit: int | None = None) -> list[list[int]]:
        with self._turn:
            if self._tokenizer is None:
                self._tokenizer = _tokenizer(self._folder)
            if limit is None:
                self._tokenizer.no_truncation()
            else:
                self._tokenizer.enable_truncation(max_length=limit)
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def _load(self) -> Any:
        with self._turn:
            if self._session is None:
                self._session = self._opened()
            return self._session

    def _opened(self) -> Any:
        try:
            from onnxruntime import InferenceSession, SessionOptions, get_available_providers
        except ImportError as error:
            raise MissingExtra("onnxruntime cannot be imported", str(error), _HINT) from error
        wanted = "CUDAExecutionProvider" if self._device == "cuda" else "CPUExecutionProvider"
        if wanted not in get_available_providers():
            raise MissingExtra(
                f"onnxruntime has no {self._device} here",
                f"it has {', '.join(get_available_providers())}",
                "pip install onnxruntime-gpu in place of onnxruntime",
            )
        options = SessionOptions()
        options.intra_op_num_threads = self._threads or model_folder.usable_cores()
        options.inter_op_num_threads = 1
        try:
            return InferenceSession(str(self._graph), options, providers=[wanted])
        # onnxruntime raises its own errors, which have no class in common but this one.
        except Exception as error:
            raise EmbedderRejected(f"the graph {self._graph} cannot be loaded", str(error)) from error

    def _declared_dimensions(self, model: str) -> int:
        """Ask the graph, where no file beside it says how long its vectors are."""
        rank = 2 if self._pooling is Pooling.NONE else 3
        shapes = [one.shape for one in self._load().get_outputs() if len(one.shape) == rank]
        if shapes and isinstance(shapes[0][-1], int):
            return shapes[0][-1]
        raise BadArgument(
            f"nothing says how many dimensions the vectors of model {model} have",
            f"neither {self._folder / 'config.json'} nor the graph",
            "put the model's config.json beside it",
        )


def _of_one_length(ids: list[list[int]]) -> Iterator[list[int]]:
    """Yield the rows of texts that are computed together: the longest first, no more than fit into the memory."""
    rows = sorted(range(len(ids)), key=lambda row: len(ids[row]), reverse=True)
    while rows:
        most = max(1, _TOKENS_AT_ONCE // max(1, len(ids[rows[0]])))
        yield rows[:most]
        rows = rows[most:]


def _graph(folder: Path, file: str | None) -> Path:
    if not (folder / "tokenizer.json").is_file():
        raise BadArgument(f"{folder} is not the folder of an ONNX model", "there is no tokenizer.json in it")
    for part in (file,) if file else _GRAPHS:
        if (folder / part).is_file():
            return folder / part
    raise BadArgument(f"{folder} is not the folder of an ONNX model", f"there is no {file or ' and no '.join(_GRAPHS)}")


def _pooling(folder: Path) -> Pooling:
    declared = model_folder.read(folder / "1_Pooling" / "config.json")
    if isinstance(declared.get("pooling_mode"), str):
        return Pooling(declared["pooling_mode"])
    ways = [way for key, way in _POOLINGS.items() if declared.get(key)]
    if len(ways) == 1:
        return ways[0]
    raise BadArgument(
        f"nothing says how model {folder.name} puts the vectors of its tokens together",
        f"there is no usable {folder / '1_Pooling' / 'config.json'}",
        "set pooling for the model, as its documentation says: mean, cls, last or none",
    )


def _native_dimensions(folder: Path) -> int | None:
    """Return what the files say, None when they do not; a dense layer behind the pooling is not run here."""
    if any(folder.glob("*_Dense")):
        raise BadArgument(
            f"model {folder.name} has a dense layer behind its pooling, which its graph does not have",
            hint='export it as a whole: optimum-cli export onnx --task sentence-similarity, and set pooling = "none"',
        )
    config = model_folder.read(folder / "config.json")
    size = next((config[key] for key in ("hidden_size", "d_model", "dim") if config.get(key)), None)
    return int(size) if size else None


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # The library raises plain Exception for a damaged file.
    except Exception as error:
        raise EmbedderRejected(f"{folder / 'tokenizer.json'} cannot be read", str(error)) from error
    tokenizer.no_padding()
    return tokenizer
