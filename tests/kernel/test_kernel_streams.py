"""Much of a descriptor that gives pieces, read by one call."""

from __future__ import annotations

import errno
import os
import tty

import pytest

from kernel.streams import Came, Stream


def pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return reading, writing


def test_it_reads_what_is_there_and_says_why_there_is_not_more() -> None:
    reading, writing = pipe()
    stream = Stream(reading, 100)
    os.write(writing, b"a" * 150)
    assert stream.read(7) == Came(b"a" * 7, False, 0), "as much as was asked for"
    assert stream.read(1000) == Came(b"a" * 100, False, 0), "as much as it has room for"
    assert stream.read(100) == Came(b"a" * 43, False, errno.EAGAIN)
    assert stream.read(100) == Came(b"", False, errno.EAGAIN)
    os.write(writing, b"more")
    assert stream.read(4) == Came(b"more", False, 0), "what there was not before does not end it"
    os.write(writing, b"last")
    os.close(writing)
    assert stream.read(100) == Came(b"last", True, 0)
    assert stream.read(100) == Came(b"", True, 0)
    stream.close()
    os.close(reading)


def test_what_it_did_not_return_is_there_for_the_next_reader() -> None:
    """It keeps nothing back: who reads the descriptor after it misses nothing."""
    reading, writing = pipe()
    os.write(writing, b"0123456789")
    stream = Stream(reading, 100)
    assert stream.read(3).data == b"012"
    assert os.read(reading, 2) == b"34"
    assert stream.read(2).data == b"56"
    stream.close()
    stream.close()
    assert os.read(reading, 100) == b"789", "the descriptor is still the caller's"
    os.close(reading)
    os.close(writing)


def test_a_terminal_gives_more_than_one_piece_of_it() -> None:
    """The kernel gives at most 4 KiB of a terminal to one read."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    os.set_blocking(slave, False)
    stream, sent, got = Stream(master, 1 << 20), 0, b""
    while True:
        try:
            sent += os.write(slave, b"x" * 4096)
        except BlockingIOError:
            break
    while len(got) < sent:
        came = stream.read(1 << 20)
        assert came.error in (0, errno.EAGAIN)
        got += came.data
    assert got == b"x" * sent
    os.close(slave)
    assert stream.read(10) == Came(b"", False, errno.EIO)
    stream.close()
    os.close(master)


def test_what_is_no_descriptor_is_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Stream(reading, 10)
