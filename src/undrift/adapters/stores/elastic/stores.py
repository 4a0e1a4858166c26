"""The stores of the two vendors, by what a configuration says."""

from __future__ import annotations

from typing import ClassVar

from undrift.adapters.place import place_from
from undrift.adapters.stores.elastic.dialects import ELASTICSEARCH, OPENSEARCH, Dialect, Index
from undrift.adapters.stores.elastic.store import ElasticStore
from undrift.adapters.stores.elastic.wire import ElasticsearchClient, OpenSearchClient, Wire


class _Configured(ElasticStore):
    """A store with the settings that both vendors' have."""

    _DIALECT: ClassVar[Dialect]
    _CLIENT: ClassVar[type[ElasticsearchClient] | type[OpenSearchClient]]

    def __init__(
        self,
        place: str,
        *,
        tls: bool = False,
        ca_file: str = "",
        user: str = "",
        api_key: str | None = None,
        index: str = "hnsw",
        hnsw_m: int = 16,
        hnsw_ef_construction: int = 100,
        hnsw_ef_search: int = 100,
        refresh: str = "search",
        follow_alias: bool = False,
        listing_s: float = 10.0,
        shards: int | None = None,
        replicas: int | None = None,
    ) -> None:
        """Use a cluster; it is connected to by the first call.

        Args:
            place: `//HOST:PORT` or `//HOST:PORT/PATH`.
            tls: ask over TLS.
            ca_file: certificates to check the cluster's own with, instead of those of the system.
            user: who asks, with the key as a password; without a user, the key is an API key.
            api_key: from the variable or file that `api_key_env` or `api_key_file` names.
            index: `hnsw`, and a search is fast and may overlook some; or `none`, and it compares with every record. It
                is made with a collection.
            hnsw_m: connections of a vector in each layer of the index.
            hnsw_ef_construction: how many candidates are looked at when a vector is put into the index.
            hnsw_ef_search: how many candidates a search in the index looks at, in each shard, at least.
            refresh: before what the index is refreshed, so that it sees every acknowledged write: `search` for
                searches, counts and scans; or `scan` for counts and scans only.
            follow_alias: let an alias of the engine, called as that of undrift, stand for the index that serves, for
                other programs; the index it stood for before keeps its documents.
            listing_s: how old a list of the ids of an index may be that somebody else made: it keeps no order of them.
            shards: of the indexes that are made; as the cluster says, if not given.
            replicas: of the indexes that are made; as the cluster says, if not given.

        Raises:
            BadConfig: the address is not one, or has a password in it.
            BadArgument: a setting has a value that it cannot have.
        """
        where = place_from(self._DIALECT.name, place, port=9200, tls=tls, ca_file=ca_file, user=user, secret=api_key)
        super().__init__(
            self._DIALECT,
            Wire(where, self._CLIENT),
            index=Index(method=index, m=hnsw_m, ef_construction=hnsw_ef_construction, ef_search=hnsw_ef_search),
            refresh=refresh,
            follow_alias=follow_alias,
            listing_s=listing_s,
            shards=shards,
            replicas=replicas,
        )


class ElasticsearchStore(_Configured):
    """A store in an Elasticsearch cluster, 8.15 or newer."""

    _DIALECT, _CLIENT = ELASTICSEARCH, ElasticsearchClient


class OpenSearchStore(_Configured):
    """A store in an OpenSearch cluster, 2.13 or newer."""

    _DIALECT, _CLIENT = OPENSEARCH, OpenSearchClient
