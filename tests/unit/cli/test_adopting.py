"""`undrift alias adopt` and `undrift alias audit` as a person or a program runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sqlite_vec")

from tests.unit.cli.running import Undrift, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.sqlite import Database
from undrift.adapters.stores.sqlite_vec import SqliteVecStore
from undrift.domain.record import NO_TAG, DocumentId, Record
from undrift.domain.route import VectorField
from undrift.domain.space import Metric, SpaceId

_CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
dimensions = 32
[models.new]
provider = "hashing"
dimensions = 32
seed = "new"
[models.wide]
provider = "hashing"
dimensions = 64
[models.paid]
provider = "openai"
name = "text-embedding-3-small"
dimensions = 32
usd_per_million_tokens = 0.02
"""
_WORDS = ["root", "leaf", "stem", "bark", "seed", "vine", "moss"]
TEXTS = {f"a{n:02}": f"{_WORDS[n % 7]} number {n} of the {_WORDS[(n * 3) % 5]}" for n in range(60)}
ADOPT = ("alias", "adopt", "kb", "--store", "main", "--collection", "articles", "--model")


def put(folder: Path, collection: str, texts: dict[str, str], *, seed: str = "", dimensions: int = 32) -> None:
    """Write a collection as a program that knows nothing of undrift does."""
    store = SqliteVecStore(Database(folder / "vectors.db"))
    place = VectorField(store="main", collection=collection, space=SpaceId(""))
    if store.describe(place) is None:
        store.create(place, dimensions=dimensions, metric=Metric.COSINE)
    if texts:
        model = HashingEmbedder(dimensions=dimensions, **({"seed": seed} if seed else {}))
        vectors = np.asarray(model.embed_documents(list(texts.values())))
        records = [
            Record(id=DocumentId(id), text=text, metadata={}, vector=vector, tag=NO_TAG)
            for (id, text), vector in zip(texts.items(), vectors, strict=True)
        ]
        store.upsert(place, records)
    store.close()


