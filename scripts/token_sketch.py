"""Makes the sketch of a tokenizer's vocabulary that undrift ships, and measures it against the tokenizer itself.

    python -m scripts.token_sketch VOCABULARY.tiktoken OUT.sketch COLLECTION.jsonl.gz ...

The vocabulary is a list of base64 pieces with their ranks, as OpenAI publishes `cl100k_base.tiktoken` and the package
bpe-openai carries `voyage3_base.tiktoken`. The collections are files of {"title", "text"}; they are only measured on: a
sketch holds nothing of any text.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from pathlib import Path

from undrift.domain.pieces import Sketch, sketch_of

#: Where both tokenizers cut a text first.
_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"""
    r"""\s+(?!\S)|\s"""
)
#: Texts that are measured of each collection.
_MOST = 2000


def main(vocabulary: Path, out: Path, collections: list[Path]) -> None:
    """Write the sketch, and print how far it is off on each collection."""
    lines = (line.split() for line in vocabulary.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in lines}
    made = sketch_of(ranks)
    out.write_bytes(made.bits)
    said = [f"{out}: {len(made.bits):,} bytes for {len(ranks):,} pieces"]
    errors = [_error(made, ranks, path) for path in collections]
    said += [f"{error:+8.2%}  {path.parent.name}" for path, error in zip(collections, errors, strict=True)]
    if errors:
        usual = (sum(error**2 for error in errors) / len(errors)) ** 0.5
        said.append(f"at most {max(map(abs, errors)):.2%}, usually {usual:.2%}")
    sys.stdout.write("\n".join(said) + "\n")


def _error(sketch: Sketch, ranks: dict[bytes, int], path: Path) -> float:
    import tiktoken

    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(_MOST), strict=False)]
    texts = [" ".join(filter(None, (row.get("title"), row["text"]))) for row in rows]
    encoding = tiktoken.Encoding("sketched", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
    truth = sum(map(len, encoding.encode_ordinary_batch(texts, num_threads=1)))
    return sum(map(sketch.count, texts)) / truth - 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
