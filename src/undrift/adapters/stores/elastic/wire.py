"""Requests to a cluster through its vendor's own client, and what its answers mean."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from undrift.adapters.place import Place
from undrift.errors import CollectionMissing, FieldInUse, MissingExtra, StoreRejected, StoreUnavailable, UndriftError

#: A request that has no answer after so long is given up, and not sent again: it undid what others had written since.
TIMEOUT_S = 10
#: How long the cluster itself waits for a shard that is away, before it says so.
SHARD_TIMEOUT = "10s"
_NOTHING = "nothing of this call was written"
_MISSING = frozenset({"index_not_found_exception", "alias_not_found_exception"})
_LINES = "application/x-ndjson"
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a cluster answered: the status, and the JSON value of the body."""

    status: int
    body: Any


class Client(Protocol):
    """A vendor's client."""

    def send(self, method: str, path: str, params: Mapping[str, str], body: Any, headers: dict[str, str]) -> Answer:
        """Send one request, once.

        Raises:
            StoreUnavailable: there was no answer.
        """
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Wire:
    """Sends requests, and turns refusals into errors of undrift."""

    def __init__(self, place: Place, connect: Callable[[Place], Client]) -> None:
        """Connect to nothing yet.

        Args:
            place: where the cluster is.
            connect: makes a client for a place.
        """
        self.place = place
        self._connect = connect
        self._guard = threading.Lock()
        self._client: tuple[int, Client] | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        collection: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        allowed: frozenset[int] = frozenset(),
    ) -> Answer:
        """Send a request, and return its answer when it is a good one or an allowed one.

        Args:
            method: of HTTP.
            path: below the place's own.
            collection: which one it is about, for messages.
            body: a JSON value, or bytes in lines.
            params: of the query.
            allowed: statuses that are no errors here.

        Raises:
            StoreUnavailable: there was no answer, or the cluster cannot answer now.
            CollectionMissing: there is no such index.
            StoreRejected: it will not do this.
        """
        headers = {"accept": _JSON}
        if body is not None:
            headers["content-type"] = _LINES if isinstance(body, bytes) else _JSON
        answer = self._open().send(method, path, params or {}, body, headers)
        if 200 <= answer.status < 300 or answer.status in allowed:
            return answer
        raise self.refused(answer.status, _error(answer.body), collection)

    def refused(self, status: int, error: Mapping[str, Any], collection: str) -> UndriftError:
        """Return what a refusal of a request, or of a part of one, means."""
        kind, reason = str(error.get("type", "")), str(error.get("reason", "")) or f"HTTP status {status}"
        if kind in _MISSING or (status == 404 and not kind):
            return CollectionMissing(f"{self.place.name} has no collection {collection}")
        if kind == "resource_already_exists_exception" or "already exists as alias" in reason:
            return FieldInUse(
                f"collection {collection} is in {self.place.name} already",
                hint="choose another name, or drop it if nobody uses it",
            )
        if status == 401:
            return StoreUnavailable(
                f"{self.place.name} does not know who asks",
                reason,
                "look at user, api_key_env and api_key_file of the store",
            )
        if status == 403:
            return StoreRejected(
                f"{self.place.name} does not allow that",
                f"{reason}; {_NOTHING}",
                f"give the user or key the privileges read, write, maintenance and manage on {collection}",
            )
        if status in {408, 429} or status >= 500:
            return StoreUnavailable(f"{self.place.name} cannot answer now", reason, "look at the cluster's health")
        return StoreRejected(f"{self.place.name} does not take this: {reason}", f"{kind}; {_NOTHING}")

    def close(self) -> None:
        """Close the connections of this process."""
        with self._guard:
            known, self._client = self._client, None
        if known is not None and known[0] == os.getpid():
            known[1].close()

    def _open(self) -> Client:
        # A process that was forked may not use the sockets of its parent.
        with self._guard:
            if self._client is None or self._client[0] != os.getpid():
                self._client = (os.getpid(), self._connect(self.place))
            return self._client[1]


class ElasticsearchClient:
    """The client of Elastic."""

    def __init__(self, place: Place) -> None:
        """Connect to nothing yet.

        Raises:
            MissingExtra: it is not installed.
        """
        try:
            from elasticsearch import Elasticsearch
        except ImportError as error:
            raise MissingExtra(
                "elasticsearch is not installed", "it speaks to Elasticsearch", "pip install 'undrift[elasticsearch]'"
            ) from error
        options: dict[str, Any] = {"request_timeout": TIMEOUT_S, "max_retries": 0, "retry_on_timeout": False}
        if place.tls and place.ca_file:
            options["ca_certs"] = place.ca_file
        if place.user:
            options["basic_auth"] = (place.user, place.secret)
        elif place.secret:
            options["api_key"] = place.secret
        self._name = place.name
        self._client = Elasticsearch(place.url, **options)

    def send(self, method: str, path: str, params: Mapping[str, str], body: Any, headers: dict[str, str]) -> Answer:
        """Send one request, once."""
        from elasticsearch import ApiError, TransportError, UnsupportedProductError

        try:
            answer = self._client.perform_request(method, path, params=params or None, headers=headers, body=body)
        except UnsupportedProductError as error:
            raise StoreUnavailable(
                f"{self._name} is no Elasticsearch", str(error), "write opensearch:// if it is an OpenSearch"
            ) from error
        except ApiError as error:
            return Answer(status=error.meta.status, body=error.body)
        except TransportError as error:
            raise StoreUnavailable(f"{self._name} did not answer", str(error), "look whether it runs") from error
        return Answer(status=answer.meta.status, body=answer.body)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


class OpenSearchClient:
    """The client of OpenSearch."""

    def __init__(self, place: Place) -> None:
        """Connect to nothing yet.

        Raises:
            MissingExtra: it is not installed.
        """
        try:
            from opensearchpy import OpenSearch
        except ImportError as error:
            raise MissingExtra(
                "opensearch-py is not installed", "it speaks to OpenSearch", "pip install 'undrift[opensearch]'"
            ) from error
        options: dict[str, Any] = {"timeout": TIMEOUT_S, "max_retries": 0, "retry_on_timeout": False}
        if place.tls and place.ca_file:
            options["ca_certs"] = place.ca_file
        if place.user:
            options["http_auth"] = (place.user, place.secret)
        elif place.secret:
            options["headers"] = {"authorization": f"ApiKey {place.secret}"}
        self._name = place.name
        self._client = OpenSearch(place.url, **options)

    def send(self, method: str, path: str, params: Mapping[str, str], body: Any, headers: dict[str, str]) -> Answer:
        """Send one request, once."""
        from opensearchpy.exceptions import ConnectionError as Unreachable
        from opensearchpy.exceptions import SerializationError, TransportError

        try:
            # Were the timeout not given here, the client would take the parameter of that name for its own.
            found = self._client.transport.perform_request(
                method, path, params=dict(params), body=body, headers=headers, timeout=TIMEOUT_S
            )
        except (Unreachable, SerializationError) as error:
            raise StoreUnavailable(f"{self._name} did not answer", str(error), "look whether it runs") from error
        except TransportError as error:
            return Answer(status=int(error.status_code), body=error.info)
        if isinstance(found, bool):
            # This client answers HEAD in its own way.
            return Answer(status=200 if found else 404, body=None)
        return Answer(status=200, body=found)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _error(body: Any) -> dict[str, Any]:
    """Return type and reason of a refusal, whatever form the body has."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return {"reason": body[:300]}
    found = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(found, Mapping):
        return dict(found)
    return {"reason": str(found)} if found else {}
