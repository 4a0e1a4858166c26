"""What `undrift doctor` sees of a PostgreSQL ledger."""

from __future__ import annotations

from typing import Any

from undrift.adapters.ledgers.postgres.schema import STEPS, version_of
from undrift.adapters.ledgers.postgres.session import BEGIN, Session
from undrift.ports.inspection import Finding

#: Older servers get no repairs from their makers any more.
OLDEST = 14
#: Leases do not care, but times that people read, and the age of a verification, are compared across both clocks.
_MOST_OFFSET_S = 5.0
#: The best of a few looks; a slow answer says little about a clock.
_LOOKS = 3
_SERVER = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(), "
    "current_setting('transaction_isolation'), pg_backend_pid(), "
    "array(SELECT name FROM unnest(ARRAY['fsync', 'full_page_writes']) AS name WHERE current_setting(name) = 'off')"
)


class Inspection(Session):
    """Looks at the server, its settings, its tables and its clock."""

    def inspect(self) -> list[Finding]:
        """Look at the server; nothing is changed, but tables are made where there are none."""

        def work(connection: Any) -> list[Finding]:
            connection.execute(BEGIN)
            number, version, standby, isolation, backend, unsafe = connection.execute(_SERVER).fetchone()
            schema = version_of(connection)
            offset, round_trip = self._clock_of(connection)
            connection.execute("COMMIT")
            place = self.name.removeprefix("ledger ")
            return [
                Finding(check="ledger", ok=True, detail=f"{place}, answers in {round_trip * 1000:.1f} ms"),
                _server(number // 10000, version, standby=standby),
                _transactions(isolation, pooled=backend != connection.info.backend_pid),
                _durability(unsafe),
                _schema(schema),
                _clock(offset),
            ]

        return self._attempts(work)

    def _clock_of(self, connection: Any) -> tuple[float, float]:
        """Return by how many seconds the server's clock is ahead, and how long an answer takes."""
        looks = []
        for _ in range(_LOOKS):
            began, here = self._clock.monotonic(), self._clock.now().timestamp()
            ((there,),) = connection.execute("SELECT undrift.now()").fetchall()
            took = self._clock.monotonic() - began
            looks.append((took, float(there) - here - took / 2))
        took, offset = min(looks)
        return offset, took


def _server(major: int, version: str, *, standby: bool) -> Finding:
    check = "ledger server"
    if standby:
        detail, hint = f"PostgreSQL {version}, a standby, which is read-only", "let the address name the primary server"
    elif major < OLDEST:
        detail, hint = f"PostgreSQL {version}", f"upgrade the server to PostgreSQL {OLDEST} or newer"
    else:
        return Finding(check=check, ok=True, detail=f"PostgreSQL {version}")
    return Finding(check=check, ok=False, detail=detail, hint=hint)


def _transactions(isolation: str, *, pooled: bool) -> Finding:
    way = "through a pooler" if pooled else "direct"
    return Finding(
        check="ledger transactions",
        ok=isolation == "read committed",
        detail=f"{isolation.upper()}, {way}",
        hint="let nothing between undrift and the server change the isolation level of a transaction",
    )


def _durability(unsafe: list[str]) -> Finding:
    settings = ", ".join(f"{name}=off" for name in unsafe)
    return Finding(
        check="ledger durability",
        ok=not unsafe,
        detail=f"{settings}: a power loss may damage the ledger or take marks back" if unsafe else "safe at power loss",
        hint="; ".join(f"ALTER SYSTEM RESET {name}" for name in unsafe),
    )


def _schema(found: tuple[int, int] | None) -> Finding:
    known = STEPS[-1].version
    detail = f"version {_dotted(found)}" if found else "no tables"
    if found is not None and found > known:
        detail += f", made by a newer undrift; this one knows {_dotted(known)} and may go on"
    return Finding(check="ledger schema", ok=found is not None, detail=detail, hint="undrift status")


def _clock(offset: float) -> Finding:
    return Finding(
        check="ledger clock",
        ok=abs(offset) <= _MOST_OFFSET_S,
        detail=f"the server's is {abs(offset):.2f} s {'ahead of' if offset >= 0 else 'behind'} this machine's",
        hint="let both machines keep time by NTP",
    )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)
