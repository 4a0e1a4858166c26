"""Golden sets: queries with known relevant documents, and the formats in which people keep them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from undrift.domain.record import check_id
from undrift.errors import BadArgument, BadDocument, BadInputLine

#: trec_eval lays out an array as long as the highest grade: an id in the wrong column would take all memory there is.
MAX_GRADE = 1000

_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")
_ROLES = {
    **dict.fromkeys(("query_id", "query", "qid"), "query"),
    **dict.fromkeys(("doc_id", "docid", "document_id", "corpus_id"), "document"),
    **dict.fromkeys(("relevance", "rel", "grade", "score"), "grade"),
}
_FORMATS_HINT = (
    "write tab-separated lines under the header query_id, doc_id, relevance; or TREC lines: QUERY 0 DOCUMENT RELEVANCE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenQuery:
    """A query and what people said about documents as its answers.

    Attributes:
        id: its name in the set.
        text: what is searched for.
        relevant: grade by document id, from -1000 to 1000; 0 and less mean "judged, and not relevant".

    Raises:
        BadArgument: a grade is out of range.
    """

    id: str
    text: str
    relevant: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for document, grade in self.relevant.items():
            if abs(grade) > MAX_GRADE:
                raise BadArgument(
                    f"golden query {self.id!r} grades document {document!r} as {grade}; at most {MAX_GRADE} is taken"
                )

    @property
    def is_judged(self) -> bool:
        """Whether any document is known to be an answer; without one, no ranking is better than another."""
        return any(grade > 0 for grade in self.relevant.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """A named collection of golden queries."""

    name: str
    queries: tuple[GoldenQuery, ...]

    @property
    def judged(self) -> tuple[GoldenQuery, ...]:
        """The queries that can be measured."""
        return tuple(query for query in self.queries if query.is_judged)

    def as_dict(self) -> dict[str, Any]:
        """Return the set as JSON-ready values."""
        return {
            "name": self.name,
            "queries": [{"id": one.id, "text": one.text, "relevant": dict(one.relevant)} for one in self.queries],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GoldenSet:
        """Rebuild a set from `as_dict`."""
        return cls(name=values["name"], queries=tuple(GoldenQuery(**query) for query in values["queries"]))


def parse_golden_set(
    name: str,
    *,
    queries: Iterable[tuple[int, Mapping[str, Any]]],
    queries_name: str,
    judgements: Iterable[str],
    judgements_name: str,
) -> GoldenSet:
    """Make a golden set of its queries and the judgements about them.

    Queries without judgements stay in the set; they are left out of the measures.

    Args:
        name: what the set is called from now on.
        queries: line numbers and objects, as of `parse_queries`.
        queries_name: what errors call the queries' file.
        judgements: text lines, as of `parse_judgements`.
        judgements_name: what errors call the judgements' file.

    Raises:
        BadInputLine: a line is not what its format says, or no query has a relevant document.
    """
    texts = parse_queries(queries, queries_name)
    grades = parse_judgements(judgements, judgements_name, known=texts.keys(), known_from=queries_name)
    made = GoldenSet(
        name=name,
        queries=tuple(GoldenQuery(id=id, text=text, relevant=grades.get(id, {})) for id, text in texts.items()),
    )
    if not made.judged:
        raise BadInputLine(
            f"{judgements_name} names no relevant document for any query of {queries_name}",
            hint="a relevance above 0 says that a document answers a query",
        )
    return made


def parse_queries(objects: Iterable[tuple[int, Mapping[str, Any]]], name: str) -> dict[str, str]:
    """Read queries from objects with `id` and `text`; other keys say nothing about a query and are left out.

    Args:
        objects: line numbers from 1 and parsed JSON objects.
        name: what errors call the file.

    Returns:
        Texts by query id, in the order of the lines; at least one.

    Raises:
        BadInputLine: an id or text is missing, not a string or blank, an id comes twice, or there is no query.
    """
    lines: dict[str, int] = {}
    texts: dict[str, str] = {}
    for number, values in objects:
        where = f"{name} line {number}"
        for key in ("id", "text"):
            value = values.get(key)
            if not isinstance(value, str) or not value.strip():
                raise BadInputLine(
                    f'{where} has no "{key}" that is a string with something in it',
                    hint='write each query on one line: {"id": "q1", "text": "how do I authenticate?"}',
                )
        id = values["id"]
        if id in texts:
            raise BadInputLine(
                f"{where} has the query id {id!r}, as line {lines[id]} has", hint="give every query an id of its own"
            )
        lines[id], texts[id] = number, values["text"]
    if not texts:
        raise BadInputLine(f"{name} has no queries in it", hint="undrift golden import wants at least one query")
    return texts


def parse_judgements(
    lines: Iterable[str], name: str, *, known: Collection[str], known_from: str
) -> dict[str, dict[str, int]]:
    """Read judgements in TREC form, or tab-separated with or without a header; the first line tells which.

    A pair that is judged twice alike counts once. Whether the documents exist is not looked at.

    Args:
        lines: text lines; blank ones are skipped.
        name: what errors call the file.
        known: the query ids there are.
        known_from: what errors call the file that the query ids are from.

    Returns:
        Grades by document id, by query id; queries without judgements are absent.

    Raises:
        BadInputLine: a line is not of the file's format, judges an unknown query, or contradicts an earlier one.
    """
    grades: dict[str, dict[str, int]] = {}
    judged_at: dict[tuple[str, str], int] = {}
    for number, query, document, grade in _rows(lines, name):
        where = f"{name} line {number}"
        if query not in known:
            raise BadInputLine(
                f"{where} judges query {query!r}, which {known_from} does not have",
                hint="give the queries that these judgements were made for, or remove the line",
            )
        try:
            check_id(document)
        except BadDocument as error:
            raise BadInputLine(f"{where}: {error.message}", error.detail, error.hint) from error
        first = judged_at.setdefault((query, document), number)
        if grades.setdefault(query, {}).setdefault(document, grade) != grade:
            raise BadInputLine(
                f"{where} judges document {document!r} for query {query!r} as {grade}, line {first} otherwise",
                hint="keep one of the two lines",
            )
    return grades


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """How a line of judgements is cut, and in which column what stands."""

    title: str
    cut: Callable[[str], Sequence[str]]
    width: int
    query: int
    document: int
    grade: int


def _by_tabs(line: str) -> Sequence[str]:
    return line.split("\t")


_TREC = _Format(title="four columns of TREC form", cut=str.split, width=4, query=0, document=2, grade=3)
_PLAIN = _Format(title="three tab-separated columns", cut=_by_tabs, width=3, query=0, document=1, grade=2)


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, str, str, int]]:
    """Yield line number, query id, document id and grade of each judgement."""
    form: _Format | None = None
    for number, line in enumerate(lines, 1):
        text = (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\r\n")
        if not text or text.isspace():
            continue
        if form is None:
            form = _header(text)
            if form is not None:
                continue
            form = _form(text, f"{name} line {number}")
        cells = form.cut(text)
        if len(cells) != form.width:
            raise BadInputLine(
                f"{name} line {number} has {len(cells)} columns, not {form.title} as the first",
                _shown(text),
                _FORMATS_HINT,
            )
        grade = cells[form.grade].strip()
        if not _INTEGER.fullmatch(grade) or abs(int(grade)) > MAX_GRADE:
            raise BadInputLine(
                f"{name} line {number} has the relevance {grade!r}, not a whole number up to {MAX_GRADE}", _shown(text)
            )
        yield number, cells[form.query], cells[form.document], int(grade)


def _header(text: str) -> _Format | None:
    """Return the format that a header announces, None when the line is none."""
    roles = [_ROLES.get(cell.strip().lower().replace("-", "_"), "") for cell in text.split("\t")]
    if sorted(roles) != ["document", "grade", "query"]:
        return None
    query, document, grade = (roles.index(role) for role in ("query", "document", "grade"))
    return _Format(title=_PLAIN.title, cut=_by_tabs, width=3, query=query, document=document, grade=grade)


def _form(text: str, where: str) -> _Format:
    """Tell the format by a first line without a header; a line that fits two formats is not guessed at."""
    cells, tokens = text.split("\t"), text.split()
    is_trec = len(tokens) == 4 and bool(_INTEGER.fullmatch(tokens[3]))
    is_plain = len(cells) == 3 and bool(_INTEGER.fullmatch(cells[2].strip()))
    if is_trec == is_plain:
        state = "could be of two formats" if is_trec else "is of no known format of judgements"
        raise BadInputLine(f"{where} {state}", _shown(text), _FORMATS_HINT)
    return _TREC if is_trec else _PLAIN


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:80])
