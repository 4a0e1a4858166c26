"""The engine of the back-fill: this process alone, or processes of a pool; and what such a process does."""

from __future__ import annotations

import os
import socket
from functools import partial

from undrift.adapters.integrations.ray_data import RayPool
from undrift.config import Config, load
from undrift.control.wiring import Wiring
from undrift.domain.migration import Migration
from undrift.errors import BadConfig, SpaceMismatch, UndriftError, UsageError
from undrift.migrate.engine import Worker
from undrift.migrate.fleet import Fleet, has_moved_on, is_enough
from undrift.migrate.workshop import Workshop
from undrift.ports.pool import Errand, Outcome, Pool
from undrift.release import VERSION

#: A process of a pool looks this often whether its caller has had enough, in seconds.
_LOOK_S = 1.0
#: What a process of a pool is called in the list of clients.
ROLE = "pool"
#: Kinds of stores that are inside the process that uses them.
_IN_MEMORY = "memory"


class Pooling(Wiring):
    """Chooses who carries the pieces of a back-fill."""

    _pool: Pool | None = None

    def close(self) -> None:
        """Let go of the pool, and of everything else."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        super().close()

    def pool(self) -> Pool:
        """Return the cluster whose processes may carry documents over.

        Raises:
            MissingExtra: Ray is not installed.
        """
        with self._lock:
            if self._pool is None:
                settings = self.config.settings
                self._pool = RayPool(settings.ray_address, most=settings.ray_processes)
            return self._pool

    def fleet(self, workshop: Workshop, engine: str | None = None) -> Fleet | None:
        """Return the pool that carries the pieces for a worker; None where the worker does it by itself.

        Args:
            workshop: the worker's means.
            engine: `local` or `ray`; what is configured by default.

        Raises:
            MissingExtra: what the engine works by is not installed.
        """
        if (engine or self.config.settings.engine) == "local":
            return None
        pool = self.pool()
        return Fleet(workshop=workshop, pool=pool, opener=open_hand, errand_of=partial(self._errand, workshop))

    def _errand(self, workshop: Workshop, migration: Migration) -> Errand:
        refuse_unreachable(self.config, workshop, self.pool())
        known = workshop.ledger.space(migration.target.space)
        name = self._model_of(known) if known is not None else migration.target_model
        settings = self.model_settings(name)
        return Errand(
            configuration=str(self.config.path.absolute()),
            alias=workshop.alias,
            migration=migration.id,
            caller=workshop.me,
            version=VERSION,
            gpus=settings.num_gpus,
            cpus=settings.num_cpus,
        )


def refuse_unreachable(config: Config, workshop: Workshop, pool: Pool) -> None:
    """Pass when processes of a pool can reach the configuration, the ledger and the stores.

    Raises:
        BadConfig: they cannot; everything that is in the way is listed.
    """
    faults = []
    if not config.path.is_file():
        faults.append(f"the configuration is in no file: {config.path}")
    stores = config.settings.stores
    faults += [
        f"store {name} is in the memory of this process"
        for name, store in stores.items()
        if store.url.partition(":")[0] == _IN_MEMORY
    ]
    elsewhere = [host for host in pool.hosts() if host != socket.gethostname()]
    if elsewhere:
        others = f"which {elsewhere[0]} cannot use at the same time"
        if config.settings.ledger.startswith("sqlite:"):
            faults.append(f"the ledger {config.settings.ledger} is a file of this host, {others}")
        state = workshop.state()
        fields = {state.route.serving, *([state.migration.target] if state.migration is not None else [])}
        faults += sorted(
            f"store {field.store} is in files of this host, {others}"
            for field in fields
            if workshop.store_of(field).capabilities.requests_die_with_process
            and stores[field.store].url.partition(":")[0] != _IN_MEMORY
        )
    if faults:
        raise BadConfig(
            f"the engine ray cannot work on {workshop.alias}",
            "\n".join(faults),
            "use a ledger and a store that every host reaches, or --engine local",
        )


def open_hand(errand: Errand) -> PoolHand:
    """Make what carries pieces in a process of a pool; that it cannot be made is told by its first outcome."""
    return PoolHand(errand)


class PoolHand:
    """A worker in a process of a pool: a client of the ledger like any other, on this host's own configuration."""

    def __init__(self, errand: Errand) -> None:
        """Open the configuration and the model."""
        self._errand = errand
        self._wiring: Wiring | None = None
        self._worker: Worker | None = None
        self._looked_at = float("-inf")
        self._is_enough = False
        self._unfit = ""
        try:
            self._worker = self._prepared(errand)
        except (UsageError, SpaceMismatch) as error:
            self._unfit = _told(error)
        except UndriftError:
            # It may pass, or somebody else sees it as well: the first piece tries again.
            self._worker = None

    def carry(self) -> Outcome:
        """Carry a piece over, as `ports.pool.Hand` says."""
        documents = 0
        if not self._unfit:
            try:
                documents = self._carried()
            except (UsageError, SpaceMismatch) as error:
                self._unfit = _told(error)
            except UndriftError:
                # It is in the ledger: the migration is halted, or over.
                documents = 0
        return Outcome(documents=documents, host=socket.gethostname(), pid=os.getpid(), unfit=self._unfit)

    def close(self) -> None:
        """End this process's lease."""
        if self._wiring is not None:
            self._wiring.close()

    def _prepared(self, errand: Errand) -> Worker:
        if errand.version != VERSION:
            raise BadConfig(f"undrift {VERSION} is installed here, and {errand.version} asks")
        if self._wiring is None:
            self._wiring = Wiring(load(errand.configuration), role=ROLE)
        wiring = self._wiring
        workshop = wiring.workshop(errand.alias)
        migration = workshop.state().migration
        if migration is None or migration.id != errand.migration:
            raise BadConfig(
                f"the ledger that is configured here knows nothing of this migration of {errand.alias}",
                f"it is read from {errand.configuration}",
            )
        if not migration.copies:
            # A model that is not there is told before a piece is taken.
            wiring.door_of(migration.target.space)
        return Worker(workshop=workshop, who=f"{ROLE} {socket.gethostname()} {os.getpid()}")

    def _carried(self) -> int:
        if self._worker is None:
            self._worker = self._prepared(self._errand)
        worker = self._worker
        before = worker.carried
        worker.run(lambda migration: worker.carried > before or self._has_enough(worker.workshop, migration))
        return worker.carried - before

    def _has_enough(self, workshop: Workshop, migration: Migration | None) -> bool:
        if has_moved_on(migration, self._errand):
            return True
        now = workshop.clock.monotonic()
        if now >= self._looked_at + _LOOK_S:
            self._looked_at = now
            self._is_enough = is_enough(workshop.ledger.tuning(self._errand.alias), self._errand.caller)
        return self._is_enough


def _told(error: UndriftError) -> str:
    """Return an error as it is told on another host."""
    hint = f"; {error.hint}" if error.hint else ""
    return f"{error.message}: {error.detail}{hint}" if error.detail else f"{error.message}{hint}"
