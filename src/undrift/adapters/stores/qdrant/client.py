"""Qdrant's own client, over REST or gRPC, or on a folder of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from undrift.adapters.stores.qdrant.engine import NewCollection, Question, Step, Upsert
from undrift.adapters.stores.qdrant.opening import opened
from undrift.adapters.stores.qdrant.place_of_server import IN_MEMORY, Where
from undrift.adapters.stores.qdrant.points import Filter, Point, PointId, VectorInfo
from undrift.adapters.stores.qdrant.steps import operation
from undrift.adapters.stores.qdrant.translation import NO_POINT, translate
from undrift.adapters.stores.qdrant.versions import CONDITIONS, IMITATED, MODES, SEVERAL, Version, version_from
from undrift.domain.space import Metric
from undrift.errors import BadFilter, CollectionMissing, FieldInUse, MissingExtra, StoreRejected, StoreUnavailable

_T = TypeVar("_T")
_DISTANCES = {Metric.COSINE: "Cosine", Metric.DOT: "Dot", Metric.L2: "Euclid"}
_PAGE = 5000
#: A condition that no point fulfils.
_NEVER: dict[str, Any] = {"must": [{"has_id": []}]}
#: Reads by id see what was acknowledged, also where some replicas are behind.
_READS = "majority"


class ClientEngine:
    """A server, or a folder of the client's.

    Attributes:
        name: what messages call it.
        keeps_floats: a server may read the last digit of a decimal wrongly; gRPC has no decimals.
        knows_bools: it is Qdrant's own interface.
        speaks: whether it is a server; the client's own imitation is asked for everything instead.
    """

    knows_bools = True

    def __init__(self, place: Where, *, api_key: str | None, grpc_port: int | None, timeout_s: int) -> None:
        """Use a server; nothing is sent yet.

        Args:
            place: where it is.
            api_key: its key.
            grpc_port: where it speaks gRPC; None to speak REST.
            timeout_s: how long it may take to answer.

        Raises:
            MissingExtra: the client is not installed.
        """
        try:
            import qdrant_client  # noqa: F401 - only whether it is installed
        except ImportError as error:
            raise MissingExtra("the client of Qdrant is not installed", hint="pip install 'undrift[qdrant]'") from error
        self.name = place.name
        self.speaks = bool(place.url)
        self.keeps_floats = grpc_port is not None or not place.url
        self._place, self._api_key = place, api_key
        self._grpc_port, self._timeout_s = grpc_port, timeout_s
        self._guard = threading.RLock()
        self._client: Any = None
        self._said = ""

    def vectors(self, collection: str) -> Mapping[str, VectorInfo] | None:
        """Return the vectors that a collection has by name."""
        try:
            params = self._ask(collection, lambda client: client.get_collection(collection)).config.params
        except CollectionMissing:
            return None
        self._known_version()
        found = params.vectors
        named = found if isinstance(found, Mapping) else {"": found} if found is not None else {}
        known = {name: metric for metric, name in _DISTANCES.items()}
        dense = {
            name: VectorInfo(
                dimensions=one.size if one.multivector_config is None else 0, metric=known.get(one.distance.value)
            )
            for name, one in named.items()
        }
        return dense | {name: VectorInfo(dimensions=0, metric=None) for name in params.sparse_vectors or {}}

    def create(self, collection: str, made: NewCollection) -> None:
        """Make an empty collection."""
        from qdrant_client import models

        self._require_version()
        distance = models.Distance(_DISTANCES[made.metric])
        params = models.VectorParams(size=made.dimensions, distance=distance)
        index = models.HnswConfigDiff(m=made.hnsw.m, ef_construct=made.hnsw.ef_construct) if made.hnsw.m else None
        self._ask(
            collection,
            lambda client: client.create_collection(
                collection,
                vectors_config={made.vector: params} if made.vector else params,
                hnsw_config=index,
            ),
        )
        for path, kind in made.payload_indexes.items():
            self._ask(
                collection,
                partial(_indexed, collection=collection, field_name=path, field_schema=kind, ordering="strong"),
            )

    def drop(self, collection: str) -> None:
        """Delete a collection."""
        try:
            self._ask(collection, lambda client: client.delete_collection(collection))
        except CollectionMissing:
            # Somebody else was first.
            return

    def upsert(self, collection: str, points: Upsert) -> None:
        """Write points."""
        from qdrant_client import models

        named = points.vectors.tolist()
        batch = models.Batch.model_construct(
            ids=list(points.ids),
            vectors={points.vector: named} if points.vector else named,
            payloads=list(points.payloads),
        )
        options: dict[str, Any] = {}
        if points.only_absent and self.speaks and self._require_version() < MODES:
            options["update_filter"] = models.Filter(**_NEVER)
        elif points.only_absent:
            options["update_mode"] = models.UpdateMode.INSERT_ONLY
        self._write(collection, lambda client: client.upsert(collection, batch, ordering="strong", **options))

    def delete(self, collection: str, filter: Filter) -> None:
        """Delete the points that a filter selects."""
        from qdrant_client import models

        chosen = models.FilterSelector(filter=self._filter(filter))
        self._write(collection, lambda client: client.delete(collection, chosen, ordering="strong"))

    def require_several(self, collection: str) -> None:
        """Return if points may be written that have other vectors as well."""
        if self._require_version() < SEVERAL:
            raise StoreRejected(
                f"collection {collection} has other vectors in the same points, which {self.name} cannot leave alone",
                "from 1.18 on a server replaces one vector under a condition; nothing of this call was written",
                "upgrade the server, or migrate to a collection of its own",
            )

    def add_vector(self, collection: str, made: NewCollection) -> None:
        """Give the points of a collection room for one more vector."""
        from qdrant_client import models

        if self._require_version() < SEVERAL:
            raise StoreRejected(
                f"{self.name} cannot add a vector to collection {collection}",
                "a server can from version 1.18 on",
                "upgrade the server, or migrate to a collection of its own: leave --layout out",
            )
        if self.speaks and "" in (self.vectors(collection) or {}):
            raise StoreRejected(
                f"collection {collection} has a vector without a name, beside which {self.name} would keep another",
                "a server can take only a vector with a name out of a collection, so the old one would stay for ever",
                "migrate to a collection of its own: leave --layout out",
            )
        config = models.DenseVectorConfig(size=made.dimensions, distance=models.Distance(_DISTANCES[made.metric]))
        wanted = models.DenseVectorNameConfig(dense=config)
        self._ask(
            collection,
            lambda client: client.create_vector_name(collection, made.vector, wanted, ordering="strong"),
        )
        self._require_vector(collection, made.vector, there=True)

    def remove_vector(self, collection: str, name: str) -> None:
        """Take a vector out of a collection, or where that cannot be done, out of all its points."""
        from qdrant_client import models

        if name and self._require_version() >= SEVERAL:
            self._ask(collection, lambda client: client.delete_vector_name(collection, name, ordering="strong"))
            self._require_vector(collection, name, there=False)
            return
        having = models.FilterSelector(filter=self._filter({"must": [{"has_vector": name}]}))
        self._write(collection, lambda client: client.delete_vectors(collection, [name], having, ordering="strong"))

    def change(self, collection: str, steps: Sequence[Step]) -> bool:
        """Take steps in this order."""
        operations = [operation(step, self._filter) for step in steps]
        try:
            self._write(
                collection, lambda client: client.batch_update_points(collection, operations, ordering="strong")
            )
        except StoreUnavailable as error:
            if NO_POINT not in error.detail:
                raise
            return False
        return True

    def whole(self, collection: str, ids: Sequence[PointId]) -> list[Point]:
        """Return the points that are there, with their payloads and all their vectors."""
        found = self._ask(
            collection,
            lambda client: client.retrieve(
                collection, list(ids), with_payload=True, with_vectors=True, consistency=_READS
            ),
        )
        return [
            Point(
                id=one.id,
                payload=one.payload or {},
                vectors=one.vector if isinstance(one.vector, Mapping) else {"": one.vector} if one.vector else {},
            )
            for one in found
        ]

    def retrieve(
        self, collection: str, ids: Sequence[PointId], *, payload: bool | list[str], vector: str | None
    ) -> list[Point]:
        """Return the points that are there."""
        wanted = False if vector is None else [vector] if vector else True
        found = self._ask(
            collection,
            lambda client: client.retrieve(
                collection, list(ids), with_payload=payload, with_vectors=wanted, consistency=_READS
            ),
        )
        return [_point(one, vector) for one in found]

    def select(self, collection: str, filter: Filter, *, payload: bool | list[str], limit: int) -> list[Point]:
        """Return points that a filter selects."""
        found, _ = self._scroll(collection, self._filter(filter), payload=payload, limit=limit)
        return [_point(one, None) for one in found]

    def every(self, collection: str, *, payload: bool | list[str], filter: Filter | None = None) -> Iterator[Point]:
        """Return all points that a filter selects."""
        selected = self._filter(filter) if filter else None
        offset = None
        while True:
            found, offset = self._scroll(collection, selected, payload=payload, limit=_PAGE, offset=offset)
            yield from (_point(one, None) for one in found)
            if offset is None:
                return

    def count(self, collection: str, filter: Filter | None) -> int:
        """Return how many points a filter selects."""
        selected = self._filter(filter) if filter else None
        found = self._ask(collection, lambda client: client.count(collection, count_filter=selected, exact=True))
        return int(found.count)

    def search(self, collection: str, question: Question) -> list[Point]:
        """Return the nearest points."""
        from qdrant_client import models

        selected = None if question.filter is None else self._filter(question.filter)
        params = models.SearchParams(exact=question.exact, hnsw_ef=question.ef) if self.speaks else None
        found = self._ask(
            collection,
            lambda client: client.query_points(
                collection,
                query=question.vector.tolist(),
                using=question.using or None,
                limit=question.limit,
                query_filter=selected,
                with_payload=True,
                search_params=params,
                consistency=_READS,
            ),
        )
        return [_point(one, None) for one in found.points]

    def point(self, alias: str, collection: str) -> None:
        """Let an alias be a collection, whatever it was before.

        Raises:
            StoreRejected: a collection has that name.
        """
        from qdrant_client import models

        there = {one.alias_name: one.collection_name for one in self._ask(alias, _aliases).aliases}
        if there.get(alias) == collection:
            return
        gone = (
            [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))] if alias in there else []
        )
        made = models.CreateAlias(collection_name=collection, alias_name=alias)
        steps = [*gone, models.CreateAliasOperation(create_alias=made)]
        try:
            self._ask(collection, lambda client: client.update_collection_aliases(steps))
        except FieldInUse as error:
            raise StoreRejected(
                f"{alias} cannot be an alias in {self.name}: a collection has that name",
                str(error),
                'choose another name: follow_alias = "{alias}-served"',
            ) from error

    def close(self) -> None:
        """Close the connections; a later call opens them again. What is only in memory stays."""
        if self._place.folder == IN_MEMORY:
            return
        with self._guard:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _scroll(
        self, collection: str, selected: Any, *, payload: bool | list[str], limit: int, offset: Any = None
    ) -> tuple[list[Any], Any]:
        found: tuple[list[Any], Any] = self._ask(
            collection,
            lambda client: client.scroll(
                collection,
                scroll_filter=selected,
                limit=limit,
                offset=offset,
                with_payload=payload,
                consistency=_READS,
            ),
        )
        return found

    def _filter(self, filter: Any) -> Any:
        from pydantic import ValidationError
        from qdrant_client import models

        if isinstance(filter, models.Filter):
            return filter
        try:
            return models.Filter(**filter)
        except (TypeError, ValidationError) as error:
            raise BadFilter("this is not a filter of Qdrant's", str(error)) from error

    @property
    def adds_vectors(self) -> bool:
        """Whether vectors can be added to a collection, as far as is known; a look at any collection tells."""
        return not self._said or version_from(self._said) >= SEVERAL

    def _known_version(self) -> Version:
        if not self._said:
            self._said = str(self._ask("", lambda client: client.info()).version) if self.speaks else IMITATED
        return version_from(self._said)

    def _require_version(self) -> Version:
        """Return the server's version.

        Raises:
            StoreRejected: it is older than what is needed.
        """
        version = self._known_version()
        if version < CONDITIONS:
            raise StoreRejected(
                f"{self.name} has version {self._said}, and undrift needs 1.16 or newer",
                "before, it cannot leave points alone that are there already",
                "upgrade the server",
            )
        return version

    def _require_vector(self, collection: str, name: str, *, there: bool) -> None:
        # A change of what a collection is made like goes through all nodes; an answer may come before that is over.
        if (name in (self.vectors(collection) or {})) is not there:
            raise StoreUnavailable(f"{self.name} has not changed the vectors of collection {collection} yet")

    def _write(self, collection: str, send: Callable[[Any], Any]) -> None:
        answers = self._ask(collection, send)
        for answer in answers if isinstance(answers, list) else [answers]:
            if answer.status != "completed":
                raise StoreUnavailable(
                    f"{self.name} has taken a write of collection {collection} and not finished it",
                    f"its status is {getattr(answer.status, 'value', answer.status)}",
                )

    def _ask(self, collection: str, send: Callable[[Any], _T]) -> _T:
        try:
            return send(self._connected())
        except Exception as error:
            meant = translate(error, self.name, collection)
            if meant is None:
                raise
            raise meant from error

    def _connected(self) -> Any:
        with self._guard:
            if self._client is None:
                self._client = opened(
                    self._place, api_key=self._api_key, grpc_port=self._grpc_port, timeout_s=self._timeout_s
                )
            return self._client


def _aliases(client: Any) -> Any:
    return client.get_aliases()


def _indexed(client: Any, *, collection: str, **options: Any) -> Any:
    return client.create_payload_index(collection, **options)


def _point(found: Any, vector: str | None) -> Point:
    values = None
    if vector is not None:
        stored = found.vector.get(vector) if isinstance(found.vector, Mapping) else found.vector
        values = None if stored is None else np.array(stored, np.float32)
    return Point(id=found.id, payload=found.payload or {}, vector=values, score=getattr(found, "score", 0.0))
