"""Recordings on a disk: whole after a kill at any moment, compressed, sought by time and place, refused when full."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import NotFoundError, UnavailableError
from protocol.recording import Event, Segment, pack
from server.services.recordings import prove
from server.sessions import recording
from server.sessions.recording import (
    FLOOD_SEGMENT_BYTES,
    FLOOD_US,
    SEGMENT_BYTES,
    Recording,
    listed,
    read_output,
    read_segment,
)

ABOUT = {"session": "s_1", "size": [80, 24]}


def events(directory: Path) -> list[Event]:
    return [event for segment in listed(directory) for event in read_segment(directory, segment)]


def output(directory: Path) -> bytes:
    return b"".join(event.values[1] for event in events(directory) if event.word == "output")


async def test_what_was_recorded_is_there_before_anything_is_closed(tmp_path: Path) -> None:
    """A server that is killed leaves all of it."""
    made = Recording(tmp_path / "s", ABOUT)
    made.output(5, 0, b"hello")
    made.event(7, "marker", "here")
    assert [(each.us, each.word) for each in events(tmp_path / "s")] == [(5, "begin"), (5, "output"), (7, "marker")]
    assert os.stat(tmp_path / "s").st_mode & 0o77 == 0
    await made.close()
    (segment,) = listed(tmp_path / "s")
    assert segment.is_sealed
    assert output(tmp_path / "s") == b"hello"
    await made.close()


async def test_a_long_one_becomes_segments_that_are_small_and_can_be_sought(tmp_path: Path) -> None:
    made = Recording(tmp_path, ABOUT)
    chunk = b"the same line again and again\r\n" * 1000
    count = 4 * SEGMENT_BYTES // len(chunk)
    for number in range(count):
        made.output(number * 100_000, made.offset, chunk)
    made.event(count * 100_000, "resize", 120, 40)
    await made.close()
    found = listed(tmp_path)
    assert len(found) == 4
    assert all(segment.is_sealed for segment in found)
    assert sum((tmp_path / segment.name).stat().st_size for segment in found) < SEGMENT_BYTES // 20
    assert [segment.us for segment in found] == sorted(segment.us for segment in found)
    assert output(tmp_path) == chunk * count
    for begin in (0, 1, found[2].offset - 1, found[2].offset, made.offset - 10):
        data = read_output(tmp_path, begin, begin + 10)
        assert data == (chunk * count)[begin : begin + 10][: len(data)] != b""
    assert read_output(tmp_path, made.offset, made.offset + 10) == b""


async def test_a_flood_makes_fewer_segments_that_can_be_read_all_the_same(tmp_path: Path) -> None:
    """A file costs four syncs; nobody seeks within a second. An older server reads at most 4 MiB of one."""
    made = Recording(tmp_path, ABOUT)
    chunk = os.urandom(120 << 10)
    for number in range(9 * SEGMENT_BYTES // len(chunk)):
        made.output(number * 1000, made.offset, chunk)
    us = made.us + FLOOD_US
    for number in range(2 * SEGMENT_BYTES // len(chunk)):
        made.output(us + number * FLOOD_US, made.offset, chunk)
    await made.close()
    sizes = [sum(len(event.values[1]) for event in read_segment(tmp_path, segment) if event.word == "output")
             for segment in listed(tmp_path)]  # fmt: skip
    assert all(FLOOD_SEGMENT_BYTES <= size + 1000 <= 4 << 20 for size in sizes[:2]), sizes
    assert all(size < SEGMENT_BYTES + len(chunk) for size in sizes[3:]), "once it is no flood any more"
    assert sum(sizes) == made.offset
    assert read_output(tmp_path, made.offset - 7, made.offset) == chunk[-7:]


async def test_a_segment_that_is_sealed_while_the_directory_is_listed_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory may be read past the place of the new name before that is there, past the old one after it went."""
    made = Recording(tmp_path, ABOUT)
    made.output(5, 0, b"hello")
    real, looks = os.listdir, 0

    def listdir(path: Path) -> list[str]:
        nonlocal looks
        looks += 1
        return [] if looks == 1 else real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert read_output(tmp_path, 0, 5) == b"hello"
    await made.close()


async def test_it_goes_on_after_a_kill_with_the_state_of_the_terminal(tmp_path: Path) -> None:
    made = Recording(tmp_path, ABOUT)
    made.output(5, 0, b"before")
    made.event(8, "resize", 100, 30)
    # no close: the process is gone
    again = Recording(tmp_path, ABOUT)
    assert (again.offset, again.us) == (6, 8)
    assert again.output(9, 0, b"before and after") == b" and after", "what it has already is not recorded twice"
    await again.close()
    assert output(tmp_path) == b"before and after"
    begins = [event.values[0] for event in events(tmp_path) if event.word == "begin"]
    assert begins[-1]["size"] == [100, 30]


async def test_whether_it_is_paused_outlives_the_server_and_a_turn_of_segments(tmp_path: Path) -> None:
    """Else whoever can have the server started anew lets go on what a moderator has stopped."""
    made = Recording(tmp_path, ABOUT)
    made.event(1, "presence", {"what": "paused", "who": "mo"})
    assert made.paused_by == "mo"
    again = Recording(tmp_path, ABOUT)  # no close before it: the process was killed
    assert again.paused_by == "mo"
    for offset in range(0, FLOOD_SEGMENT_BYTES, 64 << 10):
        again.output(2, offset, b"x" * (64 << 10))
    again.event(3, "marker", "in a segment of its own")
    await again.close()
    third = Recording(tmp_path, ABOUT)
    assert third.paused_by == "mo"
    third.event(4, "presence", {"what": "joined", "who": "ana"})
    third.event(5, "presence", {"what": "resumed", "who": "max"})
    assert third.paused_by is None
    await third.close()
    assert Recording(tmp_path, ABOUT).paused_by is None


