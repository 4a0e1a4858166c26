"""Whatever a seed lets happen, every promise is kept: the short form of `make simulate`."""

from __future__ import annotations

import pytest

from tests.simulation.seeds import run, story
from undrift.testing.simulation import Hands

SEEDS = range(200)
SHARES = [SEEDS[start : start + 100] for start in range(0, len(SEEDS), 100)]


@pytest.mark.parametrize("seeds", SHARES, ids=lambda seeds: f"from-{seeds.start}")
def test_every_promise_is_kept(seeds: range, hands: Hands) -> None:
    tally = run(seeds, hands)

    assert not tally.broken, "\n".join(story(seed) for seed in tally.broken[:2])
    # A simulation in which nothing happens would keep every promise.
    assert tally.counts["acknowledged"] > 10 * len(seeds)
    assert min(tally.counts[what] for what in ("kills", "stops", "cutover", "rollback_now", "cancel")) > 0
