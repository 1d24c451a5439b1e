"""Output of a terminal is recorded before it is shown, at a time that can be, and kept in memory within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import UnavailableError
from protocol.terminal import CHUNK_BYTES, Audience
from server import clock
from server.sessions import recording as recordings
from server.sessions.outgoing import Outgoing
from server.sessions.output import RECENT_BYTES, UNSENT_BYTES, Output
from server.sessions.people import Party, Person, Role
from server.sessions.recording import Recording
from server.sessions.timeline import Timeline
from server.sessions.viewers import Viewer, Viewers

HOUR_US = 3_600_000_000


class Terminal:
    """What is printed in one, with a recording on disk and somebody who watches."""

    def __init__(self, directory: Path, age_us: int = HOUR_US) -> None:
        self.directory = directory / "s1"
        self.recording = Recording(self.directory, {})
        self.timeline = Timeline(self.recording, clock.now_us() - age_us)
        self.audience, self.viewers = Audience(), Viewers()
        outgoing = Outgoing("s1", Party(), self.audience)
        self.output = Output(self.recording, self.timeline, self.audience, self.viewers, outgoing)
        self.watching = self.audience.join("v1", 0, 0)
        self.viewer = self.viewers.there["v1"] = Viewer(Person("v1", "me", Role.OWNER))

    def on_disk(self) -> bytes:
        return recordings.read_output(self.directory, 0, 1 << 40)


async def test_what_is_shown_was_recorded_before(tmp_path: Path) -> None:
    """By the time that a viewer's turn comes, it is in the kernel's hands."""
    terminal = Terminal(tmp_path)
    seen: list[bytes] = []

    def sends() -> bool:
        assert terminal.on_disk() == b"hello"
        seen.append(terminal.output.recent(0, terminal.audience.stored) or b"")
        return True

    terminal.viewer.sends = sends
    terminal.output.take(0, 10, b"hello")
    assert seen == [b"hello"]
    terminal.output.take(0, 20, b"hello")  # again, after a lost link: nobody is shown it twice
    assert seen == [b"hello"]
    await terminal.recording.close()


async def test_what_cannot_be_recorded_is_shown_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(tmp_path)
    terminal.output.take(0, 10, b"first")
    terminal.viewer.wake.clear()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(recordings.os, "write", full)
        with pytest.raises(UnavailableError):
            terminal.output.take(5, 20, b"second")
    assert (terminal.audience.stored, terminal.viewer.wake.is_set()) == (5, False)
    assert await terminal.output.read(0, 100) == b"first"
    await terminal.recording.close()


async def test_what_is_kept_in_memory_is_bounded_and_the_rest_is_read(tmp_path: Path) -> None:
    """A viewer who is far behind costs reading, not memory."""
    terminal = Terminal(tmp_path)
    data, offset = b"0123456789abcdef" * (CHUNK_BYTES // 16), 0
    while offset < 3 * UNSENT_BYTES:  # and nobody reads any of it
        terminal.output.take(offset, 10, data)
        offset += len(data)
        assert len(terminal.output._recent) <= UNSENT_BYTES + 2 * RECENT_BYTES + len(data)
    assert terminal.output.recent(0, 100) is None
    assert await terminal.output.read(0, 32) == data[:32]
    assert terminal.output.recent(offset - 8192, offset, b"head") == b"head" + data[-8192:]
    terminal.watching.sent = offset
    terminal.output.take(offset, 10, data)
    terminal.watching.sent = offset + len(data)
    terminal.output.take(offset + len(data), 10, data)
    assert len(terminal.output._recent) <= 2 * RECENT_BYTES + len(data)
    await terminal.recording.close()


async def test_what_comes_after_a_hole_does_not_follow_what_was_before(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.output.take(0, 10, b"before")
    terminal.output.take(100, 20, b"after")
    assert terminal.output.recent(100, 105) == b"after"
    assert terminal.output.recent(99, 105) is None
    assert terminal.output.recent(0, 6) is None
    await terminal.recording.close()


async def test_no_time_is_later_than_the_session_is_old(tmp_path: Path) -> None:
    """An agent that claims the year 2300 would put the rest of the recording there: times never go back in one."""
    terminal = Terminal(tmp_path, age_us=5_000_000)
    assert terminal.timeline.at(1_000_000) == 1_000_000
    assert 5_000_000 <= terminal.timeline.at(1 << 52) < 5_000_000 + 2 * 60_000_000
    assert terminal.timeline.at(terminal.timeline.surely_us) == terminal.timeline.surely_us
    terminal.output.take(0, 1 << 52, b"x")
    assert terminal.recording.us < 5_000_000 + 2 * 60_000_000
    await terminal.recording.close()


@pytest.mark.parametrize("told", [-1, True, None, "1", 1.5, 1 << 52])
async def test_an_agent_that_says_nonsense_of_its_age_is_not_believed(tmp_path: Path, told: object) -> None:
    terminal = Terminal(tmp_path)
    terminal.timeline.opened(told)
    assert terminal.timeline.now_us() < 60_000_000
    terminal.timeline.opened(600_000_000)
    assert 600_000_000 <= terminal.timeline.now_us() < 660_000_000
    await terminal.recording.close()
