"""Documents as JSON Lines: read strictly, line by line, and written so that they can be read again."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import numpy as np

from undrift.domain.record import Document, Entry, Record, Vector, check_document
from undrift.errors import BadArgument, BadDocument, BadInputLine, MalformedVectors

T = TypeVar("T")

DOCUMENT_KEYS = frozenset({"id", "text", "title", "metadata"})
#: What `document_line` writes of a tag; these three together mark a line as an exported one.
TAG_KEYS = frozenset({"space", "hash", "sequence"})
EXPORTED_KEYS = DOCUMENT_KEYS | TAG_KEYS | {"vector"}

EXCERPT_CHARACTERS = 80
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

CUT_HINT = "get the file again, or remove its last line"
ARRAY_HINT = "jq -c '.[]' FILE makes lines of an array"
SHAPE_HINT = 'write each document on one line: {"id": "42", "text": "…", "metadata": {"lang": "en"}}'


@contextmanager
def open_documents(path: Path) -> Iterator[Iterator[Document]]:
    """Open a file of documents, plain or compressed by gzip, for the length of a `with` block.

    Nothing is read ahead: a broken line is found when its turn comes.

    Raises:
        BadArgument: the file cannot be opened.
        BadInputLine, BadDocument: from the iterator, as `read_lines` and `read_documents` do.
    """
    with open_lines(path) as lines:
        yield read_documents(lines, str(path))


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[str]]:
    """Open a text file, plain or compressed by gzip whatever its name says, for the length of a `with` block.

    Raises:
        BadArgument: the file cannot be opened.
        BadInputLine: from the iterator, as `read_lines` does.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise _cannot_open(path, error) from error
    with raw:
        try:
            packed = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        except OSError as error:
            raise _cannot_open(path, error) from error
        if not packed:
            yield read_lines(raw, str(path))
            return
        # The buffer around it reads lines in C; GzipFile alone goes through Python for each.
        with gzip.GzipFile(fileobj=raw) as unpacked, io.BufferedReader(unpacked, 1 << 18) as stream:
            yield read_lines(stream, str(path))


def read_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Decode a binary stream into lines, each with its line end; a byte order mark is left to whoever parses them.

    Args:
        stream: bytes of UTF-8; only `\\n` ends a line.
        name: what errors call the stream.

    Raises:
        BadInputLine: a line is not UTF-8, or the stream cannot be read to its end.
    """
    number = 0
    try:
        for number, line in enumerate(stream, 1):
            yield _decoded(line, f"{name} line {number}")
    except (EOFError, OSError, zlib.error) as error:
        raise BadInputLine(
            f"{name} cannot be read beyond line {number}", str(error), "the file looks cut off or damaged: get it again"
        ) from error


def read_objects(lines: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Parse JSON Lines strictly: one object a line, no key twice, no NaN; blank lines are skipped.

    Args:
        lines: text lines; a byte order mark before the first is ignored.
        name: what errors call the input.

    Yields:
        The number of the line, from 1, and its object.

    Raises:
        BadInputLine: a line is something else; a broken last line without a line end is told apart.
    """
    rest = iter(lines)
    for number, line in enumerate(rest, 1):
        text = line.removeprefix("\ufeff") if number == 1 else line
        if not text or text.isspace():
            continue
        where = f"{name} line {number}"
        try:
            value = _decode(text)
        except json.JSONDecodeError as error:
            is_last = not text.endswith("\n") and next(rest, None) is None
            raise _broken(where, text.rstrip(), error, hint=CUT_HINT if is_last else "") from error
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BadInputLine(f"{where} cannot be taken: {reason}", _excerpt(text.strip()), SHAPE_HINT) from error
        if not isinstance(value, dict):
            hint = ARRAY_HINT if isinstance(value, list) else SHAPE_HINT
            raise BadInputLine(f"{where} is not a JSON object but {_kind(value)}", _excerpt(text.strip()), hint)
        yield number, value


def read_documents(lines: Iterable[str], name: str) -> Iterator[Document]:
    """Read documents from lines of `{"id", "text"}`, with `title` and `metadata` where there are any.

    A title is joined in front of the text by one space; keys that a document does not have become metadata. A line that
    `document_line` wrote is taken too; its tag and its vector are left out, for what is put in is embedded anew. Memory
    grows by a digest for each id.

    Args:
        lines: text lines, as of `read_lines`.
        name: what errors call the input.

    Yields:
        Checked documents in the order of the lines.

    Raises:
        BadInputLine: a line is not such an object.
        BadDocument: an id, text or metadata cannot be kept, or an id comes twice; the message names the line.
    """
    seen: dict[bytes, int] = {}
    for number, fields in read_objects(lines, name):
        where = f"{name} line {number}"
        document = _document(fields, where)
        try:
            check_document(document)
        except BadDocument as error:
            raise BadDocument(f"{where}: {error.message}", error.detail, error.hint) from error
        first = seen.setdefault(hashlib.blake2b(document.id.encode(), digest_size=16).digest(), number)
        if first != number:
            raise BadDocument(
                f"{where} has the id {document.id!r}, as line {first} has",
                "which of the two is meant cannot be known",
                "remove one of the two lines, or give it an id of its own",
            )
        yield document


