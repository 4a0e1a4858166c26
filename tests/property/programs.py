"""For each rule a short program of the state machine that goes wrong when the rule is missing, and well when it is not.

Each was found by the machine or written down after the race that the rule closes; the machine's own promises judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.property.life import AGES_S, LifeOfACollection
from tests.property.troubles import AFTER, BEFORE, Late, Loses, Stands
from undrift.domain.migration import Phase

Step = Callable[[LifeOfACollection], None]


def perform(program: Sequence[Step]) -> None:
    """Carry out a program, and look after each step at what always holds, and in the end at all there is.

    Raises:
        AssertionError: a promise was broken.
    """
    life = LifeOfACollection()
    try:
        for step in program:
            step(life)
            life.look()
    except BaseException:
        life.abandon()
        raise
    life.teardown()


def begins(point: Phase | None, *keys: str, lags: bool = False, strangers: bool = False) -> Step:
    return lambda life: life.begin(there=set(keys), point=point, lags=lags, strangers=strangers)


def upsert(app: int, key: str, trouble: Stands | Late | Loses | None = None) -> Step:
    return lambda life: life.upsert(app, [key], trouble=trouble)


def delete(app: int, key: str) -> Step:
    return lambda life: life.delete(app, [key])


def works(worker: int, trouble: Stands | Late | None = None, ticks: int = 12) -> Step:
    return lambda life: life.work(ticks, worker, trouble)


def passes(seconds: float) -> Step:
    return lambda life: life.time_passes(seconds)


def asks(verb: Callable[[LifeOfACollection], None], trouble: Loses | None = None) -> Step:
    def step(life: LifeOfACollection) -> None:
        life.ask(verb, trouble)

    return step


def client_goes_on(app: int, *, is_answered: bool = True) -> Step:
    return lambda life: life.an_application_in_the_middle_goes_on(app, is_answered)


def worker_goes_on(worker: int) -> Step:
    return lambda life: life.a_worker_in_the_middle_goes_on(worker)


def requests_arrive(life: LifeOfACollection) -> None:
    life.late_requests_arrive()


SENDING = Stands(BEFORE, "store.upsert")
READ = Stands(AFTER, "store.entries")
#: Between what is read of a piece and what is written of it, a document of it is deleted, and that is carried over.
OVERTAKEN_PIECE = (
    begins(Phase.BACKFILL, "k0", "k1"),
    works(0, Stands(BEFORE, "ledger.publish"), ticks=2),
    delete(0, "k0"),
    works(1, ticks=2),
    worker_goes_on(0),
)
#: So long that a document is carried over though somebody is writing it.
DIRTY_FOR_LONG = (upsert(1, "k0"), passes(5.2))
#: A write that nobody journals is still under way when the source is read.
UNDER_WAY = (
    begins(None, "k0"),
    upsert(0, "k1", Stands(BEFORE, "store.upsert", awake=True)),
    asks(LifeOfACollection.register),
    works(0),
)

PROGRAMS: Mapping[str, Sequence[Step]] = {
    "drain before back-fill": UNDER_WAY,
    "mark before write": (begins(Phase.READY, "k0"), upsert(0, "k0")),
    "foreign source waits": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0"),
        asks(LifeOfACollection.cutover, Loses("ledger.flip", AFTER)),
        upsert(1, "k0", Loses("store.upsert", BEFORE)),
    ),
    "reverse journal": (begins(Phase.REVERSING, "k0"), upsert(0, "k0")),
    "close bumps seq": (
        begins(Phase.READY, "k0"),
        *DIRTY_FOR_LONG,
        upsert(0, "k0", SENDING),
        works(0, READ),
        client_goes_on(0),
        worker_goes_on(0),
    ),
    "close checks reaped": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0", SENDING),
        passes(AGES_S),
        works(0),
        client_goes_on(0),
    ),
    "reap waits D": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0", Late()),
        passes(4.5),
        works(0),
        requests_arrive,
    ),
    "clear needs no open": (
        begins(Phase.READY, "k0"),
        *DIRTY_FOR_LONG,
        upsert(0, "k0", SENDING),
        works(0),
        client_goes_on(0),
    ),
    "clear needs same seq": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0"),
        works(0, READ),
        upsert(1, "k0"),
        worker_goes_on(0),
    ),
    "publish skips touched": OVERTAKEN_PIECE,
    "sync defers publish": (
        begins(Phase.BACKFILL, "k0", "k1"),
        works(0, Stands(AFTER, "ledger.publish"), ticks=2),
        delete(0, "k0"),
        works(1, ticks=2),
        worker_goes_on(0),
    ),
    "takeover waits D (claims)": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0"),
        works(0, Late(), ticks=1),
        upsert(1, "k0"),
        passes(5.2),
        works(1, ticks=3),
        requests_arrive,
    ),
    "takeover waits D (pieces)": (
        begins(Phase.BACKFILL, "k0", "k1"),
        works(0, Late(), ticks=3),
        passes(5.2),
        works(1, ticks=2),
        delete(0, "k0"),
        works(1, ticks=2),
        requests_arrive,
    ),
    "acknowledge after drain": UNDER_WAY,
    "an unanswered write is not over": (
        begins(None, "k0"),
        upsert(0, "k1", Late()),
        asks(LifeOfACollection.register),
        works(0),
        requests_arrive,
    ),
    "a claim is kept while a write of it may land": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0"),
        works(0, Late(), ticks=1),
        upsert(1, "k0"),
        works(1, ticks=3),
        requests_arrive,
    ),
    "a worker looks at its lease before it sends": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0"),
        works(0, READ),
        upsert(1, "k0"),
        passes(AGES_S),
        works(1),
        worker_goes_on(0),
    ),
    "a client looks at its deadline before it sends": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0", Stands(AFTER, "ledger.open")),
        passes(AGES_S),
        works(0),
        client_goes_on(0, is_answered=False),
    ),
    "a client looks at its lease before it writes": (
        begins(None, "k0"),
        upsert(0, "k1", Stands(AFTER, "model.embed_documents")),
        asks(LifeOfACollection.register),
        passes(AGES_S),
        works(0),
        client_goes_on(0),
    ),
    "publish skips what is touched and clean": OVERTAKEN_PIECE,
    "back-fill waits for scans that lag": (
        begins(None, "k0", lags=True),
        upsert(1, "k1"),
        asks(LifeOfACollection.register),
        works(0),
    ),
    "a claim is one owner's": (
        begins(Phase.READY, "k0"),
        upsert(0, "k0"),
        works(0, READ),
        upsert(1, "k0"),
        works(1),
        worker_goes_on(0),
    ),
}


def bypasses(key: str, *, serving: bool) -> Step:
    return lambda life: life.bypass_write(key, serving)


#: What strangers do to either field, before a cutover and after it.
STRANGE: Mapping[str, Sequence[Step]] = {
    "to the source": (begins(Phase.READY, "k0", strangers=True), bypasses("k0", serving=True)),
    "to the target": (begins(Phase.READY, "k0", strangers=True), bypasses("k0", serving=False)),
    "to what serves now": (begins(Phase.REVERSING, "k0", strangers=True), bypasses("k0", serving=True)),
    "to what served before": (begins(Phase.REVERSING, "k0", strangers=True), bypasses("k0", serving=False)),
}
