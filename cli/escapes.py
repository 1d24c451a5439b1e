"""``~?`` and the like: commands to this program among what is typed for another one. Pure.

As in ssh(1), an escape counts only at the beginning of a line, and ``~~`` types one tilde.
"""

from __future__ import annotations

from typing import Final

HELP: Final = """\
~.  leave, and end the session if it is yours      ~d  leave; the session goes on
~k  take the keyboard, or ask for it                ~g  give the keyboard to who asked last
~c  interrupt now, before all that was typed        ~w  who is here
~m  put a marker into the recording                 ~z  pause, or go on (moderators)
~e  open the file that the host asks about          ~n  do not
~~  type a tilde                                    ~?  this
"""
COMMANDS: Final = frozenset(".dkgcwmzen?")
_LINE_ENDS: Final = frozenset(b"\r\n")
_TILDE: Final = ord("~")


class Escapes:
    """Takes what a keyboard gives; returns what to type, and commands, in order."""

    def __init__(self) -> None:
        self._is_at_start = True
        self._has_tilde = False  # one that may begin a command is held back

    def feed(self, data: bytes) -> list[bytes | str]:
        """Return bytes to be typed and commands (one of ``COMMANDS``) in the order in which they came."""
        if len(data) == 1 and data[0] != _TILDE and not self._has_tilde:  # a key, in few steps
            self._is_at_start = data[0] in _LINE_ENDS
            return [data]
        found: list[bytes | str] = []
        typed = bytearray()
        for byte in data:
            if self._has_tilde:
                self._has_tilde = False
                word = chr(byte)
                if word in COMMANDS:
                    if typed:
                        found.append(bytes(typed))
                        typed.clear()
                    found.append(word)
                    self._is_at_start = True
                    continue
                if byte != _TILDE:
                    typed.append(_TILDE)
            elif byte == _TILDE and self._is_at_start:
                self._has_tilde = True
                continue
            typed.append(byte)
            self._is_at_start = byte in _LINE_ENDS
        if typed:
            found.append(bytes(typed))
        return found
