"""The agent's own key: made once, never replaced, readable by nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.identity import load_identity, save_identity
from protocol.errors import ArgumentError, ConflictError, NotFoundError, UnavailableError
from protocol.signing import PrivateKey


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    key, path = PrivateKey.generate(), tmp_path / "identity.key"
    save_identity(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_identity(path).public == key.public


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    """The server knows this host by it, and the ledger is signed with it."""
    key, path = PrivateKey.generate(), tmp_path / "identity.key"
    save_identity(path, key)
    with pytest.raises(ConflictError):
        save_identity(path, PrivateKey.generate())
    assert load_identity(path).public == key.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    save_identity(path, PrivateKey.generate())
    path.chmod(mode)
    with pytest.raises(UnavailableError, match=r"identity\.key"):
        load_identity(path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"ed25519-private:", PrivateKey.generate().public.to_text().encode()]
)
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ArgumentError, match=r"identity\.key") as caught:
        load_identity(path)
    assert not content or content.decode("utf-8", "replace") not in str(caught.value)


def test_without_a_key_the_host_is_not_enrolled(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_identity(tmp_path / "identity.key")
