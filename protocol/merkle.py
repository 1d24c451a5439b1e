"""A tree of hashes over a list that only grows: roots, and proofs of what is in it and what it grew from. Pure.

Hashing, proofs and their verification are those of RFC 9162, section 2.1 (the same as of RFC 6962): SHA-256, a leaf is
hashed behind a byte 0, a node behind a byte 1. A range that is called perfect has ``2**level`` leaves and begins at
``place * 2**level``; every tree is a row of perfect ones, the largest first, and every node of a proof is the fold of
such a row. So whoever keeps perfect ones can make any proof without going through the list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import ArgumentError, LedgerError

HASH_BYTES: Final = 32
EMPTY: Final = hashlib.sha256().digest()  # the root of a tree without leaves
MAX_SIZE: Final = 1 << 62  # leaves
MAX_PROOF: Final = 128  # hashes of any proof: at most two for each level of the largest tree, and one

Range = tuple[int, int]  # of leaves: the first, and the one behind the last


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with two children."""
    return hashlib.sha256(b"\1" + left + right).digest()


def fold(row: Sequence[bytes]) -> bytes:
    """Return the root over a row of perfect trees, the largest (and first) of them first."""
    if not row:
        return EMPTY
    root = row[-1]
    for left in reversed(row[:-1]):
        root = node_hash(left, root)
    return root


@dataclass(slots=True)
class Frontier:
    """A tree of which only its perfect ones are held: enough to go on and to tell the root."""

    size: int = 0  # leaves
    row: list[bytes] = field(default_factory=list)  # one for each bit of the size, the highest first

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.row) != self.size.bit_count():
            raise ArgumentError("this is not the row of a tree of that size", parameter="row")

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf's hash; return level, place and hash of each perfect tree that it completes, but for itself."""
        completed: list[tuple[int, int, bytes]] = []
        level, carried, size = 0, leaf, self.size
        while size & 1:
            carried = node_hash(self.row.pop(), carried)
            level, size = level + 1, size >> 1
            completed.append((level, size, carried))
        self.row.append(carried)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Return the root."""
        return fold(self.row)


def perfect(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield level and place of the perfect trees that make up a range of a tree or of a proof, the first one first."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the ranges whose hashes prove that leaf ``index`` (from 0) is in the tree of ``size``.

    Raises:
        ArgumentError: There is no such leaf.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ArgumentError(f"a tree of {size} leaves has no leaf {index}", parameter="index")
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """Return the ranges whose hashes prove that the tree of ``second`` grew from that of ``first``; none if equal.

    Raises:
        ArgumentError: Not ``1 <= first <= second``.
    """
    if not 1 <= first <= second <= MAX_SIZE:
        raise ArgumentError(f"no tree of {first} leaves comes before one of {second}", parameter="from")
    found: list[Range] = []
    start, end, is_whole = 0, second, True  # whether the older tree's root is itself that of the range
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, is_whole = middle, False
    if not is_whole:
        found.append((start, end))
    return found[::-1]


def _split(count: int) -> int:
    """Return the largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the proof shows that ``leaf`` (its hash) is leaf ``index`` of the tree of ``size`` with this root.

    RFC 9162, section 2.1.3.2.

    Raises:
        LedgerError: It does not.
    """
    if not 0 <= index < size or len(proof) > MAX_PROOF:
        raise LedgerError(f"the proof is not one of leaf {index} of {size}", sequence=index + 1)
    at, last, found = index, size - 1, leaf
    for each in proof:
        if not last:
            raise LedgerError(f"the proof of leaf {index} is too long", sequence=index + 1)
        if at & 1 or at == last:
            found = node_hash(each, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, each)
        at, last = at >> 1, last >> 1
    if last or found != root:
        raise LedgerError(f"leaf {index} is not in the tree of {size}", sequence=index + 1)


def check_consistency(first: int, second: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Return if the proof shows that the tree of ``second`` holds that of ``first`` unchanged, with these roots.

    RFC 9162, section 2.1.4.2; a tree is consistent with itself and with the empty one by no proof at all.

    Raises:
        LedgerError: It does not.
    """
    broken = LedgerError(f"the tree of {second} did not grow from that of {first}", sequence=first)
    if not 0 <= first <= second or len(proof) > MAX_PROOF:
        raise broken
    if first in (0, second):
        if proof or old_root != (EMPTY if first == 0 else new_root):
            raise broken
        return
    hashes = iter(proof)
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    start = old_root if not at else next(hashes, b"")  # a power of two is itself where the proof begins
    old, new = start, start
    for each in hashes:
        if not last:
            raise broken
        if at & 1 or at == last:
            old, new = node_hash(each, old), node_hash(each, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, each)
        at, last = at >> 1, last >> 1
    if last or old != old_root or new != new_root:
        raise broken


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def read_proof(texts: object) -> list[bytes]:
    """Return the hashes of a proof that came as hexadecimal texts.

    Raises:
        ArgumentError: It is none.
    """
    if not isinstance(texts, list) or len(texts) > MAX_PROOF:
        raise ArgumentError("a proof is a list of hashes", parameter="proof")
    return [_hash(text) for text in texts]


def _hash(text: object) -> bytes:
    try:
        value = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES:
        raise ArgumentError("a hash of a proof has 64 hexadecimal digits", parameter="proof")
    return value
