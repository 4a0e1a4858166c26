"""Serves models on this machine as a provider would: `python -m undrift.testing.provider toy=wordllama`.

Press Ctrl-C to stop it. What it was asked for is counted when it ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.adapters.embedders.wordllama import WordLlamaEmbedder
from undrift.cli.render import Screen
from undrift.errors import UndriftError, UnknownModel
from undrift.ports.embedder import Embedder
from undrift.testing.provider.limits import AccountLimits
from undrift.testing.provider.service import EmbeddingProvider

#: What a model may be made of.
_KINDS: dict[str, Callable[[int], Embedder]] = {
    "wordllama": lambda dimensions: WordLlamaEmbedder(dimensions=dimensions),
    "hashing": lambda dimensions: HashingEmbedder(dimensions=dimensions),
}


def _model(words: str) -> tuple[str, Embedder]:
    """Read NAME=KIND or NAME=KIND:DIMENSIONS."""
    name, _, made_of = words.partition("=")
    kind, _, dimensions = made_of.partition(":")
    if not name or kind not in _KINDS or not (dimensions or "256").isdigit():
        raise argparse.ArgumentTypeError(f"{words!r} is no model: write NAME=wordllama, or NAME=hashing:256")
    return name, _KINDS[kind](int(dimensions or 256))


def _after(words: str) -> tuple[str, int]:
    """Read NAME=ANSWERS."""
    name, _, answers = words.rpartition("=")
    if not name or not answers.isdigit():
        raise argparse.ArgumentTypeError(f"{words!r} is not NAME=ANSWERS, such as toy=100")
    return name, int(answers)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m undrift.testing.provider",
        description="Serve embedding models on this machine, in the dialects of OpenAI, Azure, Cohere, Gemini, Vertex, "
        "Bedrock and Ollama.",
    )
    parser.add_argument("models", nargs="+", type=_model, metavar="NAME=KIND", help="such as toy=wordllama:128")
    parser.add_argument("--port", type=int, default=8900, help="0 for any that is free")
    parser.add_argument("--api-key-file", type=Path, help="the only key that is let in; everybody is without it")
    parser.add_argument("--requests-per-min", type=float, help="requests in a minute")
    parser.add_argument("--tokens-per-min", type=float, help="tokens in a minute")
    parser.add_argument("--most-texts", type=int, default=2048, help="texts in a request")
    parser.add_argument("--most-tokens", type=int, default=8192, help="tokens of a text")
    parser.add_argument("--retire", action="append", default=[], type=_after, metavar="NAME=ANSWERS")
    parser.add_argument("--change", action="append", default=[], type=_after, metavar="NAME=ANSWERS")
    parser.add_argument("--sunset", action="append", default=[], metavar="NAME=DATE", help="as HTTP writes dates")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> None:
    """Serve until interrupted.

    Raises:
        UnknownModel: something is to happen to a model that is not served.
    """
    asked = _arguments(words)
    models = dict(asked.models)
    provider = EmbeddingProvider(
        models,
        api_key=asked.api_key_file.read_text(encoding="utf-8").strip() if asked.api_key_file else None,
        port=asked.port,
        most_texts=asked.most_texts,
        most_tokens=asked.most_tokens,
        limits=AccountLimits(requests_per_min=asked.requests_per_min, tokens_per_min=asked.tokens_per_min),
    )
    try:
        for name, answers in asked.retire:
            provider.retire(name, after=answers)
        for name, answers in asked.change:
            dimensions = models[name].space.dimensions
            provider.swap(name, HashingEmbedder(dimensions=dimensions, seed="changed"), after=answers)
        for announced in asked.sunset:
            name, _, date = announced.partition("=")
            provider.announce(name, {"Sunset": date})
    except KeyError as error:
        provider.stop()
        raise UnknownModel(f"there is no model {error} here", f"there are {', '.join(models)}") from error
    screen = Screen()
    screen.text(f"serving {', '.join(models)} at {provider.url}")
    try:
        provider.serve_forever()
    except KeyboardInterrupt:
        screen.text(f"{len(provider.requests)} requests")
    finally:
        provider.stop()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UndriftError as refused:
        Screen().error(refused)
        sys.exit(refused.exit_code)
