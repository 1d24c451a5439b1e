"""The owner's freeze: durable, needs nobody, and a damaged file freezes too."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

import pytest
from premises import Premises

from agent import owner_freeze
from agent.trusting import check_not_frozen
from protocol.errors import ArgumentError, DeniedError

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_it_is_written_read_and_lifted(premises: Premises) -> None:
    state = premises.state
    assert owner_freeze.read(state) is None
    owner_freeze.write(state, "odd traffic", NOW)
    assert owner_freeze.read(state) == owner_freeze.OwnerFreeze("odd traffic", "2026-11-26T00:00:00Z")
    assert stat.S_IMODE(state.owner_freeze.stat().st_mode) == 0o644, "the agent's own user must be able to read it"
    assert owner_freeze.lift(state)
    assert not owner_freeze.lift(state)
    assert owner_freeze.read(state) is None


def test_nothing_may_run_while_it_is_there(premises: Premises) -> None:
    premises.allow()
    check_not_frozen(premises.trust.ceiling(), None)
    owner_freeze.write(premises.state, "odd", NOW)
    with pytest.raises(DeniedError, match="by its owner: odd"):
        check_not_frozen(premises.trust.ceiling(), None)
    owner_freeze.lift(premises.state)
    check_not_frozen(premises.trust.ceiling(), None)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"reason": 1}', b"\xff", b"{" * 4000, b"x" * 10_000])
def test_a_damaged_file_freezes(premises: Premises, content: bytes) -> None:
    premises.allow()
    premises.state.owner_freeze.write_bytes(content)
    assert premises.trust.ceiling().frozen


def test_one_that_others_could_have_written_freezes(premises: Premises) -> None:
    premises.allow()
    owner_freeze.write(premises.state, "odd", NOW)
    premises.state.owner_freeze.chmod(0o666)
    assert "cannot be read" in premises.trust.ceiling().frozen_reason


@pytest.mark.parametrize("reason", ["x" * 501, "a\nb", "\x1b[2J"])
def test_a_reason_is_one_line(premises: Premises, reason: str) -> None:
    with pytest.raises(ArgumentError):
        owner_freeze.write(premises.state, reason, NOW)
