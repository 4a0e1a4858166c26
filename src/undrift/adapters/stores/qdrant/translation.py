"""What a failure of Qdrant's client means to who uses it as a store."""

from __future__ import annotations

from undrift.errors import CollectionMissing, FieldInUse, StoreRejected, StoreUnavailable, UndriftError

#: How every form of the engine begins to say that a point is not there which it was asked to change.
NO_POINT = "No point with id"
_CODES = {
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
}


def translate(error: Exception, name: str, collection: str) -> UndriftError | None:
    """Return the error that a failure means to a user; None for one that is not the client's.

    Args:
        error: what the client raised.
        name: what messages call the store.
        collection: what was asked about.
    """
    import grpc
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UndriftError):
        return None
    if isinstance(error, UnexpectedResponse):
        return _answered(error.status_code or 0, _said(error.content), name, collection)
    if isinstance(error, ResponseHandlingException):
        source = error.source
        return _away(name, f"{type(source).__name__}: {source}")
    if isinstance(error, ApiException | ResourceExhaustedResponse):
        return _away(name, str(error))
    if isinstance(error, grpc.RpcError):
        code = error.code().name if hasattr(error, "code") else ""
        details = str(error.details()) if hasattr(error, "details") else str(error)
        return _answered(_CODES[code], details, name, collection) if code in _CODES else _away(name, details)
    if isinstance(error, ValueError):
        return _answered(404 if "not found" in str(error) else 400, str(error), name, collection)
    if isinstance(error, RuntimeError):
        return _away(name, str(error))
    return None


def _answered(status: int, text: str, name: str, collection: str) -> UndriftError:
    if status == 404 and ("ollection" in text or not text):
        return CollectionMissing(f"{name} has no collection {collection}", text)
    if status == 409 or (status == 400 and "already exists" in text):
        return FieldInUse(
            f"collection {collection} is in {name} already",
            text,
            "choose another name, or drop it if nobody uses it",
        )
    if status in {401, 403}:
        return StoreRejected(
            f"{name} does not take this key",
            text,
            "export QDRANT_API_KEY=…, or name where the key is: api_key_env, api_key_file",
        )
    if status in {400, 413, 422}:
        return StoreRejected(f"{name} does not take this for collection {collection}", text)
    return _away(name, f"it answered with status {status}: {text}")


def _away(name: str, detail: str) -> StoreUnavailable:
    return StoreUnavailable(f"{name} did not answer", detail, "see whether the server runs, and at this address")


def _said(content: bytes) -> str:
    """Return what an answer says of an error."""
    import json

    try:
        status = json.loads(content)["status"]
        return str(status["error"] if isinstance(status, dict) else status)
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
