"""Becoming an agent: a directory is enrolled whole or not at all, and only by the server that the token names."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from world import NOW, World

from agent.config import load_config
from agent.enrolling import ENROLMENT_PATH, Enrolment, enroll, pin_roots, refusal
from agent.identity import load_identity, save_identity
from agent.statedir import StateDir
from agent.trusting import Trust
from policies.ceiling import DEFAULT
from protocol.enrolment import EnrolmentRequest, make_answer, make_token, parse_token
from protocol.errors import (
    ArgumentError,
    ConflictError,
    NotConnectedError,
    NotFoundError,
    OutriderError,
    ProtocolError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
)
from protocol.signing import Envelope, PrivateKey, sign

SECRET = bytes(range(32))


class Server:
    """A server that enrols, on loopback; ``answer`` may be exchanged for a dishonest one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key = PrivateKey.generate()
        self.token = make_token("t1", SECRET, self.key.public.key_id)
        self.roots: Any = {"threshold": 1, "keys": [world.key("root").public.to_text()]}
        self.roster: Any = sign("roster", world.roster_body(4), world.key("root")).to_plain()
        self.requests: list[EnrolmentRequest] = []
        self.answer: Callable[[EnrolmentRequest], tuple[int, bytes]] = self.honest
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == ENROLMENT_PATH
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = EnrolmentRequest.from_wire(json.loads(body))
                outer.requests.append(request)
                status, content = outer.answer(request)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                return

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.001})
        self.thread.start()

    def honest(self, request: EnrolmentRequest) -> tuple[int, bytes]:
        request.verify(parse_token(self.token).secret_digest)
        body = make_answer(request, self.key, agent_id="agt_1", roots=self.roots, roster=self.roster)
        return 201, json.dumps(body).encode()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def wanted(self, **changes: Any) -> Enrolment:
        return Enrolment(**({"server": self.address, "token": self.token, "name": "web-1", "labels": {}} | changes))


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    made = Server(world)
    yield made
    made.close()


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "agent")


def is_untouched(state: StateDir) -> bool:
    """Is nothing there that could be taken for an enrolment, or for a key?"""
    return not any(path.exists() for path in (state.config, state.identity, state.roster, state.ceiling))


