"""The verb `plan`: what it states, what it says of budgets, and how its estimate is judged afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.running import CONFIG, Undrift, plane_of, write_lines
from tests.unit.cli.shapes import missing_keys
from undrift.adapters.embedders.hashing import HashingEmbedder
from undrift.testing.provider import EmbeddingProvider

HEAD = "channel,model,region,attribute,value,precision,source,seen,confidence,tier\n"
TEXTS = [f"document number {number} about ferries and harbours" for number in range(30)]


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    names = ("text-embedding-3-small", "voyage-4", "voyage-4-lite", "text-embedding-004")
    with EmbeddingProvider({name: HashingEmbedder(name=name, dimensions=32) for name in names}) as running:
        yield running


@pytest.fixture
def hosted(undrift: Undrift, tmp_path: Path, provider: EmbeddingProvider) -> Callable[..., Undrift]:
    """A collection, and a hosted model by the name of `paid`, with other keys where they are given."""

    def make(name: str = "text-embedding-3-small", channel: str = "openai", *, more: str = "", first: str = "") -> Any:
        def model(key: str, name: str) -> str:
            return (
                f'[models.{key}]\nprovider = "openai"\nbase_url = "{provider.url}"\nname = "{name}"\ndimensions = 32\n'
                f'channel = "{channel}"\npaid = true\n'
            )

        config = CONFIG + model("paid", name) + more
        if first:
            config = config.replace('model = "old"', 'model = "serves"') + model("serves", first)
        (tmp_path / "undrift.toml").write_text(config)
        write_lines(tmp_path / "some.jsonl", [{"id": f"d{n}", "text": text} for n, text in enumerate(TEXTS)])
        assert undrift("put", "kb", "some.jsonl").code == 0
        return undrift

    return make


def test_a_plan_has_every_documented_key_and_its_figures_agree(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted(more='tier = "tier-1"\n')
    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert missing_keys("plan", value) == []
    assert value["price"]["online"]["usd_per_million_tokens"] == 0.02
    assert value["cost_usd"]["online"] == pytest.approx(value["tokens"] * 0.02 / 1e6, abs=1e-6)
    assert value["cost_usd"]["batch"] == pytest.approx(value["tokens"] * 0.01 / 1e6, abs=1e-6)
    assert value["hours"]["online"] == pytest.approx(value["tokens"] / 720_000 / 60, abs=1e-3)
    assert (value["hours"]["batch"], value["hours"]["batch_worst"], value["hours"]["wins"]) == (1, 24, "online")
    low, high = value["tokens_interval"]
    assert low < value["tokens"] < high
    assert value["limits"]["tokens_per_minute"]["source"]
    assert (value["tokens_are"], value["duplicates"], value["cached"]) == ("estimated", 0, 0)


def test_the_page_says_all_of_it_to_a_person(hosted: Callable[..., Undrift]) -> None:
    page = hosted()("plan", "kb", "--to", "paid").out

    assert "30 different texts, about" in page
    assert "at $0.02 a million tokens (LiteLLM" in page
    assert "by batch, 1 file in 1 wave" in page
    assert "nothing keeps the work from making searches slower" in page
    assert "which tier the account has is not said, so the narrowest is reckoned with, free" in page
    assert "tokens are estimated" in page


def test_with_the_models_own_tokenizer_tokens_are_exact(hosted: Callable[..., Undrift], tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    undrift = hosted(more='tokenizer = "words.json"\n')

    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert (value["tokens"], value["tokens_are"]) == (sum(len(text.split()) for text in TEXTS), "exact")
    assert value["tokens_interval"] == [value["tokens"]] * 2


def test_texts_that_are_twice_or_in_the_cache_are_not_paid_for(hosted: Callable[..., Undrift], tmp_path: Path) -> None:
    undrift = hosted()
    before = undrift("plan", "kb", "--to", "paid", "--json").json["tokens"]
    write_lines(tmp_path / "again.jsonl", [{"id": f"e{n}", "text": TEXTS[n]} for n in range(10)])
    assert undrift("put", "kb", "again.jsonl").code == 0
    with plane_of(tmp_path) as plane:
        plane.model_door("paid").documents(TEXTS[:12])

    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert (value["documents"], value["duplicates"], value["cached"], value["unique_texts"]) == (40, 10, 12, 18)
    assert value["tokens"] == pytest.approx(before * 18 / 30, rel=0.02)


@pytest.mark.parametrize("cached", [12, 30])
def test_what_a_verification_embeds_again_does_not_rest_on_the_cache(
    hosted: Callable[..., Undrift], tmp_path: Path, cached: int
) -> None:
    undrift = hosted()
    before = undrift("plan", "kb", "--to", "paid", "--json").json
    with plane_of(tmp_path) as plane:
        plane.model_door("paid").documents(TEXTS[:cached])

    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert value["unique_texts"] == 30 - cached
    assert value["verification_tokens"] == pytest.approx(before["verification_tokens"], rel=0.02)
    assert value["next_steps"] == ["undrift start kb --to paid --budget-usd N"], "without a budget it is refused"


def test_a_budget_in_dollars_is_not_proposed_without_a_price(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted("text-embedding-004", "somebody")

    (step,) = undrift("plan", "kb", "--to", "paid", "--json").json["next_steps"]

    assert step == "undrift start kb --to paid --budget-tokens N"
    assert undrift(*step.replace(" N", " 100000").split()[1:], "--detach").code == 0


def test_models_that_share_a_space_take_no_tokens(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted("voyage-4-lite", "voyage", first="voyage-4")

    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert (value["tokens"], value["vectors"], value["cost_usd"]["online"]) == (0, "shared", 0)
    assert value["shared_space"]["value"] == "voyage-4-lite"
    assert any("would embed 30 texts all the same" in warning for warning in value["warnings"])
    assert "0 tokens: both models share a space" in undrift("plan", "kb", "--to", "paid").out


def test_a_budget_below_the_low_end_is_told_before_anything_is_spent(
    hosted: Callable[..., Undrift], provider: EmbeddingProvider
) -> None:
    undrift = hosted()
    value = undrift("plan", "kb", "--to", "paid", "--json", "--budget-tokens", "50").json
    enough = undrift("plan", "kb", "--to", "paid", "--json", "--budget-usd", "1").json

    assert any("a budget of 50 tokens is not enough" in warning for warning in value["warnings"])
    assert not any("a budget of" in warning for warning in enough["warnings"])
    begun = undrift("start", "kb", "--to", "paid", "--budget-tokens", "50", "--detach")
    assert begun.code == 0
    assert "Warning: a budget of 50 tokens is not enough" in begun.err


def test_an_unknown_price_is_said_and_a_budget_in_dollars_is_refused(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted("text-embedding-3-small", "nowhere")
    value = undrift("plan", "kb", "--to", "paid", "--json").json
    refused = undrift("start", "kb", "--to", "paid", "--budget-usd", "5")

    assert value["cost_usd"] == dict.fromkeys(("online", "batch", "low", "high", "verification"))
    assert any("its price is not known" in warning for warning in value["warnings"])
    assert any("no limit of the account is known" in warning for warning in value["warnings"])
    assert "not known: nobody has said" in undrift("plan", "kb", "--to", "paid").out
    assert refused.code == 3
    assert "a budget in dollars limits nothing" in refused.err


def test_after_a_run_the_estimate_is_judged_by_what_was_spent(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted()
    value = undrift("plan", "kb", "--to", "paid", "--json").json
    planned = value["tokens"] + value["proof_tokens"]
    assert undrift("start", "kb", "--to", "paid", "--budget-usd", "1").code == 0

    forecast = undrift("status", "kb", "--json").json["cost"]["forecast"]

    assert forecast["tokens"] == planned
    assert forecast["spent"] > 0
    assert forecast["error"] == pytest.approx(planned / forecast["spent"] - 1, abs=1e-4)
    assert "the plan was off by" in undrift("status", "kb").out


def test_the_ends_of_both_models_are_risks(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted("text-embedding-004", "vertex", first="text-embedding-3-small")

    warnings = undrift("plan", "kb", "--to", "paid", "--json").json["warnings"]

    assert any("vertex/text-embedding-004, ends itself on 2027-04-01" in warning for warning in warnings)


def test_an_own_catalogue_says_what_the_account_may(hosted: Callable[..., Undrift], tmp_path: Path) -> None:
    undrift = hosted(more='tier = "ours"\n')
    (tmp_path / "facts.csv").write_text(
        HEAD + "openai,*,,tokens_per_minute,60,,our account,2026-11-01,high,ours\n", encoding="utf-8"
    )
    config = tmp_path / "undrift.toml"
    config.write_text('catalogue = "facts.csv"\n' + config.read_text())

    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert value["hours"]["online"] == pytest.approx(value["tokens"] / 43.2 / 60, abs=1e-3)
    assert value["limits"]["tokens_per_minute"]["source"] == "our account"


def test_an_empty_collection_costs_nothing(hosted: Callable[..., Undrift]) -> None:
    undrift = hosted()
    assert undrift("delete", "kb", *(f"d{number}" for number in range(30))).code == 0

    value = undrift("plan", "kb", "--to", "paid", "--json").json

    assert (value["documents"], value["tokens"], value["cost_usd"]["online"]) == (0, 0, 0)
    assert value["warnings"][0] == "the collection is empty"


def test_a_tier_that_there_is_not_is_refused_with_those_there_are(hosted: Callable[..., Undrift]) -> None:
    refused = hosted()("plan", "kb", "--to", "paid", "--tier", "gold")

    assert refused.code == 2
    assert "no tier gold of openai" in refused.err
    assert "tier-1, tier-2" in refused.err
