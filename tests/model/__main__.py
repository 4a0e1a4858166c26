"""Search one scenario and tell what was found: `python -m tests.model 'U||D' --without mark_before_write`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from tests.model.explorer import LIMIT
from tests.model.promises import search, search_the_end
from tests.model.rules import ALL, Rule
from tests.model.scenario import Cutover, Deferral, Journaling, Scenario, Sending, clients


def report(arguments: Sequence[str]) -> str:
    """Do what the command line asks for.

    Returns:
        The scenario, and what the search has found in it.
    """
    parser = ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("writes", help="U upsert, D delete, ; then, || at the same time by another client")
    parser.add_argument("--flips", type=int, default=1, help="1: cutover; 2: and rollback; 3: and cutover again")
    parser.add_argument("--faults", type=int, default=1, help="how many crashes and false suspicions may happen")
    parser.add_argument("--cutover", choices=[str(kind) for kind in Cutover], default=str(Cutover.LIVE))
    parser.add_argument("--late-sends", action="store_const", const=Sending.LATE, default=Sending.IN_TIME)
    parser.add_argument("--per-chunk", action="store_const", const=Deferral.CHUNK, default=Deferral.KEY)
    parser.add_argument(
        "--one-transaction",
        action="store_const",
        const=Journaling.ONE_TRANSACTION,
        default=Journaling.THREE_STEPS,
    )
    parser.add_argument("--without", action="append", choices=[str(rule) for rule in Rule], default=[], metavar="RULE")
    parser.add_argument(
        "--at-the-end",
        action="store_const",
        const=search_the_end,
        default=search,
        dest="search",
        help="look only for damage that stays, not for searches that show what was overruled",
    )
    parser.add_argument("--limit", type=int, default=LIMIT, help="give up after so many states")
    given = parser.parse_args(arguments)
    scenario = Scenario(
        clients=clients(given.writes),
        flips=given.flips,
        faults=given.faults,
        cutover=Cutover(given.cutover),
        sending=given.late_sends,
        deferral=given.per_chunk,
        journaling=given.one_transaction,
        rules=ALL - {Rule(rule) for rule in given.without},
    )
    return f"{scenario}\n{given.search(scenario, limit=given.limit)}\n"


if __name__ == "__main__":
    sys.stdout.write(report(sys.argv[1:]))
