"""Numbers, times and tables as people read them."""

from __future__ import annotations

import pytest

from undrift.cli.layout import columns, duration, money, number, one_line, paragraphs, size, steps, width
from undrift.domain.wording import plural


def test_columns_are_aligned_and_the_last_one_is_not_padded() -> None:
    assert columns([("a", "bb", "x"), ("aaa", "b", "longer")]) == "a    bb  x\naaa  b   longer"


def test_numbers_are_aligned_to_the_right() -> None:
    assert columns([("a", "5"), ("b", "1,000")], right=frozenset({1})) == "a      5\nb  1,000"


def test_rows_may_be_indented_and_of_different_length() -> None:
    assert columns([("a", "b"), ("c",)], indent=2) == "  a  b\n  c"
    assert columns([]) == ""


def test_wide_characters_take_two_columns() -> None:
    assert width("日本") == 4
    assert width("e\N{COMBINING ACUTE ACCENT}") == 1
    assert columns([("日本", "x"), ("abcd", "y")]) == "日本  x\nabcd  y"


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("short", 10, "short"),
        ("two\nlines\tand more", 30, "two lines and more"),
        ("exactly ten", 11, "exactly ten"),
        ("exactly ten", 10, "exactly t…"),
        ("日本語日本語", 7, "日本語…"),
        ("\x1b[31mred", 20, "[31mred"),
        ("", 5, ""),
    ],
)
def test_a_text_is_cut_to_one_line(text: str, most: int, expected: str) -> None:
    assert one_line(text, most).strip() == expected
    assert width(one_line(text, most)) <= most


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        *((0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min")),
        *((7200, "2.0 h"), (86400, "24.0 h"), (200_000, "2.3 days")),
    ],
)
def test_a_length_of_time_is_rough(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("usd", "expected"),
    [(0, "$0.00"), (0.000002, "under $0.0001"), (0.0123, "$0.0123"), (1, "$1.00"), (1234.5, "$1,234.50")],
)
def test_money_keeps_the_digits_that_count(usd: float, expected: str) -> None:
    assert money(usd) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (123_456, "123 kB"),
        (9_300_000, "9.3 MB"),
        (2e12, "2.0 TB"),
    ],
)
def test_a_number_of_bytes_has_a_unit(count: int, expected: str) -> None:
    assert size(count) == expected


def test_counts_have_their_thousands_apart_and_their_noun() -> None:
    assert number(1234567) == "1,234,567"
    assert plural(1, "document") == "1 document"
    assert plural(2000, "query", "queries") == "2,000 queries"


def test_next_steps_stand_under_one_another() -> None:
    assert steps(["undrift a", "undrift b"]) == "Next:  undrift a\n       undrift b"
    assert steps([]) == ""


def test_empty_paragraphs_leave_no_gap() -> None:
    assert paragraphs("a", "", "b") == "a\n\nb"