@pytest.mark.parametrize("cut", range(1, 40))
async def test_cut_off_in_the_middle_of_an_event_it_goes_on_before_it(tmp_path: Path, cut: int) -> None:
    made = Recording(tmp_path, ABOUT)
    made.output(5, 0, b"first")
    made.output(6, 5, b"second")
    (segment,) = listed(tmp_path)
    path = tmp_path / segment.name
    os.truncate(path, path.stat().st_size - cut)
    again = Recording(tmp_path, ABOUT)
    kept = b"firstsecond"[: again.offset]
    assert again.output(9, 0, b"firstsecond") == b"firstsecond"[len(kept) :]
    await again.close()
    assert output(tmp_path) == b"firstsecond"


@pytest.mark.parametrize(
    "told", [{}, {"offset": "0", "bytes": 5, "sha256": "x"}, {"offset": -1, "bytes": 5, "sha256": "x"},
             {"offset": 0, "bytes": None, "sha256": "x"}, {"offset": 0, "bytes": 5, "sha256": b"x"}],
)  # fmt: skip
async def test_a_digest_that_says_nothing_is_told_and_proves_nothing(tmp_path: Path, told: dict[str, Any]) -> None:
    """What a host signs may be anything."""
    made = Recording(tmp_path / "recordings" / "s_1", ABOUT)
    made.output(5, 0, b"hello")
    await made.close()
    core: Any = SimpleNamespace(config=SimpleNamespace(recordings=tmp_path / "recordings"))
    right = {"offset": 0, "bytes": 5, "sha256": hashlib.sha256(b"hello").hexdigest()}
    assert prove(core, "s_1", [right])["wrong"] == []
    proved = prove(core, "s_1", [told, right])
    assert (proved["covered_bytes"], len(proved["wrong"])) == (5, 1)


async def test_output_that_was_lost_is_a_gap(tmp_path: Path) -> None:
    made = Recording(tmp_path, ABOUT)
    made.output(1, 0, b"abc")
    made.output(2, 10, b"xyz")
    assert [event.values for event in events(tmp_path) if event.word == "gap"] == [[3, 10]]
    assert made.offset == 13


async def test_time_never_runs_backwards(tmp_path: Path) -> None:
    made = Recording(tmp_path, ABOUT)
    for us in (10, 5, 7, 20):
        made.event(us, "marker", "x")
    assert [event.us for event in events(tmp_path)] == [10, 10, 10, 10, 20]


async def test_a_full_disk_is_said_and_leaves_a_whole_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recording(tmp_path, ABOUT)
    made.output(1, 0, b"abc")
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(recording.os, "write", half)
    with pytest.raises(UnavailableError, match="No space left"):
        made.output(2, 3, b"def")

    def none(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(recording.os, "write", none)
    with pytest.raises(UnavailableError, match="quota"):
        made.output(2, 3, b"def")
    monkeypatch.undo()
    made.output(3, 3, b"def")
    assert output(tmp_path) == b"abcdef"


async def test_what_is_sealed_is_what_was_recorded_and_nothing_that_lies_behind_it(tmp_path: Path) -> None:
    """Half of an event that could not be taken back after the disk was full, for one."""
    made = Recording(tmp_path, ABOUT)
    made.output(1, 0, b"abc")
    (segment,) = listed(tmp_path)
    raw = (tmp_path / segment.name).read_bytes()
    with (tmp_path / segment.name).open("ab") as file:
        file.write(pack(2, "marker", "x")[:-1])
    await made.close()
    (segment,) = listed(tmp_path)
    assert recording.zstd.decompress((tmp_path / segment.name).read_bytes()) == raw


async def test_a_seal_that_fails_leaves_the_raw_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Recording(tmp_path, ABOUT)
    made.output(1, 0, b"abc")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording.os, "fsync", full)
    await made.close()
    monkeypatch.undo()
    assert [segment.is_sealed for segment in listed(tmp_path)] == [False]
    assert output(tmp_path) == b"abc"
    Recording(tmp_path, ABOUT)
    assert [segment.is_sealed for segment in listed(tmp_path)] == [True]


@pytest.mark.parametrize("data", [b"", b"no zstd at all", b"\x28\xb5\x2f\xfd" + b"\xff" * 100])
async def test_a_damaged_segment_is_no_error_and_holds_nothing(tmp_path: Path, data: bytes) -> None:
    segment = Segment(1, 0, 0, True)
    (tmp_path / segment.name).write_bytes(data)
    assert read_segment(tmp_path, segment) == []
    assert read_output(tmp_path, 0, 10) == b""


async def test_a_segment_that_unpacks_without_end_is_read_up_to_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could write there could fill our memory with a few bytes."""
    monkeypatch.setattr(recording, "MAX_READ_BYTES", 1000)
    one = pack(1, "marker", "x")
    (tmp_path / Segment(1, 0, 0, True).name).write_bytes(recording.zstd.compress(one * 100_000))
    assert len(events(tmp_path)) == 1000 // len(one)


async def test_a_segment_that_was_sealed_since_it_was_listed_is_found(tmp_path: Path) -> None:
    made = Recording(tmp_path, ABOUT)
    made.output(1, 0, b"abc")
    (segment,) = listed(tmp_path)
    await made.close()
    assert [event.word for event in read_segment(tmp_path, segment)] == ["begin", "output"]
    (tmp_path / listed(tmp_path)[0].name).unlink()
    with pytest.raises(NotFoundError):
        read_segment(tmp_path, segment)


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere: Any = tmp_path / "file" / "s"
    with pytest.raises(UnavailableError):
        Recording(nowhere, ABOUT)
