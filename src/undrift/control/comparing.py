"""The verbs that compare both fields: verify, reconcile, adopt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from undrift.control.migrations import Migrations, silent
from undrift.domain.checkpoint import Progress
from undrift.domain.gate import Verdict
from undrift.domain.migration import Phase
from undrift.domain.reconcile import FOREIGN_WRITE
from undrift.domain.record import DocumentId
from undrift.domain.route import AliasName
from undrift.errors import BadArgument, IllegalTransition, StaleRoute
from undrift.migrate.admission import counted
from undrift.migrate.gates import is_close
from undrift.migrate.lookout import LOOK_EVERY_S, Lookout
from undrift.migrate.reconcile import reconcile, record_of
from undrift.migrate.runner import Runner
from undrift.migrate.steps import OnWait
from undrift.migrate.sync import BATCH, carry_dirty
from undrift.migrate.throttle import Wait
from undrift.migrate.verify import SAMPLE, verify
from undrift.migrate.workshop import Workshop

OnProgress = Callable[[Progress], None]
#: Documents of quarantine that `adopt` looks at when none is named.
_ADOPTED_AT_MOST = 100_000


class Comparing(Migrations):
    """Compare the fields, find what was written past undrift, and decide about it."""

    def verify(
        self,
        name: str,
        *,
        sample: int = SAMPLE,
        rate: float | None = None,
        on_progress: OnProgress = silent,
        on_wait: OnWait = silent,
    ) -> dict[str, Any]:
        """Compare both fields now, after carrying over what is dirty; returns the report in its JSON shape.

        A comparison that was interrupted goes on where it stopped.

        Args:
            name: the alias.
            sample: documents to embed again.
            rate: documents a second; None for no limit.
            on_progress: told how far it has come.
            on_wait: told what is waited for.
        """
        workshop = self.workshop(AliasName(name))
        self._settle(workshop, is_close, on_wait)
        held, tell = self._throttled(workshop, on_progress, on_wait)
        report = verify(
            held,
            sample=sample,
            rate=rate,
            on_progress=tell,
            carry=lambda: carry_dirty(workshop),
        )
        migration = workshop.state().migration
        if migration is not None and migration.phase is Phase.VERIFY and report.verdict is Verdict.PASS:
            with suppress(StaleRoute):
                Runner(workshop=workshop, who=self._who(), migration=migration.id).enter(Phase.READY, was=Phase.VERIFY)
        return report.as_dict()

    def reconcile(
        self,
        name: str,
        *,
        scans: int = 2,
        rate: float | None = None,
        on_progress: OnProgress = silent,
        on_wait: OnWait = silent,
    ) -> dict[str, Any]:
        """Scan both fields for writes past undrift, carry over what was found, and scan again.

        It ends as soon as two scans have followed one another and the second found nothing foreign. A scan that was
        interrupted goes on where it stopped.

        Args:
            name: the alias.
            scans: the most scans to make now.
            rate: documents a second; None for no limit.
            on_progress: told how far a scan has come.
            on_wait: told what is waited for.

        Raises:
            NoMigration: there is no second field.
            IllegalTransition: the back-fill is not done.
        """
        workshop = self.workshop(AliasName(name))
        reports = []
        held, tell = self._throttled(workshop, on_progress, on_wait)
        for _ in range(scans):
            report = reconcile(held, rate=rate, on_progress=tell)
            reports.append(report)
            if report.foreign:
                self._carry_found(workshop, report.foreign, on_wait)
            elif record_of(workshop).is_settled:
                break
        needed = workshop.state().needs_reconcile
        settled = record_of(workshop).is_settled and not needed
        last = reports[-1]
        steps = [f"undrift reconcile {name}"] if not settled else []
        if last.held:
            steps += [f"undrift adopt {name} --all", f"undrift delete {name} ID"]
        return {
            "alias": name,
            "scans": [report.as_dict() for report in reports],
            "settled": settled,
            "held": last.held,
            "needs_reconcile": needed,
            "verdict": "pass" if settled and not last.held else "fail",
            "next_steps": steps or [f"undrift status {name}"],
        }

    def adopt(self, name: str, ids: Sequence[str] = ()) -> dict[str, Any]:
        """Let documents flow to the serving field that somebody else wrote to the old one after the cutover.

        Args:
            name: the alias.
            ids: the documents; by default every one that a scan has set aside for this.

        Raises:
            IllegalTransition: no cutover has happened, so that the old field serves and nothing is set aside.
            BadArgument: a document is not set aside for this.
        """
        workshop = self.workshop(AliasName(name))
        migration, follower = workshop.migration(), workshop.state().route.follower
        if migration.phase is not Phase.REVERSING or follower is None:
            raise IllegalTransition(
                f"the migration of {name} is {migration.phase.value}; only after a cutover there is an old field to "
                "adopt from",
                hint=f"undrift status {name}",
            )
        wanted = [DocumentId(id) for id in dict.fromkeys(ids)]
        aside = self.ledger.quarantined(workshop.alias, limit=_ADOPTED_AT_MOST, only=wanted or None)
        held = [one.key for one in aside if one.reason == FOREIGN_WRITE]
        unknown = [id for id in wanted if id not in set(held)]
        if unknown:
            raise BadArgument(
                f"document {unknown[0]} of {name} is not set aside as a write to the old field",
                "nothing was adopted",
                f"undrift reconcile {name}",
            )
        if held:
            self.ledger.mark(workshop.alias, held, source=follower.key)
            self._carry_found(workshop, len(held), silent)
        left = {one.key for one in self.ledger.quarantined(workshop.alias, limit=_ADOPTED_AT_MOST, only=held)}
        return {
            "alias": name,
            "adopted": [key for key in held if key not in left],
            "left": sorted(left),
            "next_steps": [f"undrift reconcile {name}"],
        }

    def _carry_found(self, workshop: Workshop, found: int, on_wait: OnWait) -> None:
        """Carry over what was marked; what writers make dirty all the time is not waited for."""
        for _ in range(2 + found // BATCH):
            self.router.beat()
            if not carry_dirty(workshop):
                break
            on_wait(f"{found} documents to be carried over")
        self._settle(workshop, is_close, on_wait)

    def _throttled(self, workshop: Workshop, on_progress: OnProgress, on_wait: OnWait) -> tuple[Workshop, OnProgress]:
        """Let a comparison wait between two pages while what keeps the back-fill waiting is in the way.

        This process's lease is kept meanwhile, in its only thread.
        """
        lookout = Lookout(workshop)

        def tell(progress: Progress) -> None:
            self.router.beat()
            on_progress(progress)
            while isinstance(wait := lookout.look(), Wait):
                on_wait(str(wait))
                self.router.beat()
                if not carry_dirty(workshop):
                    self.clock.sleep(LOOK_EVERY_S / 2)

        return counted(workshop, lookout.called), tell
