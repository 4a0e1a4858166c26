"""The verbs about probes, and the proof that two models are one."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.running import Undrift
from tests.unit.cli.shapes import missing_keys

FUNCTION = """
import zlib
import numpy as np

def embed(texts):
    vectors = np.zeros((len(texts), 128), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in {text}.lower().split():
            vectors[row, zlib.crc32(word.encode()) % 128] += 1.0
    return vectors
"""
TWINS = "".join(
    f"""
[models.{name}]
provider = "callable"
function = "{module}:embed"
name = "{name}"
revision = "1"
dimensions = 128
"""
    for name, module in (("mine", "probed_one"), ("twin", "probed_two"), ("short", "probed_three"))
)


def write(folder: Path, module: str, text: str = "text") -> None:
    (folder / f"{module}.py").write_text(FUNCTION.format(text=text))


def twins(folder: Path) -> None:
    write(folder, "probed_one")
    write(folder, "probed_two")
    write(folder, "probed_three", "text[:40]")
    file = folder / "undrift.toml"
    file.write_text(file.read_text() + TWINS)


def test_a_model_is_recorded_looked_at_and_listed(undrift: Undrift) -> None:
    assert undrift("probe", "run").out.strip() == undrift("probe", "list").out.strip() == "no model has a baseline"

    recorded = undrift("probe", "record", "old", "--json")
    assert (recorded.code, missing_keys("probe record", recorded.json)) == (0, [])
    assert "noise floor  none" in undrift("probe", "record", "new").out
    seen = undrift("probe", "run", "old", "--json")
    assert (seen.code, missing_keys("probe run", seen.json)) == (0, [])
    assert seen.json["verdict"] == "unchanged"
    assert [one["model"] for one in undrift("probe", "run", "--json").json] == ["new", "old"]
    assert missing_keys("probe list", undrift("probe", "list", "--json").json) == []
    assert undrift("probe", "list").out.startswith("MODEL  BASELINE")


def test_a_second_baseline_has_to_be_accepted(undrift: Undrift) -> None:
    undrift("probe", "record", "old")

    refused = undrift("probe", "record", "old", "--json")

    assert (refused.code, refused.error["kind"]) == (2, "AlreadyExists")
    assert undrift("probe", "record", "old", "--accept", "--json").json["baseline"] == 2


def test_models_that_are_one_are_told_from_those_that_are_not(undrift: Undrift, tmp_path: Path) -> None:
    twins(tmp_path)

    equal = undrift("model", "equal", "mine", "twin", "--json")
    different = undrift("model", "equal", "mine", "short")

    assert (equal.code, missing_keys("model equal", equal.json)) == (0, [])
    assert equal.json["stands_for"] == "twin stands for mine"
    assert different.code == 3
    assert "models mine and short: different" in different.out
    assert "truncation" in different.out
    assert "they have one space" in undrift("model", "equal", "twin", "mine").out
    assert "has its own space again" in undrift("model", "equal", "twin", "--revoke").out
    assert undrift("model", "equal", "mine").code == 2
