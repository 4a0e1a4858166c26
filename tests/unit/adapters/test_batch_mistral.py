"""What is sent to Mistral's batch API, and what comes back, as its client `mistralai` 3.7.0 has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from undrift.adapters.embedders.http.batch_mistral import MistralBatches
from undrift.domain.batch import JobId, Remote


def test_requests_are_as_mistral_documents_them() -> None:
    """As in the client `mistralai` 3.7.0: models/createbatchjobrequest.py and models/batchjob.py."""
    flavour, body = MistralBatches(), {"model": "mistral-embed", "input": ["a\u2028b"]}

    line = flavour.line("k1", body)
    job = flavour.job("file-1", JobId("j1"), body)

    assert json.loads(line) == {"custom_id": "k1", "body": {"input": ["a\u2028b"]}}
    assert line.isascii()
    assert job == {
        "input_files": ["file-1"],
        "endpoint": "/v1/embeddings",
        "model": "mistral-embed",
        "timeout_hours": 24,
        "metadata": {"undrift": "j1"},
    }


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("QUEUED", Remote.VALIDATING),
        ("RUNNING", Remote.IN_PROGRESS),
        ("SUCCESS", Remote.COMPLETED),
        ("FAILED", Remote.FAILED),
        ("TIMEOUT_EXCEEDED", Remote.EXPIRED),
        ("CANCELLATION_REQUESTED", Remote.CANCELLING),
        ("CANCELLED", Remote.CANCELLED),
    ],
)
def test_every_word_of_mistral_s_is_understood(word: str, state: Remote) -> None:
    shown: dict[str, Any] = {"id": "b1", "status": word, "created_at": 1_700_000_000, "input_files": ["file-1"]}

    assert MistralBatches().remote(shown).status is state


def test_a_word_that_is_not_known_is_no_state() -> None:
    with pytest.raises(ValueError, match="PAUSED"):
        MistralBatches().remote({"id": "b1", "status": "PAUSED"})


def test_lists_are_read_to_their_last_page() -> None:
    flavour, full = MistralBatches(), {"data": [{}] * 100}
    first = flavour.jobs_page()

    second = flavour.next_page(first, full)

    assert (first["page"], second) == ("0", {**first, "page": "1"})
    assert flavour.next_page(second or {}, {"data": [{}] * 99}) is None