def document_line(entry: Entry | Record, vector: Vector | None = None) -> str:
    """Write a document as it is exported, without a line end; `space`, `hash` and `sequence` are null without a tag.

    Args:
        entry: what a store keeps of the document.
        vector: float32, shape (d,); written so that every bit comes back, left out when None.

    Raises:
        MalformedVectors: the vector has a NaN or an infinity in it, which JSON cannot say.
        BadDocument: the metadata is not JSON.
    """
    tag = entry.tag
    line: dict[str, Any] = {
        "id": entry.id,
        "text": entry.text,
        "metadata": dict(entry.metadata),
        "space": tag and tag.space,
        "hash": tag and tag.content,
        "sequence": tag and tag.sequence,
    }
    if vector is not None:
        if not np.isfinite(vector).all():
            raise MalformedVectors(f"the vector of record {entry.id!r} has a NaN or an infinity in it")
        # As 64-bit numbers: the shortest decimals of 32-bit ones are rounded twice by a reader that parses 64-bit ones.
        line["vector"] = vector.tolist()
    try:
        return json.dumps(line, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadDocument(f"the metadata of record {entry.id!r} is not JSON", str(error)) from error


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut an iterable into lists of `size` items, the last one as short as it must be; none is empty.

    Raises:
        BadArgument: the size is not positive.
    """
    if size < 1:
        raise BadArgument(f"a batch of {size} items was asked for; at least 1 is needed")
    rest = iter(items)
    return iter(lambda: list(islice(rest, size)), [])


def _document(fields: dict[str, Any], where: str) -> Document:
    if "id" not in fields or "text" not in fields:
        missing = "id" if "id" not in fields else "text"
        raise BadInputLine(f'{where} has no "{missing}"', f"its keys are {_listed(fields)}", SHAPE_HINT)
    id, text, title, metadata = fields["id"], fields["text"], fields.get("title"), fields.get("metadata")
    if not isinstance(id, str):
        hint = 'ids are strings: write "id": "42", not "id": 42'
        raise BadInputLine(f"{where} has an id that is not a string but {_kind(id)}", _excerpt(json.dumps(id)), hint)
    if not isinstance(text, str):
        raise BadInputLine(f"{where} has a text that is not a string but {_kind(text)}", hint=SHAPE_HINT)
    if title is not None and not isinstance(title, str):
        raise BadInputLine(f"{where} has a title that is not a string but {_kind(title)}", hint=SHAPE_HINT)
    if metadata is not None and not isinstance(metadata, dict):
        raise BadInputLine(f"{where} has metadata that is not an object but {_kind(metadata)}", hint=SHAPE_HINT)
    if title and not title.isspace():
        text = f"{title} {text}"
    return Document(id=id, text=text, metadata={**(metadata or {}), **_more_metadata(fields, metadata or {}, where)})


def _more_metadata(fields: dict[str, Any], metadata: dict[str, Any], where: str) -> dict[str, Any]:
    """Return what stands beside the keys of a document: it is metadata, unless the line is an exported one."""
    known = EXPORTED_KEYS if fields.keys() >= TAG_KEYS else DOCUMENT_KEYS
    more = {key: value for key, value in fields.items() if key not in known}
    twice = more.keys() & metadata.keys()
    if twice:
        raise BadInputLine(
            f"{where} has {_listed(twice)} twice: beside its metadata and in it",
            _excerpt(json.dumps(more, ensure_ascii=False)),
            "keep one of the two",
        )
    return more


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; JSON leaves open which of two values of one key counts."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} comes twice in one object")
    return value


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)


def _decode(text: str) -> object:
    value: object = _DECODER.decode(text)
    # Half of a surrogate pair can be escaped in JSON, and then be written nowhere.
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _cannot_open(path: Path, error: OSError) -> BadArgument:
    return BadArgument(f"file {path} cannot be opened", error.strerror or str(error), "check its name and its rights")


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = line[max(0, error.start - 40) : error.start + 20].decode("utf-8", "backslashreplace")
        coding = "UTF-16" if line.startswith(UTF16_MARKS) else "ENCODING"
        # Only the end of the input can end a character early: every other line has its line end.
        is_cut = error.reason == "unexpected end of data"
        raise BadInputLine(
            f"{where} is not UTF-8: {error.reason} at byte {error.start + 1}",
            _excerpt(shown.strip()),
            CUT_HINT if is_cut else f"iconv -f {coding} -t UTF-8 FILE",
        ) from error


def _broken(where: str, text: str, error: json.JSONDecodeError, *, hint: str) -> BadInputLine:
    reason = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
    message = f"{where} is not JSON: {reason} at character {error.pos + 1}"
    if hint:
        return BadInputLine(f"{message}; nothing follows, so the file looks cut off", _excerpt(text, error.pos), hint)
    spread = {"[": ARRAY_HINT, "{": "jq -c . FILE puts each object on one line"}.get(text.strip(), SHAPE_HINT)
    return BadInputLine(message, _excerpt(text, error.pos), spread)


def _excerpt(text: str, position: int = 0) -> str:
    """Return at most 80 characters around a position, fit for a terminal."""
    start = max(0, min(position - EXCERPT_CHARACTERS // 2, len(text) - EXCERPT_CHARACTERS))
    end = start + EXCERPT_CHARACTERS
    shown = ("…" + text[start + 1 : end]) if start else text[:end]
    if end < len(text):
        shown = shown[:-1] + "…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


def _listed(keys: Iterable[str]) -> str:
    return _excerpt(", ".join(json.dumps(key, ensure_ascii=False) for key in keys)) or "none"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
