"""Rosters in files: a description that people write, and the signed envelope made of it.

What is signed has been parsed the way an agent will parse it, so that a mistake shows here and not on a thousand hosts.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cli.reading import text_of
from protocol.document import Document, load
from protocol.errors import ArgumentError, DocumentError
from protocol.roster import parse
from protocol.signing import Envelope, Signer, add_signature, peek, sign
from protocol.timestamps import stamp
from protocol.units import parse_duration

MAX_ROSTER_BYTES = 1024 * 1024  # thousands of keys; chosen without measurement


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ArgumentError: It cannot be read, or is not text.
        TooLargeError: It is over its bound.
    """
    return text_of(path, MAX_ROSTER_BYTES)


def sign_file(path: Path, key: Signer, now: datetime) -> Envelope:
    """Return the roster in a file, signed with ``key``; an envelope gets one signature more.

    Raises:
        ArgumentError: It is neither, at the place named.
    """
    text = read_text(path)
    document = load(text, str(path))
    value = document.value
    if isinstance(value, dict) and "payloadType" in value:
        envelope = Envelope.from_json(value)
        parse(peek(envelope))
        return add_signature(envelope, key)
    if not isinstance(value, dict):
        raise ArgumentError("is not a description of a roster", where=str(path))
    body = {"type": "roster", "issued": stamp(now), **value}
    expires = value.get("expires")
    if isinstance(expires, str) and not expires.endswith("Z"):
        body["expires"] = stamp(now + timedelta(seconds=parse_duration(expires, where=f"{path}: expires")))
    try:
        parse(body)
    except ArgumentError as error:
        raise DocumentError(error.message, where=_place(document, error)) from None
    return sign("roster", body, key)


def _place(document: Document, error: ArgumentError) -> str:
    """Return the line of the field that ``parse`` names; of the whole file if it names none."""
    words = re.findall(r"[a-z_]+|\d+", error.parameter or "")
    place = document.where(tuple(int(word) if word.isdigit() else word for word in words))
    return place.split(": ", 1)[0]  # the message names the field itself


def read_body(text: str, filename: str) -> dict[str, Any]:
    """Return what the roster in a signed file says. Its signatures are for the server and the agents to check.

    Raises:
        ArgumentError: It is no roster.
    """
    try:
        body = peek(Envelope.from_json(text))
        parse(body)
    except ArgumentError as error:
        raise ArgumentError(error.message, where=filename) from None
    return body
