from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from undrift.demo.compiled import compiled_documents
from undrift.demo.corpus import golden_files, standard_library
from undrift.demo.docstrings import LibraryDocument, cleaned
from undrift.demo.parsed import parsed_documents
from undrift.errors import BadArgument


@pytest.fixture(scope="module")
def corpus() -> dict[str, LibraryDocument]:
    documents = list(standard_library())
    by_id = {document["id"]: document for document in documents}
    assert len(by_id) == len(documents), Counter(document["id"] for document in documents).most_common(3)
    return by_id


@pytest.fixture(scope="module")
def questions() -> dict[str, str]:
    lines = [json.loads(line) for line in golden_files()[0].read_text(encoding="utf-8").splitlines()]
    assert all(line.keys() == {"id", "text"} for line in lines)
    by_id = {line["id"]: line["text"] for line in lines}
    assert len(by_id) == len(lines)
    return by_id


@pytest.fixture(scope="module")
def judgements() -> list[dict[str, str]]:
    lines = golden_files()[1].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "query_id\tdoc_id\trelevance"
    return list(csv.DictReader(lines, delimiter="\t"))


def library(root: Path, sources: dict[str, str]) -> dict[str, LibraryDocument]:
    """Write Python sources below a folder and read what they document."""
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return {document["id"]: document for document in parsed_documents(root)}


def test_the_corpus_has_thousands_of_documents_of_every_kind(corpus: dict[str, LibraryDocument]) -> None:
    kinds = Counter(document["metadata"]["kind"] for document in corpus.values())

    assert 4_000 <= len(corpus) <= 9_000
    assert kinds.keys() == {"module", "class", "function", "method"}
    assert min(kinds.values()) > 100


@pytest.mark.long
def test_the_corpus_comes_in_the_order_of_its_ids_and_is_the_same_every_time(
    corpus: dict[str, LibraryDocument],
) -> None:
    assert list(corpus) == sorted(corpus)
    assert list(standard_library()) == list(corpus.values())


@pytest.mark.parametrize(
    ("identifier", "module", "kind", "title"),
    [
        ("json.loads", "json", "function", "function json.loads(s, *, cls=None, object_hook=None"),
        ("pathlib.Path.glob", "pathlib", "method", "method pathlib.Path.glob(pattern"),
        ("asyncio.gather", "asyncio", "function", "function asyncio.gather(*"),
        ("collections.abc.Mapping", "collections.abc", "class", "class collections.abc.Mapping"),
        ("collections.Counter", "collections", "class", "class collections.Counter(dict)"),
        ("os.path.join", "os.path", "function", "function os.path.join("),
        ("datetime.datetime.strptime", "datetime", "method", "method datetime.datetime.strptime"),
        ("xml.etree.ElementTree.parse", "xml.etree.ElementTree", "function", "function xml.etree.ElementTree.parse("),
        ("argparse", "argparse", "module", "module argparse\n\n"),
        ("hashlib", "hashlib", "module", "module hashlib\n\n"),
        ("str.split", "builtins", "method", "method str.split(sep=None, maxsplit=-1)\n\n"),
        ("list.append", "builtins", "method", "method list.append(object, /)\n\n"),
        ("sorted", "builtins", "function", "function sorted(iterable, /, *, key=None, reverse=False)\n\n"),
        ("open", "builtins", "function", "function open(file, mode='r'"),
        ("math.gcd", "math", "function", "function math.gcd(*integers)\n\n"),
        ("itertools.groupby", "itertools", "class", "class itertools.groupby(iterable, key=None)\n\n"),
        ("socket.socket.bind", "socket", "method", "method socket.socket.bind"),
        ("signal.signal", "signal", "function", "function signal.signal"),
    ],
)
def test_what_everybody_knows_is_found_under_the_name_everybody_knows(
    corpus: dict[str, LibraryDocument], identifier: str, module: str, kind: str, title: str
) -> None:
    document = corpus[identifier]

    assert document["metadata"] == {"module": module, "kind": kind}
    assert document["text"].startswith(title)


def test_every_document_says_something_about_a_public_name(corpus: dict[str, LibraryDocument]) -> None:
    for identifier, document in corpus.items():
        title, gap, docstring = document["text"].partition("\n\n")
        assert not any(part.startswith("_") for part in identifier.split(".")), identifier
        assert title.startswith(f"{document['metadata']['kind']} {identifier}")
        assert gap
        assert len(docstring) >= 20, identifier


def test_tests_and_applications_are_not_documentation_of_the_library(corpus: dict[str, LibraryDocument]) -> None:
    strangers = {"distutils", "ensurepip", "idlelib", "lib2to3", "pip", "test", "turtledemo"}

    assert not strangers & {identifier.partition(".")[0] for identifier in corpus}
    assert not [name for name in corpus if ".test." in name or ".tests." in name]


def test_sources_are_read_without_being_executed(tmp_path: Path) -> None:
    documents = library(
        tmp_path, {"antigravity.py": '"""Fly away, once more, with Python."""\nraise SystemExit("executed")\n'}
    )

    assert documents.keys() == {"antigravity"}


