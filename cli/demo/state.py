"""What a demo that was started before left behind, and how it moves to another port."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cli.demo.place import Place
from cli.settings import read_private, write_private
from protocol.document import load
from protocol.errors import DocumentError

MAX_FILE_BYTES = 64 * 1024  # both files have a few hundred bytes


def listening_port(server: Path) -> int | None:
    """Return the port in the configuration of the server in a directory; None if there is no server yet.

    Raises:
        DocumentError: The configuration is no document.
    """
    path = server / "config.yaml"
    if not path.is_file():
        return None
    value = load(path.read_text(encoding="utf-8"), str(path)).value
    listen = str(value.get("listen", "")) if isinstance(value, dict) else ""
    port = listen.rpartition(":")[2]
    return int(port) if port.isdigit() else None


def move(place: Place) -> None:
    """Let a demo that was made for another port use this one: server and agent both have it in a file.

    Raises:
        DocumentError: One of the files is damaged.
    """
    if listening_port(place.server) in {None, place.port}:
        return
    config, enrolment = place.server / "config.yaml", place.agent / "agent.json"
    address = f"{place.url.removeprefix('http://')}"
    text = re.sub(r"(?m)^listen:.*$", f"listen: {address}", read_private(config, MAX_FILE_BYTES))
    if enrolment.exists():
        try:
            enrolled = json.loads(read_private(enrolment, MAX_FILE_BYTES))
        except ValueError:
            raise DocumentError("is not JSON", where=str(enrolment)) from None
        write_private(enrolment, json.dumps({**enrolled, "server": place.url}, indent=2) + "\n")
    write_private(config, text)  # last: until then the next start finds the move undone and does it again
