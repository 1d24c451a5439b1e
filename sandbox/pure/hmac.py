"""``hmac.*``: keyed hashes (RFC 2104), as hexadecimal digits, and the comparison that tells nothing by its time."""

from __future__ import annotations

import _operator

from sandbox.pure import hashes
from sandbox.pure.declared import data, pure

_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))


def _declare(name: str) -> None:
    @pure(f"hmac.{name}", key=data, data=data)
    def keyed(key: bytes, data: bytes) -> str:
        hashed, block = hashes.NAMED[name], hashes.BLOCK_BYTES[name]
        padded = (hashed(key).digest() if len(key) > block else key).ljust(block, b"\0")
        inner = hashed(padded.translate(_INNER) + data).digest()
        made: str = hashed(padded.translate(_OUTER) + inner).hexdigest()
        return made


for _name in ("sha1", "sha256", "sha512"):
    _declare(_name)


@pure("hmac.equal", first=data, second=data)
def equal(first: bytes, second: bytes) -> bool:
    """Tell whether two texts are equal, in a time that depends on the length of ``second`` only."""
    return _operator._compare_digest(first, second)
