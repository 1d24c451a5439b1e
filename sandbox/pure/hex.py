"""``hex.*``: two digits a byte, nothing between them."""

from __future__ import annotations

import binascii

from sandbox.pure.declared import Refused, data, pure, text

_DIGITS = frozenset("0123456789abcdefABCDEF")


@pure("hex.encode", data=data)
def encode(data: bytes) -> str:
    """Return the digits of ``data``, in lower case."""
    return data.hex()


@pure("hex.decode", text=text)
def decode(text: str) -> bytes:
    """Return the bytes of the digits in ``text``."""
    try:
        return binascii.unhexlify(text)
    except ValueError:
        wrong = next((place for place, character in enumerate(text, 1) if character not in _DIGITS), 0)
    raise Refused("text", f"character {wrong} is no hexadecimal digit" if wrong else "has an odd number of digits")
