"""What the head of docs/how-to/fine-tune.md gains on judgements by people: `python -m benchmarks.fine_tune FOLDER`.

FOLDER has `corpus.jsonl.gz`, `queries.jsonl.gz`, `qrels_train.tsv.gz`, `qrels_dev.tsv.gz` and `qrels.tsv.gz`. Without
it, only the demo's own corpus is measured. The function that trains is taken from the page, so that the page shows what
is measured.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.adapters.clock import SystemClock
from undrift.adapters.embedders.wordllama import WordLlamaEmbedder
from undrift.demo.corpus import golden_files, standard_library
from undrift.domain.space import Metric
from undrift.flow.embed import EmbeddingDoor
from undrift.quality.golden import GoldenQuery, GoldenSet
from undrift.quality.paired import Gain, gains, nearest
from undrift.quality.ranking import Measures, measure

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "fine-tune.md"
#: Among which the number of steps is chosen, on queries that are neither trained nor measured.
STEPS = (0, 50, 100, 200, 400, 700)
#: The settings that the page has by default, for a corpus without queries to choose them by.
USUAL = 100

Vectors = NDArray[np.float32]
Grades = Mapping[str, Mapping[str, int]]


def train_of_page() -> Callable[..., NDArray[np.float64]]:
    """Return the function `train` as the page has it."""
    block = PAGE.read_text(encoding="utf-8").partition("<!-- file: head.py -->\n```python\n")[2].partition("\n```")[0]
    namespace: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), namespace)
    train: Callable[..., NDArray[np.float64]] = namespace["train"]
    return train


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Documents and queries with their vectors, float32 of shape (n, d) and (q, d)."""

    ids: Sequence[str]
    documents: Vectors
    queries: Mapping[str, Vectors]

    def measured(self, grades: Grades, matrix: NDArray[np.float64] | None) -> Measures:
        """Measure a head, or the model without one, on judged queries."""
        golden = GoldenSet(
            name="judged",
            queries=tuple(GoldenQuery(id=id, text=id, relevant=dict(found)) for id, found in grades.items()),
        )
        asked, documents = np.stack([self.queries[query.id] for query in golden.judged]), self.documents
        if matrix is not None:
            turn = matrix.T.astype(np.float32)
            asked, documents = asked @ turn, documents @ turn
        found = nearest(asked, documents, self.ids, metric=Metric.COSINE, k=10)
        return measure(golden, dict(zip((query.id for query in golden.judged), found, strict=True)))

    def pairs(self, grades: Grades) -> tuple[Vectors, Vectors, NDArray[np.int64]]:
        """Return a row for each relevant judgement: query, document, and the number of the query."""
        place = {id: row for row, id in enumerate(self.ids)}
        rows = [
            (number, self.queries[id], place[document])
            for number, (id, found) in enumerate(sorted(grades.items()))
            for document, grade in sorted(found.items())
            if grade > 0 and document in place
        ]
        return (
            np.stack([query for _, query, _ in rows]),
            self.documents[[row for _, _, row in rows]],
            np.array([number for number, _, _ in rows]),
        )


def embedded(documents: Sequence[tuple[str, str]], queries: Sequence[tuple[str, str]]) -> Collection:
    """Embed a collection with the public model."""
    door = EmbeddingDoor(WordLlamaEmbedder(), clock=SystemClock())
    return Collection(
        ids=[id for id, _ in documents],
        documents=door.documents([text for _, text in documents]).vectors,
        queries={id: door.query(text) for id, text in queries},
    )


def judged(folder: Path) -> tuple[int, Measures, Gain]:
    """Train on the training judgements, choose the steps by others, and measure on the last ones."""

    def read(name: str) -> list[dict[str, Any]]:
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def grades(name: str) -> Grades:
        found: dict[str, dict[str, int]] = {}
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            for line in list(file)[1:]:
                query, document, grade = line.split("\t")
                found.setdefault(query, {})[document] = int(grade)
        return found

    collection = embedded(
        [(row["id"], f"{row.get('title', '')} {row['text']}".strip()) for row in read("corpus.jsonl.gz")],
        [(row["id"], row["text"]) for row in read("queries.jsonl.gz")],
    )
    train = train_of_page()
    pairs, chosen, held_out = (
        collection.pairs(grades("qrels_train.tsv.gz")),
        grades("qrels_dev.tsv.gz"),
        grades("qrels.tsv.gz"),
    )
    heads = {steps: train(*pairs, steps=steps) for steps in STEPS}
    steps = max(STEPS, key=lambda one: collection.measured(chosen, heads[one]).ndcg.mean)
    before = collection.measured(held_out, None)
    return steps, before, gains(before, collection.measured(held_out, heads[steps]))["ndcg_at_10"]


def demo() -> tuple[float, Gain]:
    """Train on half of the demo's questions and measure on the other half, both ways."""
    asked, judgements = golden_files()
    questions = [json.loads(line) for line in asked.read_text(encoding="utf-8").splitlines()]
    grades: dict[str, dict[str, int]] = {}
    for line in judgements.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(grade)
    collection = embedded(
        [(document["id"], document["text"]) for document in standard_library()],
        [(question["id"], question["text"]) for question in questions],
    )
    halves = [{id: grades[id] for id in sorted(grades)[start::2]} for start in range(2)]
    differences: list[float] = []
    means = []
    for trained, held_out in (halves, halves[::-1]):
        head = train_of_page()(*collection.pairs(trained), steps=USUAL)
        before = collection.measured(held_out, None)
        differences += gains(before, collection.measured(held_out, head))["ndcg_at_10"].differences.tolist()
        means.append(before.ndcg.mean * len(before.by_query))
    return sum(means) / len(differences), Gain.of(differences)


def main() -> None:
    """Print what was measured, a line of the page's table each."""
    if len(sys.argv) > 1:
        steps, before, gain = judged(Path(sys.argv[1]))
        print(_row(f"{Path(sys.argv[1]).name}, {steps} steps", before.ndcg.mean, gain))
    mean, gain = demo()
    print(_row(f"the demo's own, {USUAL} steps", mean, gain))


def _row(name: str, before: float, gain: Gain) -> str:
    return (
        f"| {name} | {len(gain.differences)} | {before:.4f} | {before + gain.mean:.4f} | {gain.mean:+.4f} "
        f"({gain.low:+.4f} to {gain.high:+.4f}) | {gain.p_worse(0.0):.4f} |"
    )


if __name__ == "__main__":
    main()
