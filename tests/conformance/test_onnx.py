"""Models in ONNX files: the weights of WordLlama as a graph, and graphs made here, each against its sum by hand."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

import onnx

from undrift.adapters.embedders.onnx import OnnxEmbedder, Pooling, _of_one_length
from undrift.adapters.embedders.wordllama import WordLlamaEmbedder, _load
from undrift.config import load
from undrift.control import ControlPlane
from undrift.control.ancestry import Training
from undrift.errors import BadArgument, EmbedderRejected, MissingExtra, TextTooLong
from undrift.ports.embedder import Embedder
from undrift.testing.embedders import EmbedderConformance

#: The vocabulary of the small models: the first two stand around every text.
WORDS = ("[CLS]", "[SEP]", "[UNK]", "ferry", "quay", "harbour", "light", "sea", "late", "x")
D = 8
TABLE = np.random.default_rng(7).normal(size=(len(WORDS), D)).astype(np.float32)


def write_graph(path: Path, table: Any, *, pools: bool = False, extra: str = "token_type_ids", rank: int = 3) -> None:
    """Write a graph that looks up each token's vector, and adds 0 for another input that it asks for."""
    helper, kinds = onnx.helper, onnx.TensorProto
    ids = helper.make_tensor_value_info("input_ids", kinds.INT64, ["batch", "tokens"])
    inputs = [
        ids,
        *(helper.make_tensor_value_info(name, kinds.INT64, ["batch", "tokens"]) for name in [extra] if extra),
    ]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["found"])]
    initializers = [onnx.numpy_helper.from_array(np.asarray(table, dtype=np.float32), "table")]
    if extra:
        zeros = np.zeros((2 if extra == "token_type_ids" else 512, table.shape[1]), dtype=np.float32)
        initializers.append(onnx.numpy_helper.from_array(zeros, "types"))
        nodes.append(helper.make_node("Gather", ["types", extra], ["typed"]))
        nodes.append(helper.make_node("Add", ["found", "typed"], ["last_hidden_state"]))
    else:
        nodes.append(helper.make_node("Identity", ["found"], ["last_hidden_state"]))
    name, axes = "last_hidden_state", ["batch", "tokens", table.shape[1]]
    if pools:
        initializers.append(onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"))
        nodes.append(helper.make_node("ReduceMean", ["last_hidden_state", "axis"], ["pooled"], keepdims=0))
        name, axes = "pooled", ["batch", table.shape[1]]
    output = helper.make_tensor_value_info(name, kinds.FLOAT, axes)
    graph = helper.make_graph(nodes, "small", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def write_small(folder: Path, **options: Any) -> Path:
    """Write a model whose text is its words between two marks."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"hidden_size": D}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 12}), encoding="utf-8")
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "x ", "passage": ""}}), encoding="utf-8"
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    write_graph(folder / "onnx" / "model.onnx", TABLE, **options)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real weights of WordLlama at 64 dimensions, as a graph."""
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        pytest.skip("wordllama is not installed")
    package = Path(next(iter(found.submodule_search_locations)))
    folder = tmp_path_factory.mktemp("static")
    _, table = _load(package, 64)
    write_graph(folder / "model.onnx", table, extra="")
    tokenizer = json.loads((package / "tokenizers" / "l2_supercat_tokenizer_config.json").read_text(encoding="utf-8"))
    # WordLlama leaves out the mark at the beginning.
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "config.json").write_text('{"hidden_size": 64}', encoding="utf-8")
    return folder


def test_real_weights_give_the_vectors_of_their_own_adapter(static: Path) -> None:
    model = OnnxEmbedder(path=str(static), pooling="mean")
    texts = [*EmbedderConformance.TEXTS, "a longer text " * 300]

    np.testing.assert_allclose(
        model.embed_documents(texts), WordLlamaEmbedder(dimensions=64).embed_documents(texts), atol=1e-5
    )
    assert model.count_tokens(texts) == WordLlamaEmbedder().count_tokens(texts)


class TestStaticGraph(EmbedderConformance):
    folder: ClassVar[Path]

    def setup_method(self) -> None:
        """Wait for the fixture, which comes later."""

    @pytest.fixture(autouse=True)
    def _model(self, static: Path) -> None:
        TestStaticGraph.folder = static
        super().setup_method()

    def make_embedder(self) -> Embedder:
        return OnnxEmbedder(path=str(self.folder), name="static", pooling=Pooling.MEAN, max_tokens=256, threads=1)


@pytest.mark.parametrize(
    ("pooling", "of_ferry_and_quay"),
    [
        ("mean", (TABLE[0] + TABLE[3] + TABLE[4] + TABLE[1]) / 4),
        ("cls", TABLE[0]),
        ("last", TABLE[1]),
    ],
)
def test_the_vectors_of_tokens_become_one(small: Path, pooling: str, of_ferry_and_quay: Any) -> None:
    model = OnnxEmbedder(path=str(small), pooling=pooling, normalized=False)

    # Beside a longer text: padding must not count.
    vectors = model.embed_documents(["ferry quay", "harbour light sea late x"])

    np.testing.assert_allclose(vectors[0], of_ferry_and_quay, atol=1e-6)


def test_a_graph_may_do_it_by_itself(tmp_path: Path) -> None:
    folder = write_small(tmp_path / "pooled", pools=True)
    model = OnnxEmbedder(path=str(folder), pooling="none", normalized=False)

    np.testing.assert_allclose(model.embed_query("ferry"), TABLE[[0, 3, 1]].mean(axis=0), atol=1e-6)
    with pytest.raises(EmbedderRejected, match="no output of 3 axes") as caught:
        OnnxEmbedder(path=str(folder)).embed_query("ferry")
    assert 'pooling = "none"' in caught.value.hint


def test_what_the_files_say_is_the_space(small: Path) -> None:
    space = OnnxEmbedder(path=str(small)).space

    assert (space.channel, space.model, space.dimensions, space.max_tokens) == ("onnx", "small", D, 12)
    assert (space.document_prefix, space.query_prefix) == ("", "x ")
    assert space.revision.startswith("sha256-")
    cut = OnnxEmbedder(path=str(small), dimensions=4).space
    assert (cut.dimensions, cut.cut) == (4, 4)


def test_another_graph_is_another_space(small: Path) -> None:
    before = OnnxEmbedder(path=str(small)).space
    write_graph(small / "onnx" / "model_quantized.onnx", np.round(TABLE))

    assert OnnxEmbedder(path=str(small)).space == before
    assert OnnxEmbedder(path=str(small), file="onnx/model_quantized.onnx").space.id != before.id


def test_a_graph_says_its_dimensions_where_no_file_does(small: Path) -> None:
    (small / "config.json").unlink()

    assert OnnxEmbedder(path=str(small)).space.dimensions == D


def test_a_long_text_is_refused_or_cut_with_its_end_mark(small: Path) -> None:
    long = "ferry " * 20
    with pytest.raises(TextTooLong, match="22 tokens is longer than the 12"):
        OnnxEmbedder(path=str(small)).embed_documents([long])

    cut = OnnxEmbedder(path=str(small), truncation="cut", normalized=False)
    np.testing.assert_allclose(cut.embed_documents([long])[0], (TABLE[0] + 10 * TABLE[3] + TABLE[1]) / 12, atol=1e-5)
    # A text that fits is not touched by the one that did not.
    np.testing.assert_allclose(cut.embed_documents([long, "ferry"])[1], TABLE[[0, 3, 1]].mean(axis=0), atol=1e-6)


def test_positions_are_counted_for_graphs_that_ask(tmp_path: Path) -> None:
    folder = write_small(tmp_path / "positions", extra="position_ids")

    assert OnnxEmbedder(path=str(folder)).embed_query("ferry").shape == (D,)


def test_an_input_that_nobody_has_is_named(tmp_path: Path) -> None:
    folder = write_small(tmp_path / "odd", extra="pixel_values")

    with pytest.raises(EmbedderRejected, match="wants an input") as caught:
        OnnxEmbedder(path=str(folder)).embed_query("ferry")
    assert "pixel_values" in caught.value.detail


def test_texts_of_one_length_are_computed_together_and_none_is_lost() -> None:
    ids = [[0] * length for length in (5, 9000, 7, 9000, 3)]
    groups = list(_of_one_length(ids))

    assert groups == [[1], [3], [2, 0, 4]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda folder: (folder / "onnx" / "model.onnx").unlink(), "no model.onnx"),
        (lambda folder: (folder / "1_Pooling" / "config.json").unlink(), "set pooling"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "2_Dense").mkdir(), "dense layer"),
    ],
    ids=["tokenizer", "graph", "pooling", "config", "dense"],
)
def test_a_folder_that_is_no_model_is_described(small: Path, spoil: Any, words: str) -> None:
    spoil(small)

    with pytest.raises(BadArgument) as caught:
        OnnxEmbedder(path=str(small))
    assert words in str(caught.value)


