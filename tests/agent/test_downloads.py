"""Bundles on their way: only what was asked for, never more than a bundle can be."""

from __future__ import annotations

import pytest

from agent.downloads import PURPOSE, Downloads
from protocol.bundle import Bundle
from protocol.errors import ProtocolError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES

DIGEST = "sha256:" + 64 * "a"
OTHER = "sha256:" + 64 * "b"
CHUNK = 64 * 1024
MANIFEST = b'name: checks/big\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: observe\ndescription: "Big."\n'


def opened(downloads: Downloads, stream: int = 1) -> int:
    downloads.expect(DIGEST)
    assert downloads.opened(stream, PURPOSE, {"digest": DIGEST})
    return stream


def test_what_arrives_in_pieces_is_put_together() -> None:
    downloads = Downloads()
    stream = opened(downloads)
    assert downloads.arrived(stream, b"one ")
    assert downloads.arrived(stream, b"two")
    finished = downloads.finished(stream)
    assert finished is not None
    assert (finished.digest, bytes(finished.packed)) == (DIGEST, b"one two")


@pytest.mark.parametrize(
    ("purpose", "header"),
    [
        (PURPOSE, {"digest": OTHER}),
        (PURPOSE, {"digest": None}),
        (PURPOSE, {"digest": [DIGEST]}),
        (PURPOSE, {}),
        ("terminal", {"digest": DIGEST}),
    ],
)
def test_a_stream_that_nobody_asked_for_is_refused(purpose: str, header: dict[str, object]) -> None:
    """The server must not be able to make a host hold bytes by itself."""
    downloads = Downloads()
    downloads.expect(DIGEST)
    assert not downloads.opened(1, purpose, header)
    assert not downloads.arrived(1, b"unasked")


def test_a_second_stream_for_the_same_bundle_is_refused() -> None:
    """Two streams into one download would mix their bytes."""
    downloads = Downloads()
    opened(downloads, 1)
    assert not downloads.opened(2, PURPOSE, {"digest": DIGEST})
    assert not downloads.arrived(2, b"mixed in")


def test_the_largest_bundle_arrives_whole() -> None:
    """Packed, a bundle is longer than its files together; the bound is on what travels."""
    room = MAX_BUNDLE_BYTES - len(MANIFEST)
    bundle = Bundle.from_files({"manifest.yaml": MANIFEST, "main.lua": b"-" * room})
    packed = bundle.pack()
    assert len(packed) > MAX_BUNDLE_BYTES
    downloads = Downloads()
    stream = opened(downloads)
    for at in range(0, len(packed), CHUNK):
        assert downloads.arrived(stream, packed[at : at + CHUNK])
    finished = downloads.finished(stream)
    assert finished is not None
    assert Bundle.unpack(bytes(finished.packed)).digest == bundle.digest


def test_more_than_a_bundle_can_be_breaks_off() -> None:
    """What a server sends without end must not fill a host's memory."""
    downloads = Downloads()
    stream = opened(downloads)
    for _ in range(2 * MAX_BUNDLE_BYTES // CHUNK):
        downloads.arrived(stream, bytes(CHUNK))
    with pytest.raises(TooLargeError, match=DIGEST):
        downloads.arrived(stream, b"x")


def test_the_same_bundle_twice_at_once_is_a_fault_of_the_caller() -> None:
    downloads = Downloads()
    downloads.expect(DIGEST)
    with pytest.raises(ProtocolError, match="already"):
        downloads.expect(DIGEST)


def test_giving_up_names_the_stream_that_the_server_still_sends_on() -> None:
    """It has to be told, or it goes on sending what nobody reads."""
    downloads = Downloads()
    stream = opened(downloads, 7)
    downloads.arrived(stream, b"the beginning")
    assert downloads.forget(DIGEST) == (stream, b"the beginning")
    assert not downloads.arrived(stream, b"late")
    assert downloads.forget(DIGEST) == (None, b"")


def test_nothing_is_left_to_stop_before_or_after_a_stream() -> None:
    downloads = Downloads()
    downloads.expect(DIGEST)
    assert downloads.forget(DIGEST) == (None, b"")
    stream = opened(downloads)
    downloads.finished(stream)
    assert downloads.forget(DIGEST) == (None, b"")


def test_what_follows_is_put_behind_what_was_there() -> None:
    downloads = Downloads()
    downloads.expect(DIGEST, b"one ")
    assert downloads.opened(1, PURPOSE, {"digest": DIGEST, "offset": 4})
    downloads.arrived(1, b"two")
    finished = downloads.finished(1)
    assert finished is not None
    assert bytes(finished.packed) == b"one two"


@pytest.mark.parametrize("header", [{}, {"offset": 0}, {"offset": 3}, {"offset": 5}, {"offset": "4"}])
def test_a_stream_that_goes_on_somewhere_else_is_refused(header: dict[str, object]) -> None:
    downloads = Downloads()
    downloads.expect(DIGEST, b"one ")
    assert not downloads.opened(1, PURPOSE, {"digest": DIGEST, **header})


def test_a_bundle_can_be_fetched_again_after_a_reset() -> None:
    downloads = Downloads()
    stream = opened(downloads)
    lost = downloads.reset(stream)
    assert lost is not None
    assert lost.digest == DIGEST
    downloads.forget(DIGEST)
    assert opened(downloads, 3) == 3
