"""A collection whose new model is at a provider with a batch API, and workers that are killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undrift import Document
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.http import HttpEmbedder
from undrift.domain.batch import BatchJob
from undrift.domain.migration import Phase
from undrift.flow.probe import PROBE_QUERIES, PROBE_TEXTS
from undrift.testing.faults import Killed
from undrift.testing.provider import EmbeddingProvider
from undrift.testing.rig import ALIAS, CHUNK_SIZE, Process, Rig, documents

DOCUMENTS = documents(*(f"text of number {number}" for number in range(3 * CHUNK_SIZE)))
#: Long enough that no lease ends while the virtual clock waits for the provider.
TIMING = {"lease_s": 30.0, "deadline_s": 40.0, "work_lease_s": 50.0, "fence_horizon_s": 2.0, "write_timeout_s": 60.0}
_PROBES = {*PROBE_TEXTS, *PROBE_QUERIES}
#: Batch APIs whose jobs fare alike, whoever dies.
SERVICES = ("openai", "gemini")


@dataclass(kw_only=True)
class Scene:
    """The collection, the provider and whose batch API it speaks, and what was put into the collection."""

    rig: Rig
    provider: EmbeddingProvider
    service: str = "openai"
    truth: dict[str, Document] = field(default_factory=dict)

    def begin(self, *, batch: str = "true", **more: Any) -> None:
        operator = self.rig.process("operator")
        more = more or {"unlimited": True}
        operator.plane.register(ALIAS, "new", **more)
        operator.plane.tune(ALIAS, {"batch": batch})

    def write(self, *documents: Document) -> None:
        self.rig.process("app").alias.upsert(documents)
        self.truth |= {document.id: document for document in documents}

    def work_to(self, phase: Phase, process: Process | None = None) -> None:
        # The sample of a verification is embedded online, and is no part of what is counted here.
        (process or self.rig.process("worker")).work_to(phase, sample=0)

    def work_in_spite_of_death(self, process: Process) -> bool:
        """Work until the back-fill is done or the process is dead; whether it lived."""
        with suppress(Killed):
            self.work_to(Phase.CATCHUP, process)
            return True
        self.rig.bury_the_killed()
        return False

    @property
    def online(self) -> Counter[str]:
        """How often each text was paid for at the full price."""
        requests = (request for request in self.provider.requests if request.status == 200)
        return Counter(text for request in requests for text in request.texts if text not in _PROBES)

    @property
    def batched(self) -> Counter[str]:
        return self.provider.batches.billed

    @property
    def litter(self) -> list[str]:
        """Files that are left at the provider, but for those that Gemini does not let anybody delete."""
        kept = "responsesFile" if self.service == "gemini" else None
        return [name for name in self.provider.batches.files if kept is None or kept not in name]

    def jobs(self) -> list[BatchJob]:
        return self.rig.ledger_within().jobs(ALIAS)

    def faults(self) -> list[str]:
        """What is wrong with the target, every sentence a fault; it asks the model, so it comes last."""
        migration = self.rig.migration()
        assert migration is not None
        quarantined = [one.key for one in self.rig.ledger_within().quarantined(ALIAS)]
        return self.rig.differences(migration.target, self.truth.values(), without=quarantined)


@contextmanager
def scene(
    folder: Path,
    documents: list[Document] = DOCUMENTS,
    *,
    service: str = "openai",
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Iterator[Scene]:
    served = HashingEmbedder(dimensions=24, seed="new")
    with EmbeddingProvider({"new": served}) as provider:
        url = provider.root if service == "gemini" else provider.url
        more = {"dimensions": 24, "paid": True, "usd_per_million_tokens": 2.0, **more}
        model = HttpEmbedder(name="new", provider=service, base_url=url, **more)
        rig = Rig(
            folder=folder,
            timing=TIMING,
            models={"old": HashingEmbedder(dimensions=16, seed="old"), "new": model},
            model_settings={"new": dict(settings or {})},
        )
        # Whatever waits, waits in virtual time; the provider lives in it too.
        model._sleep = rig.clock.sleep
        provider.batches.now = lambda: rig.clock.now().timestamp()
        made = Scene(rig=rig, provider=provider, service=service)
        made.write(*documents)
        try:
            yield made
        finally:
            rig.close()
            model.close()
