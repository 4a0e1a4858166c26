from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space
from undrift.errors import BudgetExhausted, ControlUnavailable, EmbedderRejected, EmbedderUnavailable, WorkStopped
from undrift.flow.embed import EmbeddingDoor
from undrift.flow.oversight import UNSEEN, Oversight
from undrift.ports.embedder import BEFORE_RETRY, WATCH, EmbedderLimits, TokenCount
from undrift.testing.clock import VirtualClock


class Provider:
    """An embedder whose requests go as the test says."""

    space = Space(channel="test", model="m", revision="1", dimensions=2, normalized=False)

    def __init__(self, *answers: Callable[[], None], reports_usage: bool = True) -> None:
        self.limits = EmbedderLimits(batch_size=8, paid=True, reports_usage=reports_usage, worth_keeping=False)
        self.answers = list(answers)
        self.is_exact = False

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if self.answers:
            self.answers.pop(0)()
        return np.ones((len(texts), 2), dtype=np.float32)

    def embed_query(self, text: str) -> Vector:
        return np.ones(2, dtype=np.float32)

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        return TokenCount(tokens=3 * len(texts), exact=self.is_exact)

    def close(self) -> None: ...


class Purse:
    """A purse that writes down what it is asked for; it may have no room for some time."""

    def __init__(self, later: int = 0) -> None:
        self.entries: list[tuple[str, int]] = []
        self.later = later
        self.is_away = False

    def reserve(self, tokens: int) -> bool:
        if self.later:
            self.later -= 1
            return False
        self.entries.append(("reserve", tokens))
        return True

    def settle(self, reserved: int, billed: int) -> None:
        if self.is_away:
            raise ControlUnavailable("the ledger is away")
        assert reserved == self.entries[-1][1]
        self.entries.append(("settle", billed))


def billed(tokens: int) -> Callable[[], None]:
    return lambda: WATCH.get().billed(tokens)


def broken() -> None:
    raise EmbedderUnavailable("the connection broke")


def refused() -> None:
    WATCH.get().unbilled()
    raise EmbedderUnavailable("it limits the rate")


def repeated() -> None:
    """As an adapter that sends a request a second time by itself, and is answered."""
    BEFORE_RETRY.get()("it did not answer")
    BEFORE_RETRY.get()("")
    WATCH.get().billed(5)


def sent_by(provider: Provider, purse: Purse, texts: list[str] | None = None, oversight: Oversight = UNSEEN) -> int:
    door = EmbeddingDoor(provider, clock=VirtualClock())
    return door.documents(texts or ["ten bytes!"], purse=purse, oversight=oversight).tokens


@pytest.mark.parametrize(
    ("answers", "entries", "tokens"),
    [
        ([billed(4)], [("reserve", 14), ("settle", 4)], 4),
        ([], [("reserve", 14), ("settle", 14)], 14),
        ([broken, billed(4)], [("reserve", 14), ("settle", 14), ("reserve", 14), ("settle", 4)], 18),
        ([refused, billed(4)], [("reserve", 14), ("settle", 0), ("reserve", 14), ("settle", 4)], 4),
        ([repeated], [("reserve", 14), ("settle", 14), ("reserve", 14), ("settle", 5)], 19),
    ],
)
def test_each_request_is_put_aside_and_settled(
    answers: list[Callable[[], None]], entries: list[tuple[str, int]], tokens: int
) -> None:
    """Ten bytes and four marks at most; what nobody knows to be free counts with the most it can have cost."""
    purse = Purse()

    assert sent_by(Provider(*answers), purse) == tokens
    assert purse.entries == entries


def test_an_adapter_that_never_says_what_it_cost_counts_as_estimated() -> None:
    purse = Purse()

    assert sent_by(Provider(reports_usage=False), purse) == 3
    assert purse.entries == [("reserve", 3), ("settle", 3)]


def test_a_count_that_was_said_to_be_exact_and_was_not_is_believed_no_more() -> None:
    """A tokenizer that is not the model's: the next request puts the most aside."""
    provider, purse = Provider(billed(3), billed(5), billed(5)), Purse()
    provider.is_exact = True
    door = EmbeddingDoor(provider, clock=VirtualClock())

    for word in ("one", "two", "three"):
        door.documents([f"{word:10}."], purse=purse)

    assert [amount for kind, amount in purse.entries if kind == "reserve"][:2] == [3, 3]
    assert purse.entries[-2:] == [("reserve", 15), ("settle", 5)]


def test_a_text_that_grows_when_it_is_brought_into_form_is_put_aside_as_long_as_it_gets() -> None:
    """One sign of three bytes that some tokenizers write out in eighteen letters."""
    purse = Purse()

    sent_by(Provider(), purse, ["\ufdfa"])

    assert purse.entries[0][1] >= 33


def test_a_refusal_costs_nothing_and_what_gives_up_costs_the_most() -> None:
    def rejected() -> None:
        raise EmbedderRejected("never")

    def killed() -> None:
        raise KeyboardInterrupt

    refusing, dying = Purse(), Purse()
    with pytest.raises(EmbedderRejected):
        sent_by(Provider(rejected, rejected), refusing)
    with pytest.raises(KeyboardInterrupt):
        sent_by(Provider(killed), dying)

    assert [amount for kind, amount in refusing.entries if kind == "settle"] == [0, 0]
    assert dying.entries == [("reserve", 14), ("settle", 14)]


def test_room_that_requests_under_way_may_leave_is_waited_for() -> None:
    """And said to be waited for; an operator can stop it, and it does not last for ever."""
    said: list[str] = []
    purse = Purse(later=3)
    assert sent_by(Provider(billed(1)), purse, oversight=Oversight(waits=said.append)) == 1
    assert len(said) == 3
    assert "put aside for requests under way" in said[0]

    looks = iter([None, None, WorkStopped("paused")])

    def admit() -> None:
        if (found := next(looks)) is not None:
            raise found

    with pytest.raises(WorkStopped):
        sent_by(Provider(), Purse(later=9), oversight=Oversight(admit=admit))
    with pytest.raises(BudgetExhausted):
        sent_by(Provider(), Purse(later=10**9))


def test_vectors_are_not_lost_because_their_cost_cannot_be_settled() -> None:
    """What was put aside stays so, which is never too little; more than that has to be told."""
    purse = Purse()
    purse.is_away = True

    assert sent_by(Provider(billed(4)), purse) == 4
    with pytest.raises(ControlUnavailable):
        sent_by(Provider(billed(10**6)), purse)
