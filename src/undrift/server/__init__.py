"""The HTTP call for programs in other languages; it needs the extra `server`."""

from __future__ import annotations

from undrift.server.running import Listener, listen, serve

__all__ = ["Listener", "listen", "serve"]
