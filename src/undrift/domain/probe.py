"""Fixed texts by which a change of a model shows, and what each of them is sensitive to."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Traits(NamedTuple):
    """What a text has in it that a change of a model may depend on.

    Attributes:
        words: how long it is; scripts that are written without blanks count two letters as a word.
        capitals: whether it has a letter in upper case.
        shouted: whether it has a word of two letters or more in upper case.
        small: whether it has a letter in lower case.
        accents: whether it has letters that lose something when accents are stripped.
        script: whether it has letters of another script than Latin, or signs such as emoji.
    """

    words: float
    capitals: bool
    shouted: bool
    small: bool
    accents: bool
    script: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A text that is embedded again and again.

    Attributes:
        text: the text; it never changes, because a baseline belongs to exactly this one.
        stratum: the kind of text it stands for; findings are told by stratum.
        as_query: whether it is embedded as a query, because a model may change on one side only.
    """

    text: str
    stratum: str
    as_query: bool = False

    @property
    def traits(self) -> Traits:
        """What is in the text."""
        return traits_of(self.text)


def traits_of(text: str) -> Traits:
    """Return what is in a text that a change of a model may depend on."""
    letters = [letter for letter in text if letter.isalpha()]
    plain = unaccented("".join(letters))
    foreign = [letter for letter in plain if not letter.isascii()]
    signs = any(unicodedata.category(letter) == "So" for letter in text)
    dense = sum(unicodedata.category(letter) == "Lo" for letter in text)
    return Traits(
        words=float(max(len(text.split()), dense / 2)),
        capitals=any(letter.isupper() for letter in letters),
        shouted=any(word.isupper() and sum(map(str.isalpha, word)) > 1 for word in text.split()),
        small=any(letter.islower() for letter in letters),
        accents=plain != unicodedata.normalize("NFD", "".join(letters)) and len(foreign) < len(letters) / 2,
        script=signs or len(foreign) >= max(1, len(letters) / 2),
    )


def unaccented(text: str) -> str:
    """Return a text without the marks above and below its letters."""
    return "".join(part for part in unicodedata.normalize("NFD", text) if unicodedata.category(part) != "Mn")


def traits_of_stratum(stratum: str) -> Traits:
    """Return what texts of a stratum of the shipped set usually have in them, where the texts are not at hand."""
    return Traits(
        words={"long": 400.0, "short": 2.0, "title": 8.0, "query": 8.0, "code": 60.0}.get(stratum, 20.0),
        capitals=stratum not in ("lower", "query"),
        shouted=stratum == "upper",
        small=stratum not in ("upper", "script"),
        accents=stratum in ("accent", "accented"),
        script=stratum == "script",
    )


def strata_of(probes: Sequence[Probe]) -> list[str]:
    """Return the stratum of each probe."""
    return [probe.stratum for probe in probes]
