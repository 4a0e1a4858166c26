"""How long things may take before somebody else takes over."""

from __future__ import annotations

from dataclasses import dataclass

#: Share of a lease that its holder uses; it stops before the ledger would, to be safe from its own delays.
LEASE_SAFETY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds; the same for every process that shares a ledger.

    Attributes:
        lease_s: how long a client may write on what it knows without hearing from the ledger.
        poll_s: how often a client looks whether its route changed.
        deadline_s: how long after it began a write may still be sent to the store.
        write_timeout_s: how long a write waits for its turn before it gives up.
        work_lease_s: how long a worker may hold a piece of work without prolonging it.
        retry_s: how long a document that could not be carried over waits before the first new try.
        proof_s: how often a worker proves its models again.
        fence_horizon_s: no request lands later than this after its deadline; None for what the store declares.
    """

    lease_s: float = 15.0
    poll_s: float = 1.0
    deadline_s: float = 30.0
    write_timeout_s: float = 60.0
    work_lease_s: float = 30.0
    retry_s: float = 1.0
    proof_s: float = 300.0
    fence_horizon_s: float | None = None
