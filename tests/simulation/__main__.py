"""Run seeds of the simulation: `python -m tests.simulation 42 --trace`, `--seeds 0:10000 --jobs 2`, or `--mutants`."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.seeds import Tally, share_of, story

#: Seeds that one process of several takes at a time.
_SHARE = 250


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; 1 when a promise was broken."""
    parser = ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="one seed, told at length")
    parser.add_argument("--trace", action="store_true", help="every event of the seed, not only the last")
    parser.add_argument("--seeds", metavar="FROM:TO", help="many seeds, counted")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes")
    parser.add_argument("--mutants", action="store_true", help="which layer of tests notices which missing rule")
    given = parser.parse_args(arguments)
    if given.mutants:
        from tests.simulation.layers import table

        for line in table():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        return 0
    if given.seeds:
        start, _, end = given.seeds.partition(":")
        return _many(range(int(start or 0), int(end)), jobs=given.jobs)
    if given.seed is None:
        parser.error("name a seed, or --seeds FROM:TO, or --mutants")
    told = story(given.seed, last=None) if given.trace else story(given.seed)
    sys.stdout.write(told)
    return 0 if "every promise is kept" in told else 1


def _many(seeds: range, *, jobs: int) -> int:
    began = time.monotonic()
    shares = [seeds[start : start + _SHARE] for start in range(0, len(seeds), _SHARE)]
    total = Tally()
    if jobs == 1:
        for share in shares:
            total.take(share_of(share))
    else:
        # Not forked: the threads of a simulation do not go along.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            for tally in pool.map(share_of, shares):
                total.take(tally)
    for seed in total.broken[:3]:
        sys.stdout.write(story(seed) + "\n")
    sys.stdout.write(f"{total}\n{time.monotonic() - began:.0f} s\n")
    return 1 if total.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
