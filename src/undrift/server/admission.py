"""Who may call, and how much a call may bring."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, cast

from undrift.errors import BadArgument, RefusedError, UndriftError
from undrift.server.messages import in_error_shape

#: Most bytes of a body; ten thousand ids of a hundred bytes.
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What a caller has to show.

    Attributes:
        token: what it sends along; None for nothing.
        names: what it may call this server, None for anything: a page in a browser can be led to call this machine by
            a name of its own.
    """

    token: str | None
    names: frozenset[str] | None

    def admit(self, request: Any) -> None:
        """Pass when the caller may call.

        Raises:
            HTTPException: it may not.
        """
        if self.names is not None and _name_in(request) not in self.names:
            told = RefusedError("this server is not called by that name", "", "call it by its address")
            raise _refusal(403, told, "NameRefused")
        if self.token is None:
            return
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not shown.strip():
            told = RefusedError(
                "a call of this server needs its token", "", "send the header Authorization: Bearer TOKEN"
            )
            raise _refusal(401, told, "TokenMissing", {"WWW-Authenticate": "Bearer"})
        if not hmac.compare_digest(shown.strip().encode("latin-1"), self.token.encode()):
            told = RefusedError("the token of this call is not the server's", "", "ask who runs the server for it")
            raise _refusal(403, told, "TokenRefused")


async def body_of_call(request: Any) -> bytes:
    """Return the body of a call.

    Raises:
        HTTPException: it is not said to be JSON, or is too long.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # Also what keeps a page in a browser from calling unasked: it may not send this type to another server.
        told = BadArgument("the body of a call is JSON", "", "send the header Content-Type: application/json")
        raise _refusal(415, told, told.kind)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            told = BadArgument(
                f"the body of a call has at most {MOST_BYTES} bytes", "", "write fewer documents in one call"
            )
            raise _refusal(413, told, told.kind, {"Connection": "close"})
    return bytes(body)


def _name_in(request: Any) -> str:
    try:
        return request.url.hostname or ""
    except ValueError:
        return ""


def _refusal(status: int, told: UndriftError, kind: str, headers: dict[str, str] | None = None) -> Exception:
    from starlette.exceptions import HTTPException

    return HTTPException(status, detail=cast(str, in_error_shape(told, kind)), headers=headers)