def test_an_enrolled_directory_can_be_started_from(server: Server, state: StateDir) -> None:
    config = enroll(state, server.wanted(labels={"site": "berlin"}), NOW)
    assert load_config(state) == config
    assert (config.server, config.server_key, config.agent_id) == (server.address, server.key.public, "agt_1")
    assert (config.name, config.threshold) == ("web-1", 1)
    assert config.roots == (server.world.key("root").public,)
    (request,) = server.requests
    assert load_identity(state.identity).public == request.key
    assert (request.name, request.labels) == ("web-1", {"site": "berlin"})
    trust = Trust(state, config, NOW)
    assert trust.roster_version == 4
    assert replace(trust.ceiling(), layer=None) == DEFAULT, "the strictest, written out for its owner to change"
    assert state.ceiling.exists()
    assert stat.S_IMODE(state.identity.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_a_server_without_a_roster_gives_nothing_to_trust(server: Server, state: StateDir) -> None:
    server.roots = server.roster = None
    config = enroll(state, server.wanted(), NOW)
    assert (config.roots, config.threshold) == ((), 0)
    assert not state.roster.exists()


def test_the_secret_of_the_token_does_not_travel(server: Server, state: StateDir) -> None:
    enroll(state, server.wanted(), NOW)
    ((sent,),) = [[json.dumps(request.signed) for request in server.requests]]
    assert server.token.split(".")[2] not in sent


def test_a_directory_that_is_enrolled_stays_what_it_is(server: Server, state: StateDir) -> None:
    """Its ledger belongs to one identity."""
    enroll(state, server.wanted(), NOW)
    before = {path: path.read_bytes() for path in state.path.iterdir() if path.is_file()}
    with pytest.raises(ConflictError, match="enrolled already"):
        enroll(state, server.wanted(), NOW)
    assert {path: path.read_bytes() for path in state.path.iterdir() if path.is_file()} == before
    assert len(server.requests) == 1, "the token of the second attempt is not used up"


def test_a_directory_in_which_an_agent_works_is_left_alone(server: Server, state: StateDir) -> None:
    state.create()
    with state.locked(), pytest.raises(ConflictError, match="another agent"):
        enroll(state, server.wanted(), NOW)
    assert server.requests == []


def test_a_directory_that_others_may_write_gets_no_key(server: Server, state: StateDir) -> None:
    state.path.mkdir(mode=0o777)
    state.path.chmod(0o777)
    with pytest.raises(UnavailableError, match="written by others"):
        enroll(state, server.wanted(), NOW)
    assert is_untouched(state)
    assert server.requests == []


def test_what_a_crashed_attempt_left_is_replaced(server: Server, state: StateDir) -> None:
    """Without ``agent.json`` nothing was enrolled; a key that the server may know is not used with another id."""
    state.create()
    save_identity(state.identity, PrivateKey.generate())
    state.roster.write_bytes(b"half a roster")
    enroll(state, server.wanted(), NOW)
    assert load_identity(state.identity).public == server.requests[0].key
    assert Trust(state, load_config(state), NOW).roster_version == 4


def test_a_ceiling_that_the_owner_wrote_before_is_kept(server: Server, state: StateDir) -> None:
    state.create()
    state.ceiling.write_text("frozen: true\n")
    enroll(state, server.wanted(), NOW)
    assert state.ceiling.read_text() == "frozen: true\n"


# servers that are not to be believed -------------------------------------------------------------------------------


def answered(server: Server, key: PrivateKey | None = None, **changes: Any) -> Callable[[EnrolmentRequest], Any]:
    def answer(request: EnrolmentRequest) -> tuple[int, bytes]:
        told = {"agent_id": "agt_1", "roots": server.roots, "roster": server.roster} | changes
        body = make_answer(request, key or server.key, **told)
        return 201, json.dumps(body).encode()

    return answer


def changed(server: Server) -> Callable[[EnrolmentRequest], Any]:
    def answer(request: EnrolmentRequest) -> tuple[int, bytes]:
        status, content = server.honest(request)
        return status, content.replace(b'"agt_1"', b'"agt_2"')

    return answer


DISHONEST: list[tuple[str, Callable[[Server], Callable[[EnrolmentRequest], Any]]]] = [
    ("foreign_token", lambda s: answered(s, PrivateKey.generate())),
    ("bad_signature", changed),
    ("unsigned", lambda s: answered(s, roots=None)),
    ("unknown_key", lambda s: answered(s, roots={"threshold": 1, "keys": [s.world.key("eve").public.to_text()]})),
    ("expired", lambda s: answered(s, roster=sign(
        "roster", s.world.roster_body(expires="2026-11-23T12:00:00Z"), s.world.key("root")).to_plain())),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "answer"), DISHONEST)
def test_a_server_that_proves_nothing_leaves_nothing(
    server: Server, state: StateDir, reason: str, answer: Callable[[Server], Callable[[EnrolmentRequest], Any]]
) -> None:
    server.answer = answer(server)
    with pytest.raises(TrustError) as caught:
        enroll(state, server.wanted(), NOW)
    assert caught.value.reason == reason
    assert is_untouched(state)
    server.answer = server.honest
    enroll(state, server.wanted(), NOW)


# roots from elsewhere ------------------------------------------------------------------------------------------------


def with_roots(server: Server, trusted: Envelope) -> Enrolment:
    return Enrolment(server.address, server.token, None, {}, trusted=trusted)


def test_roots_that_were_given_are_pinned_and_the_servers_roster_must_follow(server: Server, state: StateDir) -> None:
    trusted = sign("roster", server.world.roster_body(3), server.world.key("root"))
    config = enroll(state, with_roots(server, trusted), NOW)
    assert config.roots == (server.world.key("root").public,)
    assert Trust(state, config, NOW).roster_version == 4


