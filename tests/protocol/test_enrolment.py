"""How a host becomes an agent: nothing replayed, relayed, foreign or touched gets in, and no secret travels."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.enrolment import (
    EnrolmentRequest,
    JoinToken,
    make_answer,
    make_request,
    make_token,
    parse_token,
    verify_answer,
)
from protocol.errors import ArgumentError, OutriderError, TrustError
from protocol.signing import PrivateKey, sign

AGENT, SERVER, MALLORY, ROOT = (PrivateKey.generate() for _ in range(4))
SECRET = bytes(range(32))
TOKEN = parse_token(make_token("t1", SECRET, SERVER.public.key_id))
NONCE, OTHER_NONCE = b"n" * 32, b"o" * 32
ROOTS = {"threshold": 1, "keys": [ROOT.public.to_text()]}


def request(token: JoinToken = TOKEN, key: PrivateKey = AGENT, **more: Any) -> dict[str, Any]:
    return make_request(token, key, **({"hostname": "web-1.example", "nonce": NONCE} | more))


def verified(body: object, token: JoinToken = TOKEN) -> EnrolmentRequest:
    read = EnrolmentRequest.from_wire(json.loads(json.dumps(body)))
    read.verify(token.secret_digest)
    return read


def answer(key: PrivateKey = SERVER, roots: Any = ROOTS, roster: Any = None, **more: Any) -> dict[str, Any]:
    return make_answer(verified(request(**more)), key, agent_id="web-1", roots=roots, roster=roster)


def reason_of(body: object, **changes: Any) -> str:
    given = {"token": TOKEN, "key": AGENT.public, "nonce": NONCE} | changes
    with pytest.raises(TrustError) as caught:
        verify_answer(body, **given)
    return caught.value.reason


# the token ------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.binary(min_size=32, max_size=32))
def test_a_token_survives_its_text(token_id: str, secret: bytes) -> None:
    read = parse_token(" " + make_token(token_id, secret, SERVER.public.key_id) + "\n")
    assert (read.token_id, read.secret, read.server_key_id) == (token_id, secret, SERVER.public.key_id)


@pytest.mark.parametrize(
    ("token_id", "secret", "server"),
    [("", SECRET, "0" * 64), ("a.b", SECRET, "0" * 64), ("a", bytes(31), "0" * 64), ("a", SECRET, "0" * 63)],
)
def test_a_token_is_made_of_good_parts_only(token_id: str, secret: bytes, server: str) -> None:
    with pytest.raises(ArgumentError):
        make_token(token_id, secret, server)


def test_a_damaged_token_is_refused_without_showing_it() -> None:
    """People paste these into tickets when they do not work."""
    text = make_token("t1", SECRET, SERVER.public.key_id)
    for damaged in (text[:-1], text + "0", text.replace("orj1", "orj2"), text.upper(), "", text.replace(".", " ")):
        with pytest.raises(ArgumentError) as caught:
            parse_token(damaged)
        assert text.split(".")[2] not in str(caught.value)
    assert repr(SECRET) not in repr(TOKEN)


# the request ----------------------------------------------------------------------------------------------------------


def test_a_good_request_is_believed() -> None:
    read = verified(request(name="web-1", labels={"site": "berlin"}))
    assert (read.key, read.hostname, read.nonce) == (AGENT.public, "web-1.example", NONCE)
    assert (read.name, read.labels) == ("web-1", {"site": "berlin"})
    assert (verified(request()).name, verified(request()).labels) == (None, {})


def test_the_secret_does_not_travel() -> None:
    body = json.dumps(request())
    for form in (base64.b64encode(SECRET), base64.urlsafe_b64encode(SECRET).rstrip(b"="), SECRET.hex().encode()):
        assert form.decode() not in body


CHANGES: list[dict[str, Any]] = [
    {"token_id": "t2"}, {"public_key": MALLORY.public.to_text()}, {"hostname": "db-1"}, {"name": "db-1"},
    {"labels": {"site": "paris"}}, {"nonce": base64.b64encode(OTHER_NONCE).decode()},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_touched_request_is_refused(change: dict[str, Any]) -> None:
    """Whoever sees it pass must not enrol his own key with it."""
    with pytest.raises(TrustError) as caught:
        verified(request() | change)
    assert caught.value.reason == "bad_token"


def test_a_request_by_another_token_is_refused() -> None:
    other = parse_token(make_token("t1", bytes(32), SERVER.public.key_id))
    with pytest.raises(TrustError) as caught:
        verified(request(other))
    assert caught.value.reason == "bad_token"


def test_nobody_enrols_a_key_that_is_not_his() -> None:
    """With the token, but without the private key: it would let him block or claim another host."""
    theirs, mine = request(key=AGENT), request(key=MALLORY)
    with pytest.raises(TrustError) as caught:
        verified(theirs | {"signature": mine["signature"]})
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"token_id": "-"}, {"public_key": "x"}, {"hostname": ""}, {"hostname": "a" * 254}, {"nonce": "YQ=="},
        {"mac": "*"}, {"signature": base64.b64encode(bytes(63)).decode()}, {"name": "a b"}, {"labels": []},
        {"labels": {"a b": "c"}}, {"labels": {"a": 1}}, {"labels": {f"l{n}": "x" for n in range(65)}}, {"more": 1},
    ],
)  # fmt: skip
def test_a_request_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        EnrolmentRequest.from_wire(request() | change)


@pytest.mark.parametrize("missing", sorted(request()))
def test_a_request_lacks_nothing(missing: str) -> None:
    with pytest.raises(ArgumentError, match=missing):
        EnrolmentRequest.from_wire({name: value for name, value in request().items() if name != missing})


def test_what_the_server_would_refuse_is_refused_where_it_is_made() -> None:
    for more in ({"hostname": ""}, {"name": "a b"}, {"labels": {"a": "b c"}}):
        with pytest.raises(ArgumentError):
            request(**more)


# the answer -----------------------------------------------------------------------------------------------------------


def test_a_good_answer_pins_server_and_roots() -> None:
    roster = sign("roster", {"type": "roster"}, ROOT)
    body = json.loads(json.dumps(answer(roster=roster.to_plain())))
    found = verify_answer(body, TOKEN, AGENT.public, NONCE)
    assert (found.agent_id, found.server_key, found.threshold) == ("web-1", SERVER.public, 1)
    assert (found.roots, found.roster) == ((ROOT.public,), roster)


def test_a_server_without_a_roster_pins_no_roots() -> None:
    found = verify_answer(answer(roots=None), TOKEN, AGENT.public, NONCE)
    assert (found.roots, found.threshold, found.roster) == ((), 0, None)


def test_an_answer_of_a_foreign_server_is_refused() -> None:
    """It holds a true request, but it is not the server whose name is on the invitation."""
    assert reason_of(answer(MALLORY)) == "foreign_token"
    assert reason_of(answer(MALLORY) | {"server_key": SERVER.public.to_text()}) == "bad_signature"


def test_an_answer_to_another_request_is_refused() -> None:
    assert reason_of(answer(nonce=OTHER_NONCE)) == "replayed_token"
    assert reason_of(answer(), nonce=OTHER_NONCE) == "replayed_token"


def test_an_answer_to_another_agent_is_refused() -> None:
    assert reason_of(answer(), key=MALLORY.public) == "bad_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": "web-2"},
        {"roots": None},
        {"roots": {"threshold": 1, "keys": [MALLORY.public.to_text()]}},
        {"roster": {}},
        {"nonce": base64.b64encode(OTHER_NONCE).decode()},
        {"signature": base64.b64encode(bytes(64)).decode()},
    ],
)
def test_a_touched_answer_is_refused(change: dict[str, Any]) -> None:
    """Roots that somebody slipped in here are trusted for good."""
    assert reason_of(answer() | change) == "bad_signature"


@pytest.mark.parametrize(
    "roots",
    [
        {"threshold": 0, "keys": [ROOT.public.to_text()]},
        {"threshold": 2, "keys": [ROOT.public.to_text()] * 2},
        {"threshold": 1, "keys": []},
        {"threshold": 1, "keys": ["x"]},
        {"threshold": 1},
    ],
)
def test_impossible_roots_are_refused_although_signed(roots: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        verify_answer(answer(roots=roots), TOKEN, AGENT.public, NONCE)


@pytest.mark.parametrize(
    "change",
    [{"roster": {"a": 1.5}}, {"roster": {"a": "\ud800"}}, {"roots": {"a": {}}}, {"agent_id": ""}, {"more": 1}],
)
def test_an_answer_that_cannot_be_checked_is_a_documented_error(change: dict[str, Any]) -> None:
    """It came from a server that has proved nothing yet; a crash there would be all that the operator sees."""
    with pytest.raises(OutriderError):
        verify_answer(answer() | change, TOKEN, AGENT.public, NONCE)


def test_an_answer_that_nests_without_end_is_a_documented_error() -> None:
    deep: Any = {}
    for _ in range(10_000):
        deep = {"a": deep}
    with pytest.raises(OutriderError):
        verify_answer(answer() | {"roster": deep}, TOKEN, AGENT.public, NONCE)
