"""Documents as JSON Lines: files and streams, plain and compressed, whole and damaged."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from undrift.errors import BadArgument, BadInputLine
from undrift.flow.jsonl import open_documents, open_lines, read_lines

GOOD = '{"id": "1", "text": "one"}\n'


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xe2\x82", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf8_are_named_by_line(bad: bytes) -> None:
    stream = io.BytesIO(GOOD.encode() + b'{"id": "2", "text": "caf' + bad + b'"}\n')

    with pytest.raises(BadInputLine, match=r"^docs line 2 is not UTF-8: .* at byte 25") as caught:
        list(read_lines(stream, "docs"))
    assert caught.value.detail.startswith('{"id": "2", "text": "caf\\x')
    assert "iconv" in caught.value.hint


def test_utf16_is_recognised() -> None:
    with pytest.raises(BadInputLine) as caught:
        list(read_lines(io.BytesIO(GOOD.encode("utf-16")), "docs"))
    assert caught.value.hint == "iconv -f UTF-16 -t UTF-8 FILE"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["docs.jsonl", "docs.jsonl.gz"])
def test_a_file_is_opened_by_what_is_in_it(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    content = ("\ufeff" + GOOD + '{"id": "2", "text": "zwei"}').encode()
    path.write_bytes(gzip.compress(content) if packed else content)

    with open_documents(path) as documents:
        assert [(one.id, one.text) for one in documents] == [("1", "one"), ("2", "zwei")]


@pytest.mark.parametrize("packed", [False, True])
def test_an_empty_file_has_no_documents(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(gzip.compress(b"") if packed else b"")

    with open_documents(path) as documents:
        assert list(documents) == []


def test_the_file_is_closed_after_the_block(tmp_path: Path) -> None:
    """An open file would warn, and a warning is an error here."""
    path = tmp_path / "docs.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD.encode() * 2))

    with open_documents(path) as documents:
        next(documents)

    with pytest.raises(ValueError, match="closed"):
        next(documents)


def test_an_error_names_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_text(GOOD + "broken\n")

    with pytest.raises(BadInputLine, match=r"^docs\.jsonl line 2 "), open_documents(Path("docs.jsonl")) as documents:
        list(documents)


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    with pytest.raises(BadArgument) as caught, open_lines(path):
        pass
    assert caught.value.message == f"file {path} cannot be opened"
    assert caught.value.detail


def test_an_error_inside_the_block_passes_through(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text(GOOD)

    with pytest.raises(OSError, match="mine"), open_documents(path):
        raise OSError("mine")


@pytest.mark.parametrize("size", [-1, -9, -40])
def test_compressed_data_that_was_cut_off_is_told(tmp_path: Path, size: int) -> None:
    path = tmp_path / "docs.jsonl.gz"
    lines = [json.dumps({"id": str(i), "text": f"{i:x}" * 9}) + "\n" for i in range(2_000)]
    path.write_bytes(gzip.compress("".join(lines).encode())[:size])

    with (
        pytest.raises(BadInputLine, match=r"cannot be read beyond line \d+") as caught,
        open_documents(path) as documents,
    ):
        list(documents)
    assert "cut off" in caught.value.hint


@pytest.mark.parametrize(
    ("position", "what"), [(10, "block type"), (-5, "CRC"), (-1, "length")], ids=["content", "checksum", "length"]
)
def test_compressed_data_that_was_damaged_is_told(tmp_path: Path, position: int, what: str) -> None:
    path = tmp_path / "docs.jsonl.gz"
    content = bytearray(gzip.compress(GOOD.encode() * 50))
    content[position] |= 0x07
    content[position] ^= 0x80
    path.write_bytes(content)

    with (
        pytest.raises(BadInputLine, match=r"docs\.jsonl\.gz cannot be read beyond line") as caught,
        open_lines(path) as lines,
    ):
        list(lines)
    assert what in caught.value.detail


def test_a_disk_that_fails_in_the_middle_is_told() -> None:
    class Failing(io.RawIOBase):
        def __init__(self) -> None:
            self.parts = [GOOD.encode() * 3]

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.parts:
                raise OSError(5, "Input/output error")
            part = self.parts.pop()
            buffer[: len(part)] = part
            return len(part)

    with pytest.raises(BadInputLine, match="docs cannot be read beyond line 3") as caught:
        list(read_lines(io.BufferedReader(Failing()), "docs"))
    assert "Input/output error" in caught.value.detail
