"""Aliases are made whole or not at all, and no two share a collection."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import undrift
from undrift.errors import FieldInUse, UndriftError

CONFIG = """
ledger = "sqlite:///undrift.db"
[stores.main]
url = "sqlite-vec:./vectors.db"
[models.old]
provider = "hashing"
[aliases.kb]
store = "main"
model = "old"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "undrift.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_an_alias_that_is_refused_leaves_the_configuration_as_it_was(config: Path) -> None:
    with undrift.open(config) as plane:
        plane.alias("kb").upsert([undrift.Document(id="1", text="one")])
        with pytest.raises(FieldInUse, match="belongs to alias kb"):
            plane.create_alias("other", store="main", collection="kb", model="old")
        assert config.read_text(encoding="utf-8") == CONFIG

        plane.create_alias("other", store="main", collection="another", model="old")
        assert "[aliases.other]" in config.read_text(encoding="utf-8")
        assert plane.alias("other").count() == 0


def test_an_empty_collection_of_another_alias_is_not_shared(config: Path) -> None:
    with undrift.open(config) as plane:
        assert plane.alias("kb").count() == 0
        with pytest.raises(FieldInUse, match="belongs to alias kb"):
            plane.create_alias("other", store="main", collection="kb", model="old")


def test_processes_that_use_a_new_alias_at_once_make_it_once(config: Path) -> None:
    planes = [undrift.open(config) for _ in range(4)]
    ready = threading.Barrier(len(planes))
    failures: list[UndriftError] = []

    def use(plane: undrift.ControlPlane, number: int) -> None:
        ready.wait()
        try:
            plane.alias("kb").upsert([undrift.Document(id=str(number), text=f"text {number}")])
        except UndriftError as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(plane, number)) for number, plane in enumerate(planes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert planes[0].alias("kb").count() == len(planes)
    for plane in planes:
        plane.close()
