"""A pool of processes that Ray Data keeps, in a cluster of this machine's own or in one that is there."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from undrift.errors import MissingExtra, PoolUnavailable, UndriftError
from undrift.ports.pool import Errand, Hand, Job, Outcome

#: Pieces are handed to Ray in so many bundles a process: enough that a fast one takes the share of a slow one.
_BUNDLES = 16
_INSTALL = "pip install 'undrift[ray]'"
_HINT = "ray status, or look at ray_address in the configuration"

_Batch = Mapping[str, Any]


class RayPool:
    """Actors of Ray Data; each of them opens the configuration where it runs, and asks the ledger for its pieces.

    What goes through Ray are numbers of pieces and outcomes: no document, no vector, no key.
    """

    def __init__(self, address: str, *, most: int | None = None) -> None:
        """Start nothing yet.

        Args:
            address: `auto` or `ray://HOST:PORT` for a cluster that is there; empty for one of this machine's own,
                which ends with this process.
            most: most processes at a time; as many as there is room for by default.

        Raises:
            MissingExtra: Ray is not installed.
        """
        if find_spec("ray") is None:
            raise MissingExtra("Ray is not installed", "the engine ray works by it", _INSTALL)
        self._ray: Any = None
        self._address = address
        self._most = most
        self._lock = threading.Lock()
        self._keeper: _Keeper | None = None

    def hosts(self) -> Sequence[str]:
        """Return the names of the cluster's hosts, sorted."""
        self._connect()
        return sorted({str(node["NodeManagerHostname"]) for node in self._ray.nodes() if node["Alive"]})

    def begin(self, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> Job:
        """Send actors on an errand, from a thread of its own."""
        return _RayJob(self, errand, opener, pieces)

    def close(self) -> None:
        """Leave the cluster; one of this machine's own ends."""
        with self._lock:
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None

    def _connect(self) -> None:
        """Join the cluster, or start one; what the process has joined already is used as it is."""
        with self._lock:
            if self._ray is None:
                try:
                    import ray.data
                except ImportError as error:
                    raise MissingExtra("Ray Data cannot be imported", str(error), _INSTALL) from error
                self._ray = ray
            if self._ray.is_initialized():
                return
            self._keeper = _Keeper(self._ray, self._address)

    def carried(self, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> Any:
        """Return a dataset that is carried out while it is read; each row is an outcome."""
        self._connect()
        self._ray.data.DataContext.get_current().enable_progress_bars = False
        # It tells every dataset's plan; who looks for progress looks at the status.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        most = min(pieces, self._room(errand))
        return self._ray.data.range(pieces, override_num_blocks=min(pieces, most * _BUNDLES)).map_batches(
            _Actor,
            fn_constructor_kwargs={"opener": opener, "errand": errand},
            batch_size=1,
            batch_format="numpy",
            compute=self._ray.data.ActorPoolStrategy(min_size=1, max_size=most),
            num_cpus=errand.cpus,
            num_gpus=errand.gpus or None,
        )

    def _room(self, errand: Errand) -> int:
        """Return how many actors find room in the cluster, one at least: a cluster that grows makes room for it."""
        has = self._ray.cluster_resources()
        wanted = {"CPU": errand.cpus, "GPU": errand.gpus}
        room = [has.get(kind, 0.0) / share for kind, share in wanted.items() if share > 0]
        found = max(1, math.floor(min(room, default=1.0)))
        return found if self._most is None else min(found, self._most)


class _Keeper:
    """The thread in which this process is part of a cluster.

    Not the main one, because Ray would take over the handler of SIGTERM there; and it lives as long as the cluster,
    because Linux ends the processes that were started by a thread together with it.
    """

    def __init__(self, ray: Any, address: str) -> None:
        """Join the cluster at an address, or start one."""
        self._ray = ray
        self._failure: Exception | None = None
        self._joined, self._enough = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(address,), name="undrift-ray", daemon=True)
        self._thread.start()
        self._joined.wait()
        if self._failure is not None:
            where = f"the cluster at {address}" if address else "a cluster on this machine"
            raise PoolUnavailable(f"Ray cannot use {where}", _last_line(self._failure), _HINT) from self._failure

    def close(self) -> None:
        """Leave it."""
        self._enough.set()
        self._thread.join()

    def _keep(self, address: str) -> None:
        options: dict[str, Any] = {} if address else {"include_dashboard": False}
        # Between its ends it warns of what is meant to be so.
        log = logging.getLogger("ray")
        before = log.level
        log.setLevel(logging.ERROR)
        try:
            self._ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **options)
        except Exception as error:  # noqa: BLE001 - Ray raises what it likes, a bare Exception among it
            self._failure = error
            return
        finally:
            log.setLevel(before)
            self._joined.set()
        self._enough.wait()
        self._ray.shutdown()


class _RayJob:
    """One errand; a thread reads the dataset, which is what makes Ray carry it out."""

    def __init__(self, pool: RayPool, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> None:
        self._outcomes: deque[Outcome] = deque()
        self._failure: Exception | None = None
        self._give_up = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(pool, errand, opener, pieces), name=f"undrift-ray-{errand.alias}", daemon=True
        )
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the dataset was read to its end, or cannot be."""
        return not self._thread.is_alive()

    def told(self) -> Sequence[Outcome]:
        """Return what was read since the last call."""
        found = [self._outcomes.popleft() for _ in range(len(self._outcomes))]
        if self._failure is not None and self.is_over and not found:
            failure, self._failure = self._failure, None
            if isinstance(failure, UndriftError):
                raise failure
            raise PoolUnavailable("Ray did not carry the pieces over", _last_line(failure), _HINT) from failure
        return found

    def close(self, patience_s: float) -> None:
        """Wait for the end; then stop reading, which ends the actors."""
        self._thread.join(patience_s)
        self._give_up.set()
        self._thread.join(patience_s)

    def _read(self, pool: RayPool, errand: Errand, opener: Callable[[Errand], Hand], pieces: int) -> None:
        try:
            for batch in pool.carried(errand, opener, pieces).iter_batches(
                batch_size=None, prefetch_batches=0, batch_format="numpy"
            ):
                self._outcomes.extend(_outcomes(batch))
                if self._give_up.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - told by the thread that looks for outcomes
            self._failure = error


class _Actor:
    """Runs in a process of the cluster."""

    def __init__(self, *, opener: Callable[[Errand], Hand], errand: Errand) -> None:
        self._hand = opener(errand)

    def __del__(self) -> None:
        """Ray lets go of what is not needed any more before it ends the process."""
        if hasattr(self, "_hand"):
            self._hand.close()

    def __call__(self, batch: _Batch) -> dict[str, Any]:
        """Carry as many pieces as the batch has numbers; which pieces these are, the ledger decides."""
        outcomes = [self._hand.carry() for _ in batch["id"]]
        return {
            "documents": np.array([outcome.documents for outcome in outcomes], dtype=np.int64),
            "host": np.array([outcome.host for outcome in outcomes], dtype=object),
            "pid": np.array([outcome.pid for outcome in outcomes], dtype=np.int64),
            "unfit": np.array([outcome.unfit for outcome in outcomes], dtype=object),
        }


def _outcomes(batch: _Batch) -> list[Outcome]:
    rows = zip(batch["documents"], batch["host"], batch["pid"], batch["unfit"], strict=True)
    return [
        Outcome(documents=int(documents), host=str(host), pid=int(pid), unfit=str(unfit))
        for documents, host, pid, unfit in rows
    ]


def _last_line(error: Exception) -> str:
    """Return what an error of Ray says in the end; before that stands the trace of another process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
