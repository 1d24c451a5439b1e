"""Bundles on disk: whole or absent, believed by nobody, never more than their bound, never what a schedule needs."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from premises import approved, script
from world import DIGEST, World

from agent import limits
from agent.cache import Cache, Entry, make_entry
from protocol.errors import ArgumentError, OutriderError, ProtocolError, TooLargeError, TrustError, UnavailableError
from protocol.frames import decode, encode


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def entry(world: World) -> Entry:
    return approved(world, script())


def path_of(directory: Path, digest: str) -> Path:
    return directory / f"{digest.removeprefix('sha256:')}.bundle"


def kept(directory: Path, entry: Entry) -> Path:
    Cache(directory).put(entry.bundle.digest, entry)
    return path_of(directory, entry.bundle.digest)


def test_what_was_put_is_there_after_a_restart(directory: Path, entry: Entry) -> None:
    """With its statements as they were signed: they are what proves it without a server."""
    path = kept(directory, entry)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Cache(directory).get(entry.bundle.digest)
    assert found is not None
    assert found.bundle.files == entry.bundle.files
    assert (found.publication, found.approvals) == (entry.publication, entry.approvals)


def test_what_was_never_put_is_absent(directory: Path) -> None:
    assert Cache(directory).get(DIGEST) is None


@pytest.mark.parametrize("digest", ["", "sha256:", DIGEST[:-1], DIGEST.upper(), "sha256:" + "../" * 20, f"{DIGEST}\n"])
def test_what_is_no_digest_names_no_file(directory: Path, digest: str) -> None:
    """It comes from the server, and becomes part of a path."""
    with pytest.raises(ArgumentError, match="digest"):
        Cache(directory).get(digest)


def forged_files(content: bytes) -> bytes:
    return content.replace(b"return 1\n", b"return 6\n")


def other_bundle(content: bytes) -> bytes:
    _, publication, approvals = decode(content)
    return encode([script("return 2\n").pack(), publication, approvals])


DAMAGES = [
    forged_files,
    other_bundle,
    lambda content: content[:-1],
    lambda content: b"",
    lambda content: content + b"\0",
    lambda content: encode("not an entry"),
    lambda content: encode([b"", {}, []]),
    lambda content: encode([decode(content)[0], {}, []]),
    lambda content: encode([decode(content)[0], "statement", []]),
    lambda content: encode([*decode(content)[:2], [7]]),
    lambda content: encode([*decode(content)[:2], {}]),
    lambda content: encode([*decode(content)[:2], decode(content)[2] * 65]),
    lambda content: encode([*decode(content), 1]),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_counts_as_absent(directory: Path, entry: Entry, damage: Any) -> None:
    """The server is asked again; the host is not stopped by one bad block."""
    path = kept(directory, entry)
    path.write_bytes(damage(path.read_bytes()))
    assert Cache(directory).get(entry.bundle.digest) is None


def test_an_entry_that_others_could_have_written_counts_as_absent(directory: Path, entry: Entry) -> None:
    kept(directory, entry).chmod(0o666)
    assert Cache(directory).get(entry.bundle.digest) is None


def test_an_entry_that_is_endless_counts_as_absent(directory: Path, entry: Entry) -> None:
    path = kept(directory, entry)
    os.truncate(path, 1 << 40)
    assert Cache(directory).get(entry.bundle.digest) is None


def test_a_newer_entry_takes_the_place_of_the_older(directory: Path, entry: Entry) -> None:
    """New approvals arrive for the same digest."""
    kept(directory, entry)
    cache = Cache(directory)
    cache.get(entry.bundle.digest)
    cache.put(entry.bundle.digest, replace(entry, approvals=()))
    for each in (cache, Cache(directory)):
        found = each.get(entry.bundle.digest)
        assert found is not None
        assert found.approvals == ()


def test_statements_beyond_their_bound_are_not_kept(directory: Path, entry: Entry) -> None:
    many = replace(entry, approvals=entry.approvals * 1000)
    with pytest.raises(TooLargeError):
        Cache(directory).put(entry.bundle.digest, many)
    assert Cache(directory).get(entry.bundle.digest) is None


def test_a_disk_that_refuses_says_so(directory: Path, entry: Entry) -> None:
    directory.rmdir()
    with pytest.raises(UnavailableError):
        Cache(directory).put(entry.bundle.digest, entry)


def test_the_least_recently_used_go_first(directory: Path, world: World) -> None:
    entries = [approved(world, script(f"return {number}\n")) for number in range(4)]
    digests = [each.bundle.digest for each in entries]
    cache = Cache(directory, max_bundles=3)
    for number, each in enumerate(entries[:3]):
        cache.put(each.bundle.digest, each)
        os.utime(path_of(directory, each.bundle.digest), ns=(number, number))
    Cache(directory).get(digests[0])  # used now, by a process that had not parsed it
    cache.put(digests[3], entries[3])
    fresh = Cache(directory)
    assert [fresh.get(digest) is not None for digest in digests] == [True, False, True, True]
    assert cache.get(digests[1]) is None, "nor is it remembered"


def test_what_a_schedule_needs_never_goes(directory: Path, world: World) -> None:
    """A host without a server could not get it back."""
    entries = [approved(world, script(f"return {number}\n")) for number in range(4)]
    needed = {entries[0].bundle.digest, entries[1].bundle.digest}
    cache = Cache(directory, max_bundles=2)
    for number, each in enumerate(entries):
        cache.put(each.bundle.digest, each, needed)
        os.utime(path_of(directory, each.bundle.digest), ns=(number, number))
    left = {digest for digest in (each.bundle.digest for each in entries) if Cache(directory).get(digest)}
    assert left == {*needed, entries[3].bundle.digest}, "nor what has just come"


def test_the_least_recently_used_go_when_all_are_too_large_together(directory: Path, world: World) -> None:
    entries = [approved(world, script("-" * 1000 + f"\nreturn {number}\n")) for number in range(4)]
    digests = [each.bundle.digest for each in entries]
    Cache(directory).put(digests[0], entries[0])
    size_bytes = path_of(directory, digests[0]).stat().st_size
    cache = Cache(directory, max_bytes=2 * size_bytes + 100)
    for number, each in enumerate(entries):
        cache.put(each.bundle.digest, each, {digests[0]})
        os.utime(path_of(directory, each.bundle.digest), ns=(number, number))
    left = [Cache(directory).get(digest) is not None for digest in digests]
    assert left == [True, False, False, True], "what a schedule needs, and the newest"


def test_what_a_crash_left_beside_the_entries_goes_too(directory: Path, world: World) -> None:
    (directory / ".half.bundle.new").write_bytes(b"half")
    os.utime(directory / ".half.bundle.new", ns=(0, 0))
    cache = Cache(directory, max_bundles=1)
    each = approved(world, script())
    cache.put(each.bundle.digest, each)
    assert [path.name for path in directory.iterdir()] == [path_of(directory, each.bundle.digest).name]


def test_only_a_few_are_kept_in_memory(directory: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CACHED_BUNDLES_IN_MEMORY", 2)
    cache = Cache(directory)
    entries = [approved(world, script(f"return {number}\n")) for number in range(4)]
    for each in entries:
        cache.put(each.bundle.digest, each)
    assert len(cache._parsed) == 2
    assert all(cache.get(each.bundle.digest) for each in entries)


# what the server sends -----------------------------------------------------------------------------------------------


def test_what_the_server_sends_is_checked_before_it_is_an_entry(entry: Entry) -> None:
    publication = entry.publication.to_plain()
    made = make_entry(entry.bundle.digest, entry.bundle.pack(), publication, [])
    assert made.bundle.digest == entry.bundle.digest
    with pytest.raises(TrustError) as caught:
        make_entry(DIGEST, entry.bundle.pack(), publication, [])
    assert caught.value.reason == "wrong_digest"


@pytest.mark.parametrize(
    ("packed", "publication", "approvals", "error"),
    [
        (b"", {}, [], ProtocolError),
        (encode({"main.lua": b""}), {}, [], ArgumentError),
        (encode({"../main.lua": b"", "manifest.yaml": b""}), {}, [], ArgumentError),
        (None, None, [], ArgumentError),
        (None, "text", [], ArgumentError),
        (None, {"payload": ""}, [], ArgumentError),
        (None, ..., [None], ArgumentError),
        (None, ..., [{}] * 65, TooLargeError),
    ],
)
def test_what_is_no_entry_is_refused_in_words(
    entry: Entry, packed: bytes | None, publication: Any, approvals: list[Any], error: type[OutriderError]
) -> None:
    """Hostile input raises documented errors only: anything else would end the agent."""
    given = entry.publication.to_plain() if publication is ... else publication
    with pytest.raises(error):
        make_entry(entry.bundle.digest, packed if packed is not None else entry.bundle.pack(), given, approvals)
