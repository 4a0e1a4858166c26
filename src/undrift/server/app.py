"""The calls as an ASGI application: what each one answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from undrift.domain.route import AliasName
from undrift.errors import BackendError, UndriftError, UnknownAlias, UsageError
from undrift.flow.writer import checked_ids
from undrift.release import VERSION
from undrift.server.admission import Admission, body_of_call
from undrift.server.bracket import Bracket
from undrift.server.messages import CloseRequest, OpenRequest, in_error_shape, parse, status_of

_T = TypeVar("_T")
#: Outcomes for which nothing was begun, and the call is made again.
_WAITS = {
    "held": "a cutover drains, and writers wait",
    "foreign": "documents of this write are not carried over yet",
}
_LONGEST_NAME = 200


def application(bracket: Bracket, admission: Admission) -> Any:
    """Return the application.

    Args:
        bracket: what the calls do.
        admission: who may call.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    calls = _Calls(bracket, admission)
    routes = [
        Route("/v1/aliases/{alias}/open", calls.open, methods=["POST"]),
        Route("/v1/aliases/{alias}/close", calls.close, methods=["POST"]),
        Route("/v1/aliases/{alias}/route", calls.route, methods=["GET"]),
        Route("/healthz", calls.health, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers=refusing())


def refusing() -> dict[Any, Any]:
    """Return what answers a call that was refused or that failed, by the kind of its error."""
    from starlette.exceptions import HTTPException

    return dict.fromkeys((UndriftError, HTTPException, Exception), _refuse)


class _Calls:
    def __init__(self, bracket: Bracket, admission: Admission) -> None:
        self._bracket = bracket
        self._admission = admission

    async def open(self, request: Any) -> Any:
        alias = self._alias(request)
        asked = parse(OpenRequest, await body_of_call(request))
        keys, host = checked_ids(asked.keys), request.client.host if request.client else ""
        answer = await _run(
            lambda: self._bracket.open(alias, keys, caller=asked.client, host=host, deadline_s=asked.deadline_s)
        )
        why = _WAITS.get(answer["outcome"])
        if why is None:
            return _json(answer)
        waiting = BackendError(why, ", ".join(answer["waiting"][:5]), "call again in 50 ms")
        return _json({**answer, **in_error_shape(waiting, answer["outcome"])}, 409)

    async def close(self, request: Any) -> Any:
        alias = self._alias(request)
        asked = parse(CloseRequest, await body_of_call(request))
        keys = checked_ids(asked.keys)
        if await _run(lambda: self._bracket.close(alias, asked.operation, keys)):
            return _json({"closed": True})
        unknown = BackendError(
            f"operation {asked.operation} of {alias} is not open any more; the write may not be acknowledged",
            "it was closed already, or given up because it took longer than its deadline",
            "do all of it again, from open",
        )
        return _json({"closed": False, **in_error_shape(unknown, "OutcomeUnknown")}, 409)

    async def route(self, request: Any) -> Any:
        alias = self._alias(request)
        return _json(await _run(lambda: self._bracket.route(alias)))

    async def health(self, _request: Any) -> Any:
        await _run(self._bracket.look)
        return _json({"status": "ok", "version": VERSION})

    def _alias(self, request: Any) -> AliasName:
        self._admission.admit(request)
        name: str = request.path_params["alias"]
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise UnknownAlias("the ledger knows no alias of this name", hint="undrift alias list")
        return AliasName(name)


async def _run(work: Callable[[], _T]) -> _T:
    """Ask the ledger in a thread, so that others are answered meanwhile."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work)


async def _refuse(_request: Any, error: Exception) -> Any:
    from starlette.exceptions import HTTPException

    match error:
        case UndriftError():
            status = status_of(error)
            return _json(in_error_shape(error), status, {"Retry-After": "1"} if status == 503 else None)
        case HTTPException() if isinstance(error.detail, dict):
            return _json(error.detail, error.status_code, error.headers)
        case HTTPException():
            told = UsageError(error.detail.lower(), "", "see docs/how-to/write-from-other-languages.md")
            return _json(in_error_shape(told, "BadRequest"), error.status_code, error.headers)
        case _:
            # What it was is in the log of the server, and no business of the caller.
            return _json(in_error_shape(UndriftError("undrift failed in a way it should not"), "Defect"), 500)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status, headers=headers)
