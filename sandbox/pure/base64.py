"""``base64.*``: RFC 4648, sections 4 and 5, strictly: nothing but the alphabet, and only the canonical form."""

from __future__ import annotations

import binascii

from sandbox.pure.declared import Refused, boolean, data, pure, text

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = str.maketrans("-_+/", "+/\0\0")  # the other alphabet's own two become what neither has


@pure("base64.encode", data=data, url=boolean, padding=boolean)
def encode(data: bytes, url: bool = False, padding: bool = True) -> str:
    """Return the text for ``data``, in one line."""
    made = binascii.b2a_base64(data, newline=False)
    if url:
        made = made.translate(_TO_URL)
    return (made if padding else made.rstrip(b"=")).decode("ascii")


@pure("base64.decode", text=text, url=boolean, padding=boolean)
def decode(text: str, url: bool = False, padding: bool = True) -> bytes:
    """Return the bytes that ``text`` stands for.

    Source:
        RFC 4648, section 3.3: what is not in the alphabet is refused; 3.5: so are unused bits that are not zero.
    """
    plain = text.translate(_FROM_URL) if url else text
    if not padding:
        if "=" in plain:
            raise Refused("text", "holds padding")
        plain += "=" * (-len(plain) % 4)
    try:
        made = binascii.a2b_base64(plain, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("text", _problem(text, url) or str(error)) from None
    if binascii.b2a_base64(made[-((len(made) - 1) % 3 + 1) :], newline=False) != plain[-4:].encode("ascii"):
        raise Refused("text", "is not the canonical form: its last character stands for bits that are dropped")
    return made


def _problem(text: str, url: bool) -> str | None:
    """Return where the first character stands that is not of the alphabet."""
    extra = "-_=" if url else "+/="
    for place, character in enumerate(text, 1):
        if not (character.isascii() and (character.isalnum() or character in extra)):
            return f"character {place} is {character!a}, which is not of this alphabet"
    return None
