"""The peers: measured or named as absent, never an error."""

from __future__ import annotations

import pytest

from bench import peers


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda _name: None)
    monkeypatch.setattr(peers.os, "access", lambda _path, _mode: False)
    for peer in (peers.bubblewrap(), peers.ssh(), peers.salt()):
        assert peer.value is None
        assert "not installed" in str(peer.absent)


def test_socketpair_round_trip_is_measured() -> None:
    assert 0.5 < peers.socketpair_us(64, repeats=500) < 5000
