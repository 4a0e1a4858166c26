"""The verb `catalogue`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.running import CONFIG, Undrift, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.testing.provider import EmbeddingProvider

HEAD = "channel,model,region,attribute,value,precision,source,seen,confidence\n"


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    with EmbeddingProvider({"text-embedding-004": HashingEmbedder(dimensions=768)}) as running:
        yield running


@pytest.fixture
def owner(undrift: Undrift, tmp_path: Path, provider: EmbeddingProvider) -> Undrift:
    """A collection of vectors of a model that has ended on the channel where it was called."""
    model = (
        f'[models.ended]\nprovider = "openai"\nbase_url = "{provider.url}"\nname = "text-embedding-004"\n'
        'dimensions = 768\nchannel = "gemini-api"\n'
    )
    (tmp_path / "undrift.toml").write_text(CONFIG.replace('model = "old"', 'model = "ended"') + model)
    write_lines(tmp_path / "some.jsonl", [{"id": f"d{n}", "text": f"text number {n}"} for n in range(40)])
    assert undrift("put", "kb", "some.jsonl").code == 0
    return undrift


def test_an_end_is_shown_with_what_it_means_for_the_vectors_there_are(owner: Undrift) -> None:
    told = owner("catalogue", "sunsets")
    (one,) = owner("catalogue", "sunsets", "--json").json

    assert told.code == 0
    assert missing_keys("catalogue sunsets", [one]) == []
    assert (one["channel"], one["model"], one["date"]) == ("gemini-api", "text-embedding-004", "2026-01-14")
    assert (one["owned_vectors"], one["level"], one["aliases"][0]["alias"]) == (40, "gone", "kb")
    assert one["tokens"] > 40
    assert one["hours"] == pytest.approx(one["tokens"] / 800_000 / 60, abs=0.01)
    assert one["latest_safe_start"] == "2025-12-14"
    assert "gemini-api/text-embedding-004" in told.out


def test_a_cron_job_is_told_by_the_exit_code(owner: Undrift) -> None:
    urgent = owner("catalogue", "sunsets", "--fail-on", "warn")

    assert urgent.code == 3
    assert "gemini-api/text-embedding-004 (2026-01-14)" in urgent.err
    assert "undrift plan kb --to MODEL" in urgent.err


def test_a_model_that_answers_no_more_is_as_urgent_and_its_vectors_are_counted(
    owner: Undrift, provider: EmbeddingProvider
) -> None:
    provider.retire("text-embedding-004")

    urgent = owner("catalogue", "sunsets", "--fail-on", "gone", "--json")

    assert urgent.code == 3
    (one,) = urgent.json
    assert one["owned_vectors"] == 40
    assert one["tokens"] > 40


def test_to_look_at_ends_asks_no_model_for_anything(owner: Undrift, provider: EmbeddingProvider) -> None:
    before = len(provider.requests)

    assert owner("catalogue", "sunsets").code == 0

    assert len(provider.requests) == before


def test_vectors_that_cannot_be_counted_are_no_reason_to_be_calm(owner: Undrift, tmp_path: Path) -> None:
    (tmp_path / "vectors.db").write_bytes(b"no database, and longer than the head of one" * 10)

    urgent = owner("catalogue", "sunsets", "--fail-on", "gone", "--json", "--calendar", "ends.ics")

    assert urgent.code == 3
    (one,) = urgent.json
    assert one["owned_vectors"] is None
    assert one["aliases"][0]["problem"]
    assert "an unknown number of vectors" in (tmp_path / "ends.ics").read_text().replace("\n ", "")


TITAN = "amazon.titan-embed-text-v2:0"


@pytest.mark.parametrize(
    ("region", "ends"),
    [("", ("us-east-1", "2026-12-01")), ("eu-central-1", ("eu-central-1", "2026-12-10")), ("eu-north-1", None)],
)
def test_of_ends_by_region_the_one_that_concerns_the_model_counts(
    undrift: Undrift, tmp_path: Path, region: str, ends: tuple[str, str] | None
) -> None:
    """Providers' own lists name ends by region, beside facts that hold in all of them."""
    (tmp_path / "key").write_text("secret")
    (tmp_path / "facts.csv").write_text(
        HEAD
        + f"bedrock,{TITAN},ap-south-1,shutdown,2027-05-01,exact,the list,2026-10-01,high\n"
        + f"bedrock,{TITAN},eu-central-1,shutdown,2026-12-10,exact,the list,2026-10-01,high\n"
        + f"bedrock,{TITAN},us-east-1,shutdown,2026-12-01,exact,the list,2026-10-01,high\n"
    )
    with EmbeddingProvider({TITAN: HashingEmbedder(dimensions=512)}) as provider:
        at = (
            f'"bedrock"\nregion = "{region}"\nbase_url = "{provider.root}"'
            if region
            else f'"openai"\nbase_url = "{provider.url}"'
        )
        (tmp_path / "undrift.toml").write_text(
            'catalogue = "facts.csv"\n'
            + CONFIG.replace('model = "old"', 'model = "titan"')
            + f'[models.titan]\nprovider = {at}\nname = "{TITAN}"\ndimensions = 512\nchannel = "bedrock"\n'
            + 'api_key_file = "key"\n'
        )
        write_lines(tmp_path / "some.jsonl", [{"id": "d1", "text": "text number 1"}])
        assert undrift("put", "kb", "some.jsonl").code == 0

    found = undrift("catalogue", "sunsets", "--json").json

    assert [(one["region"], one["date"], one["owned_vectors"]) for one in found] == ([(*ends, 1)] if ends else [])
    if ends:
        assert f"bedrock/{TITAN} in {ends[0]} " in undrift("catalogue", "sunsets").out


