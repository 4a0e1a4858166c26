"""Change the embedding model behind a live vector search without downtime, and with a way back."""

from __future__ import annotations

__version__ = "0.1.0"
