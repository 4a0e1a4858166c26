"""The model of the package `wordllama` as its own code computes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def load() -> Any:
    """Load the model; its default loading looks for the tokenizer in another folder and turns to the network."""
    from wordllama import WordLlama

    found = importlib.util.find_spec("wordllama")
    assert found is not None
    assert found.origin is not None
    return WordLlama.load(cache_dir=Path(found.origin).parent, disable_download=True)
