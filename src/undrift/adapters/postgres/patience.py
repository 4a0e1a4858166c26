"""A connection that does not wait for ever for a server which has accepted it and says nothing any more."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from functools import cache
from typing import Any

#: How long an answer of the server is waited for, in seconds, unless a call says otherwise: longer than the server lets
#: a statement of undrift wait for a lock.
PATIENCE_S = 60.0


@cache
def connection_kind() -> Any:
    """Return the class of connections whose `patience_s` says how long one answer is waited for.

    TCP notices a peer that has gone, and not one that takes everything and answers nothing.
    """
    import psycopg

    # What the driver could not tidy up after an error is no news beside that error; without any handler, Python would
    # write it to stderr. Whoever configures logging still sees it.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())

    class PatientConnection(psycopg.Connection[Any]):
        """Gives a server up that is silent for too long; the connection is closed then."""

        patience_s = PATIENCE_S

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            #: Names of statements that the server keeps for this connection; None where it shall keep none.
            self.kept: set[bytes] | None = None

        def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
            return super().wait(self._while_patient(gen), *args, **kwargs)

        def _while_patient(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            until = time.monotonic() + self.patience_s
            try:
                wanted = next(gen)
                while True:
                    # Asked several times a second; nothing has come when what is ready is nothing.
                    ready = yield wanted
                    if not ready and time.monotonic() >= until:
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f"the server has not answered for {self.patience_s:g} s")
                    wanted = gen.send(ready)
            except StopIteration as end:
                return end.value

    return PatientConnection
