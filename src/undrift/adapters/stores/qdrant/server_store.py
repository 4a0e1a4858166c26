"""A Qdrant server as a store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from undrift.adapters.asked import require_within
from undrift.adapters.listing import Listings
from undrift.adapters.stores.qdrant.client import ClientEngine
from undrift.adapters.stores.qdrant.edge_store import index_from
from undrift.adapters.stores.qdrant.place_of_server import where
from undrift.adapters.stores.qdrant.several import QdrantRecords
from undrift.domain.cost import Footprint
from undrift.domain.route import VectorField
from undrift.domain.shape import split_address
from undrift.domain.space import Metric
from undrift.errors import BadArgument
from undrift.ports.store import Layout, StoreCapabilities

_MOST_TEXT, _MOST_METADATA = 8 * 2**20, 4 * 2**20


class QdrantStore(QdrantRecords):
    """A store on a Qdrant server of version 1.16 or newer, for millions of documents and the processes of many hosts.

    Every write waits until it is applied, in strong ordering, and reads by id ask a majority of the replicas. A search
    looks into Qdrant's HNSW index, unless it shall compare with every point.
    """

    def __init__(
        self,
        place: str,
        *,
        api_key: str | None = None,
        grpc: bool = False,
        grpc_port: int = 6334,
        timeout_s: int = 10,
        index: str = "hnsw",
        hnsw_m: int = 16,
        hnsw_ef_construct: int = 100,
        hnsw_ef: int = 128,
        payload_indexes: Mapping[str, str] | None = None,
        listing_s: float = 10.0,
        follow_alias: str = "",
    ) -> None:
        """Use a server; it is connected to by the first call.

        Args:
            place: `qdrant://HOST:PORT`, `qdrants://HOST:PORT` for HTTPS, or `qdrant:PATH` for a folder that the client
                itself reads and writes, which is for trials.
            api_key: the server's key; None where it asks for none.
            grpc: whether to speak gRPC, which is faster, and carries every float in all its digits.
            grpc_port: where the server speaks gRPC.
            timeout_s: how long the server may take to answer.
            index: `hnsw`, and a search is fast and may overlook some; or `none`, and it is exact.
            hnsw_m: connections of a vector in each layer of the index of a new collection.
            hnsw_ef_construct: how many candidates are looked at when a vector is put into the index.
            hnsw_ef: how many candidates a search in the index looks at.
            payload_indexes: type by key of the metadata (`keyword`, `integer`, `float`, `bool`, `uuid`, `datetime`,
                `text`): indexes that are made with a collection, so that filters on these keys are fast.
            listing_s: how old a list of a collection's ids may be: Qdrant has no order of ids, so a scan keeps a list.
            follow_alias: the name of an alias in Qdrant that always is the collection an alias of undrift's serves, for
                programs that do not know undrift; `{alias}` in it stands for the name of the latter. None by default.

        Raises:
            BadConfig: the address is not one, or has a key in it.
            BadArgument: a setting has a value that it cannot have.
            MissingExtra: the client is not installed.
        """
        chosen = index_from(index, m=hnsw_m, ef_construct=hnsw_ef_construct, ef=hnsw_ef)
        for name, value, least, most in (("timeout_s", timeout_s, 1, 600), ("listing_s", listing_s, 0, 3600)):
            require_within(name, value, least, most)
        if follow_alias and "{alias}" not in follow_alias:
            raise BadArgument(
                f"follow_alias is {follow_alias!r}, without {{alias}}: every alias needs a name of its own",
                hint='follow_alias = "{alias}-served"',
            )
        self._follow_alias = follow_alias
        self._client = engine = ClientEngine(
            where(place), api_key=api_key, grpc_port=grpc_port if grpc else None, timeout_s=timeout_s
        )
        capabilities = StoreCapabilities(
            name="qdrant",
            metrics=frozenset(Metric),
            max_dimensions=65_536,
            layouts=frozenset(Layout),
            # To connect, to send and to wait for the answer have this time each. What the server has read by then it
            # writes into its log at once, behind which every later request is; for a server under load as long again.
            settles_within_s=6 * timeout_s,
            scans_lag_s=listing_s,
            # A server takes requests of 32 MiB as it comes; quotation marks and line ends are written in two letters.
            max_text_bytes=_MOST_TEXT,
            max_metadata_bytes=_MOST_METADATA,
            keeps_length=False,
            footprint=Footprint(
                per_dimension=6,
                basis="Qdrant's guide to capacity: four bytes a dimension, times 1.5 for the index and metadata",
            ),
        )
        super().__init__(
            engine,
            capabilities,
            hnsw=chosen,
            payload_indexes=payload_indexes or {},
            listings=Listings(time.monotonic, listing_s),
        )

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this adapter can do; in place only where the server is not known to be too old for it."""
        can = super().capabilities
        return can if self._client.adds_vectors else replace(can, layouts=frozenset({Layout.COLLECTION}))

    def point(self, name: str, field: VectorField) -> None:
        """Let Qdrant's alias for a name be a field's collection, in one step; nothing where that is not configured.

        Raises:
            StoreRejected: a collection has that name.
        """
        if self._follow_alias:
            collection, _ = split_address(field.collection)
            self._client.point(self._follow_alias.replace("{alias}", name), collection)
