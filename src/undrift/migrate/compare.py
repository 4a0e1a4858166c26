"""What two records of one document say about each other, and a walk through both fields that can be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard

from undrift.domain.checkpoint import Progress
from undrift.domain.record import DocumentId, Entry, content_hash
from undrift.domain.route import Route, VectorField
from undrift.migrate.workshop import Workshop
from undrift.ports.runtime import Clock
from undrift.ports.store import Part

#: Documents read of each field at a time.
PAGE = 2000
#: Ids shown of each kind of difference.
SHOWN = 10
#: The kinds of differences, in the order in which they are shown.
KINDS = ("missing", "extra", "stale_text", "stale_metadata", "wrong_space", "untagged")

Pair = tuple[Entry | None, Entry | None]


def is_ours(entry: Entry, place: VectorField) -> bool:
    """Whether a record that was read with its text carries the tag of this very text and field."""
    tag = entry.tag
    return tag is not None and tag.space == place.space and tag.content == content_hash(entry.text or "")


def quick_difference(pair: Pair, serving: VectorField, follower: VectorField) -> str:
    """Name what tags and metadata say about two records, without their texts; empty when they say nothing."""
    left, right = pair
    if left is None:
        return "extra" if right is not None else ""
    if right is None:
        return "missing"
    if left.tag is None or right.tag is None:
        return "untagged"
    if left.tag.content != right.tag.content:
        return "stale_text"
    if left.tag.space != serving.space or right.tag.space != follower.space:
        return "wrong_space"
    return "" if left.metadata == right.metadata else "stale_metadata"


def difference(pair: Pair, follower: VectorField) -> str:
    """Name how the follower's record differs from what the serving one says now; both were read with their texts.

    What the serving record's own tag says is not asked: who writes past undrift does not keep it.
    """
    left, right = pair
    if left is None:
        return "extra" if right is not None else ""
    if right is None:
        return "missing"
    if right.tag is None or not right.tag.content:
        return "untagged"
    if right.tag.space != follower.space:
        return "wrong_space"
    content = content_hash(left.text or "")
    if right.tag.content != content or content_hash(right.text or "") != content:
        return "stale_text"
    return "" if left.metadata == right.metadata else "stale_metadata"


def may_replace(pair: Pair, kind: str, serving: VectorField, follower: VectorField) -> bool:
    """Whether making the follower equal loses nothing that a stranger wrote to it.

    Asked after a cutover, when the follower is the field that served before. A record there is replaced when it is
    ours, with its tag and its metadata as they were written together, or says nothing else than the serving one.

    In the same records nothing is replaced. But a stranger who has changed the text may have put a vector of it into
    the old field only: while the serving vector is not of the text, it must not be taken for the truth.
    """
    left, right = pair
    if follower.is_beside(serving):
        return left is not None and (right is None or is_ours(left, serving))
    if right is None:
        return True
    if left is None:
        return False
    same_text = content_hash(right.text or "") == content_hash(left.text or "")
    if not is_ours(right, follower):
        return same_text and left.metadata == right.metadata
    if kind != "stale_metadata" or left.tag is None or right.tag is None:
        return True
    # The same write put the same metadata into both: one of them was changed since, and nobody knows which.
    return left.tag.sequence != right.tag.sequence


def reread(
    workshop: Workshop, route: Route, follower: VectorField, keys: list[DocumentId]
) -> tuple[dict[DocumentId, Pair], set[DocumentId]]:
    """Read documents again with their texts; return them, and those that were being written or carried meanwhile."""
    before = workshop.ledger.journal_state(workshop.alias, keys)
    left = workshop.store_of(route.serving).entries(route.serving, keys, Part.TEXT)
    right = workshop.store_of(follower).entries(follower, keys, Part.TEXT)
    after = workshop.ledger.journal_state(workshop.alias, keys)
    moving = {key for key in keys if before.get(key) != after.get(key) or after.get(key, (False, 0))[0]}
    return {key: (left.get(key), right.get(key)) for key in keys}, moving


def walk(
    workshop: Workshop, route: Route, follower: VectorField, *, after: str, limit: int, parts: Part
) -> Iterator[tuple[str, dict[DocumentId, Pair]]]:
    """Yield both fields side by side, some documents at a time, each time with the id up to which they reach."""
    here, there = workshop.store_of(route.serving), workshop.store_of(follower)
    while True:
        left = here.scan(route.serving, after=after, limit=limit, parts=parts)
        right = there.scan(follower, after=after, limit=limit, parts=parts)
        # Beyond the end of a full page nothing is known about that field.
        ends = [page[-1].id for page in (left, right) if len(page) == limit]
        until = min(ends, default=None)
        found: dict[DocumentId, Pair] = {}
        for entry in left:
            if until is None or entry.id <= until:
                found[entry.id] = (entry, None)
        for entry in right:
            if until is None or entry.id <= until:
                found[entry.id] = (found.get(entry.id, (None, None))[0], entry)
        pairs = {key: found[key] for key in sorted(found)}
        if until is None:
            yield max(pairs, default=DocumentId(after)), pairs
            return
        yield until, pairs
        after = until


@dataclass(slots=True)
class Throttle:
    """Lets at most so many documents a second through, and knows how fast it really goes.

    Attributes:
        clock: the source of time.
        rate: documents a second; None for no limit.
        done: documents compared before this process began.
        total: documents there are.
        tell: told how far it has come.
    """

    clock: Clock
    rate: float | None
    done: int
    total: int
    tell: Callable[[Progress], None]
    _began: float = field(init=False)
    _before: int = field(init=False)

    def __post_init__(self) -> None:
        """Begin to measure."""
        self._began = self.clock.monotonic()
        self._before = self.done

    @property
    def page(self) -> int:
        """How many documents to read at a time: what a second allows, so that the load is even."""
        return PAGE if self.rate is None else max(1, min(PAGE, int(self.rate)))

    def passed(self, done: int) -> None:
        """Take note how many documents are done by now; wait when that was too fast."""
        self.done = done
        mine = done - self._before
        if self.rate is not None:
            due = self._began + mine / self.rate
            self.clock.sleep(max(0.0, due - self.clock.monotonic()))
        seconds = self.clock.monotonic() - self._began
        rate = mine / seconds if seconds > 0 and mine else None
        self.tell(Progress(total=max(self.total, done), done=done, rate_per_s=rate))


def await_scans(throttle: Throttle, lag_s: float, waited_s: float) -> None:
    """Wait until a scan can miss nothing that was written before a moment.

    Args:
        throttle: tells that it goes on.
        lag_s: how long a scan may miss what another process wrote.
        waited_s: how long ago that moment was.
    """
    clock = throttle.clock
    until = clock.monotonic() + min(lag_s, lag_s - waited_s)
    while (left_s := until - clock.monotonic()) > 0:
        throttle.passed(throttle.done)
        clock.sleep(min(1.0, left_s))


def total_of(workshop: Workshop, route: Route, follower: VectorField) -> int:
    """Return how many documents a comparison will see at least."""
    described = (workshop.store_of(place).describe(place) for place in (route.serving, follower))
    return max((one.count for one in described if one is not None), default=0)


def is_readable(kept: dict[str, Any] | None, run: type) -> TypeGuard[dict[str, Any]]:
    """Whether a bookmark is one of this version of undrift; that of another one is not gone on with."""
    return kept is not None and kept.keys() == {field.name for field in fields(run)}


def add_sample(samples: dict[str, list[str]], kind: str, key: str) -> None:
    """Keep the first ids of a kind."""
    kept = samples.setdefault(kind, [])
    if len(kept) < SHOWN and key not in kept:
        kept.append(key)


def shown(samples: Mapping[str, list[str]]) -> tuple[dict[str, str], ...]:
    """Return samples as they are reported."""
    kinds = [*KINDS, *(kind for kind in samples if kind not in KINDS)]
    return tuple({"kind": kind, "id": key} for kind in kinds for key in sorted(samples.get(kind, ())))
