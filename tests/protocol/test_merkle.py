"""The tree of hashes: the published vectors of RFC 6962/9162, every proof of small trees, no wrong one taken."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import merkle
from protocol.errors import ArgumentError, LedgerError
from protocol.merkle import (
    EMPTY,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_ranges,
    fold,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    perfect,
    read_proof,
    root_of,
)

#: Inputs, roots and paths of the reference implementation of RFC 6962 (certificate-transparency, merkletree tests).
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [leaf_hash(bytes.fromhex(each)) for each in INPUTS]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def defined(leaves: list[bytes]) -> bytes:
    """The root as RFC 9162 defines it, by recursion."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(defined(leaves[:half]), defined(leaves[half:]))


def proof(leaves: list[bytes], ranges: list[tuple[int, int]]) -> list[bytes]:
    """The hashes of ranges, each made of perfect trees as a server makes it."""
    return [
        fold([defined(leaves[place << level : (place + 1) << level]) for level, place in perfect(start, end)])
        for start, end in ranges
    ]  # fmt: skip


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def test_published_roots() -> None:
    assert hashlib.sha256(b"").hexdigest() == EMPTY.hex() == root_of([]).hex()
    assert [root_of(LEAVES[:count]).hex() for count in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("place", "path"), INCLUSION.items())
def test_published_inclusion_paths(place: tuple[int, int], path: list[str]) -> None:
    index, size = place
    made = proof(LEAVES, inclusion_ranges(index, size))
    assert [each.hex() for each in made] == path
    check_inclusion(LEAVES[index], index, size, made, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("sizes", "path"), CONSISTENCY.items())
def test_published_consistency_proofs(sizes: tuple[int, int], path: list[str]) -> None:
    first, second = sizes
    made = proof(LEAVES, consistency_ranges(first, second))
    assert [each.hex() for each in made] == path
    check_consistency(first, second, made, bytes.fromhex(ROOTS[first - 1]), bytes.fromhex(ROOTS[second - 1]))


def test_every_proof_of_every_small_tree() -> None:
    leaves = some_leaves(70)
    roots = [defined(leaves[:size]) for size in range(71)]
    for size in range(1, 71):
        assert root_of(leaves[:size]) == roots[size]
        for other in range(1, size + 1):
            made = proof(leaves, inclusion_ranges(other - 1, size))
            check_inclusion(leaves[other - 1], other - 1, size, made, roots[size])
            check_consistency(other, size, proof(leaves, consistency_ranges(other, size)), roots[other], roots[size])


@given(st.integers(1, 200), st.data())
def test_no_wrong_consistency_proof_is_taken(second: int, data: st.DataObject) -> None:
    """One record of the older tree is another now: whatever is left of the proof, or put into it, shows it."""
    first = data.draw(st.integers(1, second))
    changed = data.draw(st.integers(0, first - 1))
    leaves = some_leaves(second)
    other = [*leaves]
    other[changed] = leaf_hash(b"another")
    old, new = root_of(leaves[:first]), root_of(other)
    ranges = consistency_ranges(first, second)
    honest, forged = proof(leaves, ranges), proof(other, ranges)
    for tried in (honest, forged, forged[1:], forged[:-1], [*forged, EMPTY], [], honest[:1] + forged[1:]):
        with pytest.raises(LedgerError):
            check_consistency(first, second, tried, old, new)


@given(st.integers(1, 200), st.data())
def test_no_wrong_inclusion_proof_is_taken(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = some_leaves(size)
    made, root = proof(leaves, inclusion_ranges(index, size)), root_of(leaves)
    wrong = leaf_hash(b"another")
    cases = [(wrong, index, made), (leaves[index], index, [*made, EMPTY]), (leaves[index], index + 1, made)]
    cases += [(leaves[index], index, made[:-1]), (leaves[index], index, made[1:])] if made else []
    for leaf, at, tried in cases:
        with pytest.raises(LedgerError):
            check_inclusion(leaf, at, size, tried, root)


def test_a_proof_that_removes_the_newest_records() -> None:
    leaves = some_leaves(9)
    with pytest.raises(LedgerError):
        check_consistency(9, 8, [], root_of(leaves), root_of(leaves[:8]))
    check_consistency(0, 9, [], EMPTY, root_of(leaves))
    with pytest.raises(LedgerError):
        check_consistency(0, 9, [], root_of(leaves), root_of(leaves))


def test_what_is_completed_is_told_once_and_is_right() -> None:
    leaves = some_leaves(300)
    frontier, told = Frontier(), {}
    for leaf in leaves:
        for level, place, digest in frontier.append(leaf):
            assert (level, place) not in told
            told[level, place] = digest
    assert told == {
        (level, place): defined(leaves[place << level : (place + 1) << level])
        for level in range(1, 9)
        for place in range(300 >> level)
    }
    assert Frontier(frontier.size, frontier.row).root() == defined(leaves)


def test_a_proof_has_no_more_hashes_than_is_read() -> None:
    numbers = random.Random(9162)
    for _ in range(300):
        second = numbers.randrange(1, merkle.MAX_SIZE)
        first = numbers.randrange(1, second + 1)
        ranges = [*inclusion_ranges(first - 1, second), *consistency_ranges(first, second)]
        assert len(ranges) <= merkle.MAX_PROOF
        assert all(len(list(perfect(*each))) <= 63 for each in ranges)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (2, 1), (-1, 1), (1, merkle.MAX_SIZE + 1)])
def test_no_proof_of_what_is_not(first: int, second: int) -> None:
    with pytest.raises(ArgumentError):
        consistency_ranges(first, second)


def test_bad_input() -> None:
    for index, size in [(1, 1), (-1, 1), (0, 0)]:
        with pytest.raises(ArgumentError):
            inclusion_ranges(index, size)
    for texts in ("00", [1], ["00"], ["zz" * 32], ["00" * 32] * 129, None):
        with pytest.raises(ArgumentError):
            read_proof(texts)
    assert read_proof(["00" * 32]) == [bytes(32)]
    with pytest.raises(ArgumentError):
        Frontier(3, [EMPTY])