def test_roots_that_were_rotated_since_follow_from_those_that_were_given(server: Server, state: StateDir) -> None:
    world = server.world
    trusted = sign("roster", world.roster_body(3), world.key("root"))
    fresh = {"threshold": 1, "keys": [world.key("r2").public.to_text()]}
    server.roster = sign("roster", world.roster_body(4, roots=fresh), world.key("root"), world.key("r2")).to_plain()
    server.roots = fresh
    config = enroll(state, with_roots(server, trusted), NOW)
    assert config.roots == (world.key("root").public,)
    assert Trust(state, config, NOW).roster_version == 4


def test_a_server_without_a_roster_cannot_keep_the_given_one_away(server: Server, state: StateDir) -> None:
    server.roots = server.roster = None
    trusted = sign("roster", server.world.roster_body(3), server.world.key("root"))
    config = enroll(state, with_roots(server, trusted), NOW)
    assert Trust(state, config, NOW).roster_version == 3


# roots that come later -----------------------------------------------------------------------------------------------


@pytest.fixture
def without_roots(server: Server, state: StateDir) -> Server:
    """Return the server of a host that was enrolled before there was a roster."""
    server.roots = server.roster = None
    assert enroll(state, server.wanted(), NOW).roots == ()
    return server


def test_roots_are_pinned_later_and_all_else_stays(without_roots: Server, state: StateDir) -> None:
    plain = json.loads(state.config.read_text())
    plain["settings"] = {"log_level": "debug"}  # as its owner may
    state.config.write_text(json.dumps(plain))
    world = without_roots.world
    config = pin_roots(state, sign("roster", world.roster_body(3), world.key("root")), NOW)
    assert (config.roots, config.threshold) == ((world.key("root").public,), 1)
    assert config == load_config(state)
    assert config.settings.log_level == "debug"
    assert json.loads(state.config.read_text()) == plain | {
        "roots": {"threshold": 1, "keys": [world.key("root").public.to_text()]}
    }
    trust = Trust(state, config, NOW)
    assert trust.roster_version == 3
    trust.set_roster(sign("roster", world.roster_body(4), world.key("root")), NOW)
    assert trust.roster_version == 4


def test_roots_that_are_pinned_are_not_pinned_over(without_roots: Server, state: StateDir) -> None:
    world = without_roots.world
    pin_roots(state, sign("roster", world.roster_body(3), world.key("root")), NOW)
    others = {"threshold": 1, "keys": [world.key("mallory").public.to_text()]}
    before = state.config.read_bytes(), state.roster.read_bytes()
    with pytest.raises(ConflictError, match="pinned roots already"):
        pin_roots(state, sign("roster", world.roster_body(9, roots=others), world.key("mallory")), NOW)
    assert (state.config.read_bytes(), state.roster.read_bytes()) == before


def test_a_roster_that_does_not_prove_itself_pins_nothing(without_roots: Server, state: StateDir) -> None:
    world = without_roots.world
    body, before = world.roster_body(3), state.config.read_bytes()
    for wrong, when, reason in (
        (sign("roster", body, world.key("mallory")), NOW, "unknown_key"),
        (sign("roster", body, world.key("root")), NOW + timedelta(days=4000), "expired"),
    ):
        with pytest.raises(TrustError) as caught:
            pin_roots(state, wrong, when)
        assert caught.value.reason == reason
        assert state.config.read_bytes() == before
        assert not state.roster.exists()


def test_no_roots_are_pinned_under_an_agent_that_works(without_roots: Server, state: StateDir) -> None:
    world = without_roots.world
    with state.locked(), pytest.raises(ConflictError, match="another agent is running"):
        pin_roots(state, sign("roster", world.roster_body(3), world.key("root")), NOW)


def test_where_nothing_is_enrolled_nothing_is_pinned(server: Server, state: StateDir) -> None:
    state.create()
    with pytest.raises(NotFoundError, match="not enrolled"):
        pin_roots(state, sign("roster", server.world.roster_body(3), server.world.key("root")), NOW)


