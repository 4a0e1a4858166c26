"""The look-out answers whether it lives, and shows its figures to those who may see them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from undrift.config import parse
from undrift.control import ControlPlane
from undrift.control.lookout import LookOut
from undrift.testing.clock import VirtualClock

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from undrift.server import answering, health_of, listen

TOKEN = "a token that nobody guesses"


class Served:
    """A look-out that answers, on a clock that the test moves."""

    def __init__(self, url: str, clock: VirtualClock, lookout: LookOut) -> None:
        self.url, self.clock, self.lookout = url, clock, lookout

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    clock = VirtualClock()
    config = parse({"ledger": "sqlite:///undrift.db"}, tmp_path_factory.mktemp("health") / "undrift.toml")
    with ControlPlane(config, clock=clock, heartbeat=False) as plane:
        lookout, listener = plane.look_out(), listen("127.0.0.1", 0, token=TOKEN)
        with answering(health_of(plane, lookout, listener), listener):
            yield Served(listener.url, clock, lookout)


def test_a_look_out_that_makes_its_rounds_is_well_and_one_that_hangs_is_late(served: Served) -> None:
    served.lookout.round()
    status, text = served.get("/healthz")
    served.clock.advance(601)
    late = served.get("/healthz")

    assert (status, json.loads(text)["status"]) == (200, "ok")
    assert (late[0], json.loads(late[1])["status"]) == (503, "late")


def test_figures_are_shown_to_those_who_have_the_token(served: Served) -> None:
    status, text = served.get("/metrics", TOKEN)

    assert status == 200
    assert "undrift_build_info{" in text
    for code, token in ((401, ""), (403, "another token than that")):
        refused = served.get("/metrics", token)
        assert refused[0] == code
        assert "token" in json.loads(refused[1])["error"]["message"]
