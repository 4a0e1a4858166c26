"""The address of a Qdrant server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from undrift.errors import BadConfig

_PORT = 6333
#: In place of a folder: nothing is kept.
IN_MEMORY = ":memory:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A server, or a folder in its place.

    Attributes:
        url: the server's; empty for a folder.
        folder: the folder; `:memory:` for one that is nowhere; empty for a server.
    """

    url: str = ""
    folder: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"Qdrant at {self.url}" if self.url else f"the folder {self.folder}"


def where(place: str) -> Where:
    """Read `qdrant://HOST:PORT/PREFIX`, `qdrants://…`, or `qdrant:PATH`.

    Raises:
        BadConfig: it is not an address, or has a key in it.
    """
    scheme, _, rest = place.partition(":")
    if scheme == "qdrant" and rest and not rest.startswith("//"):
        return Where(folder=rest)
    try:
        parts = urlsplit(place)
        port = parts.port or _PORT
    except ValueError as error:
        raise BadConfig("the address of a Qdrant server cannot be read", str(error), _HINT) from error
    if parts.username or parts.password:
        raise BadConfig(
            "the address of a Qdrant server has a key or a name in it",
            "an address is shown in messages, and a key belongs into the environment",
            "export QDRANT_API_KEY=…, or name another place: api_key_env, api_key_file",
        )
    if scheme not in {"qdrant", "qdrants"} or not parts.hostname or parts.query or parts.fragment:
        raise BadConfig(f"{place!r} is not the address of a Qdrant server", hint=_HINT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    protocol = "https" if scheme == "qdrants" else "http"
    return Where(url=f"{protocol}://{host}:{port}{parts.path.rstrip('/')}")


_HINT = "write it as qdrant://HOST:6333, or qdrants://HOST:6333 for HTTPS"
