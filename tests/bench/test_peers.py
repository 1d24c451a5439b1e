"""The peers: measured or named as absent, never an error."""

from __future__ import annotations

import time

import pytest

from bench import peers


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda _name: None)
    monkeypatch.setattr(peers.os, "access", lambda _path, _mode: False)
    for peer in (peers.bubblewrap(), peers.ssh(), peers.salt()):
        assert peer.value is None
        assert "not installed" in str(peer.absent)


def test_socketpair_round_trip_is_measured() -> None:
    began_s = time.perf_counter()
    median_us = peers.socketpair_us(64, repeats=500)
    took_us = (time.perf_counter() - began_s) * 1_000_000
    # Half of the samples that count, which are nine of ten, took as long or longer: however slow the machine is.
    assert 0.5 < median_us <= took_us / 225
