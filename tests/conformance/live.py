"""Servers of one's own to run the kit against: `UNDRIFT_KIT_ELASTICSEARCH=elasticsearch://localhost:9200`.

`UNDRIFT_KIT_<NAME>_<OPTION>` gives options of the store's adapter: `UNDRIFT_KIT_ELASTICSEARCH_API_KEY`, `…_TLS=true`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Live:
    """A server.

    Attributes:
        url: its address, as in a configuration.
        options: keywords of the adapter.
    """

    url: str
    options: dict[str, Any]

    @property
    def rest(self) -> str:
        """What the adapter is given of the address."""
        return self.url.partition(":")[2]

    @property
    def http_url(self) -> str:
        """The address for a client of the vendor."""
        return f"{'https' if self.options.get('tls') else 'http'}:{self.rest}"

    @property
    def client_options(self) -> dict[str, Any]:
        """How a client of Elasticsearch or OpenSearch says who asks."""
        user, key = self.options.get("user"), self.options.get("api_key")
        said: dict[str, Any] = {"ca_certs": self.options["ca_file"]} if "ca_file" in self.options else {}
        if user:
            said["basic_auth" if "elasticsearch" in self.url else "http_auth"] = (user, key)
        elif key:
            said["api_key"] = key
        return said


def live(name: str, url: str | None = None) -> Live | None:
    """Return the server that the environment names, or the one at an address; None without either."""
    prefix = f"UNDRIFT_KIT_{name.upper()}"
    if url is not None:
        return Live(url=url, options={})
    if prefix not in os.environ:
        return None
    options: dict[str, Any] = {}
    for key, value in os.environ.items():
        if key.startswith(prefix + "_"):
            said = key.removeprefix(prefix + "_").lower()
            options[said] = {"true": True, "false": False}.get(value, value)
    return Live(url=os.environ[prefix], options=options)


def answering(name: str, stood_for: str) -> str:
    """Return what a report calls the engine: where a live one is, or what the double stands for."""
    named = live(name)
    return f"in place of {stood_for}" if named is None else f"at {named.url}"