def test_sources_are_read_without_being_imported() -> None:
    program = """
import sys, sysconfig
from pathlib import Path
from undrift.demo.parsed import parsed_documents
root = Path(sysconfig.get_path("stdlib"))
before = set(sys.modules)
print(sum(1 for _ in parsed_documents(root)))
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("encodings.")))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment, text=True
    ).stdout.splitlines()

    # Reading a source in another encoding loads that codec, which the program leaves out.
    assert int(answer[0]) > 3_000
    assert answer[1:] == [""]


def test_a_name_is_documented_where_it_is_imported_from(tmp_path: Path) -> None:
    documents = library(
        tmp_path,
        {
            "asyncio/__init__.py": "from .tasks import *\nfrom ._hidden import Lamp as Light\n"
            "from .locks import Lock\n",
            "asyncio/tasks.py": '__all__ = ("gather",)\ndef gather(): "Collect what several things return."\n'
            'def inner(): "Not promised by the module to anybody."\n',
            "asyncio/_hidden.py": 'class Lamp:\n    def shine(self, far): "Send light in all directions."\n',
            "asyncio/locks.py": 'class Lock: "Keep others out for a while."\n',
            "_collections_abc.py": 'class Mapping: "Anything that maps keys to values."\n',
            "_strptime.py": 'def parse(): "Nobody passes this one on, so it is private."\n',
        },
    )

    assert documents.keys() == {
        "asyncio.Light.shine",
        "asyncio.Lock",
        "asyncio.gather",
        "asyncio.tasks.inner",
        "collections.abc.Mapping",
    }
    assert documents["asyncio.Light.shine"]["text"].startswith("method asyncio.Light.shine(far)\n")


def test_a_package_does_not_pass_on_what_its_all_leaves_out(tmp_path: Path) -> None:
    documents = library(
        tmp_path,
        {
            "json/__init__.py": '__all__ = ["loads"]\nfrom .decoder import decode\n',
            "json/decoder.py": 'def decode(): "Read one document from a text."\n',
        },
    )

    assert documents.keys() == {"json.decoder.decode"}


def test_an_alias_module_does_not_take_the_names_of_the_real_one(tmp_path: Path) -> None:
    documents = library(
        tmp_path,
        {
            "xml/__init__.py": "",
            "xml/alias.py": "from xml.real import *\n",
            "xml/real.py": 'def parse(): "Read one document from a file."\n',
        },
    )

    assert documents.keys() == {"xml.real.parse"}


def test_the_first_documented_definition_of_a_name_counts(tmp_path: Path) -> None:
    documents = library(
        tmp_path,
        {
            "queue.py": """
import sys
if sys.platform == "win32":
    def wait(handle): "Wait on the one operating system."
else:
    def wait(descriptor): "Wait on all the other operating systems."
try:
    import fast
except ImportError:
    class Queue:
        "Hand things from one to another."
        @property
        def size(self) -> int: "How many things are waiting in it."
        @size.setter
        def size(self, value): "Change how many things may wait."
        @staticmethod
        def make(first, second): "Make one out of two other ones."
        @classmethod
        async def later(cls, /, when=3, *rest): "Make one at a later time of day."
        def _hidden(self): "Something that nobody else may call."
        def short(self): "Too short."
""",
        },
    )

    assert {identifier: document["text"].partition("\n")[0] for identifier, document in documents.items()} == {
        "queue.wait": "function queue.wait(handle)",
        "queue.Queue": "class queue.Queue",
        "queue.Queue.size": "method queue.Queue.size",
        "queue.Queue.make": "method queue.Queue.make(first, second)",
        "queue.Queue.later": "method queue.Queue.later(when=3, *rest)",
    }


def test_a_link_that_leads_nowhere_and_a_stranger_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "json.py").symlink_to(tmp_path / "gone.py")

    documents = library(tmp_path, {"sitecustomize.py": '"""What an administrator put here."""\n'})

    assert documents == {}


def test_a_python_without_sources_is_told_what_else_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))

    with pytest.raises(BadArgument) as caught:
        next(standard_library())

    assert str(tmp_path) in caught.value.detail
    assert "--corpus" in caught.value.hint


def test_an_object_with_two_names_is_documented_once() -> None:
    identifiers = [document["id"] for document in compiled_documents()]

    assert len(set(identifiers)) == len(identifiers)
    assert {"OSError", "BlockingIOError"} <= set(identifiers)
    assert not {"IOError", "os.error", "socket.timeout", "io.open"} & set(identifiers)


def test_docstrings_lose_their_indentation_and_next_to_nothing_is_nothing() -> None:
    assert cleaned("Say hello to the world.\n\n        Loudly:\n            hello\n    ") == (
        "Say hello to the world.\n\nLoudly:\n    hello"
    )
    assert cleaned("Return x.") == ""
    assert cleaned(None) == ""


def test_there_are_many_questions_and_each_has_an_answer(
    questions: dict[str, str], judgements: list[dict[str, str]]
) -> None:
    assert len(questions) >= 120
    assert len(set(questions.values())) == len(questions)
    assert {line["relevance"] for line in judgements} == {"1", "2"}
    assert {line["query_id"] for line in judgements if line["relevance"] == "2"} == questions.keys()
    assert max(Counter((line["query_id"], line["doc_id"]) for line in judgements).values()) == 1


def test_no_question_gives_the_dotted_name_of_an_answer_away(
    questions: dict[str, str], judgements: list[dict[str, str]]
) -> None:
    given = [line for line in judgements if "." in line["doc_id"] and line["doc_id"] in questions[line["query_id"]]]

    assert given == []


def test_every_judged_document_is_in_the_corpus(
    corpus: dict[str, LibraryDocument], judgements: list[dict[str, str]]
) -> None:
    # Some builds of Python come without these C libraries, and then without the documentation of them.
    libraries = {"sqlite3": "_sqlite3", "zlib": "zlib"}
    absent = tuple(f"{name}." for name, part in libraries.items() if importlib.util.find_spec(part) is None)

    missing = {line["doc_id"] for line in judgements} - corpus.keys()

    assert {name for name in missing if not f"{name}.".startswith(absent)} == set()