@pytest.mark.parametrize(("version", "signer", "reason"), [(3, "mallory", "unknown_key"), (5, "root", "rollback")])
def test_a_server_with_other_roots_or_an_older_roster_enrols_nobody(
    server: Server, state: StateDir, version: int, signer: str, reason: str
) -> None:
    """The server is the attacker's when the host is enrolled: the roots are not its to choose."""
    roots = {"threshold": 1, "keys": [server.world.key(signer).public.to_text()]}
    trusted = sign("roster", server.world.roster_body(version, roots=roots), server.world.key(signer))
    with pytest.raises(TrustError) as caught:
        enroll(state, with_roots(server, trusted), NOW)
    assert caught.value.reason == reason
    assert not state.config.exists()
    assert not state.identity.exists()


def test_an_answer_to_another_request_is_not_taken(server: Server, state: StateDir) -> None:
    """Somebody in between replays what the server said to this host before."""
    recorded: list[tuple[int, bytes]] = []

    def record(request: EnrolmentRequest) -> tuple[int, bytes]:
        recorded.append(server.honest(request))
        return recorded[0]

    server.answer = record
    enroll(StateDir(state.path.with_name("first")), server.wanted(), NOW)
    with pytest.raises(TrustError):
        enroll(state, server.wanted(), NOW)
    assert is_untouched(state)


@pytest.mark.parametrize(
    ("status", "content", "error", "says"),
    [
        (200, b"<html>welcome to the proxy</html>", ProtocolError, "not an Outrider server"),
        (200, b"[]", ProtocolError, "not an Outrider server"),
        (201, b"{}", ArgumentError, "agent_id"),
        (201, b"[" * 100_000, ProtocolError, "not an Outrider server"),
        (201, b"x" * (3 << 20), ProtocolError, "more than"),
        (404, b"nothing here", UnavailableError, "HTTP status 404"),
        (500, b"", UnavailableError, "HTTP status 500"),
        (403, b'{"code": "untrusted", "reason": "bad_token", "detail": "used"}', TrustError, "used"),
    ],
)
def test_what_is_no_answer_is_told_in_words(
    server: Server, state: StateDir, status: int, content: bytes, error: type[OutriderError], says: str
) -> None:
    """A proxy's page, a server of something else, an endless answer: each says what it was."""
    server.answer = lambda _: (status, content)
    with pytest.raises(error, match=says):
        enroll(state, server.wanted(), NOW)
    assert is_untouched(state)


def test_a_server_that_is_away_is_named(server: Server, state: StateDir) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(NotConnectedError, match=address):
            enroll(state, server.wanted(server=address), NOW)
    assert is_untouched(state)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"server": "http://outrider.example"}, "not encrypted"),
        ({"server": "outrider"}, "not an address"),
        ({"token": "orj1.t1.secret"}, "join token"),
        ({"name": "a name"}, "name"),
        ({"labels": {"site": "ber lin"}}, "labels"),
        ({"labels": {f"k{number}": "v" for number in range(65)}}, "labels"),
    ],
)
def test_what_the_operator_gets_wrong_is_named_before_anything_is_sent(
    server: Server, state: StateDir, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says) as caught:
        enroll(state, server.wanted(**changes), NOW)
    assert "secret" not in str(caught.value), "an error is no place for a token"
    assert is_untouched(state)
    assert server.requests == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("untrusted", TrustError),
        ("unauthenticated", UnauthenticatedError),
        ("conflict", ConflictError),
        ("invalid_argument", ArgumentError),
        ("invalid_document", ArgumentError),
        ("something_new", UnavailableError),
        (None, UnavailableError),
        (["untrusted"], UnavailableError),
    ],
)
def test_a_refusal_keeps_its_kind(code: Any, error: type[OutriderError]) -> None:
    """So that the program ends with the status that the documentation promises for it."""
    found = refusal(403, {"code": code, "detail": "no"})
    assert type(found) is error
    assert str(found) == "the server refuses: no"


def test_the_text_of_a_refusal_is_only_shown() -> None:
    """A terminal must not be steered by a server that is not trusted yet."""
    found = refusal(403, {"code": "untrusted", "reason": 7, "detail": "\x1b[2J" + "x" * 10_000})
    assert isinstance(found, TrustError)
    assert found.reason == "refused"
    assert str(found).isprintable()
    assert len(str(found)) < 600
