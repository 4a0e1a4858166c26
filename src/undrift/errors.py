"""Every error undrift raises, in four branches by who has to act."""

from __future__ import annotations

from typing import ClassVar


class UndriftError(Exception):
    """Something undrift was asked for did not happen.

    Attributes:
        message: one lower-case sentence that names the thing, its state and what was asked.
        detail: the facts, one per line; may be empty.
        hint: the command or the change that mends it; may be empty.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, detail: str = "", hint: str = "") -> None:
        """Keep the three texts; every leaf takes the same arguments, so that errors survive pickling."""
        super().__init__(message, detail, hint)
        self.message = message
        self.detail = detail
        self.hint = hint

    @property
    def kind(self) -> str:
        """The name of the situation, as programs see it in the JSON form."""
        return type(self).__name__

    def __str__(self) -> str:
        """Lay the texts out as an operator reads them."""
        lines = [self.message]
        if self.detail:
            lines.append("Detail: " + self.detail.replace("\n", "\n        "))
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        return "\n".join(lines)


class UsageError(UndriftError):
    """The caller has to act: the call, a document or the configuration is wrong."""

    exit_code = 2


class RefusedError(UndriftError):
    """The operator has to act: going on could lose data or serve wrong results."""

    exit_code = 3


class BackendError(UndriftError):
    """Somebody outside has to act: a store, a provider, a disk failed or misbehaved."""

    exit_code = 4


class ConflictError(UndriftError):
    """Nobody has to act: another process was first; read again and retry."""

    exit_code = 5
    retryable = True


class BadConfig(UsageError):
    """The configuration has an unknown key, a wrong value or a missing part."""


class BadDocument(UsageError):
    """A document has no usable id, text or metadata."""


class BadInputLine(UsageError):
    """A line of an input file is not what the format says."""


class BadFilter(UsageError):
    """A metadata filter asks for something that the filter language does not have."""


class BadArgument(UsageError):
    """An argument is outside what the call accepts."""


class UnknownModel(UsageError):
    """The configuration names no such model."""


class UnknownAlert(UsageError):
    """No such alert is remembered."""


class UnknownAlias(UsageError):
    """Neither the ledger nor the configuration knows this alias."""


class UnknownAdapter(UsageError):
    """There is no adapter of this name."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""


class TextTooLong(UsageError):
    """A text is longer than the model takes and its declaration says to refuse it."""


class AlreadyExists(UsageError):
    """What was to be created is there already."""


class NoMigration(UsageError):
    """The alias has no migration that the verb could act on."""


class IllegalTransition(RefusedError):
    """The migration's phase does not allow this verb."""


class GateFailed(RefusedError):
    """At least one gate does not hold; all that do not hold are listed."""


class SpaceMismatch(RefusedError):
    """A vector of one space was about to meet a field of another."""


class ModelChanged(RefusedError):
    """The model behind a name no longer gives the vectors that its space was recorded with."""


class CheckpointUnproven(RefusedError):
    """A fine-tuned model was to serve, and it is not proven which checkpoint it is."""


class BudgetExhausted(RefusedError):
    """The next request would cost more than the budget allows."""


class BudgetRequired(RefusedError):
    """A paid model is to be used and nobody said how much it may cost."""


class SunsetNear(RefusedError):
    """A model ends so soon that whoever asked wants to be told by an exit code."""


class NotConfirmed(RefusedError):
    """A verb that cannot be taken back, or moves live traffic, was not confirmed."""


class FieldInUse(RefusedError):
    """A collection exists that undrift did not create, or still serves somebody."""


class LedgerUnusable(RefusedError):
    """The ledger is corrupt, newer than this version, or on a filesystem that cannot keep it safe."""


class StoreUnusable(RefusedError):
    """The store's file is damaged or none of undrift's, or another process has its folder."""


class IncarnationMismatch(RefusedError):
    """The ledger is older than the records it describes: it was restored from a backup."""


class StoreUnavailable(BackendError):
    """The store did not answer, or answered that it cannot."""

    retryable = True


class StoreRejected(BackendError):
    """The store answered that it will not take this write."""


class StoreFull(StoreRejected):
    """The store has no room for this write; no document is to blame, and it may be tried again when there is room."""


class CollectionMissing(BackendError):
    """The store has no such collection."""


class EmbedderUnavailable(BackendError):
    """The embedding model did not answer, or answered that it cannot."""

    retryable = True


class EmbedderFailed(EmbedderUnavailable):
    """The server of an embedding model failed at a request, by its own word; the next may succeed, or this never."""


class EmbedderRejected(BackendError):
    """The embedding model refused the request for good: wrong key, unknown model, bad text."""


class ModelUnavailable(EmbedderRejected):
    """An embedding model is out of this account's reach, whatever the text: unknown, a wrong key, or no money left."""


class ModelRetired(ModelUnavailable):
    """The provider has taken an embedding model out of service; nothing is embedded with another one instead."""


class FeedUnavailable(BackendError):
    """A list of facts about models cannot be read; what was read before still counts."""

    retryable = True


class NotifierUnavailable(BackendError):
    """Nobody took what was to be told; it is told again the next time."""

    retryable = True


class MalformedVectors(BackendError):
    """An embedding model's answer has a wrong count, shape or value."""


class ControlUnavailable(BackendError):
    """The ledger cannot be read or written, and the write needs it."""

    retryable = True


class PoolUnavailable(BackendError):
    """The cluster whose processes were to carry documents over cannot be used, or was lost."""

    retryable = True


class OutcomeUnknown(BackendError):
    """A write may or may not have happened; it was not acknowledged, and repeating it is safe."""

    retryable = True


class WriteTimeout(BackendError):
    """A write could not begin in time; nothing was written."""

    retryable = True


class MirrorTimeout(BackendError):
    """A write is stored and will reach the other field, but had not when the time was up."""


class StaleRoute(ConflictError):
    """The route changed between reading it and acting on it."""


class TransactionUndone(ConflictError):
    """The database undid a transaction to let another one through; nothing of it was written."""


class LeaseLost(ConflictError):
    """Another process took over the work because this one's lease ran out."""


class WorkStopped(ConflictError):
    """An operator paused or stopped the workers while this one was at work; it goes on when they may."""


class CoordinatorBusy(ConflictError):
    """Another process coordinates this migration right now."""
