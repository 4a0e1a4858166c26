"""An address that answers 200 while the workers may work."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

#: A system that is asked whether it has room must say so soon.
_TIMEOUT_S = 2.0
#: So much of its answer is shown.
_SHOWN = 200


def ask(url: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Ask an address, and return what it has against the work; empty when it answers 200.

    Any other answer, and none, is an objection: what cannot be asked has not agreed.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            status, body = response.status, response.read(_SHOWN)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read(_SHOWN)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{url}, which does not answer ({error})"
    if status == http.HTTPStatus.OK:
        return ""
    said = " ".join(body.decode("utf-8", "replace").split())
    return f"{url}, which answers {status}" + (f" ({said})" if said else "")
