"""Qdrant's engine inside this process, as a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from undrift.adapters.asked import require_within
from undrift.adapters.stores.qdrant.edge import EdgeEngine
from undrift.adapters.stores.qdrant.engine import Hnsw
from undrift.adapters.stores.qdrant.several import QdrantRecords
from undrift.domain.cost import Footprint
from undrift.domain.space import Metric
from undrift.errors import BadArgument
from undrift.ports.store import Layout, StoreCapabilities

#: An index is made anew after so many written points.
_OPTIMIZED_EVERY = 10_000


class QdrantEdgeStore(QdrantRecords):
    """A store in a folder, in the engine Qdrant Edge, for one process at a time.

    A collection is a folder of its own. It is locked while it is open, so a second process is refused; several stores
    of one process share it. A search compares with every point, unless there is an index.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        index: str = "none",
        hnsw_m: int = 16,
        hnsw_ef_construct: int = 100,
        hnsw_ef: int = 128,
        payload_indexes: Mapping[str, str] | None = None,
    ) -> None:
        """Use a folder; it is made with the first collection.

        Args:
            folder: where the collections are.
            index: `none`, and a search is exact; or `hnsw`, and it is fast and may overlook some. It is made anew after
                every 10,000 written points, by the write that is the last of them.
            hnsw_m: connections of a vector in each layer of the index.
            hnsw_ef_construct: how many candidates are looked at when a vector is put into the index.
            hnsw_ef: how many candidates a search in the index looks at.
            payload_indexes: type by key of the metadata (`keyword`, `integer`, `float`, `bool`, `uuid`, `datetime`,
                `text`): indexes that are made with a collection, so that filters on these keys are fast.

        Raises:
            BadArgument: a setting has a value that it cannot have.
            MissingExtra: the engine is not installed.
        """
        chosen = index_from(index, m=hnsw_m, ef_construct=hnsw_ef_construct, ef=hnsw_ef)
        capabilities = StoreCapabilities(
            name="qdrant-edge",
            metrics=frozenset(Metric),
            max_dimensions=65_536,
            layouts=frozenset(Layout),
            # A call is over when it returns, and everything of it ends with the process.
            settles_within_s=0,
            requests_die_with_process=True,
            keeps_length=False,
            footprint=Footprint(
                per_dimension=6,
                basis="Qdrant's guide to capacity: four bytes a dimension, times 1.5 for the index and metadata",
            ),
        )
        engine = EdgeEngine(Path(folder), optimize_every=_OPTIMIZED_EVERY if chosen else None)
        super().__init__(
            engine, capabilities, hnsw=chosen, payload_indexes=payload_indexes or {}, listings=engine.listings
        )


def index_from(index: str, *, m: int, ef_construct: int, ef: int) -> Hnsw | None:
    """Return the settings of an index, None for none.

    Raises:
        BadArgument: there is no such index, or a setting is outside what Qdrant takes.
    """
    if index not in {"none", "hnsw"}:
        raise BadArgument(f"index is {index!r}; it can be none or hnsw", hint='index = "hnsw"')
    for name, value, least, most in (
        ("hnsw_m", m, 4, 128),
        ("hnsw_ef_construct", ef_construct, 4, 4096),
        ("hnsw_ef", ef, 1, 10_000),
    ):
        require_within(name, value, least, most)
    return Hnsw(m=m, ef_construct=ef_construct, ef=ef) if index == "hnsw" else None
