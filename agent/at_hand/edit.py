"""``outrider-edit FILE``: asks whoever types in this terminal to open a file of this host in the editor of their own.

It runs as the session's user, with the interpreter and nothing else of the agent's. It says what is wanted on a socket
of the agent's, which looks at who asks: nothing that a program prints can do the same. It looks at who answers as well,
as a name that the agent listened to can be taken by anybody once the session has ended. What is then read and saved,
the person at the keyboard does with rights of their own.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import sys
from typing import Any

USAGE = """\
usage: outrider-edit FILE
Opens FILE in the editor of whoever types in this terminal, and waits until it is closed."""
MAX_LINE_BYTES = 16 << 10
_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group; unix(7), SO_PEERCRED


def main(words: list[str]) -> int:
    """Ask, wait, and return the exit status: 0 saved or left as it was, 1 not, 2 usage, 3 no such terminal."""
    files = words[1:] if words[:1] == ["--"] else words
    if len(files) != 1 or (files is words and files[0].startswith("-")):
        _say(USAGE)
        return 0 if words in (["-h"], ["--help"]) else 2
    try:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(f"\0outrider-session/{os.environ['OUTRIDER_SESSION']}")
            listens = _user_of(connected)
            if listens not in (0, os.getuid()):
                _say(f"outrider-edit: user {listens} listens here, who is neither root nor you: asked nothing")
                return 3
            asked = {"do": "edit", "path": os.path.abspath(files[0])}
            connected.sendall(json.dumps(asked).encode() + b"\n")
            with connected.makefile("rb") as answers:
                return _hear(answers)
    except KeyError:
        _say("outrider-edit: this is no terminal of an Outrider session")
    except OSError as error:
        _say(f"outrider-edit: the agent does not listen here: {error.strerror}")
    return 3


def _user_of(connected: socket.socket) -> int:
    """Return the user who listens at the other end."""
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(found)[1]
    return user


def _hear(answers: io.BufferedReader) -> int:
    while line := answers.readline(MAX_LINE_BYTES):
        told = _told(line)
        if "asked" in told:
            _say("waiting for who types here: ~e opens it in their editor, ~n does not")
        elif "error" in told:
            _say(f"outrider-edit: {_shown(told['error'])}")
            return 1
        elif told.get("outcome") == "done":
            return 0
        else:
            _say(f"outrider-edit: {_shown(told.get('outcome'))}")
            return 1
    _say("outrider-edit: the terminal has ended")
    return 1


def _told(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    return told if isinstance(told, dict) else {"error": "what answers here is not the agent"}


def _shown(value: object) -> str:
    """Return a text that does nothing to a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in str(value))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
