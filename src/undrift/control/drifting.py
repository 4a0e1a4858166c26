"""Looks at what documents and queries are about, at the answers to golden queries, and for foreign vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from undrift.control.auditing import Auditing
from undrift.domain.alert import Stage
from undrift.domain.finding import Finding, Severity, State
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName, VectorField
from undrift.errors import BadArgument, UndriftError, UnknownAlias
from undrift.migrate import sampling
from undrift.quality.drift import LEAST
from undrift.quality.golden import GoldenSet
from undrift.quality.ranks import DEPTH
from undrift.watch import corpus, foreign, queries, retrieval
from undrift.watch.book import AlertBook

if TYPE_CHECKING:
    from undrift.control.plane import ControlPlane

#: What `drift` looks at, in the order in which it tells.
LOOKS = ("documents", "queries", "retrieval", "foreign")


class Drifting(Auditing):
    """`drift`."""

    def drift(self, name: str, *, only: Sequence[str] = (), accept: Sequence[str] = ()) -> dict[str, Any]:
        """Look once at everything about an alias that drifts; no alert comes of it.

        Args:
            name: the alias.
            only: some of `LOOKS`; all by default.
            accept: some of `LOOKS` but `foreign`, of which what is there now is the reference from now on.

        Raises:
            UnknownAlias: the ledger does not know it.
            BadArgument: there is no such look.
        """
        alias = self._known(name)
        _require(only, LOOKS)
        _require(accept, LOOKS[:-1])
        looks: dict[str, Callable[[AliasName], Iterable[Finding]]] = {
            "documents": self.documents_of,
            "queries": self.queries_of,
            "retrieval": self.retrieval_of,
            "foreign": self.foreign_in,
        }
        accepts: dict[str, Callable[[AliasName], Iterable[Finding]]] = {
            "documents": self._accept_documents,
            "queries": self._accept_queries,
            "retrieval": self._accept_retrieval,
        }
        chosen = [look for look in LOOKS if look in (only or accept or LOOKS)]
        found = [one for look in chosen for one in (accepts if look in accept else looks)[look](alias)]
        for one in found:
            # Of too few nothing was taken.
            if one.check in accept and one.figures.get("vectors", LEAST) >= LEAST:
                why = "what is there now was accepted"
                AlertBook(self.ledger).settle(one.check, one.subject, self.clock.now(), why)
        bad = [one for one in found if one.state is State.BAD]
        hints = [one.hint for one in bad if one.hint]
        # What is only good to know is no verdict.
        verdict = State.BAD if any(one.severity is not Severity.INFO for one in bad) else State.GOOD
        if all(one.state is State.UNKNOWN for one in found):
            verdict = State.UNKNOWN
        return {
            "alias": name,
            "findings": [one.as_dict() for one in found],
            "verdict": verdict.value,
            "next_steps": list(dict.fromkeys(hints)),
        }

    def retrieval_trend(self, name: str, golden: str) -> list[dict[str, Any]]:
        """Return what the looks at a golden set have found, the oldest first."""
        return retrieval.trend(self.ledger, self._known(name), golden)

    def documents_of(self, alias: AliasName) -> Iterable[Finding]:
        """Look at what the documents of an alias are about."""
        return corpus.look(self._corpus(alias), self.ledger, moment=self.clock.now())

    def queries_of(self, alias: AliasName) -> Iterable[Finding]:
        """Look at what people ask an alias."""
        return queries.look(alias, self._serving(alias).space, self.ledger, moment=self.clock.now())

    def retrieval_of(self, alias: AliasName) -> Iterable[Finding]:
        """Ask the golden queries of an alias."""
        return [retrieval.look(one, self.ledger, moment=self.clock.now()) for one in self._golden(alias)]

    def foreign_in(self, alias: AliasName) -> Iterable[Finding]:
        """Look for vectors of another model in a sample of an alias's."""
        field = self._serving(alias)
        store, now = self.store_of(field), self.clock.now()
        # Another sample each time: what hides in one may show in the next.
        salt = f"{field.key} {now.isoformat()}"
        (ids,), _ = sampling.choose(store, field, [foreign.SAMPLE], salt=salt, on_progress=lambda _: None)
        vectors = [record.vector for page in sampling.read(store, field, ids) for record in page]
        sample = np.stack(vectors) if vectors else np.empty((0, 1), dtype=np.float32)
        return [foreign.look(alias, sample, moment=now)]

    def _accept_documents(self, alias: AliasName) -> Iterable[Finding]:
        return [corpus.accept(self._corpus(alias), self.ledger, moment=self.clock.now())]

    def _accept_queries(self, alias: AliasName) -> Iterable[Finding]:
        return [queries.accept(alias, self._serving(alias).space, self.ledger, moment=self.clock.now())]

    def _accept_retrieval(self, alias: AliasName) -> Iterable[Finding]:
        return [retrieval.accept(one, self.ledger, moment=self.clock.now()) for one in self._golden(alias)]

    def _corpus(self, alias: AliasName) -> corpus.Corpus:
        field = self._serving(alias)
        labels = self.config.settings.watch.documents.labels
        return corpus.Corpus(alias=alias, store=self.store_of(field), field=field, labels=labels)

    def _golden(self, alias: AliasName) -> Iterator[retrieval.Subject]:
        settings, names = self.config.settings.watch.retrieval, self.ledger.golden_names()
        # Whose answers a golden set is about is only plain where there is one alias.
        default = names if not settings.sets and len(self.ledger.aliases()) == 1 else []
        for name in settings.sets.get(alias, default):
            content = self.ledger.golden(name)
            if content is None:
                known = ", ".join(names) or "none"
                raise BadArgument(f"there is no golden set {name}", f"there are: {known}", "undrift golden import")
            field = self._serving(alias)
            yield retrieval.Subject(
                alias=alias,
                golden=GoldenSet.from_dict(content),
                space=field.space,
                search=partial(self._hits, field),
                churn=settings.churn,
            )

    def _hits(self, field: VectorField, text: str) -> list[tuple[str, float]]:
        vector = self.door_of(field.space).query(text)
        return [(DocumentId(hit.id), hit.score) for hit in self.store_of(field).search(field, vector, k=DEPTH)]

    def _serving(self, alias: AliasName) -> VectorField:
        return self.router.join(alias).serving

    def _known(self, name: str) -> AliasName:
        if self.ledger.route(AliasName(name)) is None:
            raise UnknownAlias(f"the ledger knows no alias {name}", hint="undrift alias list")
        return AliasName(name)


