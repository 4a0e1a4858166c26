"""Ledger and models as one simulated process sees them: at every call others may go on, and something may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from undrift.domain.operation import Opened
from undrift.domain.record import Vector
from undrift.errors import ControlUnavailable, EmbedderUnavailable, UndriftError
from undrift.flow.probe import PROBE_QUERIES, PROBE_TEXTS
from undrift.ports.ledger import Ledger
from undrift.testing.faults import Faults, Killed
from undrift.testing.simulation.models import SpeakingModel
from undrift.testing.simulation.promises import Promises
from undrift.testing.simulation.scheduler import Life, Task
from undrift.testing.simulation.world import World

_T = TypeVar("_T")

#: Calls at which nobody else goes on: they read what never changes, some of them while a lock of the process is held.
_AT_ONCE = frozenset({"ledger.transaction_with", "ledger.space", "ledger.spaces", "ledger.close_ledger"}) | frozenset(
    {"ledger.history", "model.count_tokens", "model.close"}
)
_PROBES = frozenset({*PROBE_TEXTS, *PROBE_QUERIES})
#: How long a caller waits for an answer that does not come, in fence horizons.
PATIENCE = 0.8


class Calls(Faults):
    """Stands around the ledger and the models of one process."""

    def __init__(self, world: World, life: Life, promises: Promises) -> None:
        """Stand between a process and the world."""
        super().__init__()
        self._world = world
        self._life = life
        self._promises = promises

    def around(self, name: str, call: Callable[[], _T]) -> _T:
        """Make a call when its time has come, or let it fail."""
        world, task = self._world, self._world.scheduler.current
        if task is None:
            return call()
        if self._life.dead:
            raise Killed(f"{name} was asked for by a dead process")
        if name in _AT_ONCE:
            return call()
        world.count("calls")
        is_ledger = name.startswith("ledger.")
        strain(world, task, f"before {name}")
        slow = world.options.slow_model if name == "model.embed_documents" else 0.2 if is_ledger else 1.0
        world.scheduler.sleep(world.chance.expovariate(1 / world.options.latency_s) * slow)
        if not task.shielded:
            self._refuse(name)
        try:
            answer = call()
        except UndriftError as error:
            world.say(self._life.name, f"{name} -> {type(error).__name__}")
            raise
        world.say(self._life.name, name)
        self._observe(name, task, answer)
        if task.shielded:
            if name == "ledger.close":
                task.shielded = False
                task.life.shielded -= 1
            return answer
        strain(world, task, f"after {name}")
        if world.happens(world.options.mute):
            world.scheduler.sleep(world.settle_s * PATIENCE * world.chance.random())
            world.say(self._life.name, f"{name}: the answer is lost")
            raise _unavailable(name)
        if task.life.paused_until > world.scheduler.now or task.life.dead or world.chance.random() < 0.3:
            world.scheduler.sleep(world.chance.expovariate(1 / world.options.latency_s) * 0.2)
        return answer

    def _refuse(self, name: str) -> None:
        world = self._world
        down = world.weather.ledger_down if name.startswith("ledger.") else world.weather.model_down
        if down or world.happens(world.options.lose):
            world.say(self._life.name, f"{name} does not arrive")
            raise _unavailable(name)

    def _observe(self, name: str, task: Task, answer: object) -> None:
        """Take note of what an answer of the ledger lets the process do, and look whether that may be."""
        world, timing = self._world, self._world.options.timing
        now = world.scheduler.now
        match name:
            case "ledger.open" if isinstance(answer, Opened):
                task.work_until = now + timing["deadline_s"]
                task.opened_field = answer.route.serving.key
            case "ledger.close":
                task.opened_field = ""
            case "ledger.claim" | "ledger.lease_chunk" | "ledger.publish":
                task.work_until = now + timing["work_lease_s"]
            case "ledger.register_client" | "ledger.renew":
                task.life.lease_until = now + timing["lease_s"]
            case "ledger.clear" | "ledger.published":
                self._promises.at_clear()
            case "ledger.flip":
                self._promises.at_flip()
            case "ledger.save_phase" | "ledger.change_mode":
                self._promises.at_phase()
            case _:
                pass


class SimulatedModel:
    """A model as one process sees it; the probes are answered at once, because a lock is held meanwhile."""

    def __init__(self, model: SpeakingModel, calls: Calls) -> None:
        """Stand around a model."""
        self._model = model
        self._calls = calls
        self.space = model.space
        self.limits = model.limits

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Embed texts."""
        if texts[0] in _PROBES:
            return self._model.embed_documents(texts)
        self._model.asked.update(texts)
        return self._calls.around("model.embed_documents", lambda: self._model.embed_documents(texts))

    def embed_query(self, text: str) -> Vector:
        """Embed a query."""
        if text in _PROBES:
            return self._model.embed_query(text)
        return self._calls.around("model.embed_query", lambda: self._model.embed_query(text))

    def count_tokens(self, texts: Sequence[str]) -> Any:
        """Count at once."""
        return self._model.count_tokens(texts)

    def close(self) -> None:
        """Let go of nothing."""


def ledger_for(calls: Calls, ledger: Ledger) -> Ledger:
    """Return the ledger as a process sees it."""
    return calls.ledger(ledger)


def strain(world: World, task: Task, where: str) -> None:
    """Let a process die or be stopped at a call of its own."""
    if task.life.shielded:
        return
    if world.happens(world.options.kill):
        world.kill(task.life, where)
    elif world.happens(world.options.stop):
        world.stop(task.life, where)


def _unavailable(name: str) -> UndriftError:
    kind = ControlUnavailable if name.startswith("ledger.") else EmbedderUnavailable
    return kind(f"{name} got no answer")
