"""`python -m tests.torture`, which is `make torture`: torture every world until so many processes were killed."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from tests.torture.nemesis import Wrath
from tests.torture.nursery import Nursery
from tests.torture.rounds import Outcome, play_round
from tests.torture.tally import ROUNDS_OF_A_WORLD, Tally
from tests.torture.worlds import KINDS, is_possible, world


def main() -> int:
    """Run to the end; the exit status is 1 when a promise was broken."""
    options = _options()
    path = options.tally or Path(tempfile.gettempdir()) / f"undrift-torture-{options.seed}.json"
    tally = Tally.at(path, options.seed)
    kinds = [name for name in options.worlds.split(",") if is_possible(KINDS[name])]
    if not kinds:
        sys.stderr.write("none of these worlds is possible here; install the extras embedded and postgres\n")
        return 2
    _say(f"seed {tally.seed}, worlds {', '.join(kinds)}, tally {path}")
    if tally.kills:
        _say(f"going on after {tally.line()}")
    wrath = Wrath(kills_per_s=options.kills_per_s)
    stop = threading.Event()
    lanes = [
        threading.Thread(
            target=_lane, args=(kinds[lane:] + kinds[:lane], tally, options.kills, wrath, stop), daemon=True
        )
        for lane in range(options.lanes)
    ]
    try:
        for lane in lanes:
            lane.start()
        for lane in lanes:
            while lane.is_alive():
                lane.join(0.5)
    except KeyboardInterrupt:
        stop.set()
        _say("stopped; the same command goes on from here")
        for lane in lanes:
            lane.join()
    _say(tally.table())
    _say(tally.line())
    for violation in tally.violations:
        _say(f"VIOLATION {violation}")
    return 1 if tally.violations else 0


def _lane(kinds: list[str], tally: Tally, kills: int, wrath: Wrath, stop: threading.Event) -> None:
    """Torture one world after the other."""
    turn = 0
    while not _over(tally, kills, stop):
        kind = KINDS[kinds[turn % len(kinds)]]
        turn += 1
        bad: list[Outcome] = []
        try:
            with Nursery() as nursery, world(kind, keep=lambda bad=bad: bool(bad)) as made:  # type: ignore[misc]
                for _ in range(ROUNDS_OF_A_WORLD):
                    if _over(tally, kills, stop):
                        break
                    seed = random.Random(f"{tally.seed}-{tally.next_round()}").randrange(2**31)
                    outcome = play_round(made, nursery, seed, wrath)
                    if outcome.violations:
                        bad.append(outcome)
                        outcome.violations.append(f"its histories and files are in {made.folder}: {outcome.stories}")
                    tally.add(kind.name, outcome)
                    _say(f"{time.strftime('%H:%M:%S')} {kind.name}: {tally.line()}")
                    if bad:
                        break
        except Exception:
            # What failed is the torture itself; it says so, and counts as no proof.
            outcome = Outcome(seed=0, violations=[f"the torture failed: {traceback.format_exc()}"])
            tally.add(kind.name, outcome)
            return


def _over(tally: Tally, kills: int, stop: threading.Event) -> bool:
    return stop.is_set() or tally.kills >= kills or len(tally.violations) > 50


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="end after so many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="chooses everything that is chosen (default: %(default)s)")
    parser.add_argument("--worlds", default=",".join(KINDS), help="some of %(default)s")
    parser.add_argument("--lanes", type=int, default=2, help="worlds at a time (default: %(default)s)")
    parser.add_argument("--kills-per-s", type=float, default=6.0, help="tries from outside (default: %(default)s)")
    parser.add_argument("--tally", type=Path, help="where the account is kept; the same file goes on with it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
