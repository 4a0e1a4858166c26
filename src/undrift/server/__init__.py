"""The HTTP call for programs in other languages, and the health of the look-out; it needs the extra `server`."""

from __future__ import annotations

from undrift.server.health import health_of
from undrift.server.running import Listener, answering, listen, serve

__all__ = ["Listener", "answering", "health_of", "listen", "serve"]
