"""The handshake: only the enrolled agent and the pinned server get through, once, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits, messages
from protocol.errors import (
    ConflictError,
    InternalError,
    OutriderError,
    ProtocolError,
    TooLargeError,
    TrustError,
    UnauthenticatedError,
)
from protocol.frames import encode
from protocol.handshake import AgentHandshake, Proved, ServerHandshake, Welcome
from protocol.messages import Kind
from protocol.signing import PrivateKey, PublicKey

AGENT, SERVER, MALLORY = (PrivateKey.generate() for _ in range(3))
ENROLLED = {"web-1": AGENT.public, "mallory": MALLORY.public}
HASH = b"h" * 32


def agent(key: PrivateKey = AGENT, name: str = "web-1", pinned: PublicKey = SERVER.public, nonce: int = 1) -> Any:
    return AgentHandshake(key, name, pinned, bytes([nonce]) * 32)


def server(key: PrivateKey = SERVER, nonce: int = 2) -> Any:
    return ServerHandshake(key, ENROLLED.get, bytes([nonce]) * 32)


def reason_of(act: Callable[[], object]) -> str:
    with pytest.raises(TrustError) as caught:
        act()
    return caught.value.reason


def test_both_prove_themselves() -> None:
    a, s = agent(), server()
    challenge = s.receive(a.hello())
    assert s.claimed_agent_id == "web-1"
    assert s.receive(a.receive(challenge)) == Proved("web-1", AGENT.public)
    assert a.receive(s.welcome(7, HASH, 1234)) == Welcome(7, HASH, 1234)


# who is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "name"), [(AGENT, "web-2"), (MALLORY, "web-1"), (AGENT, "mallory")])
def test_an_agent_is_known_by_id_and_key(key: PrivateKey, name: str) -> None:
    """An id alone is public, and a key alone would let one host speak for another."""
    s = server()
    assert reason_of(lambda: s.receive(agent(key, name).hello())) == "unknown_key"
    assert s.claimed_agent_id == name, "told in the record of the refusal"


def test_an_agent_signs_nothing_for_a_foreign_server() -> None:
    """What it signed there could be shown to the true one."""
    a, s = agent(), server(MALLORY)
    assert reason_of(lambda: a.receive(s.receive(a.hello()))) == "foreign_server"


def test_a_server_that_only_knows_the_public_key_is_refused() -> None:
    a = agent()
    a.hello()
    forged = messages.pack(Kind.CHALLENGE, SERVER.public.raw, bytes(32), MALLORY.sign(b"anything"))
    assert reason_of(lambda: a.receive(forged)) == "bad_signature"


def test_an_agent_without_the_private_key_is_refused() -> None:
    a, s = agent(), server()
    s.receive(a.hello())
    assert reason_of(lambda: s.receive(messages.pack(Kind.PROOF, MALLORY.sign(b"x")))) == "bad_signature"
    with pytest.raises(InternalError):
        s.welcome(0, HASH, 0)


# reflection and replay ------------------------------------------------------------------------------------------------


def test_the_servers_signature_reflected_is_no_proof_of_the_agent() -> None:
    a, s = agent(), server()
    signature = messages.unpack(s.receive(a.hello()))[1][2]
    assert reason_of(lambda: s.receive(messages.pack(Kind.PROOF, signature))) == "bad_signature"


def test_a_signature_is_of_one_role_even_where_one_key_has_both() -> None:
    """A host that is agent and server with one key must not be talked into proving itself to itself."""
    s = ServerHandshake(AGENT, ENROLLED.get, bytes(32))
    a = agent(pinned=AGENT.public)
    challenge = s.receive(a.hello())
    reflected = messages.pack(Kind.PROOF, messages.unpack(challenge)[1][2])
    assert reason_of(lambda: s.receive(reflected)) == "bad_signature"


def test_a_proof_of_an_earlier_connection_is_worth_nothing() -> None:
    a, s = agent(), server()
    hello = a.hello()
    proof = a.receive(s.receive(hello))
    s.receive(proof)
    later = server(nonce=3)
    later.receive(hello)
    assert reason_of(lambda: later.receive(proof)) == "bad_signature"


def test_a_challenge_of_an_earlier_connection_is_worth_nothing() -> None:
    first, s = agent(), server()
    challenge = s.receive(first.hello())
    later = agent(nonce=9)
    later.hello()
    assert reason_of(lambda: later.receive(challenge)) == "bad_signature"


def test_a_relay_cannot_put_its_own_key_in_between() -> None:
    """Mallory is enrolled too and relays: the signature covers whose connection it is."""
    a, s = agent(), server()
    a.hello()
    mallory = agent(MALLORY, "mallory", nonce=1)  # with the agent's own nonce
    assert reason_of(lambda: a.receive(s.receive(mallory.hello()))) == "bad_signature"


def test_a_relay_cannot_rename_an_agent() -> None:
    twin = ServerHandshake(SERVER, {"web-1": AGENT.public, "web-2": AGENT.public}.get, bytes(32))
    a = agent()
    renamed = messages.pack(Kind.HELLO, 1, "web-2", AGENT.public.raw, messages.unpack(a.hello())[1][3])
    assert reason_of(lambda: a.receive(twin.receive(renamed))) == "bad_signature"


# order ----------------------------------------------------------------------------------------------------------------

HELLO = agent().hello()
PROOF = messages.pack(Kind.PROOF, bytes(64))
CHALLENGE = messages.pack(Kind.CHALLENGE, SERVER.public.raw, bytes(32), bytes(64))
WELCOME = messages.pack(Kind.WELCOME, 0, HASH, 0)
REFUSED = messages.pack(Kind.REFUSED, "untrusted", "unknown_key", "no")
PING = messages.pack(Kind.PING, 1)
REQUEST = messages.pack(Kind.REQUEST, 1, "status", {})


@pytest.mark.parametrize("frame", [PROOF, CHALLENGE, WELCOME, REFUSED, PING, REQUEST])
def test_a_server_waits_for_a_hello(frame: bytes) -> None:
    s = server()
    with pytest.raises(ProtocolError):
        s.receive(frame)
    with pytest.raises(ProtocolError):
        s.receive(HELLO)  # nothing is accepted after an error


@pytest.mark.parametrize("frame", [HELLO, CHALLENGE, WELCOME, PING, REQUEST])
def test_a_server_then_waits_for_the_proof(frame: bytes) -> None:
    a, s = agent(), server()
    proof = a.receive(s.receive(a.hello()))
    with pytest.raises(ProtocolError):
        s.receive(frame)
    with pytest.raises(ProtocolError):
        s.receive(proof)


@pytest.mark.parametrize("frame", [HELLO, PROOF, WELCOME, PING, REQUEST])
def test_an_agent_waits_for_the_challenge(frame: bytes) -> None:
    """Above all no welcome before the server has proved itself."""
    a, s = agent(), server()
    challenge = s.receive(a.hello())
    with pytest.raises(ProtocolError):
        a.receive(frame)
    with pytest.raises(ProtocolError):
        a.receive(challenge)


def test_an_agent_that_has_said_nothing_takes_no_challenge() -> None:
    with pytest.raises(ProtocolError):
        agent().receive(CHALLENGE)


def test_each_step_is_taken_once() -> None:
    a, s = agent(), server()
    hello = a.hello()
    with pytest.raises(InternalError):
        a.hello()
    proof = a.receive(s.receive(hello))
    s.receive(proof)
    welcome = s.welcome(0, HASH, 0)
    with pytest.raises(InternalError):
        s.welcome(0, HASH, 0)
    a.receive(welcome)
    for receiver, frame in ((a, welcome), (s, proof), (s, hello)):
        with pytest.raises(ProtocolError):
            receiver.receive(frame)


def test_nobody_is_welcome_before_his_proof() -> None:
    s = server()
    with pytest.raises(InternalError):
        s.welcome(0, HASH, 0)
    s.receive(HELLO)
    with pytest.raises(InternalError):
        s.welcome(0, HASH, 0)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_nonce_has_its_size(size: int) -> None:
    with pytest.raises(InternalError):
        AgentHandshake(AGENT, "web-1", SERVER.public, bytes(size))
    with pytest.raises(InternalError):
        ServerHandshake(SERVER, ENROLLED.get, bytes(size))


# refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (TrustError("no such agent", reason="unknown_key"), TrustError, "no such agent"),
        (ConflictError("again"), UnauthenticatedError, r"again \(conflict\)"),
        (ConflictError("\x1b[2Jred\n\udcff" + "x" * 9999), UnauthenticatedError, r"\?\[2Jred\?\?x"),
    ],
)
def test_a_refusal_arrives_with_its_reason_and_without_tricks(
    error: OutriderError, kind: type[OutriderError], words: str
) -> None:
    """It is shown on the terminal of whoever looks why the host is not there."""
    a, s = agent(), server()
    a.hello()
    with pytest.raises(kind, match=words) as caught:
        a.receive(s.refuse(error))
    assert caught.value.message.isprintable()
    if isinstance(error, TrustError):
        assert isinstance(caught.value, TrustError)
        assert caught.value.reason == "unknown_key"
    with pytest.raises(ProtocolError):
        s.receive(HELLO)


# hostile frames -------------------------------------------------------------------------------------------------------


def test_a_frame_is_bounded_before_anything_is_proved() -> None:
    frame = bytes(limits.MAX_HANDSHAKE_BYTES + 1)
    for end in (agent(), server()):
        with pytest.raises(TooLargeError):
            end.receive(frame)


@pytest.mark.parametrize(
    "values",
    [
        (2, "web-1", AGENT.public.raw, bytes(32)),
        (1, "web 1", AGENT.public.raw, bytes(32)),
        (1, "", AGENT.public.raw, bytes(32)),
        (1, "web-1", bytes(31), bytes(32)),
        (1, "web-1", AGENT.public.raw, bytes(16)),
        (1, "web-1", AGENT.public.raw),
        (1, "web-1", AGENT.public.raw, bytes(32), 0),
    ],
)
def test_a_hello_of_another_form_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(ProtocolError):
        server().receive(encode([int(Kind.HELLO), *values]))


@settings(max_examples=150)
@given(st.binary(max_size=60), st.sampled_from([HELLO, CHALLENGE, PROOF, WELCOME, REFUSED]), st.data())
def test_hostile_frames_raise_only_documented_errors(noise: bytes, frame: bytes, data: st.DataObject) -> None:
    """This is what anybody on the network reaches without a key."""
    touched = bytearray(frame)
    touched[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    for hostile in (noise, bytes(touched), frame + noise, frame[: len(noise)]):
        a, s, begun = agent(), server(), server()
        a.hello()
        begun.receive(HELLO)
        for end in (a, begun):
            with pytest.raises(OutriderError):
                end.receive(hostile)
        with contextlib.suppress(ProtocolError, TrustError):
            s.receive(hostile)
