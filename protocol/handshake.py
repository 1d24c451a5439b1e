"""Mutual proof of Ed25519 keys at the start of a link, without I/O: four frames, then the link.

    agent                                           server
    HELLO  version, id, key, nonce         ->       looks the id up; the key must be the enrolled one
           checks the pinned server key    <-       CHALLENGE  key, nonce, signature of the server
    PROOF  signature of the agent          ->       checks it
                                           <-       WELCOME  newest record held, its hash, time | REFUSED

- The server proves itself first. An agent signs nothing for a server whose key is not the pinned one.
- Both signatures cover both nonces, both keys and the agent's id, each under the name of the signer's role: a signature
  of one role, connection, agent or server is worth nothing for another, so reflection and replay fail.
- A nonce is 32 fresh random bytes for each connection, passed in. An instance serves one connection; out of order or
  after a failure everything is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from protocol import limits, messages
from protocol.errors import InternalError, OutriderError, ProtocolError, TooLargeError, TrustError, UnauthenticatedError
from protocol.messages import Kind
from protocol.signing import PrivateKey, PublicKey

PROTOCOL_VERSION = 1
NONCE_BYTES = 32
SERVER_DOMAIN = b"outrider.v1/handshake/server\0"
AGENT_DOMAIN = b"outrider.v1/handshake/agent\0"


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server lets the agent in and says where its copy of the ledger ends."""

    last_sequence: int  # newest record the server holds; 0 for none
    last_hash: bytes  # its hash; 32 zero bytes for none
    server_time_us: int  # microseconds since 1970 UTC


@dataclass(frozen=True, slots=True)
class Proved:
    """The agent has proved its key. It is in once the server has sent :meth:`ServerHandshake.welcome`."""

    agent_id: str
    key: PublicKey


class _State(Enum):
    START = auto()
    WAITS = auto()  # for the peer's proof
    PROVED = auto()
    OVER = auto()


class AgentHandshake:
    """The agent's side.

    Args:
        key: The agent's own.
        agent_id: As the server called it at enrolment.
        server_key: Pinned at enrolment.
        nonce: 32 fresh random bytes.
    """

    def __init__(self, key: PrivateKey, agent_id: str, server_key: PublicKey, nonce: bytes) -> None:
        self._key = key
        self._agent_id = agent_id
        self._server_key = server_key
        self._nonce = _fresh(nonce)
        self._state = _State.START

    def hello(self) -> bytes:
        """Return the first frame."""
        if self._state is not _State.START:
            raise InternalError("a handshake begins once")
        self._state = _State.WAITS
        return messages.pack(Kind.HELLO, PROTOCOL_VERSION, self._agent_id, self._key.public.raw, self._nonce)

    def receive(self, frame: bytes) -> bytes | Welcome:
        """Return the frame to answer with, or the welcome that ends the handshake.

        Raises:
            TrustError: ``foreign_server`` or ``bad_signature``: this is not the pinned server. Or the server refuses
                for the reason it gives, such as ``duplicate_agent``.
            UnauthenticatedError: The server refuses this agent.
            ProtocolError: Anything else than the frame that is due.
        """
        state, self._state = self._state, _State.OVER  # whatever goes wrong below, nothing is accepted after it
        kind, values = _unpack(frame)
        if kind is Kind.REFUSED:
            raise _refusal(*values)
        if state is _State.WAITS and kind is Kind.CHALLENGE:
            proof = self._prove(*values)
            self._state = _State.PROVED
            return proof
        if state is _State.PROVED and kind is Kind.WELCOME:
            return Welcome(*values)
        raise ProtocolError(f"a {kind.name} is not what the handshake waits for")

    def _prove(self, key: bytes, nonce: bytes, signature: bytes) -> bytes:
        if key != self._server_key.raw:
            raise TrustError(
                f"the server has key {PublicKey(key).key_id[:16]}, this agent was enrolled with a server that has "
                f"{self._server_key.key_id[:16]}",
                reason="foreign_server",
            )
        both = _transcript(self._nonce, nonce, self._key.public, self._server_key, self._agent_id)
        self._server_key.verify(signature, SERVER_DOMAIN + both)
        return messages.pack(Kind.PROOF, self._key.sign(AGENT_DOMAIN + both))


