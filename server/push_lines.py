"""What ``git push`` sends before its pack, and what it is told: gitprotocol-pack, "Pushing Data To a Server". Pure.

A push hands over one version of one script: it makes the branch ``review/<name>`` and nothing else. The branch itself
is not kept; so a push can neither move, overwrite nor take away anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import ArgumentError, TooLargeError
from protocol.limits import MAX_NAME_CHARACTERS

SERVICE: Final = "git-receive-pack"
BRANCHES: Final = "refs/heads/review/"
CAPABILITIES: Final = "report-status side-band-64k ofs-delta object-format=sha1 agent=outrider"
MAX_LINE_BYTES: Final = 1_000  # of a command; git's own has under 400, and the longest name 200
MAX_COMMANDS: Final = 16  # that are read, so that each is told why there may be only one
MAX_TOLD_BYTES: Final = 900  # of one line to the client; a side band's packet holds 1,000 at least
NOTHING: Final = "0" * 40  # the object that a branch has which is not there
_BAND: Final = 65_515  # bytes of data in one packet of a side band
_COMMAND = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40}) (refs/[!-~]{1,300})")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)+")


@dataclass(frozen=True, slots=True)
class Command:
    """That a reference shall go from one object to another."""

    before: str
    after: str
    reference: str


@dataclass(slots=True)
class Commands:
    """Reads the commands from the beginning of a push, in whatever parts it comes."""

    listed: list[Command] = field(default_factory=list)
    capabilities: frozenset[str] = frozenset()
    is_whole: bool = False  # the commands have ended; what follows is the pack
    _kept: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Read on; return what follows the commands, nothing while they go on.

        Raises:
            ArgumentError: It is not a push, or one from a shallow clone.
            TooLargeError: A line is too long, or there are too many.
        """
        if self.is_whole:
            return data
        self._kept += data
        while len(self._kept) >= 4:
            size = _length(self._kept[:4])
            if size == 0:
                self.is_whole = True
                rest, self._kept = self._kept[4:], b""
                return rest
            if len(self._kept) < size:
                return b""
            self._read(self._kept[4:size])
            self._kept = self._kept[size:]
        return b""

    def _read(self, line: bytes) -> None:
        if len(self.listed) >= MAX_COMMANDS:
            raise TooLargeError(f"a push of more than {MAX_COMMANDS} branches")
        text, nul, offered = line.partition(b"\0")
        if nul and self.listed:
            raise ArgumentError("the push is not one: capabilities stand on its first line")
        shown = text.removesuffix(b"\n").decode("ascii", "replace")
        if shown.startswith("shallow "):
            raise ArgumentError("a shallow clone lacks what its commits stand on: git fetch --unshallow, then push")
        match = _COMMAND.fullmatch(shown)
        if match is None:
            raise ArgumentError(f"the push is not one: {shown[:60]!r} is no command that is known here")
        self.listed.append(Command(*match.groups()))
        if nul:
            self.capabilities = frozenset(offered.decode("ascii", "replace").split())


def _length(digits: bytes) -> int:
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
        raise ArgumentError("the push is not one: a line does not begin with its length")
    size = int(digits, 16)
    if 0 < size <= 4:
        raise ArgumentError("the push is not one: an empty line")
    if size > 4 + MAX_LINE_BYTES:
        raise TooLargeError(f"a line of the push is over {MAX_LINE_BYTES} bytes")
    return size


def script_of(commands: Sequence[Command]) -> tuple[str, str]:
    """Return the script that a push is about, and the commit that holds it.

    Raises:
        ArgumentError: It is about something else than one new branch ``review/<name>``.
    """
    if len(commands) != 1:
        raise ArgumentError("push one script at a time")
    (command,) = commands
    name = command.reference.removeprefix(BRANCHES)
    if name == command.reference:
        raise ArgumentError(
            "only review/<name of the script> can be pushed: git push URL HEAD:refs/heads/review/<name>"
        )
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise ArgumentError("behind review/ stands the script's name, such as review/checks/disk")
    if command.before != NOTHING or command.after == NOTHING:
        raise ArgumentError("a push hands a version over; there is no branch to move or delete")
    return name, command.after


# what the client is told ----------------------------------------------------------------------------------------------


def advertisement(main: str | None) -> bytes:
    """Return the answer to ``info/refs``: where ``main`` is, so that what it holds need not be sent."""
    first = f"{NOTHING} capabilities^{{}}" if main is None else f"{main} refs/heads/main"
    return packet(f"# service={SERVICE}\n".encode()) + b"0000" + packet(f"{first}\0{CAPABILITIES}\n".encode()) + b"0000"


def report(commands: Commands, refusal: str | None, said: Sequence[str], *, is_unpacked: bool = True) -> bytes:
    """Return the answer to a push.

    Args:
        commands: Of the push.
        refusal: Why nothing came of it; None: it was taken.
        said: Lines for whoever pushes, which git shows behind ``remote:``.
        is_unpacked: Whether the pack was whole.
    """
    if "report-status" in commands.capabilities:
        reason = _line(refusal or "")
        lines = ["unpack ok" if is_unpacked else f"unpack {reason}"]
        lines += [
            f"ok {each.reference}" if refusal is None else f"ng {each.reference} {reason}" for each in commands.listed
        ]
        status = b"".join(packet(f"{line}\n".encode()) for line in lines) + b"0000"
    else:
        status = b""
    if "side-band-64k" not in commands.capabilities:
        return status
    told = b"".join(packet(b"\x02" + f"{_line(line)}\n".encode()) for line in said)
    bands = [packet(b"\x01" + status[at : at + _BAND]) for at in range(0, len(status), _BAND)]
    return told + b"".join(bands) + b"0000"


def packet(data: bytes) -> bytes:
    """Return data as one packet line."""
    return f"{len(data) + 4:04x}".encode() + data


def _line(text: str) -> str:
    """Return a text as one line that a terminal can be shown."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    return plain.encode("utf-8", "replace")[:MAX_TOLD_BYTES].decode("utf-8", "ignore")
