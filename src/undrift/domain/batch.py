"""Jobs of a provider's batch API: what is known of each, written down before and after everything that is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import Enum
from typing import Any, NewType

from undrift.domain.migration import Migration, MigrationId
from undrift.domain.route import AliasName
from undrift.domain.space import SpaceId
from undrift.errors import BudgetExhausted

JobId = NewType("JobId", str)

_QUEUE = re.compile(r"enqueued token limit.*?limit:\s*([\d,_.]*\d)", re.IGNORECASE | re.DOTALL)
_QUEUE_FULL = re.compile(r"enqueued[ _]token|token[ _]limit[ _]exceeded", re.IGNORECASE)


class BatchMode(Enum):
    """How the texts of a back-fill are embedded, where the provider has a batch API."""

    #: One request after the other, at the full price.
    OFF = "false"
    #: Through jobs; what a job could not do is embedded online.
    ON = "true"
    #: Through jobs as far as the provider's queue takes them, and the rest online at the same time.
    AUTO = "auto"


class JobState(Enum):
    """Where a job stands."""

    #: Its pieces and its tokens are put aside; its file may be at the provider already.
    PREPARED = "prepared"
    #: Its file is at the provider, and nothing costs anything.
    UPLOADED = "uploaded"
    #: The provider may have been asked to do it; its list says so, a while later at the latest.
    CREATING = "creating"
    #: The provider has it.
    RUNNING = "running"
    #: The provider is done with it, and has said what it costs; its vectors are still there.
    ENDED = "ended"
    #: Its vectors are in the cache of one place, whose workers carry its pieces over.
    BROUGHT = "brought"
    #: Nothing of it is left to do.
    DONE = "done"


#: States in which the pieces of a job are nobody's to carry over.
KEEPS_PIECES = frozenset(set(JobState) - {JobState.BROUGHT, JobState.DONE})
#: States in which its tokens are in the provider's queue, or may be.
IN_QUEUE = frozenset({JobState.PREPARED, JobState.UPLOADED, JobState.CREATING, JobState.RUNNING})


class Remote(Enum):
    """What a provider says of a job, in the words of OpenAI."""

    #: The file is looked at.
    VALIDATING = "validating"
    #: The file was refused, or the queue has no room; nothing is billed.
    FAILED = "failed"
    #: Requests are answered.
    IN_PROGRESS = "in_progress"
    #: The answers are written down.
    FINALIZING = "finalizing"
    #: Every request has its answer or its error.
    COMPLETED = "completed"
    #: The time was up; what was answered until then is there, and billed.
    EXPIRED = "expired"
    #: It was called off, and requests under way are waited for.
    CANCELLING = "cancelling"
    #: It was called off; what was answered until then is there, and billed.
    CANCELLED = "cancelled"


#: Nothing changes any more.
OVER = frozenset({Remote.FAILED, Remote.COMPLETED, Remote.EXPIRED, Remote.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A job as the provider shows it.

    Attributes:
        id: the provider's name for it.
        status: where it stands.
        job: our name for it, from what was sent along.
        file: the file that it was made of.
        results: files of answers and of errors.
        completed: requests that were answered.
        failed: requests that were refused.
        tokens: what is billed; None when the provider does not say.
        problem: why it failed.
        expires: when its time is up.
        created: when it was made, in seconds since 1970.
    """

    id: str
    status: Remote
    job: str = ""
    file: str = ""
    results: tuple[str, ...] = ()
    completed: int = 0
    failed: int = 0
    tokens: int | None = None
    problem: str = ""
    expires: datetime | None = None
    created: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """A job as the ledger has it.

    Attributes:
        id: our name for it, which is sent along.
        alias: whose documents.
        migration: the migration that pays.
        account: the account at the provider whose queue it is in.
        space: the space of its vectors.
        state: where it stands.
        vault: the cache that its texts were missing in, later the one that has its vectors: host and file.
        pieces: pieces of the back-fill that wait for it.
        items: texts in it.
        size: bytes of its file.
        sha256: of its file.
        queued: tokens that it takes in the provider's queue, about.
        tokens: the most that it can be billed for, put aside; once it has ended, what it is billed for.
        usd_per_million_tokens: the price of these.
        file: the provider's name for its file.
        batch: the provider's name for the job.
        results: the provider's names for the files of answers and errors.
        completed: texts that were answered.
        failed: texts that were refused.
        status: what the provider said last.
        is_billed: whether the provider has said what it is billed for.
        reason: why it did not go well.
        queue_tokens: what the provider said that the account's queue takes.
        unused: vectors that were paid for and that no document wanted any more; None while that is not known.
        created: when it was recorded.
        expires: when the provider gives it up.
        fence: grows with every lease.
        age_s: how long ago its state changed; given by the ledger.
    """

    id: JobId
    alias: AliasName
    migration: MigrationId
    account: str
    space: SpaceId
    state: JobState = JobState.PREPARED
    vault: str = ""
    pieces: int = 0
    items: int = 0
    size: int = 0
    sha256: str = ""
    queued: int = 0
    tokens: int = 0
    usd_per_million_tokens: float = 0.0
    file: str = ""
    batch: str = ""
    results: tuple[str, ...] = ()
    completed: int = 0
    failed: int = 0
    status: str = ""
    is_billed: bool = False
    reason: str = ""
    queue_tokens: int | None = None
    unused: int | None = None
    created: datetime
    expires: datetime | None = None
    fence: int = 0
    age_s: float = 0.0

    @property
    def file_name(self) -> str:
        """What its file is called at the provider: it says what is in it, so a lost answer costs no second upload."""
        return f"{file_prefix(self.id)}{self.sha256[:16]}.jsonl"

    @property
    def is_open(self) -> bool:
        """Whether something of it is left to do."""
        return self.state is not JobState.DONE

    @property
    def usd(self) -> float:
        """What it costs, or may cost."""
        return self.tokens * self.usd_per_million_tokens / 1e6

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form for those who look."""
        return {
            "id": self.id,
            "state": self.state.value,
            "provider_status": self.status or None,
            "batch": self.batch or None,
            "items": self.items,
            "completed": self.completed,
            "failed": self.failed,
            "tokens": self.tokens,
            "usd": round(self.usd, 6),
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat() if self.expires else None,
            "unused": self.unused,
            "reason": self.reason or None,
        }

    def content(self) -> dict[str, Any]:
        """Return the JSON form that a ledger keeps; what it has columns for, and gives when it is read, is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _COLUMNS}
        for name in ("created", "expires"):
            values[name] = values[name].isoformat() if values[name] else None
        return values

    @classmethod
    def from_content(cls, content: Mapping[str, Any], **columns: Any) -> BatchJob:
        """Read it back; what a later version added is left out."""
        known = {one.name for one in fields(cls)}
        values = {key: value for key, value in content.items() if key in known}
        values["results"] = tuple(values.get("results", ()))
        for name in ("created", "expires"):
            values[name] = datetime.fromisoformat(values[name]) if values.get(name) else None
        return cls(**{**values, **columns})


