"""Collections as indexes of Pinecone: one each, because dimensions and metric are an index's own."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any

from undrift.adapters.asked import require_dimensions
from undrift.adapters.known import Known
from undrift.adapters.stores.pinecone.session import Session
from undrift.domain.route import VectorField
from undrift.domain.shape import own_name
from undrift.domain.space import Metric
from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable

#: What Pinecone calls the metrics.
METRICS = {Metric.COSINE: "cosine", Metric.DOT: "dotproduct", Metric.L2: "euclidean"}
_OF_METRIC = {name: metric for metric, name in METRICS.items()}
MAX_DIMENSIONS = 20_000
#: The one vector field of an index that is asked by the calls for vectors.
_VECTOR = "_values"
_TAG, _FORMAT = "undrift-format", "1"
_NAME_TAG = "undrift-name"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_OTHER = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A collection as Pinecone has it.

    Attributes:
        name: of the index.
        host: where it is; another index of that name has another host.
        dimensions: of its vectors.
        metric: how they are compared.
    """

    name: str
    host: str
    dimensions: int
    metric: Metric


def physical(name: str) -> str:
    """Return what an index is called: up to 45 lower-case letters, digits and hyphens.

    Another name gets hyphens for its other characters, and a part of its hash, so that no two become the same.
    """
    if _NAME.fullmatch(name):
        return name
    stem = _OTHER.sub("-", name.lower()).strip("-")[:30].rstrip("-") or "c"
    return f"{stem}-{digest(name)}"


def digest(name: str) -> str:
    """Return what tells a name from all others in few letters."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]


class Indexes:
    """The indexes of a project that are undrift's."""

    def __init__(self, session: Session, *, cloud: str, region: str, ready_s: float) -> None:
        """Know none yet."""
        self._session = session
        self._place = {"deployment_type": "managed", "cloud": cloud, "region": region}
        self._ready_s = ready_s
        self.known = Known(self._find, lambda field: session.missing(own_name(field.collection)))

    def create(self, field: VectorField, *, dimensions: int, metric: Metric) -> None:
        """Make an index, and wait until it can be used.

        Raises:
            FieldInUse: an index of that name is there.
            BadArgument: there can be no such vectors, or no such name.
            StoreUnavailable: it could not be used after a while.
        """
        name = own_name(field.collection)
        if not name or not name.isprintable():
            raise BadArgument(f"a collection of store pinecone cannot be called {name!r}", hint="choose another name")
        require_dimensions(name, dimensions, most=MAX_DIMENSIONS, who="Pinecone")
        vector = {"type": "dense_vector", "dimension": dimensions, "metric": METRICS[metric]}
        self.known.forget(field)
        try:
            self._session.ask(
                name,
                lambda client: client.indexes.create(
                    name=physical(name),
                    schema={"fields": {_VECTOR: vector}},
                    deployment=self._place,
                    tags={_TAG: _FORMAT, _NAME_TAG: digest(name)},
                    timeout=-1,
                ),
            )
        except StoreRejected as error:
            if self._look(name) is not None:
                raise FieldInUse(
                    f"collection {name} is in {self._session.name} already",
                    hint="choose another name, or drop it if nobody uses it",
                ) from error
            raise
        self._wait(name, "ready", lambda said: said is not None and said.status.ready and bool(said.host))

    def drop(self, field: VectorField) -> None:
        """Delete an index with everything in it, and wait until it is gone; one that is not there is no error.

        Raises:
            FieldInUse: undrift did not make it.
            StoreUnavailable: it was still there after a while.
        """
        found = self.known.find(field)
        self.known.forget(field)
        if found is None:
            return
        name = own_name(field.collection)
        try:
            self._session.ask(name, lambda client: client.indexes.delete(found.name, timeout=-1))
        except CollectionMissing:
            # Somebody else was first.
            return
        self._wait(name, "gone", lambda said: said is None or said.host != found.host)

    def _find(self, field: VectorField) -> Found | None:
        """Look a collection up; None when there is none, or none any more.

        Raises:
            FieldInUse: there is an index of that name that undrift did not make.
            StoreUnavailable: it is not ready yet.
        """
        name = own_name(field.collection)
        said = self._look(name)
        if said is None:
            return None
        return self._described(name, said)

    def _look(self, name: str) -> Any:
        try:
            said = self._session.ask(name, lambda client: client.indexes.describe(physical(name)))
        except CollectionMissing:
            return None
        return None if said.status.state == "Terminating" else said

    def _described(self, name: str, said: Any) -> Found:
        tags, vector = said.tags or {}, said.schema.fields.get(_VECTOR)
        if tags.get(_NAME_TAG) != digest(name) or vector is None:
            raise FieldInUse(
                f"index {physical(name)} of {self._session.name} is not one of undrift's", hint="choose another name"
            )
        if tags.get(_TAG) != _FORMAT:
            raise StoreRejected(
                f"collection {name} has been made by another version of undrift",
                f"its format is {tags.get(_TAG)}, this version knows {_FORMAT}",
                "pip install --upgrade undrift",
            )
        if not said.host:
            raise StoreUnavailable(f"collection {name} of {self._session.name} is not ready yet", said.status.state)
        return Found(
            name=said.name, host=said.host, dimensions=int(vector.dimension), metric=_OF_METRIC[str(vector.metric)]
        )

    def _wait(self, name: str, for_what: str, is_so: Any) -> None:
        """Look again and again until an index is as it is to be."""
        end = time.monotonic() + self._ready_s
        pause_s = 0.01
        while not is_so(self._look(name)):
            if time.monotonic() > end:
                raise StoreUnavailable(
                    f"collection {name} of {self._session.name} was not {for_what} after {self._ready_s:g} s",
                    hint="look again in Pinecone's console",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)
