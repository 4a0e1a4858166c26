"""The verb `plan`: what a migration would take, cost and risk, before anything is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from undrift.control.aiming import Aim, Aiming, layout_of
from undrift.control.terms import Price, Terms, key_of, keys_of
from undrift.domain.catalogue import Catalogue, Fact
from undrift.domain.cost import Batched, Forecast, Online, batched, better, online, usd
from undrift.domain.migration import Migration
from undrift.domain.space import differences
from undrift.domain.sunset import Sunset, first_end
from undrift.domain.tuning import tuned
from undrift.domain.wording import plural
from undrift.errors import BackendError
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.probe import PROBE_QUERIES, PROBE_TEXTS
from undrift.flow.traffic import Window, p95, told_p95
from undrift.migrate.preflight import layout_word
from undrift.migrate.survey import SAMPLED, Counter, Facts, survey
from undrift.migrate.verify import SAMPLE
from undrift.ports.store import Layout

#: Conditions that a cutover will ask for, in their order.
GATES = ("complete", "lag", "verified", "quarantine", "acknowledged", "reconciled", "rollback")
#: Searches by which the latency of the serving field is measured, and hits of each.
_SEARCHES, _K = 20, 10
#: What two models that share a space may differ in.
_OF_THE_MODEL = frozenset({"model", "revision", "max_tokens", "truncation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """The figures of a plan.

    Attributes:
        facts: what the collection has.
        terms: what the model costs, and how fast it may be asked.
        again: tokens that each verification takes on top.
        proof: tokens that each worker takes to prove the model before it begins.
        at_once: hours when every request is answered at once.
        in_batches: hours through the provider's batch interface.
        shared: why nothing has to be embedded, where two models share a space.
    """

    facts: Facts
    terms: Terms
    again: int
    proof: int
    at_once: Online | None
    in_batches: Batched | None
    shared: Fact | None

    @property
    def tokens(self) -> int:
        """Tokens to be paid for by the back-fill."""
        return 0 if self.shared else self.facts.estimate.tokens

    def forecast(self) -> Forecast:
        """Return what is to be compared with what the back-fill takes, with the proof of one worker."""
        estimate = self.facts.estimate
        tokens = estimate.tokens + self.proof
        return Forecast(
            tokens=tokens,
            low=estimate.low + math.floor(self.proof * (1 - estimate.error)),
            high=estimate.high + math.ceil(self.proof * (1 + estimate.error)),
            exact=estimate.exact,
            usd=_cents(usd(tokens, self.terms.online.usd)),
        )


class Planning(Aiming):
    """Reckon up a migration without beginning it."""

    def plan(
        self,
        name: str,
        to: str | None = None,
        *,
        to_store: str | None = None,
        collection: str | None = None,
        layout: Layout | None = None,
        tier: str | None = None,
        sample: int | None = None,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
    ) -> dict[str, Any]:
        """Return what a migration to a model, to a store, or to both would take; changes nothing.

        Args:
            name: the alias.
            to: the model to migrate to; the one it has stays, and vectors are copied, when only a store is named.
            to_store: the store to migrate to; the one it is in by default.
            collection: the new collection's name; one that says what is in it by default.
            layout: where the target's vectors are put: in a collection of their own, which is the default, or beside
                those that serve, in the same records.
            tier: the tier of the account at the provider; the configured one by default.
            sample: count the tokens of so many texts, at least 1,000, and estimate the rest; by default every text is
                counted where the model's own tokenizer is on this machine.
            budget_usd: most dollars that it is going to be allowed; the plan says whether that can be enough.
            budget_tokens: most tokens that it is going to be allowed.

        Raises:
            BadArgument: the alias serves just that already, or the store does not have the layout.
        """
        aim = Aim(to=to, to_store=to_store, collection=collection, layout=layout)
        migration, door = self._aim(name, aim)
        state = self.ledger.alias(migration.alias)
        running = state.migration if state else None
        if running is not None and not running.is_final and aim.is_that_of(running):
            migration = running
        found = self.reckon(migration, door, tier=tier, sample=sample)
        route = self.router.join(migration.alias)
        facts, terms, target = found.facts, found.terms, migration.target
        search = self._searches(migration)
        warnings = [
            *facts.warnings,
            *_of_money(migration, door, found),
            *_of_estimate(door, found),
            *of_budget(found, budget_usd, budget_tokens),
            *_of_time(door, found),
            *self._of_sunsets(migration, door, found),
        ]
        start = migration.command + aim.options
        if door.limits.paid and (facts.unique_texts or not migration.copies):
            start += " --budget-tokens N" if terms.online.usd is None else " --budget-usd N"
        return {
            "alias": name,
            "source": {"field": route.serving.key, "space": route.serving.space},
            "target": {"field": target.key, "space": target.space, "model": migration.target_model},
            "vectors": "copied" if migration.copies else "shared" if found.shared else "embedded",
            "layout": layout_word(layout_of(route.serving, target)),
            "documents": facts.documents,
            "unique_texts": facts.unique_texts,
            "duplicates": facts.duplicates,
            "order": self.config.order_of(migration.alias).as_dict(),
            "cached": facts.cached,
            "tokens": found.tokens,
            "tokens_are": "exact" if facts.estimate.exact else "estimated",
            "tokens_interval": [0, 0] if found.shared else [facts.estimate.low, facts.estimate.high],
            "tokens_rest_on": facts.estimate.rests_on,
            "sampled": facts.estimate.sampled,
            "prefix_tokens": facts.prefix_tokens,
            "verification_tokens": found.again,
            "proof_tokens": found.proof,
            "cost_usd": _cost(found),
            "price": {"online": _price(terms.online), "batch": _price(terms.batch)},
            "hours": _hours(found),
            "limits": {name: fact.as_dict() for name, fact in terms.facts.items()},
            "tier": terms.tier or None,
            "storage_bytes": facts.storage_bytes,
            "storage_rests_on": self.store_of(target).capabilities.footprint.basis,
            "search": search,
            "gates": list(GATES),
            "shared_space": found.shared.as_dict() if found.shared else None,
            "warnings": warnings,
            "next_steps": [f"undrift catalogue show {terms.key}"] if found.shared and terms.key else [start],
        }

    def reckon(
        self, migration: Migration, door: EmbeddingDoor, *, tier: str | None = None, sample: int | None = None
    ) -> Reckoning:
        """Read the whole collection and reckon with it."""
        catalogue = self.plugins.catalogue()
        terms = self.terms(migration.target_model, door, catalogue, tier=tier)
        counter = Counter(door=door, family=terms.family, sampled=sample or SAMPLED, every=sample is None)
        source = self.router.join(migration.alias).serving
        facts = survey(
            self.store_of(source),
            source,
            counter,
            target=migration.target,
            into=self.store_of(migration.target).capabilities,
            copies=migration.copies,
            kept=self.kept_of(door),
        )
        repeated = door.limits.paid and facts.documents and not migration.copies
        share = min(SAMPLE, facts.documents) / facts.documents if repeated else 0.0
        shared = self._shared(migration, door, catalogue)
        return Reckoning(
            facts=facts,
            terms=terms,
            again=int((facts.estimate.tokens + facts.cached_tokens) * share),
            proof=round(sum(map(counter.of, (*PROBE_TEXTS, *PROBE_QUERIES)))) if repeated else 0,
            at_once=None if shared else online(facts.work, terms.pace, reserved=terms.reserved),
            in_batches=None if shared else batched(facts.work, terms.batches),
            shared=shared,
        )

    def _shared(self, migration: Migration, door: EmbeddingDoor, catalogue: Catalogue) -> Fact | None:
        """Return why the vectors that serve may be compared with those of the target, if they may."""
        known = self.ledger.space(migration.source.space)
        if known is None or migration.copies:
            return None
        left, chosen = key_of(known.space, catalogue), key_of(door.space, catalogue)
        if left is None or chosen is None or left == chosen:
            return None
        apart = {line.partition(":")[0] for line in differences(known.space, door.space)}
        return catalogue.shares_space(left, chosen) if apart <= _OF_THE_MODEL else None

    def _of_sunsets(self, migration: Migration, door: EmbeddingDoor, found: Reckoning) -> list[str]:
        """Say when the model that is left ends, and whether the one that is chosen does."""
        catalogue, today = self.plugins.catalogue(), self.clock.now().date()
        known = self.ledger.space(migration.source.space)
        said = []
        left = None
        if known is not None:
            left = first_end(catalogue, keys_of(known.space, catalogue, self.region_of(known.model)))
        chosen = first_end(catalogue, keys_of(door.space, catalogue, self.region_of(migration.target_model)))
        if left is not None and known is not None and known.space != door.space:
            hours = found.at_once.hours if found.at_once is not None else 0.0
            start = left.latest_safe_start(hours)
            late = "; that day is over" if start < today else ""
            said.append(
                f"{left.key} ends on {left.end.value}{_precision(left)} ({left.end.source}): the last safe day to "
                f"begin is {start.isoformat()}{late}"
            )
        if chosen is not None and chosen.end.day < today + timedelta(days=2 * 365):
            said.append(
                f"the model that is chosen, {chosen.key}, ends itself on {chosen.end.value}{_precision(chosen)} "
                f"({chosen.end.source}): all of this would have to be done again by then"
            )
        return said

    def _searches(self, migration: Migration) -> dict[str, Any]:
        """Say what keeps searches quick while the work goes on, and how quick they are now."""
        notes = self.ledger.tuning(migration.alias)
        limits = tuned(self.config.limits_of(migration.alias), notes)
        now = told_p95(notes, self.clock.now) or self._measured_p95(migration)
        rests = [
            *([f"searches take longer than {limits.max_search_ms:g} ms (p95)"] if limits.max_search_ms else []),
            *([f"it is not {limits.hours} in {limits.time_zone}"] if limits.hours else []),
            *([f"more than {limits.max_rows_per_s:g} documents a second are done"] if limits.max_rows_per_s else []),
        ]
        says = (
            f"the work waits while {', or while '.join(rests)}"
            if rests
            else f"nothing keeps the work from making searches slower; undrift tune {migration.alias} max_search_ms=N "
            "makes it wait for them"
        )
        return {"p95_ms": None if now is None else round(now, 1), "max_search_ms": limits.max_search_ms, "says": says}

    def _measured_p95(self, migration: Migration) -> float | None:
        """Search the serving field a few times with the vector of a probe text, which costs nothing."""
        known = self.ledger.space(migration.source.space)
        if known is None:
            return None
        taken = Window(self.clock)
        for _ in range(_SEARCHES):
            began = self.clock.monotonic()
            try:
                self.store_of(migration.source).search(migration.source, known.probes[0], k=_K)
            except BackendError:
                return None
            taken.add((self.clock.monotonic() - began) * 1000)
        return p95(taken.values()) or None


def _of_money(migration: Migration, door: EmbeddingDoor, found: Reckoning) -> list[str]:
    """Say what is not known of the price, and what is paid on top."""
    facts, terms, said = found.facts, found.terms, []
    if door.limits.paid and terms.online.usd is None and facts.unique_texts:
        said.append(
            f"model {migration.target_model} is paid for, and its price is not known: neither the configuration "
            "(usd_per_million_tokens) nor the catalogue has it; --budget-tokens works without a price"
        )
    if migration.copies and facts.unique_texts:
        said.append(
            f"{plural(facts.unique_texts, 'text')} to be embedded again, because no tag says that the vector is its"
            + (": this needs a budget" if door.limits.paid else "")
        )
    if found.shared is not None:
        said.append(
            f"{terms.key} shares its space with the model that serves, says {found.shared.source} "
            f"({found.shared.seen.isoformat()}), so nothing has to be embedded. This version of undrift keeps models "
            f"apart by their names: `undrift start` would embed {plural(facts.unique_texts, 'text')} all the same"
        )
    elif found.again:
        said.append(
            f"each verification embeds {plural(min(SAMPLE, facts.documents), 'document')} again: "
            f"about {found.again} tokens on top, which the budget has to allow"
        )
    return said


def _of_estimate(door: EmbeddingDoor, found: Reckoning) -> list[str]:
    estimate = found.facts.estimate
    if not door.limits.paid or estimate.exact or not estimate.tokens or found.shared:
        return []
    cure = "" if estimate.sampled and "own tokenizer" in estimate.rests_on else "; `tokenizer` of the model names one"
    return [
        f"tokens are estimated, {estimate.low:,} to {estimate.high:,} with 95 % confidence. They rest on "
        f"{estimate.rests_on}{cure}"
    ]


def of_budget(found: Reckoning, budget_usd: float | None, budget_tokens: int | None) -> list[str]:
    """Say that a budget cannot be enough, or may not be."""
    estimate, price = found.facts.estimate, found.terms.online.usd
    said = []
    for budget, unit, of in (
        (budget_tokens, "{:,.0f} tokens", lambda tokens: tokens),
        (budget_usd, "${:,.4f}", lambda tokens: usd(tokens, price)),
    ):
        least, most = of(estimate.low), of(estimate.high + found.again + found.proof)
        if budget is None or found.shared or least is None or most is None:
            continue
        if budget < least:
            said.append(
                f"a budget of {unit.format(budget)} is not enough: the back-fill alone takes at least "
                f"{unit.format(least)}. The work would stop when the budget is spent"
            )
        elif budget < most:
            said.append(
                f"a budget of {unit.format(budget)} may not be enough: with one verification it is up to "
                f"{unit.format(most)}"
            )
    return said


def _of_time(door: EmbeddingDoor, found: Reckoning) -> list[str]:
    terms = found.terms
    if not door.limits.paid or not found.facts.unique_texts or found.shared:
        return []
    if found.at_once is None:
        return [
            "no limit of the account is known, so neither is the time; `catalogue` in the configuration names a file "
            "that can say it (tokens_per_minute)"
        ]
    if terms.tiers and not terms.tier_is_said:
        return [
            f"which tier the account has is not said, so the narrowest is reckoned with, {terms.tier}; `tier` of the "
            f"model may be {', '.join(terms.tiers)}"
        ]
    return []


def _cost(found: Reckoning) -> dict[str, Any]:
    estimate, terms = found.facts.estimate, found.terms
    zero = found.shared is not None
    return {
        "online": _cents(usd(found.tokens, terms.online.usd)),
        "batch": _cents(usd(found.tokens, terms.batch.usd)),
        "low": _cents(usd(0 if zero else estimate.low, terms.online.usd)),
        "high": _cents(usd(0 if zero else estimate.high, terms.online.usd)),
        "verification": _cents(usd(0 if zero else found.again, terms.online.usd)),
    }


def _hours(found: Reckoning) -> dict[str, Any]:
    at_once, batch = found.at_once, found.in_batches
    return {
        "online": None if at_once is None else _rounded(at_once.hours),
        "batch": None if batch is None else _rounded(batch.expected_hours),
        "batch_worst": None if batch is None else _rounded(batch.worst_hours),
        "bound_by": None if at_once is None else at_once.bound_by,
        "batch_files": None if batch is None else batch.files,
        "batch_waves": None if batch is None else batch.waves,
        "wins": better(at_once, batch),
    }


def _price(price: Price) -> dict[str, Any]:
    return {"usd_per_million_tokens": price.usd, "source": price.source or None}


def _cents(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _rounded(hours: float | None) -> float | None:
    return None if hours is None else round(hours, 4)


def _precision(sunset: Sunset) -> str:
    precision = sunset.end.precision
    return " or later" if precision is not None and precision.value == "not_before" else ""
