"""What a failure of Chroma means to who uses it as a store."""

from __future__ import annotations

import re

from undrift.errors import BadArgument, CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable, UndriftError

_NOTHING = "nothing of this call was written"


def translate(error: Exception, name: str, collection: str, *, writing: bool) -> UndriftError:
    """Return the error that a failure of a request means to a user.

    Args:
        error: what the client raised.
        name: what messages call the store.
        collection: the collection it was about.
        writing: whether the request was to change something.
    """
    kind, text = type(error).__name__, str(error).strip()
    if kind == "NotFoundError":
        return CollectionMissing(f"{name} has no collection {collection}", text)
    if kind == "UniqueConstraintError" or text.endswith("already exists"):
        return FieldInUse(
            f"collection {collection} is in {name} already",
            hint="choose another name, or drop it if nobody uses it",
        )
    if kind in {"ChromaAuthError", "AuthorizationError"} or re.match(
        r"(unauthorized|forbidden|401|403)\b", text, re.IGNORECASE
    ):
        return StoreUnavailable(
            f"{name} does not let this program in",
            text,
            "put its token into the environment variable CHROMA_TOKEN, or into the one that api_key_env names",
        )
    if "Payload too large" in text:
        return StoreRejected(
            f"{name} takes no request as long as this one", f"{text}; the call is not written, or not all of it"
        )
    if kind in {"InvalidArgumentError", "InvalidDimensionException", "ValueError", "TypeError", "OverflowError"}:
        if writing:
            return StoreRejected(f"{name} does not take this write: {text}", _NOTHING)
        return BadArgument(f"{name} cannot be asked this: {text}")
    return StoreUnavailable(
        f"{name} did not answer",
        f"{kind}: {text}" if text else kind,
        "look whether `chroma run` is up at that address, and at its log",
    )
