"""The verbs about documents: put, get, delete, search, export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from undrift.cli.layout import columns, number, one_line
from undrift.cli.render import Reading
from undrift.cli.session import Session, Verb, pass_session
from undrift.domain.wording import plural
from undrift.errors import BadArgument, BadFilter, UsageError

if TYPE_CHECKING:
    from undrift.domain.record import Document, Hits

#: What stands for standard input, and what errors call it.
_STDIN = "-"
_STDIN_NAME = "standard input"
#: Columns of a hit's text that are shown.
_EXCERPT = 72


@click.command(cls=Verb)
@click.argument("alias")
@click.argument("file", metavar="FILE.jsonl", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--replacing", metavar="JSON", help="A filter: what matches it and is not in FILE is deleted, as one write."
)
@pass_session
def put(session: Session, alias: str, file: Path, replacing: str | None) -> None:
    """Insert documents from JSON Lines, or replace them.

    A line is {"id": "…", "text": "…", "metadata": {…}}; the file may be compressed by gzip, and - is standard input.
    All of it is checked before the first document is written.
    """
    replaced = parsed_filter(replacing)
    with session.plane() as plane, session.screen.meter() as meter:
        label = f"{alias}: writing documents"

        def progress(written: int) -> None:
            meter.show(Reading(label=label, done=written))

        if str(file) == _STDIN:
            with _spooled() as spool, _called(str(spool), _STDIN_NAME):
                value = plane.put(alias, spool, progress, replacing=replaced)
        else:
            value = plane.put(alias, file, progress, replacing=replaced)
    deleted = f" and deleted {value['deleted']}" if replaced is not None else ""
    session.answer(value, f"put {plural(value['written'], 'document')} into {alias}{deleted} (epoch {value['epoch']})")


@contextmanager
def _spooled() -> Iterator[Path]:
    """Copy standard input into a file: it is read twice."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="undrift-") as folder:
        path = Path(folder, "stdin.jsonl")
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield path


@contextmanager
def _called(path: str, name: str) -> Iterator[None]:
    """Name the input in errors as the person knows it."""
    try:
        yield
    except UsageError as error:
        texts = (text.replace(path, name) for text in (error.message, error.detail, error.hint))
        raise type(error)(*texts) from error


@click.command(cls=Verb)
@click.argument("alias")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@pass_session
def get(session: Session, alias: str, ids: tuple[str, ...]) -> None:
    """Write documents as JSON Lines, in the order asked for.

    An id that is not there is told on standard error; that is an answer and not a failure.
    """
    with session.plane() as plane:
        found = plane.alias(alias).get(ids)
    missing = _without(ids, {document.id for document in found})
    documents = [_document(document) for document in found]
    if session.as_json:
        session.screen.json({"alias": alias, "documents": documents, "missing": missing})
        return
    session.screen.lines(json.dumps(document, ensure_ascii=False) for document in documents)
    if missing:
        session.screen.note(f"not in {alias}: {', '.join(missing)}")


@click.command(cls=Verb)
@click.argument("alias")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option(
    "--filter", "condition", metavar="JSON", help='Delete what matches it instead, such as \'{"lang": "en"}\'.'
)
@click.option("--yes", is_flag=True, help="Do not ask; only the filter that matches everything asks.")
@pass_session
def delete(session: Session, alias: str, ids: tuple[str, ...], condition: str | None, *, yes: bool) -> None:
    """Delete documents by their ids, or by a filter."""
    chosen = parsed_filter(condition)
    if bool(ids) == (chosen is not None):
        raise BadArgument(
            "delete takes ids or --filter, one of them",
            hint=f'undrift delete {alias} ID…, or --filter \'{{"lang": "en"}}\'',
        )
    with session.plane() as plane:
        kb = plane.alias(alias)
        if chosen == {} and not yes:
            happening = f"delete all {plural(kb.count(), 'document')} of {alias}"
            session.screen.confirm(f"delete from {alias}", happening, f"undrift delete {alias} --filter '{{}}' --yes")
        if chosen is None:
            there = {document.id for document in kb.get(ids)}
            missing = _without(ids, there)
            receipt = kb.delete(list(dict.fromkeys(ids)))
        else:
            receipt = kb.delete(filter=chosen)
            missing, there = [], set(receipt.ids)
    deleted = sorted(there)
    value = {"alias": alias, "deleted": deleted, "missing": missing, "epoch": receipt.epoch}
    session.answer(value, f"deleted {plural(len(deleted), 'document')} from {alias} (epoch {receipt.epoch})")
    if missing and not session.as_json:
        session.screen.note(f"not in {alias}: {', '.join(missing)}")


@click.command(cls=Verb)
@click.argument("alias")
@click.argument("text")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many documents.")
@click.option("--filter", "condition", metavar="JSON", help='Only documents that match it, such as \'{"lang": "en"}\'.')
@click.option("--domain", metavar="DOMAIN", help="The domain of the query, where ALIAS is a name of [domains].")
@pass_session
def search(session: Session, alias: str, text: str, *, k: int, condition: str | None, domain: str | None) -> None:
    """Find the documents nearest to a text.

    Under a name of [domains], the one alias answers that is configured for the domain.
    """
    chosen = parsed_filter(condition)
    with session.plane() as plane:
        asked = plane.alias_for(alias, domain)
        alias = asked.name
        hits = asked.search(text, k=k, filter=chosen)
    value = {
        "alias": alias,
        "space": hits.space,
        "epoch": hits.epoch,
        "hits": [{"id": hit.id, "score": hit.score, "text": hit.text, "metadata": dict(hit.metadata)} for hit in hits],
    }
    session.answer(value, _hits(hits) if hits else f"nothing found in {alias}")


def _hits(hits: Hits) -> str:
    rows = [(f"{hit.score:.4f}", one_line(hit.id, _EXCERPT), one_line(hit.text, _EXCERPT)) for hit in hits.hits]
    return columns(rows)


@click.command(cls=Verb)
@click.argument("alias")
@click.option(
    "--field",
    type=click.Choice(["serving", "follower"]),
    default="serving",
    show_default=True,
    help="The field that is read, or the one that a migration fills.",
)
@click.option("--vectors", is_flag=True, help="With the vectors, in full precision.")
@pass_session
def export(session: Session, alias: str, field: str, *, vectors: bool) -> None:
    """Write every document as JSON Lines.

    Its keys are id, text, metadata, space, hash and sequence, and what is written can be put in again. Documents that
    are written meanwhile may be in it or not; every other one is, exactly once.
    """
    with session.plane() as plane:
        count = session.screen.lines(plane.export(alias, field=field, vectors=vectors))
    session.screen.note(f"exported {number(count)} {'document' if count == 1 else 'documents'} of {alias}")


def parsed_filter(text: str | None) -> dict[str, Any] | None:
    """Read a metadata filter.

    Raises:
        BadFilter: it is not a JSON object.
    """
    if text is None:
        return None
    hint = 'write it as JSON, in quotes for the shell: --filter \'{"lang": "en"}\''
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadFilter(f"the filter {text!r} is not JSON", str(error), hint) from error
    if not isinstance(value, dict):
        raise BadFilter(f"the filter {text!r} is not a JSON object", hint=hint)
    return value


def _without(ids: Sequence[str], there: set[str]) -> list[str]:
    return [id for id in dict.fromkeys(ids) if id not in there]


def _document(document: Document) -> dict[str, Any]:
    return {"id": document.id, "text": document.text, "metadata": dict(document.metadata)}
