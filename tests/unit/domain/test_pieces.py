"""A sketch of a vocabulary counts tokens nearly as the tokenizer does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.pieces import LONGEST, sketch_of
from undrift.domain.tokens import Family

PIECES = [b"the", b" cat", b" sat", b"inter", b"nation", b"al", b"12", "\u65e5".encode()]
VOCABULARY = sketch_of(PIECES)


def test_a_word_is_cut_into_the_longest_pieces_and_what_is_left_into_bytes() -> None:
    assert VOCABULARY.count("the cat sat") == 3
    assert VOCABULARY.count("international") == 3
    assert VOCABULARY.count("theq") == 2
    assert VOCABULARY.count("\u65e5\u672c") == 1 + 3


def test_digits_are_cut_by_threes_and_words_are_not_joined() -> None:
    assert VOCABULARY.count("1212") == 2 + 1
    assert VOCABULARY.count("the.the") == 1 + 2


def test_an_empty_text_counts_as_one_token_as_providers_bill_it() -> None:
    assert VOCABULARY.count("") == 0
    assert Family(sketch=VOCABULARY, error=0.0, basis="").reckon("") == 1


@given(st.text(max_size=200))
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    assert VOCABULARY.count(text) <= len(text.encode("utf-8", "surrogatepass"))


@given(st.sets(st.binary(min_size=2, max_size=LONGEST), max_size=50))
def test_every_piece_of_the_vocabulary_is_found(pieces: set[bytes]) -> None:
    made = sketch_of(pieces)
    assert all(made.has(piece) for piece in pieces)


def test_a_stranger_is_rarely_taken_for_a_piece() -> None:
    """A piece more or less in a hundred words would be an error of a hundredth."""
    made = sketch_of(number.to_bytes(4, "big") for number in range(10_000))
    taken = sum(made.has(number.to_bytes(4, "big")) for number in range(10_000, 30_000))
    assert taken < 20_000 * 0.003
