"""A way to a server that delays, cuts, and leaves connections half open; what it passes on, it passes on unchanged.

Nothing is duplicated here: TCP never delivers a byte twice. What comes twice is what a client sends again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")
_SIZE = 65536


class Proxy:
    """Listens on a port of its own, in a thread of its own.

    Attributes:
        port: where clients connect.
        cut_count: how many connections were cut by it.
    """

    def __init__(self, target: int) -> None:
        """Lead to a port of this machine."""
        self.port = 0
        self.cut_count = 0
        self._target = target
        self._delay_s = 0.0
        self._deaf = False
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def delay(self, seconds: float) -> None:
        """Let everything take longer, both ways; 0 ends that."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Reset every connection there is."""
        self._call(self._cut())

    def half_open(self) -> None:
        """Pass nothing on any more, and say so to nobody."""
        self._deaf = True

    def refuse(self) -> None:
        """Reset every connection, and every new one."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Be a good way again; connections that lost something in between are reset."""
        was_deaf, self._deaf, self._refusing, self._delay_s = self._deaf, False, False, 0.0
        if was_deaf:
            self.cut()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, up_writer}
        self._writers |= both
        directions = [
            asyncio.create_task(self._pass_on(reader, up_writer)),
            asyncio.create_task(self._pass_on(up_reader, writer)),
        ]
        self._tasks.update(directions)
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        # A server that ends a connection may have said why in its last bytes; they are on their way.
        await asyncio.sleep(0)
        for one in both:
            one.close()
        for task in directions:
            task.cancel()
        self._tasks.difference_update(directions)
        self._writers -= both

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_SIZE):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._deaf:
                    # What is lost is lost for good: the connection is reset when the way is good again.
                    continue
                writer.write(data)
                await writer.drain()
            if self._deaf:
                await asyncio.sleep(3600)

    async def _cut(self) -> None:
        for writer in self._writers:
            if not writer.transport.is_closing():
                self.cut_count += 1
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)
