"""The twelve rules of the protocol: what each forbids, and the race that it closes."""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """A rule can be switched off; the search must then find a history that breaks a promise, or the rule is ballast."""

    #: No worker reads or writes a store before every client journals, or has lost its lease and D has passed: an
    #: un-journaled write could land after the backfill has read the key, and the follower would never hear of it.
    DRAIN_BEFORE_BACKFILL = "drain_before_backfill"

    #: No write leaves a client before `open` has marked its key dirty: a client that died between the write and a later
    #: mark would leave the two stores different for ever.
    MARK_BEFORE_WRITE = "mark_before_write"

    #: A write is not opened while its key is dirty from the other store: `open` would move the truth away from a store
    #: that holds acknowledged content nobody has copied yet, and a client dying right after it would lose that content.
    FOREIGN_SOURCE_WAITS = "foreign_source_waits"

    #: The journal does not stop at the cutover: without marks from the new store nothing would bring the old store up
    #: to date, and a rollback would lose every write since the cutover.
    REVERSE_JOURNAL = "reverse_journal"

    #: `close` may not leave the sequence as it is: a sync that claimed after `open` and read before the write landed
    #: would find an unchanged sequence and no open operation, and take its stale copy for the truth.
    CLOSE_BUMPS_SEQ = "close_bumps_seq"

    #: `close` may not acknowledge an operation that the reaper has closed: the key may have been synced and cleared
    #: before the write landed, so the client marks it again and reports that the outcome is unknown.
    CLOSE_CHECKS_REAPED = "close_checks_reaped"

    #: An operation is not reaped before its deadline and D have passed: its request could still be under way, and would
    #: land behind the back of a sync that sees no open operation any more.
    REAP_WAITS_D = "reap_waits_D"

    #: A mark is not cleared while an operation is open: its write may land at any moment after the sync has read.
    CLEAR_NEEDS_NO_OPEN = "clear_needs_no_open"

    #: A mark is not cleared when the sequence has moved since the claim: a write that was opened, or closed, in between
    #: may be newer than the copy.
    CLEAR_NEEDS_SAME_SEQ = "clear_needs_same_seq"

    #: The backfill does not publish a key that was touched since the journal began: it read the key before it embedded,
    #: and would overwrite a newer value, or bring a deleted document back.
    PUBLISH_SKIPS_TOUCHED = "publish_skips_touched"

    #: A dirty key is not claimed while the backfill publishes it: the publication could land after the synced value.
    SYNC_DEFERS_PUBLISH = "sync_defers_publish"

    #: The work of a dead worker is not taken over before its lease and D have passed: a request that it left behind
    #: would land on top of what its successor wrote.
    TAKEOVER_WAITS_D = "takeover_waits_D"


ALL = frozenset(Rule)
