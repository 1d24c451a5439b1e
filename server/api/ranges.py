"""What requests for files say in their headers: parts, hashes and names of any bytes. Pure."""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import parse_qsl

from protocol.errors import ArgumentError

_RANGE: Final = re.compile(r"bytes=(\d{0,16})-(\d{0,16})")
_EXTENT: Final = re.compile(r"bytes (?:(\d{1,16})-(\d{1,16})|\*)/(\d{1,16})")
_TAG: Final = re.compile(r'"(sha256:[0-9a-f]{64})"')
_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


def part(text: str | None) -> dict[str, int]:
    """Return ``offset`` and ``length``, or ``tail``, of a Range header.

    Empty for no header and for what is no single range of bytes: RFC 9110 section 14.2 has that ignored.
    """
    match = _RANGE.fullmatch((text or "").replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        return {}
    first, last = match[1], match[2]
    if not first:
        return {"tail": int(last)}
    if not last:
        return {"offset": int(first)}
    return {"offset": int(first), "length": int(last) - int(first) + 1} if int(last) >= int(first) else {}


def extent(text: str | None, length: int) -> tuple[int, int]:
    """Return where the body of a PUT begins in the whole, and how large that is; it must go to the end of it.

    ``bytes FIRST-LAST/SIZE`` of RFC 9110 section 14.4; without the header the body is the whole. ``bytes */SIZE`` is an
    empty body behind the last byte: all of it is there already.

    Args:
        text: The Content-Range header.
        length: Of the body, in bytes.

    Raises:
        ArgumentError: It is none of these, or does not fit the body.
    """
    if text is None:
        return 0, length
    match = _EXTENT.fullmatch(text.strip())
    if match is None:
        raise ArgumentError("must be bytes FIRST-LAST/SIZE", parameter="Content-Range")
    size = int(match[3])
    first, last = (size, size - 1) if match[1] is None else (int(match[1]), int(match[2]))
    if last + 1 != size or last + 1 - first != length:
        raise ArgumentError("must be that of the body, and go to the end of the whole", parameter="Content-Range")
    return first, size


def tag(sha256: str) -> str:
    """Return the ETag of content with this hash, in hexadecimal digits."""
    return f'"sha256:{sha256}"'


def condition(if_match: str | None, if_none_match: str | None) -> str | None:
    """Return the ``if_hash`` that the headers of a PUT ask for; None if they ask for none.

    Raises:
        ArgumentError: They ask for something else than one tag of ours, or that nothing is there.
    """
    if if_none_match is not None:
        if if_none_match.strip() != "*" or if_match is not None:
            raise ArgumentError("only If-None-Match: * can be asked for here", parameter="If-None-Match")
        return "absent"
    if if_match is None:
        return None
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise ArgumentError('must be one tag, as in: If-Match: "sha256:..."', parameter="If-Match")
    return match[1]


def digest(text: str | None) -> str | None:
    """Return the hash of a Content-Digest header (RFC 9530), in hexadecimal digits; None without one.

    Raises:
        ArgumentError: It has no sha-256, or a damaged one.
    """
    if text is None:
        return None
    match = _DIGEST.search(text)
    if match is None:
        raise ArgumentError("has no sha-256=:...: in it", parameter="Content-Digest")
    return base64.b64decode(match[1]).hex()


def as_digest(sha256: str) -> str:
    """Return a Content-Digest header for a hash in hexadecimal digits."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def named(query: bytes, name: str) -> str | bytes:
    """Return a value of a query string as text, or as bytes if it is not UTF-8, as the name of a file may be.

    Raises:
        ArgumentError: It is not there exactly once.
    """
    found = [
        value
        for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="surrogateescape")
        if key == name
    ]
    if len(found) != 1:
        raise ArgumentError("must be given once", parameter=name, where=name)
    data = found[0].encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data
