"""Keys that stay in an SSH agent: which there are, and one of them as something that signs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import closing

from protocol import sshkeys
from protocol.errors import ArgumentError, ProtocolError, TrustError, UnavailableError
from protocol.signing import PublicKey
from protocol.sshkeys import Held

AGENT = "agent:"  # what --key begins with where it names a key of the agent
TIMEOUT_S = 60.0  # an agent may ask its user first


class AgentKey:
    """A key in the agent of this environment; signs as :class:`protocol.signing.PrivateKey` does."""

    def __init__(self, public: PublicKey, environment: Mapping[str, str] | None = None) -> None:
        self.public = public
        self._environment = environment

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data``, 64 bytes, after it was checked.

        Raises:
            UnavailableError: No agent answers, or it does not sign.
        """
        answer = _asked(sshkeys.signature_request(self.public, data), self._environment)
        try:
            value = sshkeys.read_signature(answer)
            self.public.verify(value, data)
        except (ProtocolError, TrustError) as error:
            raise UnavailableError(f"the SSH agent: {error.message}") from None
        return value


def held(environment: Mapping[str, str] | None = None) -> list[Held]:
    """Return the Ed25519 keys that the agent holds.

    Raises:
        UnavailableError: No agent answers as agents do.
    """
    answer = _asked(sshkeys.keys_request(), environment)
    try:
        return sshkeys.read_keys(answer)
    except ProtocolError as error:
        raise UnavailableError(f"the SSH agent: {error.message}") from None


def find(which: str, environment: Mapping[str, str] | None = None) -> AgentKey:
    """Return the key that ``which`` names: a comment, the start of a key id, or nothing if there is only one.

    Raises:
        ArgumentError: There is none, or more than one.
        UnavailableError: No agent answers.
    """
    known = held(environment)
    fitting = [
        each for each in known if not which or each.comment == which or (each.public.key_id.startswith(which.lower()))
    ]
    if len(fitting) != 1:
        told = ", ".join(f"{each.public.key_id[:16]} {each.comment}" for each in known[:5]) or "none"
        raise ArgumentError(
            f"{AGENT}{which} names {len(fitting)} Ed25519 keys of the SSH agent (it holds: {told})", parameter="key"
        )
    return AgentKey(fitting[0].public, environment)


def holding(public: PublicKey, environment: Mapping[str, str] | None = None) -> AgentKey:
    """Return the agent's key with this public half.

    Raises:
        ArgumentError: The agent does not hold it.
        UnavailableError: No agent answers.
    """
    if all(each.public != public for each in held(environment)):
        raise ArgumentError(f"the SSH agent does not hold the key {public.key_id[:16]} (ssh-add)", parameter="key")
    return AgentKey(public, environment)


def _asked(message: bytes, environment: Mapping[str, str] | None) -> bytes:
    path = (os.environ if environment is None else environment).get("SSH_AUTH_SOCK")
    if not path:
        raise UnavailableError("there is no SSH agent (SSH_AUTH_SOCK is not set)")
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as channel:
            channel.settimeout(TIMEOUT_S)
            channel.connect(path)
            channel.sendall(message)
            return _exactly(channel, sshkeys.body_bytes(_exactly(channel, 4)))
    except (OSError, ProtocolError) as error:
        raise UnavailableError(f"the SSH agent at {path} does not answer: {error}") from None


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        if not part:
            raise ProtocolError("it ended before it had answered")
        parts += part
    return parts
