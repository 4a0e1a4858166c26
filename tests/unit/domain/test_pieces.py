"""A sketch of a vocabulary counts tokens nearly as the tokenizer does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from undrift.domain.pieces import (
    LONGEST,
    Sketch,
    bert_words,
    byte_pair_words,
    composed_words,
    led_words,
    sketch_of,
    spaced_words,
)
from undrift.domain.tokens import Family

PIECES = [b"the", b" cat", b" sat", b"inter", b"nation", b"al", b"12", "\u65e5".encode()]
VOCABULARY = Sketch(bits=sketch_of(PIECES))


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


def test_spaces_belong_to_the_word_that_follows_them() -> None:
    assert spaced_words("the  cat\n sat") == ["the", "  cat", "\n ", "sat"]
    assert led_words("the cat") == [" the", " cat"]
    spaced = Sketch(bits=sketch_of([*PIECES, b" the", b"cat.sat"]), cut=spaced_words)
    assert spaced.count("the cat.sat") == 1 + 1 + 4
    assert spaced.count("cat.sat the") == 2


def test_a_composed_text_has_one_space_before_each_word_and_one_way_to_write_a_letter() -> None:
    assert composed_words(" the\n\u3000cafe\u0301  \uff21\ufb01 ") == [" the", " caf\u00e9", " Afi"]
    assert composed_words(" \n") == []


def test_longer_pieces_are_found_by_a_sketch_that_has_them() -> None:
    piece = b" " + b"x" * LONGEST
    short = Sketch(bits=sketch_of([*PIECES, piece]), cut=spaced_words)
    long = Sketch(bits=sketch_of([*PIECES, piece], longest=len(piece)), cut=spaced_words, longest=len(piece))
    assert short.count(piece.decode()) > long.count(piece.decode()) == 1


def test_words_of_bert_have_no_capitals_and_no_accents_and_chinese_characters_stand_alone() -> None:
    assert bert_words("Caf\u00e9s, \u65e5\u672cok it's") == [
        " cafes",
        " ,",
        " \u65e5",
        " \u672c",
        " ok",
        " it",
        " '",
        " s",
    ]


def test_a_word_with_an_unknown_character_is_one_token_of_a_closed_vocabulary() -> None:
    pieces = [b" ca", b"fe", " \u65e5".encode()]
    closed = Sketch(bits=sketch_of(pieces), cut=bert_words, is_closed=True)
    assert closed.count("caf\u00e9") == 2
    assert closed.count("\u65e5") == 1
    assert closed.count("\u672c\u672c") == 2
    assert closed.count("ca\u0431fe") == 1
    assert Sketch(bits=sketch_of(pieces), cut=bert_words).count("ca\u0431fe") == 1 + 2 + 1


@given(st.text(max_size=200))
def test_no_character_is_lost_by_a_cut(text: str) -> None:
    assert "".join(spaced_words(text)) == text
    assert "".join(byte_pair_words(text)) == text


@given(st.sets(st.binary(min_size=2, max_size=LONGEST), max_size=50))
def test_every_piece_of_the_vocabulary_is_found(pieces: set[bytes]) -> None:
    made = Sketch(bits=sketch_of(pieces))
    assert all(made.has(piece) for piece in pieces)


def test_a_stranger_is_rarely_taken_for_a_piece() -> None:
    """A piece more or less in a hundred words would be an error of a hundredth."""
    made = Sketch(bits=sketch_of(number.to_bytes(4, "big") for number in range(10_000)))
    taken = sum(made.has(number.to_bytes(4, "big")) for number in range(10_000, 30_000))
    assert taken < 20_000 * 0.003