def look_at_documents(plane: ControlPlane) -> Iterable[Finding]:
    """Yield what is found of the documents of every alias."""
    return _at_each_alias(plane, corpus.CHECK, plane.documents_of)


def look_at_queries(plane: ControlPlane) -> Iterable[Finding]:
    """Yield what is found of the queries of every alias; nothing where none may be kept."""
    if plane.config.settings.watch.queries.as_sampling() is None:
        return ()
    return _at_each_alias(plane, queries.CHECK, plane.queries_of)


def look_at_retrieval(plane: ControlPlane) -> Iterable[Finding]:
    """Yield what is found of the golden queries of every alias, and which aliases of `sets` there are not."""
    yield from _at_each_alias(plane, retrieval.CHECK, plane.retrieval_of)
    for name in sorted(plane.config.settings.watch.retrieval.sets.keys() - set(plane.ledger.aliases())):
        unknown = UnknownAlias(f"[watch.retrieval] names golden sets of {name}, an alias that there is not")
        yield _blind(retrieval.CHECK, AliasName(name), unknown, plane.clock.now())


def look_for_foreign(plane: ControlPlane) -> Iterable[Finding]:
    """Yield what is found of foreign vectors behind every alias."""
    return _at_each_alias(plane, foreign.CHECK, plane.foreign_in)


def _at_each_alias(
    plane: ControlPlane, check: str, look: Callable[[AliasName], Iterable[Finding]]
) -> Iterator[Finding]:
    """Look at every alias; one that cannot be looked at does not keep the others from it.

    That there is too little to say anything concerns nobody: it is passed over, but where an alert would end by it.
    """
    alerts = [alert.finding for alert in plane.book.alerts() if alert.stage is not Stage.RESOLVED]
    running = [finding for finding in alerts if finding.check == check]
    for alias in plane.ledger.aliases():
        try:
            found = list(look(alias))
        except UndriftError as error:
            yield _blind(check, alias, error, plane.clock.now())
            continue
        yield from (
            one
            for one in found
            if one.state is not State.UNKNOWN or any(alert.concerns([one.subject]) for alert in running)
        )


def _blind(check: str, alias: AliasName, error: UndriftError, moment: datetime) -> Finding:
    return Finding(
        check=check,
        subject=alias,
        state=State.UNKNOWN,
        severity=Severity.INFO,
        moment=moment,
        words=error.message,
        detail=error.detail,
        hint=error.hint,
    )


def _require(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise BadArgument(f"nothing about {name!r} drifts", f"there are: {', '.join(known)}")