@pytest.fixture
def theirs(run: Undrift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Undrift:
    """The command beside a collection of somebody else."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "undrift.toml").write_text(_CONFIG, encoding="utf-8")
    put(tmp_path, "articles", TEXTS)
    return run


def nothing_was_made(run: Undrift, folder: Path) -> bool:
    return "[aliases" not in (folder / "undrift.toml").read_text() and not run("alias", "list", "--json").json


@pytest.mark.parametrize("tags", ["payload", "ledger"])
def test_a_collection_is_adopted_searched_audited_and_migrated(theirs: Undrift, tmp_path: Path, tags: str) -> None:
    adopted = theirs(*ADOPT, "old", "--tags", tags, "--json")

    assert (adopted.code, missing_keys("alias adopt", adopted.json)) == (0, [])
    assert (adopted.json["verdict"], adopted.json["tagged"], adopted.json["tags"]) == ("proven", len(TEXTS), tags)
    assert "[aliases.kb]" in (tmp_path / "undrift.toml").read_text()
    assert theirs("search", "kb", TEXTS["a07"], "-k", "1", "--json").json["hits"][0]["id"] == "a07"
    audited = theirs("alias", "audit", "kb", "--json")
    assert (audited.code, missing_keys("alias audit", audited.json)) == (0, [])
    assert (audited.json["verdict"], audited.json["records"], audited.json["untagged"]) == ("clean", len(TEXTS), 0)
    assert theirs("start", "kb", "--to", "new", "--json").json["phase"] == "ready"


def test_what_it_says_can_be_read_by_a_person(theirs: Undrift) -> None:
    adopted, audited = theirs(*ADOPT, "old"), theirs("alias", "audit", "kb")

    assert adopted.out.startswith("adopted kb: proven\n")
    assert "60 of 60 vectors are the model's, of all records" in adopted.out
    assert "undrift alias audit kb" in adopted.out
    assert audited.out.startswith("kb: clean\n")
    assert not adopted.err


def test_another_model_is_refused_with_3_and_the_right_one_is_named(theirs: Undrift, tmp_path: Path) -> None:
    refused = theirs(*ADOPT, "new", "--json")

    assert (refused.code, refused.error["kind"]) == (3, "GateFailed")
    assert "60 of 60 vectors are not what model new gives" in refused.error["detail"]
    assert refused.error["hint"] == "adopt with --model old"
    assert nothing_was_made(theirs, tmp_path)


def test_a_model_of_other_dimensions_is_refused_with_both_numbers(theirs: Undrift, tmp_path: Path) -> None:
    refused = theirs(*ADOPT, "wide", "--json")

    assert (refused.code, refused.error["kind"]) == (3, "GateFailed")
    assert "32 dimensions" in refused.error["detail"]
    assert "wide have 64" in refused.error["detail"]
    assert nothing_was_made(theirs, tmp_path)


def test_a_few_foreign_vectors_are_refused_accepted_and_found_by_every_audit(theirs: Undrift, tmp_path: Path) -> None:
    put(tmp_path, "articles", {id: TEXTS[id] for id in ("a03", "a21")}, seed="new")

    assert (theirs(*ADOPT, "old").code, nothing_was_made(theirs, tmp_path)) == (3, True)
    accepted = theirs(*ADOPT, "old", "--accept", "foreign", "--json")
    audited, shown = theirs("alias", "audit", "kb", "--json"), theirs("alias", "audit", "kb")

    assert (accepted.code, accepted.json["verdict"], accepted.json["foreign"]["ids"]) == (0, "mixed", ["a03", "a21"])
    assert (audited.code, shown.code) == (3, 3)
    assert (audited.json["verdict"], sorted(audited.json["foreign"]["ids"])) == ("foreign", ["a03", "a21"])
    assert shown.out.startswith("kb: foreign\n")


@pytest.mark.parametrize(
    ("words", "code", "kind", "said"),
    [
        (("nowhere", "old"), 4, "CollectionMissing", "has no collection nowhere"),
        (("empty", "old"), 2, "BadArgument", "is empty: there is nothing to adopt"),
        (("articles", "unheard-of"), 2, "UnknownModel", "unheard-of"),
        (("articles", "paid"), 3, "BudgetRequired", "--budget"),
        (("articles?as=haystack", "old"), 2, "BadConfig", "haystack"),
        (("articles?tags=nowhere", "old"), 2, "BadConfig", "nowhere"),
        (("articles?nonsense", "old"), 2, "BadConfig", "nonsense"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_what_cannot_be_adopted_is_told_and_changes_nothing(
    theirs: Undrift, tmp_path: Path, words: tuple[str, str], code: int, kind: str, said: str
) -> None:
    put(tmp_path, "empty", {})
    collection, model = words

    refused = theirs("alias", "adopt", "kb", "--store", "main", "--collection", collection, "--model", model, "--json")

    assert (refused.code, refused.error["kind"]) == (code, kind)
    assert said in " ".join(refused.error.values())
    assert nothing_was_made(theirs, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*ADOPT, "old", "--tags", "nowhere"), "'payload', 'ledger'"),
        ((*ADOPT, "old", "--accept", "everything"), "'foreign', 'metric', 'length', 'texts'"),
        ((*ADOPT, "old", "--sample", "-1"), "x>=0"),
        ((*ADOPT, "old", "--no-budget", "--budget-usd", "1"), "both given"),
        ((*ADOPT, "old", "--budget-usd", "a lot"), "a lot"),
        (("alias", "adopt", "kb", "--model", "old"), "--store"),
        (("alias", "adopt", "kb", "--store", "main"), "--model"),
        (("alias", "audit", "kb"), "no alias kb"),
        (("alias", "audit"), "NAME"),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, tuple) else None,
)
def test_garbage_is_refused_with_2_before_anything_is_looked_at(
    theirs: Undrift, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    refused = theirs(*words)

    assert refused.code == 2
    assert said in refused.err
    assert not refused.out
    assert "[aliases" not in (tmp_path / "undrift.toml").read_text()


def test_an_alias_that_is_there_is_not_adopted_over(theirs: Undrift) -> None:
    assert theirs(*ADOPT, "old").code == 0

    again = theirs(*ADOPT, "old", "--json")
    twice = theirs("alias", "adopt", "other", *ADOPT[3:], "old", "--json")

    assert (again.code, again.error["kind"]) == (2, "AlreadyExists")
    assert twice.code in {2, 3}
    assert "kb" in " ".join(twice.error.values())


def test_texts_that_are_elsewhere_are_named_with_the_command(theirs: Undrift, tmp_path: Path) -> None:
    write_lines(tmp_path / "texts.jsonl", [{"id": id, "text": text} for id, text in TEXTS.items()])

    gone = theirs(*ADOPT, "old", "--text", "jsonl:none.jsonl", "--json")
    wrong = theirs(*ADOPT, "old", "--text", "from a book", "--json")
    assert (gone.code, wrong.code, nothing_was_made(theirs, tmp_path)) == (2, 2, True)
    adopted = theirs(*ADOPT, "old", "--text", "jsonl:texts.jsonl", "--json")

    assert (adopted.code, adopted.json["verdict"]) == (0, "proven")
    assert 'text = "jsonl:texts.jsonl"' in (tmp_path / "undrift.toml").read_text()
