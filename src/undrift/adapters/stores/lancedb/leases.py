"""Who may do something alone in a database: rows that only one writer at a time can have."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from undrift.adapters.stores.lancedb.session import Session, is_overtaken

#: The table of the leases.
LEASES = "undrift_leases"
_TRIES = 5
_PAUSE_S = 0.05


class Leases:
    """Leases of one holder. Nothing is lost when two hold one, as after a long sleep: they only save work."""

    def __init__(self, session: Session) -> None:
        """Hold none."""
        self._session = session
        self._holder = secrets.token_hex(8)

    async def take(self, name: str, seconds: float) -> bool:
        """Become the holder for so long, unless somebody else is; return whether that came about."""
        # Two calls of one process are two holders as well.
        return await self._put(name, seconds, unless_held=True)

    async def give_back(self, name: str) -> None:
        """Cease to be the holder."""
        await self._put(name, -1.0, unless_held=False)

    @asynccontextmanager
    async def alone(self, collection: str, seconds: float) -> AsyncIterator[None]:
        """Be the only one who makes a collection; where there are files, by a lock that no clock has a part in."""
        name = f"create {collection}"
        if self._session.is_local:
            async with self._session.alone(collection):
                yield
            return
        while not await self.take(name, seconds):
            await asyncio.sleep(_PAUSE_S)
        try:
            yield
        finally:
            await self.give_back(name)

    async def _put(self, name: str, seconds: float, *, unless_held: bool) -> bool:
        import pyarrow as pa

        now = time.time()
        row = pa.table({"name": [name], "holder": [self._holder], "until": [now + seconds]}, schema=_schema())
        mine = f"target.until < {now!r}" if unless_held else f"target.holder = '{self._holder}'"
        leases = await self._table()

        async def attempt() -> Any:
            merge = leases.merge_insert("name").when_matched_update_all(where=mine).when_not_matched_insert_all()
            return await merge.execute(row)

        done = await self._session.retried(attempt)
        return bool(done.num_inserted_rows + done.num_updated_rows)

    async def _table(self) -> Any:
        database = await self._session.database()
        for _ in range(_TRIES):
            try:
                return await database.open_table(LEASES)
            except ValueError as error:
                if "was not found" not in str(error):
                    raise
            try:
                return await database.create_table(LEASES, schema=_schema())
            except (ValueError, RuntimeError) as error:
                # Somebody else was faster.
                if "already exists" not in str(error) and not is_overtaken(error):
                    raise
        return await database.open_table(LEASES)


def _schema() -> Any:
    import pyarrow as pa

    key = {b"lance-schema:unenforced-primary-key": b"true"}
    return pa.schema(
        [
            pa.field("name", pa.string(), nullable=False, metadata=key),
            pa.field("holder", pa.string(), nullable=False),
            pa.field("until", pa.float64(), nullable=False),
        ]
    )
