"""Worker processes that are killed by SIGKILL after each step of a batch job pay for no text twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import undrift
from tests.faults.one_worker import DOCUMENTS, PATIENCE_S, begin_worker, configure
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.domain.batch import JobState
from undrift.domain.migration import Phase
from undrift.domain.route import AliasName
from undrift.flow.probe import PROBE_QUERIES, PROBE_TEXTS
from undrift.testing.provider import EmbeddingProvider
from undrift.testing.provider.server import Arrived

#: The steps as the provider sees them: a process dies when the provider has taken one, before it hears the answer.
STEPS = ("upload", "create", "show", "content", "remove")


@dataclass
class Deadly:
    """A provider that kills its client once after each step."""

    provider: EmbeddingProvider
    left: deque[str] = field(default_factory=lambda: deque(STEPS))
    worker: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self._answer = self.provider.batches.answer
        setattr(self.provider.batches, "answer", self.answer)  # noqa: B010 - it stands between, which its type forbids

    def answer(self, arrived: Arrived) -> tuple[int, Mapping[str, str], bytes] | None:
        reply = self._answer(arrived)
        if self.left and self.provider.batches.calls[-1] == self.left[0] and self.worker is not None:
            self.left.popleft()
            self.worker.send_signal(signal.SIGKILL)
            self.worker.wait(PATIENCE_S)
            return None
        return reply


def test_processes_that_are_killed_after_every_step_pay_for_each_text_once(tmp_path: Path) -> None:
    with EmbeddingProvider({"new": HashingEmbedder(dimensions=24, seed="new")}) as provider:
        deadly = Deadly(provider)
        configure(tmp_path, provider.url, lease_s=4, model="paid = true\nusd_per_million_tokens = 2.0\nbatch = true")
        with undrift.open(tmp_path / "undrift.toml") as plane:
            plane.alias("kb").upsert(DOCUMENTS)
            plane.register("kb", "new", budget_tokens=100_000)
        deaths = 0
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            deadly.worker = begin_worker(tmp_path)
            code = deadly.worker.wait(PATIENCE_S)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            deaths += 1

        probes = {*PROBE_TEXTS, *PROBE_QUERIES}
        answered = (request for request in provider.requests if request.status == 200)
        online = Counter(text for request in answered for text in request.texts if text not in probes)
        assert (deaths, list(deadly.left)) == (len(STEPS), [])
        assert provider.batches.billed == {document.text: 1 for document in DOCUMENTS}
        assert (online, provider.batches.files) == (Counter(), [])
        with undrift.open(tmp_path / "undrift.toml") as plane:
            state = plane.ledger.alias(AliasName("kb"))
            assert state is not None
            assert state.migration is not None
            assert state.migration.phase is Phase.CATCHUP
            assert [job.state for job in plane.ledger.jobs(AliasName("kb")) if job.items] == [JobState.DONE]
            target = state.migration.target
            found = plane.store_of(target).fetch(target, [document.id for document in DOCUMENTS])
            assert {id: record.text for id, record in found.items()} == {one.id: one.text for one in DOCUMENTS}
