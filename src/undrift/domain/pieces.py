"""The tokens of a text for a tokenizer that is not there: of its vocabulary a sketch is known, a few bits a piece."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

#: Bits of a sketch for each piece, and how many a piece sets: a stranger is taken for a piece once in 800 times, and
#: with 20 bits once in 11,000 times.
BITS = 14
_HASHES = 10
#: Bytes of the longest piece that is looked for; few are longer where bytes are merged.
LONGEST = 16
#: Words that are remembered with their number of tokens.
_REMEMBERED = 100_000
#: Cuts a text into the words in which pieces are looked for.
Cut = Callable[[str], list[str]]

_BYTE_PAIRS = re.compile(
    r"'(?i:[sdmt]|ll|ve|re)|(?:[^\w\r\n]|_)?[^\W\d_]+|\d{1,3}| ?(?:[^\w\s]|_)+[\r\n]*|\s+\Z|\s*[\r\n]|\s+(?!\S)|\s"
)
_SPACES = re.compile(r" *\S+|\s+")
#: A word, or one character that is none; each Chinese character is a word.
_WORDS = re.compile(r"[一-鿿㐀-䶿豈-﫿]|(?:(?![一-鿿㐀-䶿豈-﫿])[^\W_])+|[^\w\s]|_")


def byte_pair_words(text: str) -> list[str]:
    """Cut as byte-pair encodings of OpenAI and those who follow it do."""
    found: list[str] = _BYTE_PAIRS.findall(text)
    return found


def spaced_words(text: str) -> list[str]:
    """Cut as SentencePiece does: a word has the spaces before it, and all else is left to the pieces."""
    found: list[str] = _SPACES.findall(text)
    return found


def led_words(text: str) -> list[str]:
    """Cut as SentencePiece does where it puts a space before the text."""
    return spaced_words(f" {text}")


def composed_words(text: str) -> list[str]:
    """Cut as SentencePiece does that writes a character in one way (NFKC) and one space for many."""
    return [f" {word}" for word in unicodedata.normalize("NFKC", text).split()]


def bert_words(text: str) -> list[str]:
    """Cut as BERT's WordPiece does that knows no capitals and no accents; a space marks where a word begins."""
    plain = (one for one in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(one) != "Mn")
    return [f" {word}" for word in _WORDS.findall("".join(plain))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """The pieces of a vocabulary as a Bloom filter.

    Attributes:
        bits: the filter, `BITS` for each piece or more.
        cut: how the tokenizer cuts a text before it looks for pieces.
        is_closed: whether a word with a character that it does not know is one token; else the character is its bytes.
        longest: bytes of the longest piece that is looked for.
    """

    bits: bytes
    cut: Cut = byte_pair_words
    is_closed: bool = False
    longest: int = LONGEST
    _known: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def count(self, text: str) -> int:
        """Count the tokens of a text: each word is cut into the longest pieces from left to right.

        A tokenizer merges pieces in the order of its training instead: the same number for nearly all words.
        """
        total = 0
        for word in self.cut(text):
            tokens = self._known.get(word)
            if tokens is None:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                tokens = self._known[word] = self._of(word.encode("utf-8", "surrogatepass"))
            total += tokens
        return total

    def has(self, piece: bytes) -> bool:
        """Whether a piece of two bytes or more is in the vocabulary, or taken for one that is."""
        return all(self.bits[place >> 3] >> (place & 7) & 1 for place in _places(piece, len(self.bits) * 8))

    def _of(self, word: bytes) -> int:
        tokens = start = 0
        while start < len(word):
            ends = range(min(len(word), start + self.longest), start + 1, -1)
            # A single byte is a piece of every open vocabulary, and one of ASCII of every other.
            found = next((end for end in ends if self.has(word[start:end])), start + 1)
            if self.is_closed and found == start + 1 and word[start] >= 0x80:
                return 1
            start = found
            tokens += 1
        return tokens


def sketch_of(pieces: Iterable[bytes], *, bits_a_piece: int = BITS, longest: int = LONGEST) -> bytes:
    """Make the bits of a sketch of a vocabulary, of all pieces but single bytes and those that are longer."""
    wanted = [piece for piece in pieces if 1 < len(piece) <= longest]
    bits = bytearray(-(-len(wanted) * bits_a_piece // 8))
    for piece in wanted:
        for place in _places(piece, len(bits) * 8):
            bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def _places(piece: bytes, size: int) -> Iterator[int]:
    digest = hashlib.blake2b(piece, digest_size=16).digest()
    first, step = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
    return ((first + number * step) % size for number in range(_HASHES))