def test_where_nothing_is_owned_nothing_is_urgent(undrift: Undrift) -> None:
    told = undrift("catalogue", "sunsets", "--fail-on", "info")

    assert (told.code, told.out) == (0, "no model that you have vectors of has a known end\n")
    assert undrift("catalogue", "sunsets", "--json").json == []


def test_ends_of_all_models_are_shown_on_demand(undrift: Undrift) -> None:
    everything = undrift("catalogue", "sunsets", "--all", "--json").json

    assert len(everything) > 10
    assert {one["owned_vectors"] for one in everything} == {0}
    assert [one["date"] for one in everything] == sorted(one["date"] for one in everything)


def test_the_days_are_written_for_a_calendar(owner: Undrift, tmp_path: Path) -> None:
    assert owner("catalogue", "sunsets", "--calendar", "ends.ics").code == 0

    text = (tmp_path / "ends.ics").read_bytes().decode()
    assert text.count("BEGIN:VEVENT\r\n") == 2
    assert "DTSTART;VALUE=DATE:20260114\r\n" in text
    assert "DTSTART;VALUE=DATE:20251214\r\n" in text


def test_a_calendar_that_cannot_be_written_is_told(owner: Undrift) -> None:
    refused = owner("catalogue", "sunsets", "--calendar", "nowhere/ends.ics")

    assert refused.code == 2
    assert "nowhere/ends.ics cannot be written" in refused.err


def test_models_are_listed_with_the_facts_to_go_by(undrift: Undrift) -> None:
    models = undrift("catalogue", "list", "--channel", "openai", "--json").json
    small = next(one for one in models if one["model"] == "text-embedding-3-small")

    assert {one["channel"] for one in models} == {"openai"}
    assert (small["dimensions"], small["price_usd"], small["batch_price_usd"]) == ("1536", "0.02", "0.01")
    assert "text-embedding-3-small" in undrift("catalogue", "list").out


def test_a_model_is_shown_with_every_source(undrift: Undrift) -> None:
    (shown,) = undrift("catalogue", "show", "azure-openai/text-embedding-ada-002", "--json").json
    told = undrift("catalogue", "show", "text-embedding-ada-002")

    assert [one["value"] for one in shown["facts"]["shutdown"]] == ["2025-10-03", "2027-04-15", "2028-02-09"]
    assert all(one["source"] and one["seen"] for facts in shown["facts"].values() for one in facts)
    assert "openai/text-embedding-ada-002" in told.out
    assert "sap-ai-core/text-embedding-ada-002" in told.out


@pytest.mark.parametrize("words", [["show", "nobody"], ["list", "--channel", "nowhere"]])
def test_what_is_not_known_is_told(undrift: Undrift, words: list[str]) -> None:
    refused = undrift("catalogue", *words)

    assert refused.code == 2
    assert words[-1] in refused.err


def test_a_file_of_ones_own_counts_before_what_is_shipped(owner: Undrift, tmp_path: Path) -> None:
    own = "gemini-api,text-embedding-004,,shutdown,2031-01-01,exact,our contract,2026-11-01,high\n"
    (tmp_path / "facts.csv").write_text(HEAD + own)
    config = tmp_path / "undrift.toml"
    config.write_text('catalogue = "facts.csv"\n' + config.read_text())

    (one,) = owner("catalogue", "sunsets", "--json").json

    assert (one["date"], one["level"], one["sources"][0]["source"]) == ("2031-01-01", "none", "our contract")


@pytest.mark.parametrize(("content", "named"), [(None, "cannot be read"), ("nonsense\n", "names of the columns")])
def test_a_file_that_is_none_is_named(undrift: Undrift, tmp_path: Path, content: str | None, named: str) -> None:
    if content is not None:
        (tmp_path / "facts.csv").write_text(content)
    (tmp_path / "undrift.toml").write_text('catalogue = "facts.csv"\n' + CONFIG)

    refused = undrift("catalogue", "sunsets")

    assert refused.code == 2
    assert "facts.csv" in refused.err
    assert named in refused.err