class ServerHandshake:
    """The server's side.

    Args:
        key: The server's own.
        lookup: Returns the enrolled key of an agent id, None if there is none.
        nonce: 32 fresh random bytes.
    """

    def __init__(self, key: PrivateKey, lookup: Callable[[str], PublicKey | None], nonce: bytes) -> None:
        self._key = key
        self._lookup = lookup
        self._nonce = _fresh(nonce)
        self._state = _State.START
        self._agent: Proved | None = None  # what the agent claims, proved once the state says so
        self._transcript = b""

    @property
    def claimed_agent_id(self) -> str | None:
        """The id in the hello, proved or not; for the log and the record of a refusal."""
        return self._agent.agent_id if self._agent is not None else None

    def receive(self, frame: bytes) -> bytes | Proved:
        """Return the frame to answer with, or who the agent has proved to be.

        After an error send :meth:`refuse` with it and close.

        Raises:
            TrustError: ``unknown_key``: no such agent, or another key than the enrolled one; ``bad_signature``.
            ProtocolError: Anything else than the frame that is due.
        """
        state, self._state = self._state, _State.OVER
        kind, values = _unpack(frame)
        if state is _State.START and kind is Kind.HELLO:
            challenge = self._challenge(*values)
            self._state = _State.WAITS
            return challenge
        if state is _State.WAITS and kind is Kind.PROOF and self._agent is not None:
            self._agent.key.verify(values[0], AGENT_DOMAIN + self._transcript)
            self._state = _State.PROVED
            return self._agent
        raise ProtocolError(f"a {kind.name} is not what the handshake waits for")

    def welcome(self, last_sequence: int, last_hash: bytes, server_time_us: int) -> bytes:
        """Return the frame that lets a proved agent in. The link follows.

        Args:
            last_sequence: Newest record held of this agent, 0 for none.
            last_hash: Its hash, 32 zero bytes for none.
            server_time_us: Now, microseconds since 1970 UTC.
        """
        if self._state is not _State.PROVED:
            raise InternalError("only an agent that has proved its key is welcome")
        self._state = _State.OVER
        return messages.pack(Kind.WELCOME, last_sequence, last_hash, server_time_us)

    def refuse(self, error: OutriderError) -> bytes:
        """Return the frame that tells the agent why it is not let in."""
        self._state = _State.OVER
        reason = error.reason if isinstance(error, TrustError) else ""
        return messages.pack(Kind.REFUSED, error.code, reason, messages.told(error.message))

    def _challenge(self, _version: int, agent_id: str, key: bytes, nonce: bytes) -> bytes:
        agent_key = PublicKey(key)
        self._agent = Proved(agent_id, agent_key)
        if self._lookup(agent_id) != agent_key:
            raise TrustError("no agent of this id and key is enrolled here", reason="unknown_key")
        self._transcript = _transcript(nonce, self._nonce, agent_key, self._key.public, agent_id)
        signature = self._key.sign(SERVER_DOMAIN + self._transcript)
        return messages.pack(Kind.CHALLENGE, self._key.public.raw, self._nonce, signature)


def _transcript(agent_nonce: bytes, server_nonce: bytes, agent: PublicKey, server: PublicKey, agent_id: str) -> bytes:
    """Return what both sides sign, each under its domain: fixed widths first, so it can be read in one way only."""
    return b"".join([agent_nonce, server_nonce, agent.raw, server.raw, agent_id.encode("utf-8")])


def _fresh(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise InternalError(f"a nonce has {NONCE_BYTES} bytes")
    return nonce


def _unpack(frame: bytes) -> tuple[Kind, list[Any]]:
    if len(frame) > limits.MAX_HANDSHAKE_BYTES:
        raise TooLargeError(f"a frame of the handshake is over {limits.MAX_HANDSHAKE_BYTES} bytes")
    return messages.unpack(frame)


def _refusal(code: str, reason: str, message: str) -> OutriderError:
    """Return the error that the server's refusal stands for; its text is the server's and only shown."""
    said = "".join(character if character.isprintable() else "?" for character in message)
    if code == TrustError.code:
        return TrustError(f"the server refuses this agent: {said}", reason=reason or "refused")
    return UnauthenticatedError(f"the server refuses this agent: {said} ({code})")
