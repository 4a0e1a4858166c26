"""The function that the how-to shows is the one that the benchmark measures, and it learns."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.fine_tune import Collection, train_of_page
from undrift.quality.paired import gains

pytest.importorskip("pytrec_eval")


def test_the_head_of_the_page_learns_what_queries_and_documents_call_by_other_names() -> None:
    generator = np.random.default_rng(0)
    documents = generator.normal(size=(60, 16)).astype(np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    # Queries say the same as their documents in another order of the dimensions, with some noise.
    turn = np.roll(np.eye(16, dtype=np.float32), 3, axis=0)
    queries = documents @ turn.T + generator.normal(0, 0.05, (60, 16)).astype(np.float32)
    collection = Collection(
        ids=[f"d{row}" for row in range(60)],
        documents=documents,
        queries={f"q{row}": queries[row] for row in range(60)},
    )
    grades = {f"q{row}": {f"d{row}": 1} for row in range(60)}
    trained = dict(list(grades.items())[:40])
    held_out = dict(list(grades.items())[40:])

    pairs = collection.pairs(trained)
    head = train_of_page()(*pairs, steps=300, rate=1e-2)

    assert [len(part) for part in pairs] == [40, 40, 40]
    gain = gains(collection.measured(held_out, None), collection.measured(held_out, head))["ndcg_at_10"]
    assert gain.mean > 0.1, gain
    assert gain.is_no_worse(0.0)
