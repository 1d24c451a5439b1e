"""Keys of OpenSSH: in its files, and in a real ssh-agent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import ssh_agent
from cli.keys import find_signer, read_key, read_public_key
from protocol.errors import ArgumentError, UnavailableError
from protocol.signing import open_envelope, sign

pytestmark = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="OpenSSH is not installed here")


def made(folder: Path, name: str, *words: str) -> Path:
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real agent with one key, ``mia``; only its public half lies in the folder."""
    place = tmp_path / "a"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
    key = made(tmp_path, "mia")
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=dict(os.environ), timeout=30)
    key.unlink()
    yield tmp_path
    process.terminate()
    process.wait(60)
    process.stdout.close()


def test_signing_by_the_agent(agent: Path) -> None:
    """What an agent signs is a statement like any other: whoever checks it cannot tell."""
    for which in ("agent:", "agent:mia", str(agent / "mia.pub")):
        key = find_signer(Path(which))
        envelope = sign("publication", {"type": "publication"}, key)
        assert open_envelope(envelope, "publication", {key.public.key_id: key.public}).body == {"type": "publication"}
        assert key.public == read_public_key(agent / "mia.pub")
    assert find_signer(Path(f"agent:{key.public.key_id[:12]}")).public == key.public


def test_keys_that_the_agent_does_not_hold(agent: Path) -> None:
    with pytest.raises(ArgumentError, match="names 0 Ed25519 keys of the SSH agent"):
        find_signer(Path("agent:tom"))
    made(agent, "tom")
    with pytest.raises(ArgumentError, match="does not hold the key"):
        find_signer(agent / "tom.pub")
    subprocess.run(["ssh-add", "-q", str(agent / "tom")], check=True, env=dict(os.environ), timeout=30)
    with pytest.raises(ArgumentError, match="names 2"):
        find_signer(Path("agent:"))


def test_a_locked_agent(agent: Path) -> None:
    key = find_signer(Path("agent:mia"))
    subprocess.run(["ssh-add", "-q", "-D"], check=True, env=dict(os.environ), timeout=30)
    with pytest.raises(UnavailableError, match="did not sign"):
        key.sign(b"x")


def test_no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(UnavailableError, match="SSH_AUTH_SOCK is not set"):
        find_signer(Path("agent:"))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    with pytest.raises(UnavailableError, match="does not answer"):
        find_signer(Path("agent:"))


@pytest.mark.parametrize("answer", [b"", b"\0\0", b"\xff\xff\xff\xff", b"\0\0\0\5\x0c\0\0\0\1", b"\0\0\0\1\5"])
def test_what_is_no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen(1)

        def serve() -> None:
            channel, _ = listening.accept()
            with channel:
                channel.recv(100)
                channel.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "s"))
        with pytest.raises(UnavailableError, match="the SSH agent"):
            ssh_agent.held()
        thread.join(60)


def test_files_of_openssh(tmp_path: Path) -> None:
    path = made(tmp_path, "plain")
    assert read_key(path).public == read_public_key(path) == read_public_key(tmp_path / "plain.pub")
    path.chmod(0o644)
    with pytest.raises(ArgumentError, match="open to others"):
        read_key(path)


def test_a_key_with_a_passphrase_is_for_the_agent(tmp_path: Path) -> None:
    path = made(tmp_path, "locked", "-N", "a passphrase")
    with pytest.raises(ArgumentError, match="through the agent"):
        find_signer(path)


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    path = made(tmp_path, "curve", "-t", "ecdsa")
    with pytest.raises(ArgumentError, match="is not an Ed25519 key"):
        find_signer(path)
    with pytest.raises(ArgumentError):
        read_public_key(tmp_path / "curve.pub")
