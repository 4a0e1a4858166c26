"""Which account at a provider a model is asked with, without giving its key away."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def account_of(host: str, headers: Mapping[str, str]) -> str:
    """Return the host, and what tells one key from another: twelve digits of a hash of the headers that carry it.

    Args:
        host: the server.
        headers: what is sent with every request.
    """
    secret = "\n".join(f"{name.lower()}: {headers[name]}" for name in sorted(headers, key=str.lower))
    return f"{host}/{hashlib.sha256(secret.encode()).hexdigest()[:12]}" if secret else host
