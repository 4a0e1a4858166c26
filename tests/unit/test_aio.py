"""The asyncio façade: the same answers, concurrently, and a cancelled write that still ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from undrift import Document, aio
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName
from undrift.errors import BadDocument

CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
[models.new]
provider = "hashing"
seed = "another"
[aliases.kb]
store = "main"
model = "old"
[timing]
poll_s = 0.05
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "undrift.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_many_calls_at_once_answer_as_the_synchronous_alias_does(config: Path) -> None:
    async def story() -> None:
        async with await aio.open(config) as plane:
            kb = await plane.alias("kb")
            batches = [[Document(id=f"{n}-{i}", text=f"text {n} {i}") for i in range(20)] for n in range(5)]
            receipts = await asyncio.gather(*(kb.upsert(batch) for batch in batches))
            assert [len(receipt.ids) for receipt in receipts] == [20] * 5
            await kb.update_metadata("3-7", {"lang": "en"})
            await kb.delete(["0-0"])
            assert await kb.count() == 99
            assert await kb.count({"lang": "en"}) == 1
            assert [document.metadata async for document in kb.scan({"lang": "en"})] == [{"lang": "en"}]
            assert len([document async for document in kb.scan()]) == 99
            answers = await asyncio.gather(*(kb.search(f"text {n} 5", k=3) for n in range(5)))
            assert [hits[0].id for hits in answers] == [f"{n}-5" for n in range(5)]
            assert await kb.get(["0-0", "1-1"]) == plane.sync.alias("kb").get(["1-1"])
            route = plane.sync.ledger.route(AliasName("kb"))
            assert route is not None
            again = await kb.search_vector(
                plane.sync.door_of(route.serving.space).query("text 2 5"), space=route.serving.space, k=1
            )
            assert again[0].id == "2-5"

    asyncio.run(story())


def test_an_error_reaches_whoever_awaits(config: Path) -> None:
    async def story() -> None:
        async with await aio.open(config) as plane:
            kb = await plane.alias("kb")
            with pytest.raises(BadDocument, match="blank"):
                await kb.upsert([Document(id="1", text="  ")])

    asyncio.run(story())


def test_a_cancelled_write_leaves_nothing_open(config: Path) -> None:
    """R44: cancellation between open and close would keep the document dirty until it is reaped."""

    async def story() -> None:
        async with await aio.open(config) as plane:
            kb = await plane.alias("kb")
            plane.sync.register("kb", "new")
            await asyncio.to_thread(plane.sync.work, "kb", lambda m: m is not None and m.phase is Phase.READY)
            task = asyncio.create_task(kb.upsert([Document(id="1", text="written anyway")]))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while await kb.count() == 0:
                await asyncio.sleep(0.01)
            while plane.sync.ledger.lag(AliasName("kb")).open:
                await asyncio.sleep(0.01)
            assert plane.sync.verify("kb")["verdict"] == "pass"

    asyncio.run(story())
