from __future__ import annotations

import json
from pathlib import Path

import pytest

from undrift.demo.expected import state_of
from undrift.demo.scene import Scene, set_up, settings_in
from undrift.demo.script import Role, Script


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return set_up(tmp_path_factory.mktemp("library"), None)


def corpus(folder: Path, count: int) -> Path:
    path = folder / "corpus.jsonl"
    lines = [{"id": f"d{n}", "text": f"the text of document {n} " * 10, "metadata": {"n": n}} for n in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def of_users(folder: Path, count: int) -> Scene:
    (folder / "stage").mkdir()
    return set_up(folder / "stage", corpus(folder, count))


def all_keys(scene: Scene) -> list[str]:
    return [key for script in scene.casting for key in script.own]


def test_two_searchers_two_writers_and_a_deleter_play(library: Scene) -> None:
    roles = [script.role for script in library.casting]

    assert (roles.count(Role.SEARCHER), roles.count(Role.WRITER), roles.count(Role.DELETER)) == (2, 2, 1)
    assert len({script.name for script in library.casting}) == len(roles)


def test_no_actor_touches_an_answer_to_a_question(library: Scene) -> None:
    assert library.golden is not None
    judged = {id for query in library.golden.queries for id in query.relevant}
    touched = {key for script in library.casting for key in (*script.own, *script.shared)}

    assert judged <= library.initial.keys()
    assert touched <= library.initial.keys()
    assert not judged & touched


def test_a_document_belongs_to_one_actor_or_to_both_writers(library: Scene) -> None:
    shared = [set(script.shared) for script in library.casting if script.role is Role.WRITER]
    owned = all_keys(library)

    assert len(owned) == len(set(owned))
    assert shared[0] == shared[1] != set()
    assert not shared[0] & set(owned)


def test_the_texts_of_the_parts_are_those_of_the_documents(library: Scene) -> None:
    for script in library.casting:
        for key, text in (script.own | script.shared).items():
            assert library.initial[key].text == state_of(text, {}).text


def test_searchers_ask_the_golden_questions(library: Scene) -> None:
    assert library.golden is not None
    questions = [script.questions for script in library.casting if script.role is Role.SEARCHER]

    assert questions == [[query.text for query in library.golden.queries]] * 2


def test_the_initial_states_are_those_of_the_file_that_is_loaded(tmp_path: Path) -> None:
    scene = of_users(tmp_path, 30)

    assert scene.initial == {
        line["id"]: state_of(line["text"], line["metadata"])
        for line in map(json.loads, scene.documents.read_text().splitlines())
    }


def test_a_corpus_of_a_user_has_no_golden_questions_and_is_searched_for_its_own_words(tmp_path: Path) -> None:
    scene = of_users(tmp_path, 30)

    assert scene.golden is None
    assert set(scene.casting[0].questions) == {
        f"the text of document {n} the text of document {n} the text" for n in range(30)
    }


@pytest.mark.parametrize("count", [1, 2, 5, 9, 100])
def test_a_small_corpus_is_shared_out_too(tmp_path: Path, count: int) -> None:
    scene = of_users(tmp_path, count)
    owned = all_keys(scene)

    assert len(owned) == len(set(owned))
    assert 0 <= scene.never_deleted <= count
    assert all(script.questions for script in scene.casting if script.role is Role.SEARCHER)


def test_a_large_corpus_keeps_most_documents_as_they_are(library: Scene) -> None:
    assert library.never_deleted > len(library.initial) / 2


def test_settings_do_not_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has set the ledger of a production system must not migrate that."""
    monkeypatch.setenv("UNDRIFT_LEDGER", "sqlite:////somewhere/else.db")

    assert settings_in(tmp_path).settings.ledger == "sqlite:///undrift.db"


def test_the_settings_in_the_folder_are_those_that_are_used(tmp_path: Path) -> None:
    of_users(tmp_path, 3)
    config = settings_in(tmp_path / "stage")

    assert config.path.read_text() == config._text


def test_both_models_have_the_same_dimensions(tmp_path: Path) -> None:
    models = settings_in(tmp_path).settings.models

    assert [model.options["dimensions"] for model in models.values()] == [256, 256]


def test_a_part_is_read_as_it_was_saved(tmp_path: Path) -> None:
    part = Script(
        name="writer-1",
        role=Role.WRITER,
        folder=tmp_path,
        seed=3,
        pause_s=0.5,
        own={"a": "ü\n"},
        shared={"b": "x"},
        questions=["where?"],
    )
    part.save(tmp_path / "part.json")

    assert Script.load(tmp_path / "part.json") == part
