"""What is returned most is known, in bounded memory."""

from __future__ import annotations

import random

from undrift.flow.popular import Popular


def test_the_documents_returned_most_come_with_their_counts() -> None:
    popular = Popular(2)
    for ids in (["a", "b"], ["a", "c"], ["b", "a"]):
        popular.saw(ids)

    assert popular.top() == {}, "counted before anybody had the time"
    popular.fold()
    assert popular.top() == {"a": 3, "b": 2}


def test_what_stands_out_is_found_among_any_number_of_others_in_bounded_memory() -> None:
    """The promise of the summary: no count is too large, and too small by at most n / room."""
    random.seed(5)
    popular, truth = Popular(10), {f"hot{rank}": 600 - 20 * rank for rank in range(10)}
    stream = [id for id, times in truth.items() for _ in range(times)] + [f"cold{n}" for n in range(5_000)]
    random.shuffle(stream)
    for start in range(0, len(stream), 10):
        popular.saw(stream[start : start + 10])
        popular.fold()

    found = popular.top()

    assert set(found) == set(truth)
    assert all(truth[id] - len(stream) / 40 <= count <= truth[id] for id, count in found.items())
    assert len(popular._counts) <= 80 + 10