#: What a ledger has a column for.
_COLUMNS = frozenset(
    {
        *("id", "alias", "migration", "account", "state", "vault", "queued", "tokens"),
        "usd_per_million_tokens",
        *("fence", "age_s"),
    }
)


def file_prefix(job: JobId) -> str:
    """Return how the names of a job's files begin, whatever is in them."""
    return f"undrift-{job}-"


def charged(migration: Migration, tokens: int, usd_per_million_tokens: float) -> Migration:
    """Return a migration with tokens that have a price of their own; a negative number takes them back."""
    usd = tokens * usd_per_million_tokens / 1e6
    return replace(
        migration,
        tokens=migration.tokens + tokens,
        tokens_before=migration.tokens_before + tokens,
        usd_before=migration.usd_before + usd,
    )


def affordable(migration: Migration, usd_per_million_tokens: float) -> int | None:
    """Return the tokens at a price that a migration's budgets have room for; None without a budget."""
    limits = [] if migration.budget_tokens is None else [migration.budget_tokens - migration.tokens]
    if migration.budget_usd is not None and usd_per_million_tokens > 0:
        limits.append(math.floor((migration.budget_usd - migration.usd) / usd_per_million_tokens * 1e6))
    return None if not limits else max(0, min(limits))


def require_affordable(migration: Migration, tokens: int, usd_per_million_tokens: float) -> None:
    """Pass when a job's tokens have room in its migration's budgets.

    Raises:
        BudgetExhausted: they have not.
    """
    room = affordable(migration, usd_per_million_tokens)
    if room is not None and tokens > room:
        raise BudgetExhausted(
            f"the next batch job of {migration.alias} may cost more than its budget has left",
            f"it may take {tokens} tokens at {usd_per_million_tokens:g} dollars a million, and {room} have room",
            f"undrift tune {migration.alias} budget_usd=N or budget_tokens=N, then undrift resume {migration.alias}",
        )


def is_queue_full(problem: str) -> bool:
    """Whether a job was refused because the account's queue has no room for its tokens."""
    return bool(_QUEUE_FULL.search(problem))


def told_queue_tokens(problem: str) -> int | None:
    """Return the tokens that an account's queue takes, where the refusal of a job says so."""
    found = _QUEUE.search(problem)
    return int(re.sub(r"\D", "", found[1])) if found else None
