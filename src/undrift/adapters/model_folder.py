"""What the files of a model say of it, in the layout of sentence-transformers and of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from undrift.errors import BadArgument

#: What models call the prompt of documents, in the order of sentence-transformers.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@lru_cache
def revision(folder: Path, files: tuple[Path, ...]) -> str:
    """Hash files by their names in a folder and their contents, once in a process."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256-{digest.hexdigest()[:16]}"


def prompts(folder: Path) -> tuple[str, str]:
    """Return what a model was trained to see in front of a document, and of a query."""
    declared = read(folder / "config_sentence_transformers.json").get("prompts") or {}
    document = next((declared[key] for key in _DOCUMENT_PROMPTS if key in declared), "")
    return document, declared.get("query", "")


def own_max_tokens(folder: Path) -> int | None:
    """Return the longest text that a model takes, in its own tokens; None when it does not say."""
    own = read(folder / "sentence_bert_config.json").get("max_seq_length")
    limit = own or read(folder / "tokenizer_config.json").get("model_max_length")
    # Tokenizers without a limit write an absurd one.
    return int(limit) if limit is not None and limit < 1e9 else None


def read(path: Path) -> Any:
    """Return a JSON file, and an empty mapping when there is none.

    Raises:
        BadArgument: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadArgument(f"{path} cannot be read", str(error)) from error


def usable_cores() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
