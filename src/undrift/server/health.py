"""Whether the look-out lives, and its figures, for machines that ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from undrift.control import ControlPlane
from undrift.control.lookout import TICK_S, LookOut
from undrift.control.metrics import CONTENT_TYPE, exposition
from undrift.release import VERSION
from undrift.server.app import refusing
from undrift.server.running import Listener, admission_to

#: A look-out whose last round ended longer ago than so many ticks hangs.
_TICKS = 40


def health_of(plane: ControlPlane, lookout: LookOut, listener: Listener) -> Any:
    """Return an application that answers `/healthz` and `/metrics`.

    Args:
        plane: whose ledger is asked.
        lookout: whose rounds are judged.
        listener: where it listens; its token is wanted for the figures.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    admission, began = admission_to(listener), plane.clock.now()

    async def health(_request: Any) -> Any:
        late = plane.clock.now() - (lookout.ended or began) > timedelta(seconds=_TICKS * TICK_S)
        ended = lookout.ended.isoformat() if lookout.ended is not None else None
        status = {"status": "late" if late else "ok", "version": VERSION, "last_round": ended}
        return JSONResponse(status, 503 if late else 200)

    async def metrics(request: Any) -> Any:
        admission.admit(request)
        text = await run_in_threadpool(lambda: exposition(plane, lookout))
        return Response(text, media_type=CONTENT_TYPE)

    return Starlette(routes=[Route("/healthz", health), Route("/metrics", metrics)], exception_handlers=refusing())
