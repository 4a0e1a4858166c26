"""Models of the sentence-transformers library, from a folder of this machine; nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from undrift.adapters import model_folder
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Metric, Space, Truncation
from undrift.errors import BadArgument, EmbedderRejected, EmbedderUnavailable, MissingExtra, TextTooLong
from undrift.ports.embedder import WATCH, EmbedderLimits, TokenCount

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HINT = "pip install 'undrift[sentence-transformers]'"
#: What sentence-transformers writes into every model folder.
_MARK = "modules.json"
#: Files that decide a vector; exports for other runtimes, pictures and words about the model do not.
_DECISIVE = (".safetensors", ".bin", ".json", ".txt", ".model", ".py")
_OTHER_RUNTIMES = frozenset({"onnx", "openvino", "coreml"})


class SentenceTransformersEmbedder:
    """A transformer on this machine's CPU or GPU.

    The space is read from the model's files, so that looking at it takes no torch; the model is loaded at the first
    text. Prompts that the model declares for documents and queries become the prefixes of the space.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        path: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
        batch_tokens: int | None = None,
        threads: int | None = None,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        truncation: Truncation | str = Truncation.REFUSE,
        document_prefix: str | None = None,
        query_prefix: str | None = None,
        normalized: bool = True,
        metric: Metric | str = Metric.COSINE,
    ) -> None:
        """Find the model and read what it says of itself.

        Args:
            name: what the model is called; without a path, the name of an installed package that brings it, or of a
                model in this machine's Hugging Face cache.
            path: the model's folder; it is called like the folder when it has no name.
            revision: its version; a hash of its weights and settings when not given.
            device: `cpu`, `cuda`, `cuda:1`, `mps`; the library chooses when not given.
            batch_size: texts in a call.
            batch_tokens: most tokens that are computed at a time, padding included, so that long texts fit into the
                memory of the device; every text of a call when not given.
            threads: threads of torch on the CPU; one a usable core when not given.
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
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtra("sentence-transformers is not installed", "it runs transformer models", _HINT)
        if path is None and name is None:
            raise BadArgument("a sentence-transformers model needs a name or a path")
        self._folder = _installed(name or "") if path is None else _folder(path)
        model = name or self._folder.name
        native = _native_dimensions(self._folder)
        if dimensions is not None and not 1 <= dimensions <= native:
            raise BadArgument(f"model {model} has vectors of {native} dimensions; {dimensions} of them cannot be kept")
        own_document_prefix, own_query_prefix = model_folder.prompts(self._folder)
        own_limit = model_folder.own_max_tokens(self._folder)
        if max_tokens is not None and own_limit is not None and max_tokens > own_limit:
            raise BadArgument(f"model {model} takes at most {own_limit} tokens; max_tokens cannot be {max_tokens}")
        self._space = Space(
            channel="sentence-transformers",
            model=model,
            revision=revision or _revision(self._folder),
            dimensions=dimensions or native,
            metric=Metric(metric),
            normalized=normalized,
            cut=dimensions if dimensions is not None and dimensions < native else None,
            document_prefix=own_document_prefix if document_prefix is None else document_prefix,
            query_prefix=own_query_prefix if query_prefix is None else query_prefix,
            max_tokens=max_tokens or own_limit,
            truncation=Truncation(truncation),
        )
        if batch_tokens is not None and batch_tokens < 1:
            raise BadArgument(
                f"batch_tokens of model {model} is {batch_tokens}; at least 1 token is computed at a time"
            )
        self._batch_tokens = batch_tokens
        self._device = device
        self._threads = threads
        self._limits = EmbedderLimits(batch_size=batch_size, concurrency=1)
        # The tokenizers of transformers cannot be used by two threads at once ("Already borrowed").
        self._turn = threading.RLock()
        self._model: Any = None
        self._tokenizer: Tokenizer | None = None

    @property
    def space(self) -> Space:
        """The space every vector belongs to."""
        return self._space

    @property
    def limits(self) -> EmbedderLimits:
        """One call at a time, and vectors worth keeping: minutes of work for a large model."""
        return self._limits

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; raises `TextTooLong` when the space refuses what the model would cut."""
        return self._encode(texts, "encode_document", self._space.document_prefix)

    def embed_query(self, text: str) -> Vector:
        """Embed a query; raises as `embed_documents`."""
        vector: Vector = self._encode([text], "encode_query", self._space.query_prefix)[0]
        return vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        """Count with the model's own tokenizer, without loading the model where it has a fast one."""
        return TokenCount(tokens=sum(self._lengths(texts)), exact=True)

    def close(self) -> None:
        """Let go of the model; a later text loads it again."""
        with self._turn:
            self._model = self._tokenizer = None

    def _encode(self, texts: Sequence[str], method: str, prefix: str) -> Vectors:
        limit = self._space.max_tokens
        is_counted = limit is not None or self._batch_tokens is not None
        lengths = self._lengths(texts) if is_counted else [1]
        longest, at_once = max(lengths), len(texts)
        if self._batch_tokens is not None:
            # The library pads every text of a batch to the longest one.
            at_once = max(1, self._batch_tokens // min(longest, limit or longest))
        if limit is not None:
            if longest > limit and self._space.truncation is Truncation.CUT:
                WATCH.get().cut(sum(length > limit for length in lengths))
            elif longest > limit:
                raise TextTooLong(
                    f"a text of {longest} tokens is longer than the {limit} that model {self._space.model} takes",
                    "a longer text would be cut, and its end not be found",
                    'split the text, or declare truncation = "split" or "cut" for the model',
                )
        with self._turn:
            model = self._load()
            # Old releases of the library have no sides.
            encode = getattr(model, method, model.encode)
            try:
                # The prompt goes in apart from the text: some models leave it out of the average.
                answer = encode(
                    [text.removeprefix(prefix) for text in texts],
                    prompt=prefix,
                    batch_size=min(len(texts), at_once),
                    normalize_embeddings=self._space.normalized,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
            except RuntimeError as error:
                # Out of memory, a lost device: torch knows only RuntimeError.
                raise EmbedderUnavailable(
                    f"model {self._space.model} could not embed {len(texts)} texts",
                    str(error),
                    "set a smaller batch_size for the model",
                ) from error
        return np.ascontiguousarray(answer, dtype=np.float32)

    def _load(self) -> Any:
        if self._model is None:
            try:
                import torch
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise MissingExtra("sentence-transformers cannot be imported", str(error), _HINT) from error
            torch.set_num_threads(self._threads or model_folder.usable_cores())
            try:
                model = SentenceTransformer(
                    str(self._folder), device=self._device, truncate_dim=self._space.cut, local_files_only=True
                )
            except (OSError, ValueError, RuntimeError) as error:
                raise EmbedderRejected(
                    f"model {self._space.model} cannot be loaded from {self._folder}", str(error)
                ) from error
            if self._space.max_tokens is not None:
                model.max_seq_length = self._space.max_tokens
            self._model = model
        return self._model

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, special ones included, as the model's limit does."""
        with self._turn:
            if self._tokenizer is None and (self._folder / "tokenizer.json").is_file():
                from tokenizers import Tokenizer

                self._tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
                self._tokenizer.no_truncation()
                self._tokenizer.no_padding()
            if self._tokenizer is not None:
                return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(list(texts))]
            encoded = self._load().tokenizer(list(texts), truncation=False, padding=False)
            return [len(ids) for ids in encoded["input_ids"]]


def _folder(path: str) -> Path:
    folder = Path(path).expanduser().resolve()
    if not (folder / _MARK).is_file():
        raise BadArgument(f"{path} is not the folder of a sentence-transformers model", f"there is no {folder / _MARK}")
    return folder


def _installed(name: str) -> Path:
    """Return the folder of a model that a package or the Hugging Face cache of this machine has."""
    module = name.replace("-", "_")
    found = importlib.util.find_spec(module) if module.isidentifier() else None
    for location in (found.submodule_search_locations or []) if found else []:
        marks = sorted([*Path(location).glob(_MARK), *Path(location).glob(f"*/{_MARK}")])
        if marks:
            return marks[0].parent
    try:
        from huggingface_hub import snapshot_download

        return _folder(snapshot_download(name, local_files_only=True))
    # The library raises its own errors for a name it does not like and for one that is not in its cache.
    except (ImportError, OSError, ValueError) as error:
        raise BadArgument(
            f"model {name} is not on this machine",
            "no installed package has it, and it is not in the Hugging Face cache; nothing is downloaded",
            "put the model into a folder and give its path",
        ) from error


def _revision(folder: Path) -> str:
    """Hash the files that decide a vector; 0.1 s for 90 MB, once in a process."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix in _DECISIVE
        and not any(part.startswith(".") or part in _OTHER_RUNTIMES for part in path.relative_to(folder).parts)
    ]
    if any(path.suffix == ".safetensors" for path in files):
        # The same weights in the older format are not read when both are there.
        files = [path for path in files if path.suffix != ".bin"]
    return model_folder.revision(folder, tuple(files))


def _native_dimensions(folder: Path) -> int:
    """Read the length of the vectors from the last module that says one."""
    modules = model_folder.read(folder / _MARK)
    for module in reversed(modules):
        settings = model_folder.read(folder / module["path"] / "config.json")
        match module["type"].rsplit(".", 1)[-1]:
            case "Dense":
                return int(settings["out_features"])
            case "Pooling":
                size = settings.get("embedding_dimension") or settings["word_embedding_dimension"]
                return int(size) * _pooling_ways(settings)
            case "Transformer" if settings:
                sizes = (settings.get(key) for key in ("hidden_size", "d_model", "dim"))
                return int(next(size for size in sizes if size))
            case _:
                continue
    raise BadArgument(
        f"the files of {folder.name} do not say how many dimensions its vectors have", str(folder / _MARK)
    )


def _pooling_ways(settings: dict[str, Any]) -> int:
    """Count the averages and maxima that a pooling module puts side by side; it is usually one."""
    modes = settings.get("pooling_mode")
    if modes:
        return 1 if isinstance(modes, str) else len(modes)
    return max(1, sum(key.startswith("pooling_mode_") and bool(on) for key, on in settings.items()))
