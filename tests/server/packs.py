"""Git packs as somebody could send them, good or evil, made by hand (gitformat-pack)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

COMMIT, TREE, BLOB, REF_DELTA = 1, 2, 3, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}


def identity(kind: int, data: bytes) -> str:
    return hashlib.sha1(NAMES[kind] + b" %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def entry(kind: int, data: bytes, *, base: str = "", size: int | None = None) -> bytes:
    """Return one object of a pack; ``size`` is what it says that it unpacks to."""
    length = len(data) if size is None else size
    head = bytearray([(kind << 4) | (length & 15)])
    length >>= 4
    while length:
        head[-1] |= 128
        head.append(length & 127)
        length >>= 7
    return bytes(head) + bytes.fromhex(base) + zlib.compress(data, 9)


def pack(entries: Iterable[bytes], *, count: int | None = None) -> bytes:
    listed = list(entries)
    body = b"PACK" + (2).to_bytes(4, "big") + (len(listed) if count is None else count).to_bytes(4, "big")
    body += b"".join(listed)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def tree(items: Iterable[tuple[str, str, str]]) -> bytes:
    """Return a tree of ``(mode, name, object)``, in the order given."""
    return b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(made) for mode, name, made in items)


def commit(root: str) -> bytes:
    who = "x <x@example.org> 1700000000 +0000"
    return f"tree {root}\nauthor {who}\ncommitter {who}\n\nx\n".encode()


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append((number & 127) | 128)
        number >>= 7
    return bytes([*out, number])


class Pushed:
    """Objects that are put together, and the commit on top of them."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.made: set[str] = set()

    def add(self, kind: int, data: bytes) -> str:
        name = identity(kind, data)
        if name not in self.made:
            self.entries.append(entry(kind, data))
            self.made.add(name)
        return name

    def folder(self, files: dict[str, bytes]) -> str:
        """Add a flat folder of files and return its tree."""
        listed = sorted((name, self.add(BLOB, content)) for name, content in files.items())
        return self.add(TREE, tree(("100644", name, made) for name, made in listed))

    def top(self, root: str) -> str:
        """Add a commit."""
        return self.add(COMMIT, commit(root))

    def pack(self) -> bytes:
        return pack(self.entries)
