"""``digest.*``: hashes of bytes, as hexadecimal digits. MD5 and SHA-1 are for what others already hashed with them."""

from __future__ import annotations

from sandbox.pure import hashes
from sandbox.pure.declared import data, integer, pure


def _declare(name: str) -> None:
    @pure(f"digest.{name}", data=data)
    def digest(data: bytes) -> str:
        made: str = hashes.NAMED[name](data).hexdigest()
        return made


for _name in hashes.NAMED:
    _declare(_name)


@pure("digest.blake2b", data=data, size=integer(1, 64))
def blake2b(data: bytes, size: int = 64) -> str:
    """Return the BLAKE2b hash of ``size`` bytes (RFC 7693)."""
    made: str = hashes.blake2b(data, digest_size=size).hexdigest()
    return made
