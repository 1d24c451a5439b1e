"""OpenSSH's forms of Ed25519 keys and its agent's messages; what comes from the agent's socket is bounded."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sshkeys
from protocol.errors import ArgumentError, ProtocolError
from protocol.signing import PrivateKey, pae, payload_type

KEY = PrivateKey.generate()


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


BLOB = text(b"ssh-ed25519") + text(KEY.public.raw)


def test_public_line() -> None:
    line = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} me@here and there\n"
    assert sshkeys.public_from_text(line) == KEY.public
    for bad in ("", "ssh-ed25519", "ssh-rsa AAAA", "ssh-ed25519 !!", f"ssh-ed25519 {base64.b64encode(BLOB[:-1])!r}",
                "ssh-ed25519 " + base64.b64encode(BLOB + b"x").decode()):  # fmt: skip
        with pytest.raises(ArgumentError):
            sshkeys.public_from_text(bad)


def test_keys_that_are_not_ours_are_passed_over() -> None:
    other = text(b"ssh-rsa") + text(b"\1" * 300)
    body = bytes([12]) + struct.pack(">I", 2) + text(other) + text(b"old") + text(BLOB) + text(b"mia")
    assert sshkeys.read_keys(body) == [sshkeys.Held(KEY.public, "mia")]


def test_signature() -> None:
    value = KEY.sign(b"data")
    assert sshkeys.read_signature(bytes([14]) + text(text(b"ssh-ed25519") + text(value))) == value
    for bad, said in [
        (bytes([5]), "did not sign"), (b"", "kind nothing"), (bytes([12]), "kind 0c"),
        (bytes([14]) + text(text(b"ssh-rsa") + text(value)), "another algorithm"),
        (bytes([14]) + text(text(b"ssh-ed25519") + text(value[:-1])), "another algorithm"),
        (bytes([14]) + text(text(b"ssh-ed25519") + text(value))[:-1], "cut off"),
    ]:  # fmt: skip
        with pytest.raises(ProtocolError, match=said):
            sshkeys.read_signature(bad)


@given(st.binary(max_size=200))
def test_whatever_an_agent_says(body: bytes) -> None:
    """It runs as its user, but a socket in the environment may lead to anything."""
    for read in (sshkeys.read_keys, sshkeys.read_signature):
        for begin in (b"", bytes([12]), bytes([14])):
            try:
                read(begin + body)
            except ProtocolError:
                continue


def test_lengths_are_bounded() -> None:
    for head in (b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack(">I", sshkeys.MAX_MESSAGE_BYTES + 1)):
        with pytest.raises(ProtocolError):
            sshkeys.body_bytes(head)
    with pytest.raises(ProtocolError, match="keys"):
        sshkeys.read_keys(bytes([12]) + b"\xff\xff\xff\xff")


def test_what_we_sign_is_nothing_that_ssh_signs() -> None:
    """SSH signs a session id with its length before it: ours would be 0x44535345 bytes (``DSSE``) long."""
    signed = pae(payload_type("publication"), b"{}")
    assert struct.unpack(">I", signed[:4])[0] > 1 << 30
