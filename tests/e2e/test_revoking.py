"""What goes on for long ends within a second with the token, or the access grant, by which it goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fleet import Fleet, expect, in_time

PROMISE_S = 1.0
KINDS = ("terminal", "command", "files", "forward")


class Tom:
    """Somebody with a token and an access grant of his own, and nothing else."""

    def __init__(self, fleet: Fleet, ttl_s: float = 600) -> None:
        self.fleet = fleet
        self.name = f"tom-{os.urandom(3).hex()}"
        body = {"principal": self.name, "roles": ["support", f"@{self.name}"], "ttl_s": ttl_s}
        self.token: dict[str, Any] = expect(fleet.api.post("/api/v1/tokens", json=body), 201)
        self.headers = {"Authorization": f"Bearer {self.token['token']}"}
        self.url = f"http://127.0.0.1:{fleet.port}"
        self.api = httpx2.Client(base_url=self.url, headers=self.headers, timeout=30)

    def session(self, kind: str) -> str:
        body = {"agent": "host-1", "kind": kind, "tier": "admin", "reason": "T-7", "grant": {}}
        if kind == "forward":
            body["grant"] = {"allow": [{"call": "net.forward", "targets": ["*"]}]}
        return str(expect(self.api.post("/api/v1/sessions", json=body), 201)["id"])

    def lose_token(self) -> None:
        assert self.fleet.api.delete(f"/api/v1/tokens/{self.token['id']}").status_code == 204

    def lose_grant(self, session: str) -> None:
        shown = expect(self.fleet.api.get(f"/api/v1/sessions/{session}"), 200)
        answer = self.fleet.api.request("DELETE", f"/api/v1/access/{shown['access']}", params={"reason": "T-8"})
        assert answer.status_code in (200, 204), answer.text

    def loses(self, what: str, session: str, coming: Iterable[Any]) -> tuple[float, list[Any]]:
        """Take his token or his grant away; return how long it took to the end of what comes, and what still came."""
        self.lose_token() if what == "token" else self.lose_grant(session)
        began = time.monotonic()
        found = to_its_end(coming)
        return time.monotonic() - began, found


@pytest.fixture
def new_tom(host: Fleet) -> Iterator[Callable[[], Tom]]:
    """Makes one whose sessions stand on a grant that was made for him, as that is the one that lasts longest."""
    for each in expect(host.api.get("/api/v1/access"), 200)["items"]:
        if each["who"] == "role:support":
            host.api.request("DELETE", f"/api/v1/access/{each['id']}", params={"reason": "T-8"})
    all_made: list[Tom] = []

    def make() -> Tom:
        made = Tom(host)
        all_made.append(made)
        body = {"who": f"@{made.name}", "kinds": list(KINDS), "tier": "admin", "target": "*"}
        expect(host.api.post("/api/v1/access", json=body), 201)
        return made

    yield make
    for each in all_made:
        each.api.close()


def to_its_end(coming: Iterable[Any]) -> list[Any]:
    """Return all that still comes; that it breaks off is how it should end."""
    found: list[Any] = []
    with suppress(httpx2.HTTPError, ConnectionClosed):
        found.extend(coming)
    return found


@pytest.mark.parametrize("what", ["token", "grant"])
def test_a_command(host: Fleet, new_tom: Callable[[], Tom], what: str) -> None:
    def ends_after_s() -> float:
        tom = new_tom()
        session = tom.session("command")
        body = {"argv": ["/bin/sh", "-c", "echo $$; exec sleep 1000"]}
        with tom.api.stream("POST", f"/api/v1/sessions/{session}/command", json=body) as answer:
            lines = answer.iter_lines()
            pid = json.loads(next(lines))[1]["pid"]
            next(lines)
            took_s, _ = tom.loses(what, session, lines)
        host.wait_for("its end on the host", lambda: not Path(f"/proc/{pid}").exists())
        return took_s

    in_time(ends_after_s, PROMISE_S)


@pytest.mark.parametrize("what", ["token", "grant"])
def test_a_transfer(new_tom: Callable[[], Tom], tmp_path: Path, what: str) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100 << 30)

    def ends_after_s() -> float:
        tom = new_tom()
        session = tom.session("files")
        where = f"/api/v1/sessions/{session}/file"
        with tom.api.stream("GET", where, params={"path": f"{tmp_path}/large"}) as answer:
            assert answer.status_code == 200, answer.read()
            data = answer.iter_raw()
            next(data)
            took_s, rest = tom.loses(what, session, data)
        assert sum(map(len, rest)) < 1 << 30
        return took_s

    in_time(ends_after_s, 2 * PROMISE_S)  # what was on its way is read first


@pytest.mark.parametrize("what", ["token", "grant"])
def test_events_of_a_session(new_tom: Callable[[], Tom], what: str) -> None:
    def ends_after_s() -> float:
        tom = new_tom()
        session = tom.session("files")
        with tom.api.stream("GET", f"/api/v1/sessions/{session}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": following"
            return tom.loses(what, session, lines)[0]

    in_time(ends_after_s, PROMISE_S)


@pytest.mark.parametrize("what", ["token", "grant"])
def test_a_forward_that_nothing_goes_through(new_tom: Callable[[], Tom], what: str) -> None:
    def ends_after_s() -> float:
        tom = new_tom()
        session = tom.session("forward")
        url = f"ws{tom.url.removeprefix('http')}/api/v1/sessions/{session}/forward"
        with connect(url, additional_headers=tom.headers, proxy=None) as socket:
            return tom.loses(what, session, socket)[0]  # which ends like any iterator once it is closed

    in_time(ends_after_s, PROMISE_S)


def test_a_token_that_runs_out(host: Fleet, new_tom: Callable[[], Tom]) -> None:
    """Nobody revokes it: the moment itself is waited for."""
    tom = new_tom()
    body = {"principal": tom.name, "roles": ["support", f"@{tom.name}"], "ttl_s": 5}
    short = expect(host.api.post("/api/v1/tokens", json=body), 201)
    session = tom.session("command")
    headers = {"Authorization": f"Bearer {short['token']}"}
    with httpx2.Client(base_url=tom.url, headers=headers, timeout=90) as api:
        asked = {"argv": ["/bin/sh", "-c", "echo; exec sleep 1000"]}
        with api.stream("POST", f"/api/v1/sessions/{session}/command", json=asked) as answer:
            assert answer.status_code == 200, answer.read()
            lines = answer.iter_lines()
            next(lines)
            to_its_end(lines)
