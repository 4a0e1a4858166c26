"""What can be told of a fine-tuned model before it is configured: who can run what its folder has, and its data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undrift.adapters import model_folder
from undrift.domain.space import Space
from undrift.errors import BadArgument, MissingExtra

#: A file of a folder → the provider that runs it; the first that is there counts.
_MARKS = {
    "head.json": "head",
    "modules.json": "sentence_transformers",
    "model.onnx": "onnx",
    "onnx/model.onnx": "onnx",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FINGERPRINT = re.compile(r"sha256-[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a checkpoint was found.

    Attributes:
        text: the place as it was given, in words that mean the same tomorrow.
        folder: the folder of this machine that has its files.
        provider: who can run it.
        head_of: the space that a head was trained behind; None for a whole model.
        recipe: what its place says of the training; empty where it says nothing.
        code: the revision of the code, as its place says it.
        options: what else the provider has to be told.
    """

    text: str
    folder: Path
    provider: str
    head_of: Space | None = None
    recipe: str = ""
    code: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def from_folder(folder: Path, text: str) -> Origin:
    """Look at a folder of this machine.

    Raises:
        BadArgument: nothing in it says which provider can run it.
    """
    for mark, provider in _MARKS.items():
        if not (folder / mark).is_file():
            continue
        head_of = _base_of(folder / mark) if provider == "head" else None
        return Origin(text=text, folder=folder, provider=provider, head_of=head_of)
    raise BadArgument(
        f"{text} has no model that undrift can run",
        f"one of {', '.join(_MARKS)} is looked for in {folder}",
        "give the folder of a sentence-transformers model, of an ONNX model, or of a head; any other model is "
        "undrift model add NAME --provider PROVIDER, then undrift model record NAME",
    )


def _base_of(mark: Path) -> Space:
    try:
        return Space.from_dict(model_folder.read(mark)["base"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadArgument(f"{mark} does not say which model the head belongs to", repr(error)) from error


def from_hub(reference: str) -> Origin:
    """Find a model of the Hugging Face hub, `ORG/NAME@COMMIT`, in this machine's cache; nothing is downloaded.

    Raises:
        BadArgument: the commit is not whole, or the cache does not have it.
        MissingExtra: the library of the hub is not installed.
    """
    repository, _, commit = reference.partition("@")
    if not repository or not _COMMIT.fullmatch(commit):
        raise BadArgument(
            f"hf:{reference} does not name a commit",
            "a branch or a tag may mean another checkpoint tomorrow; a commit has 40 hexadecimal digits",
            f"--from hf:{repository or 'ORG/NAME'}@COMMIT",
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra(
            "huggingface_hub is not installed", str(error), "pip install 'undrift[sentence-transformers]'"
        ) from error
    try:
        folder = snapshot_download(repository, revision=commit, local_files_only=True)
    # The library raises its own errors, children of both.
    except (OSError, ValueError) as error:
        raise BadArgument(
            f"hf:{reference} is not in this machine's cache of the hub, and nothing is downloaded",
            str(error).splitlines()[0] if str(error) else type(error).__name__,
            f"hf download {repository} --revision {commit}",
        ) from error
    return from_folder(Path(folder), f"hf:{reference}")


def fingerprint(data: Sequence[Path | str]) -> str:
    """Return the fingerprint of training data: of files and folders, or one that was made elsewhere.

    The names of the files count and where they lie does not, nor does the order in which they are given.

    Raises:
        BadArgument: there is no such file, or it cannot be read.
    """
    if len(data) == 1 and _FINGERPRINT.fullmatch(str(data[0])):
        return str(data[0])
    found = []
    for given in map(Path, data):
        files = sorted(path for path in given.rglob("*") if path.is_file()) if given.is_dir() else [given]
        for path in files:
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise BadArgument(
                    f"training data {path} cannot be read",
                    str(error),
                    "give files, folders, or a fingerprint: sha256- and 16 to 64 hexadecimal digits",
                ) from error
            name = path.relative_to(given).as_posix() if given.is_dir() else path.name
            found.append((name, content))
    digest = hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()
    return f"sha256-{digest}" if found else ""
