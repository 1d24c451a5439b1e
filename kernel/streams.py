"""Much of what a descriptor gives in pieces, read by one call that lets other threads run: fread(3) of the C library.

A terminal gives 4 KiB to one read(2), however much is asked for. A thread that asks again and again in Python needs the
interpreter's lock after each; here it needs it once for all of them.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final, NamedTuple

_UNBUFFERED: Final = 2  # _IONBF, stdio.h: nothing is kept where a later reader of the descriptor would miss it

_libc: Final = ctypes.CDLL(None, use_errno=True)  # lets other threads run
_libc_at_once: Final = ctypes.PyDLL(None, use_errno=True)  # of what never waits
_libc.fread.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
_libc.fread.restype = ctypes.c_size_t
_libc.fclose.argtypes = [ctypes.c_void_p]
_libc_at_once.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
_libc_at_once.fdopen.restype = ctypes.c_void_p
_libc_at_once.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
_libc_at_once.feof.argtypes = [ctypes.c_void_p]


class Came(NamedTuple):
    """What one call read."""

    data: bytes
    is_at_end: bool  # and nothing comes after it
    error: int  # why there is not more, as errno has it; 0 if as much as was asked for is there, or it is the end


class Stream:
    """A descriptor that does not block, read by one thread.

    Args:
        descriptor: Stays the caller's; what it gives is shared with whoever else reads it.
        most: Bytes that one call reads at most.

    Raises:
        OSError: There is no descriptor or no memory to be had.
    """

    def __init__(self, descriptor: int, most: int) -> None:
        own = os.dup(descriptor)
        self._file: Any = _libc_at_once.fdopen(own, b"r")
        if not self._file:
            number = ctypes.get_errno()
            os.close(own)
            raise OSError(number, os.strerror(number))
        if _libc_at_once.setvbuf(self._file, None, _UNBUFFERED, 0) != 0:
            self.close()
            raise OSError(0, "a stream could not be set not to keep anything")
        self._buffer = ctypes.create_string_buffer(most)
        self._most = most

    def read(self, most: int) -> Came:
        """Read until ``most`` bytes are there, nothing more is to be had now, or it ends.

        What was read before an error is returned with it.
        """
        most = min(most, self._most)
        ctypes.set_errno(0)
        size = _libc.fread(self._buffer, 1, most, self._file)
        number = ctypes.get_errno() if size < most else 0
        is_at_end = size < most and bool(_libc_at_once.feof(self._file))
        return Came(ctypes.string_at(self._buffer, size), is_at_end, 0 if is_at_end else number)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        file, self._file = self._file, None
        if file:
            _libc.fclose(file)
