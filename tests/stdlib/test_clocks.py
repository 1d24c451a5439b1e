"""What the kernel's numbers of its clock's discipline mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import make
from running import perform

from stdlib import sys_clock
from stdlib.clocks import discipline, measured


def test_micro_and_nanoseconds() -> None:
    assert measured(0x0001, 1500, 2000, 3000) == (True, 1.5, 2.0, 3.0)
    assert measured(0x2001, 1_500_000, 2000, 3000) == (True, 1.5, 2.0, 3.0)
    assert measured(0x0041, 0, 0, 0).is_synchronised is False


def test_this_machine_answers_or_refuses() -> None:
    found = discipline()
    assert found is None or found.max_error_ms >= 0


async def test_an_agent_that_may_not_ask_tells_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's ProtectClock forbids even looking."""
    made = make(tmp_path)
    monkeypatch.setattr(sys_clock, "discipline", lambda: None)
    told = await perform("sys.clock", host=made.host)
    assert (told["ntp_synced"], told["offset_ms"]) == (None, None)
    made.folder("run/systemd/timesync")
    assert (await perform("sys.clock", host=made.host))["ntp_synced"] is False
    made.put("run/systemd/timesync/synchronized")
    assert (await perform("sys.clock", host=made.host))["ntp_synced"] is True
