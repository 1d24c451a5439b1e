"""The recording of one terminal: a directory of segments, written at one end, read anywhere.

- An event is handed to the kernel before anybody is shown it: a server that is killed leaves all of it. Every
  ``SYNC_S`` it is made durable as well, so that a host that loses its power loses no more than that.
- A segment that is full is compressed beside the next one, made durable, and only then takes the place of the raw one.
- A recording that was cut off anywhere is read up to its last whole event, and goes on in a new segment.
- What cannot be written raises, and the terminal ends: nothing is shown that is not kept.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

from backports import zstd

from protocol.errors import NotFoundError, UnavailableError
from protocol.recording import Event, Segment, end_of, output_between, pack, pack_output, segments, unpack
from server.durable import sync_directory

SEGMENT_BYTES: Final = 1 << 20  # of events; what a seek reads, but for a flood
FLOOD_SEGMENT_BYTES: Final = 3 * SEGMENT_BYTES  # of one that is full sooner than FLOOD_US: a file costs four syncs
FLOOD_US: Final = 1_000_000
SYNC_S: Final = 2.0  # between two times that a recording is made durable
LEVEL: Final = 3  # of zstd; 1 MiB takes some 5 ms
SEALERS: Final = 2  # segments of all recordings that are sealed at once: bounds memory, and leaves the loop its core
MAX_READ_BYTES: Final = 4 * SEGMENT_BYTES  # of one segment once it is unpacked; ours have an event more than three

_SEALERS: Final = ThreadPoolExecutor(SEALERS, "seal")
_of_thread = threading.local()  # its compressor: the memory of a new one is mapped and cleared for each segment


class Recording:
    """One recording that is being made.

    Args:
        directory: Its own; made if it is not there. What is in it already is gone on with.
        about: What the session is; stands at the beginning of every segment.
    """

    def __init__(self, directory: Path, about: dict[str, Any]) -> None:
        self._directory = directory
        self._about = about
        self._descriptor = -1
        self._segment: Segment | None = None
        self._size = 0
        self._is_dirty = False
        self._sealing: set[asyncio.Future[None]] = set()
        self._state: dict[str, Any] = {}  # what a segment must say of the terminal for those who begin there
        self.offset = 0  # of the output that comes next
        self.us = 0  # time of the newest event
        self._number = 0
        self._recover()

    def _recover(self) -> None:
        """Find where an earlier server stopped; a segment that it left open is sealed as it is."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = listed(self._directory)
        except OSError as error:
            raise _cannot(error) from None
        if not found:
            return
        last = found[-1]
        events, _ = _read(self._directory, last)
        self.offset = end_of(events, last.offset)
        self.us = events[-1].us if events else last.us
        self._number = last.number
        for event in events:
            if event.word == "begin":
                kept = {"size": list, "paused_by": str}
                about = event.values[0]
                self._state |= {name: about[name] for name in kept if isinstance(about.get(name), kept[name])}
            self._follow(event.word, event.values)
        for segment in found:
            if not segment.is_sealed:
                seal(self._directory, segment)

    @property
    def paused_by(self) -> str | None:
        """Who paused the terminal, by the newest event that tells."""
        return self._state.get("paused_by")

    def _follow(self, word: str, values: Sequence[Any]) -> None:
        """Keep what a new segment has to say of the terminal."""
        if word == "resize":
            self._state["size"] = list(values)
        elif word == "presence":
            if values[0].get("what") == "paused":
                self._state["paused_by"] = str(values[0].get("who"))
            elif values[0].get("what") == "resumed":
                self._state.pop("paused_by", None)

    # writing ---------------------------------------------------------------------------------------------------------

    def output(self, us: int, offset: int, data: bytes) -> bytes:
        """Record output; return what of it is new.

        Raises:
            UnavailableError: It cannot be written.
        """
        if offset != self.offset:
            if offset > self.offset:
                self.event(us, "gap", self.offset, offset)
                self.offset = offset
            data = data[self.offset - offset :]
        if data:
            if us > self.us:
                self.us = us
            event = pack_output(self.us, self.offset, data)
            if self._segment is None or self._size >= SEGMENT_BYTES:
                self._write(event)
            else:  # as nearly always
                try:
                    self._append(event)
                except OSError as error:
                    raise _cannot(error) from None
            self.offset += len(data)
        return data

    def event(self, us: int, word: str, *values: Any) -> None:
        """Record an event. A time before the newest one becomes that: hosts' clocks are their own.

        Raises:
            UnavailableError: It cannot be written.
        """
        self.us = max(self.us, us)
        self._follow(word, values)
        self._write(pack(self.us, word, *values))

    def _write(self, event: bytes) -> None:
        try:
            if self._segment is None or (self._size >= SEGMENT_BYTES and self._is_full(self._segment)):
                self._turn()
            self._append(event)
        except OSError as error:
            raise _cannot(error) from None

    def _is_full(self, segment: Segment) -> bool:
        """Tell whether a segment of ``SEGMENT_BYTES`` is full: in a flood later, as nobody seeks within a second."""
        is_flood = self.us - segment.us < FLOOD_US
        return not is_flood or self._size >= FLOOD_SEGMENT_BYTES

    def _append(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        if written < len(data):  # the disk is full: leave no half of an event before what may come later
            os.ftruncate(self._descriptor, self._size)
            raise OSError(28, "No space left on device")
        self._size += written
        self._is_dirty = True

    def _turn(self) -> None:
        """Begin a new segment, and have the full one sealed."""
        self._let_go()
        self._number += 1
        segment = Segment(self._number, self.us, self.offset, False)
        path = self._directory / segment.name
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._segment, self._size = segment, 0
        self._append(pack(self.us, "begin", {**self._about, **self._state}))

    def _let_go(self) -> None:
        if self._segment is None:
            return
        os.close(self._descriptor)
        segment, self._segment, self._descriptor = self._segment, None, -1
        sealing = asyncio.get_running_loop().run_in_executor(_SEALERS, seal, self._directory, segment, self._size)
        self._sealing.add(sealing)
        sealing.add_done_callback(self._sealed)

    def _sealed(self, sealing: asyncio.Future[None]) -> None:
        self._sealing.discard(sealing)
        if not sealing.cancelled():
            sealing.exception()  # a disk that is full: the raw segment stays, and is sealed when it is next opened

    def sync(self) -> None:
        """Make durable what was written; may block, so call it on a thread."""
        if self._is_dirty and self._descriptor >= 0:
            self._is_dirty = False
            with suppress(OSError):  # closed meanwhile, and then it is sealed, which makes it durable
                os.fdatasync(self._descriptor)

    async def close(self) -> None:
        """Seal what is open. Idempotent."""
        self._let_go()
        await asyncio.gather(*self._sealing, return_exceptions=True)

    # reading ---------------------------------------------------------------------------------------------------------

    def read_output(self, begin: int, end: int) -> bytes:
        """Return output from ``begin`` to at most ``end``; of one segment, so perhaps less. Empty: it is not there."""
        return read_output(self._directory, begin, end)


def listed(directory: Path) -> list[Segment]:
    """Return the segments of a recording, in order.

    A directory that changes while it is listed may show neither the old nor the new name of a segment that is sealed
    meanwhile. The new name is there before the old one goes, so a second look has it.
    """
    return segments(chain(os.listdir(directory), os.listdir(directory)))


def read_output(directory: Path, begin: int, end: int) -> bytes:
    """Return output from offset ``begin`` to at most ``end``; of one segment, so perhaps less."""
    before = [segment for segment in listed(directory) if segment.offset <= begin]
    for segment in reversed(before):
        events, _ = _read(directory, segment)
        data = output_between(events, begin, end)
        if data:
            return data
    return b""


def read_segment(directory: Path, segment: Segment) -> list[Event]:
    """Return the whole events of a segment.

    Raises:
        NotFoundError: It is not there any more.
    """
    return _read(directory, segment)[0]


def _read(directory: Path, segment: Segment) -> tuple[list[Event], int]:
    try:
        data = (directory / segment.name).read_bytes()
    except FileNotFoundError:
        sealed = Segment(segment.number, segment.us, segment.offset, True)
        if segment.is_sealed or not (directory / sealed.name).exists():
            raise NotFoundError("this part of the recording is not there any more") from None
        return _read(directory, sealed)  # it was sealed since it was listed
    except OSError as error:
        raise UnavailableError(f"the recording cannot be read: {error.strerror}") from None
    if segment.is_sealed:
        data = _unpacked(data)
    return unpack(data)


def _unpacked(data: bytes) -> bytes:
    """Return what a sealed segment holds, up to where it is damaged, and no more than a segment may have."""
    unpacker = zstd.ZstdDecompressor()
    try:
        return unpacker.decompress(data, MAX_READ_BYTES)
    except zstd.ZstdError:
        return b""


def seal(directory: Path, segment: Segment, whole: int | None = None) -> None:
    """Compress a segment and put it in the place of the raw one. May block; whole or not at all.

    Args:
        directory: Of the recording.
        segment: Raw.
        whole: Bytes of its whole events, of who wrote them and knows; else they are looked for.
    """
    raw = directory / segment.name
    sealed = directory / Segment(segment.number, segment.us, segment.offset, True).name
    data = raw.read_bytes()
    if whole is None:
        _, whole = unpack(data)
    partial = sealed.with_suffix(".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(_compressed(memoryview(data)[:whole]))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(sealed)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(directory)
    raw.unlink()


def _compressed(data: memoryview) -> bytes:
    """Return ``data`` as one frame of zstd."""
    packer: zstd.ZstdCompressor | None = getattr(_of_thread, "packer", None)
    _of_thread.packer = None  # one that failed is not used again
    packer = packer or zstd.ZstdCompressor(LEVEL)
    packed = packer.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
    _of_thread.packer = packer
    return packed


def _cannot(error: OSError) -> UnavailableError:
    return UnavailableError(f"the recording cannot be written: {error.strerror or error}")
