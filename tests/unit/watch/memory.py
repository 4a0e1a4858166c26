"""The ledger's memory in a dictionary."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from undrift.ports.memory import Memo, Observation


class Memory:
    """Memos and series of one test."""

    def __init__(self) -> None:
        self.memos: dict[str, Memo] = {}
        self.series: dict[str, list[Observation]] = defaultdict(list)

    def recall(self, key: str) -> Memo | None:
        return self.memos.get(key)

    def recall_all(self, prefix: str) -> list[Memo]:
        return [memo for key, memo in sorted(self.memos.items()) if key.startswith(prefix)]

    def remember(self, key: str, text: str, *, version: int) -> bool:
        known = self.memos.get(key)
        if (known.version if known else 0) != version:
            return False
        self.memos[key] = Memo(key=key, text=text, version=version + 1)
        return True

    def forget(self, key: str, *, version: int) -> bool:
        known = self.memos.get(key)
        if known is None or known.version != version:
            return False
        del self.memos[key]
        return True

    def observe(self, series: str, moment: datetime, text: str, *, keep: int) -> None:
        self.series[series] = [*self.series[series], Observation(moment=moment, text=text)][-keep:]

    def observed(self, series: str, *, limit: int = 1000) -> list[Observation]:
        return self.series[series][::-1][:limit]