def test_a_damaged_graph_is_named(small: Path) -> None:
    (small / "onnx" / "model.onnx").write_bytes(b"rubbish")

    with pytest.raises(EmbedderRejected, match=r"model\.onnx cannot be loaded"):
        OnnxEmbedder(path=str(small)).embed_query("ferry")


def test_a_gpu_that_is_not_there_is_named(small: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one")
    with pytest.raises(MissingExtra, match="onnxruntime has no cuda here"):
        OnnxEmbedder(path=str(small), device="cuda").embed_query("ferry")


def test_more_dimensions_or_tokens_than_there_are_are_refused(small: Path) -> None:
    with pytest.raises(BadArgument, match="8 dimensions"):
        OnnxEmbedder(path=str(small), dimensions=9)
    with pytest.raises(BadArgument, match="at most 12 tokens"):
        OnnxEmbedder(path=str(small), max_tokens=13)
    with pytest.raises(BadArgument, match="no device"):
        OnnxEmbedder(path=str(small), device="tpu")


def test_a_folder_is_registered_as_a_fine_tuned_model_by_the_hash_of_its_graph(static: Path, tmp_path: Path) -> None:
    (tmp_path / "undrift.toml").write_text("")
    with ControlPlane(load(tmp_path / "undrift.toml")) as plane:
        shown = plane.register_model("graph", str(static), Training(base="l2_supercat"), {"pooling": "mean"})

        assert (shown["provider"], shown["checkpoint"]["base"]) == ("onnx", "l2_supercat")
        assert shown["checkpoint"]["hash"] == shown["revision"] == plane.require_servable("graph").space.revision
