"""A tokenizer by its file: the vocabulary of an encoding of OpenAI's, or the `tokenizer.json` of a model."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from undrift.errors import BadConfig, MissingExtra
from undrift.ports.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

_HINT = "pip install 'undrift[tokenizers]'"


def tokenizer_at(path: Path) -> Tokenizer:
    """Return the tokenizer of a file; nothing is downloaded.

    Args:
        path: `NAME.tiktoken`, the vocabulary of the encoding of that name as OpenAI publishes it, such as
            `cl100k_base.tiktoken`; or the `tokenizer.json` that comes with a model.

    Raises:
        BadConfig: there is no such file, it is not what its name says, or it is of another kind.
        MissingExtra: the library that reads it is not installed.
    """
    if not path.is_file():
        raise BadConfig(f"there is no tokenizer {path}", hint="name a NAME.tiktoken or a tokenizer.json")
    if path.suffix == ".tiktoken":
        return _Tiktoken(path)
    if path.suffix == ".json":
        return _TokenizerJson(path)
    raise BadConfig(f"{path} is no tokenizer that undrift reads", "it reads NAME.tiktoken and tokenizer.json")


class _Tiktoken:
    """An encoding of OpenAI's; texts are billed as they are: nothing is added, and no part of one is special."""

    def __init__(self, path: Path) -> None:
        self._encoding = _encoding(path)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text."""
        return [len(ids) for ids in self._encoding.encode_ordinary_batch(list(texts), num_threads=1)]


class _TokenizerJson:
    """A tokenizer of the Hugging Face library, with the tokens that it puts around every text."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = _read_json(path)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text."""
        return [len(one.ids) for one in self._tokenizer.encode_batch_fast(list(texts))]


def _encoding(path: Path) -> tiktoken.Encoding:
    try:
        import tiktoken
        from tiktoken_ext import openai_public
    except ImportError as error:
        raise MissingExtra("tiktoken is not installed", str(error), _HINT) from error
    maker = openai_public.ENCODING_CONSTRUCTORS.get(path.stem)
    if maker is None:
        known = ", ".join(sorted(openai_public.ENCODING_CONSTRUCTORS))
        raise BadConfig(
            f"tiktoken knows no encoding {path.stem}", f"it knows: {known}", f"call the file {path} as its encoding"
        )
    # The maker has the pattern and the checksum, and asks for the vocabulary at an address. It is given ours.
    mine = FunctionType(maker.__code__, {**vars(openai_public), "load_tiktoken_bpe": _loader(path)})
    try:
        return tiktoken.Encoding(**mine())
    except ValueError as error:
        raise BadConfig(f"the vocabulary {path} cannot be read", str(error)) from error


def _loader(path: Path) -> Callable[..., dict[bytes, int]]:
    def load(_address: str, expected_hash: str | None = None) -> dict[bytes, int]:
        content = path.read_bytes()
        if expected_hash is not None and hashlib.sha256(content).hexdigest() != expected_hash:
            raise BadConfig(
                f"{path} is not the vocabulary that OpenAI publishes as {path.name}",
                "its checksum is another one, so it would count other tokens",
                "fetch the file again, or take its real name",
            )
        pairs = (line.split() for line in content.splitlines() if line)
        return {base64.b64decode(token): int(rank) for token, rank in pairs}

    return load


def _read_json(path: Path) -> tokenizers.Tokenizer:
    try:
        from tokenizers import Tokenizer as JsonTokenizer
    except ImportError as error:
        raise MissingExtra("tokenizers is not installed", str(error), _HINT) from error
    try:
        found: Any = JsonTokenizer.from_file(str(path))
    # The library raises plain Exception for a file that it cannot read.
    except Exception as error:
        raise BadConfig(f"the tokenizer {path} cannot be read", str(error)) from error
    found.no_padding()
    found.no_truncation()
    return cast("tokenizers.Tokenizer", found)
