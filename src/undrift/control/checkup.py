"""What `doctor` looks at for one alias: its fields and models, its clients, and work that nobody goes on with."""

from __future__ import annotations

from collections.abc import Iterator

from undrift.control.wiring import Wiring
from undrift.domain.client import WORKING_ROLES, ClientInfo
from undrift.domain.migration import SYNCING, AliasState, RunStatus, fields_of
from undrift.domain.route import AliasName
from undrift.domain.wording import are, plural
from undrift.errors import UndriftError, UnknownAlias
from undrift.migrate.waits import operator_wait
from undrift.ports.inspection import Finding
from undrift.release import VERSION

#: The history of a machine whose clock is right is at most so far ahead of it, in seconds.
_AHEAD_S = 5.0
#: A client that is well acknowledges within so many looks at its route.
_LOOKS = 3


class Checkup(Wiring):
    """Look at an alias; nothing is changed."""

    def alias_findings(self, name: AliasName) -> list[Finding]:
        """Return everything that was looked at, each with the command that mends it where something is wrong."""
        state = self.ledger.alias(name)
        if state is None:
            raise UnknownAlias(f"the ledger knows no alias {name}", hint="undrift alias list")
        clients = [client for client in self.ledger.clients(name) if client.id != self.router.client]
        return [
            *self._fields(name, state),
            *self._clock(name),
            *self._versions(name, clients),
            *self._behind(name, state),
            *self._lapsed(name, clients),
            *self._work(name, state, clients),
        ]

    def _fields(self, name: AliasName, state: AliasState) -> Iterator[Finding]:
        check = f"alias {name}"
        for field in filter(None, (state.route.serving, state.route.follower)):
            try:
                described = self.store_of(field).describe(field)
                self.door_of(field.space)
            except UndriftError as error:
                yield Finding(check=check, ok=False, detail=error.message, hint=error.hint)
                continue
            if described is None:
                gone = f"collection {field.collection} is gone"
                yield Finding(check=check, ok=False, detail=gone, hint="restore the store from a backup")
            elif field == state.route.serving:
                detail = f"epoch {state.route.epoch}, {plural(described.count, 'document')}"
                yield Finding(check=check, ok=True, detail=detail)

    def _clock(self, name: AliasName) -> Iterator[Finding]:
        newest = next(iter(self.ledger.history(name, limit=1)), None)
        if newest is None:
            return
        ahead_s = (newest.at - self.clock.now()).total_seconds()
        if ahead_s > _AHEAD_S:
            yield Finding(
                check=f"clock of {name}",
                ok=False,
                detail=f"the newest entry of the history is {ahead_s:.0f} s ahead of this machine's clock",
                hint="timedatectl set-ntp true, on the machine whose clock is wrong",
            )

    def _versions(self, name: AliasName, clients: list[ClientInfo]) -> Iterator[Finding]:
        ours = [client for client in clients if not client.is_program]
        others = [client for client in ours if client.version != VERSION and client.lease_left_s > 0]
        if others:
            yield Finding(
                check=f"versions of {name}",
                ok=False,
                detail=f"this is undrift {VERSION}, and there {are(len(others))} {_named(others, version=True)}",
                hint=f"pip install undrift=={VERSION} on {others[0].host}, and restart it",
            )

    def _behind(self, name: AliasName, state: AliasState) -> Iterator[Finding]:
        """Find clients that do not acknowledge the route; those that are about to are given the time."""
        settle_s = max(map(self.settle_s, fields_of(state)))
        behind: list[ClientInfo] = []
        for _ in range(_LOOKS):
            waiting = self.ledger.unacknowledged(name, state.route.epoch, settle_s)
            behind = [client for client in waiting if client.id != self.router.client]
            if not behind:
                return
            self.clock.sleep(self.timing.poll_s)
        left_s = max(0.0, *(client.lease_left_s for client in behind)) + settle_s
        wait = f"wait: at most {left_s:.0f} s"
        for process in [client for client in behind if not client.is_program][:1]:
            wait = f"kill {process.pid} on {process.host}, or {wait} after it hangs or dies"
        yield Finding(
            check=f"clients of {name}",
            ok=False,
            detail=f"{plural(len(behind), 'client')} not yet at epoch {state.route.epoch}: {_named(behind)}",
            hint=wait,
        )

    def _lapsed(self, name: AliasName, clients: list[ClientInfo]) -> Iterator[Finding]:
        lapsed = [
            client
            for client in clients
            if client.lease_left_s <= 0 and not client.is_program and not self.processes.is_gone(client.process)
        ]
        if lapsed:
            yield Finding(
                check=f"leases of {name}",
                ok=False,
                detail=f"{plural(len(lapsed), 'lease')} not prolonged in time: {_named(lapsed)}",
                hint=f"see why it hangs, or kill {lapsed[0].pid} on {lapsed[0].host}; it writes nothing meanwhile",
            )

    def _work(self, name: AliasName, state: AliasState, clients: list[ClientInfo]) -> Iterator[Finding]:
        migration = state.migration
        lag = self.ledger.lag(name)
        live = [client for client in clients if client.lease_left_s > 0]
        worker = f"undrift worker {name}"
        # What undrift opens itself is over after the configured deadline; others say how long they take.
        if lag.open and (not live or lag.slowest_s > self.timing.deadline_s):
            alone = "" if live else ", and no client is alive that could end it"
            yield Finding(
                check=f"writes of {name}",
                ok=False,
                detail=f"{lag.open_writes.removeprefix('; ')}{alone}",
                hint=f"{worker}, which gives up what is not ended in time",
            )
        if migration is None or migration.is_final:
            return
        if migration.run_status is RunStatus.HALTED:
            why = migration.reason.partition(" · ")[0]
            hint = f"undrift status {name}, then undrift resume {name}"
            yield Finding(check=f"migration of {name}", ok=False, detail=f"it is halted: {why}", hint=hint)
        elif (operator := operator_wait(self.ledger, migration)) is not None:
            # A pause is meant; after a stop something is to be found out.
            ok = migration.run_status is not RunStatus.STOPPED
            hint = "" if ok else operator.ends_by
            yield Finding(check=f"migration of {name}", ok=ok, detail=str(operator), hint=hint)
        elif not any(client.role in WORKING_ROLES for client in live):
            held = self.ledger.in_flight(name, max(map(self.settle_s, fields_of(state))))
            if held:
                detail = f"{plural(held, 'piece')} or document that a worker held, and no worker is alive"
                yield Finding(check=f"work of {name}", ok=False, detail=detail, hint=worker)
            elif lag.dirty and migration.phase in SYNCING:
                detail = f"{plural(lag.dirty, 'document')} {are(lag.dirty)} dirty, and no worker is alive"
                yield Finding(check=f"work of {name}", ok=False, detail=detail, hint=worker)


def _named(clients: list[ClientInfo], *, version: bool = False) -> str:
    shown = [client.name + (f" with {client.version}" if version else "") for client in clients[:5]]
    return ", ".join(shown) + (" …" if len(clients) > 5 else "")
