"""Bundles: the same files are the same digest everywhere, and no path in one can leave its folder."""

from __future__ import annotations

import hashlib
import io
import zlib

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.bundle import Bundle, path_problem
from protocol.errors import ArgumentError, OutriderError, ProtocolError, TooLargeError, TrustError

MANIFEST = b"name: checks/disk\nversion: 1.2.0\nlanguage: lua\nmain: main.lua\ntier: observe\n"
BASE = {"manifest.yaml": MANIFEST, "main.lua": b"return 1\n"}


def bundle(**more: bytes) -> Bundle:
    return Bundle.from_files(BASE | more)


def with_path(path: str) -> Bundle:
    return Bundle.from_files({**BASE, path: b""})


# the digest -----------------------------------------------------------------------------------------------------------


def test_the_digest_is_the_one_of_its_description() -> None:
    """Written down here by hand: whoever wants to check a bundle needs sha256sum and nothing of ours."""
    listing = "outrider-bundle-v1\n" + "".join(
        f"{hashlib.sha256(BASE[path]).hexdigest()} {len(BASE[path])} {path}\n" for path in ("main.lua", "manifest.yaml")
    )
    assert bundle().digest == "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


@settings(max_examples=30)
@given(st.permutations(["a", "b/c", "b-c", "b", "z/é", "\U0001f600", "ff"]))
def test_the_digest_does_not_depend_on_the_order(paths: list[str]) -> None:
    """Else two machines would disagree about what was approved."""
    files = {path: path.encode() for path in paths if path != "b"}
    assert (
        Bundle.from_files({**files, **BASE}).digest == Bundle.from_files({**BASE, **dict(sorted(files.items()))}).digest
    )


def test_every_change_changes_the_digest() -> None:
    digests = [
        bundle(a=b"1"), bundle(a=b"2"), bundle(b=b"1"), bundle(), bundle(a=b"", b=b"1"), bundle(a=b"1", b=b""),
        with_path("a b"), with_path("a/b"),
    ]  # fmt: skip
    assert len({item.digest for item in digests}) == len(digests)


def test_a_bundle_is_what_its_digest_names_or_nothing() -> None:
    made = bundle()
    made.verify(made.digest)
    for other in (bundle(a=b"").digest, made.digest.upper(), made.digest[:-1], "", made.digest + "\n"):
        with pytest.raises(TrustError) as caught:
            made.verify(other)
        assert caught.value.reason == "wrong_digest"


def test_a_bundle_never_changes() -> None:
    files = dict(BASE)
    made = Bundle.from_files(files)
    digest = made.digest
    files["main.lua"] = b"evil"
    assert made.files["main.lua"] == BASE["main.lua"]
    assert made.digest == digest
    with pytest.raises(TypeError):
        made.files["main.lua"] = b"evil"  # type: ignore[index]  # the attempt


# paths ----------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "", "/etc/passwd", "//a", "..", "../a", "a/../b", "a/..", "./a", "a/./b", ".", "a//b", "a/", "\\a", "a\\b", "C:\\a",
    "a\0b", "a\nb", "a\rb", "a\tb", "a\x7f", "a\x1b[2J", "a\x85b", "a\u200bb", "a\u202etxt", "a\u2028b", "a\u00a0b",
    "a\ufeff", "\ud800", "a\udcff", "a" * 4097, "é" * 2049, "a\u3000b",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: repr(path)[:40])
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    """A bundle is unpacked as root on every host; one path that climbs out owns them all."""
    with pytest.raises(ArgumentError) as caught:
        with_path(path)
    assert caught.value.parameter == "path"
    str(caught.value).encode()  # the refusal itself can be logged


@pytest.mark.parametrize("path", ["a", "a b", ".hidden", "...", "a/b/c.lua", "é", "-rf", "a" * 4096, "名前.lua"])
def test_a_plain_path_is_taken(path: str) -> None:
    assert path in with_path(path).files


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("readme", "README"),
        ("a/B", "A/b"),
        ("stra\u00dfe", "STRASSE"),
        ("\u00e9", "e\u0301"),  # one letter, two forms
        ("\u00c9", "e\u0301"),
        ("main.lua", "Main.lua"),
        ("\u212a", "k"),  # the Kelvin sign
    ],
)
def test_paths_that_some_file_system_takes_for_one_are_refused(one: str, two: str) -> None:
    """On one host the reviewed file would win, on another the hidden one."""
    with pytest.raises(ArgumentError, match="differ only in case or form"):
        Bundle.from_files({**BASE, one: b"1", two: b"2"})


@pytest.mark.parametrize(
    ("file", "below"), [("a", "a/b"), ("a", "a/b/c"), ("a/b", "a/b/c"), ("A", "a/b"), ("main.lua", "main.lua/x")]
)
def test_a_file_below_a_file_is_refused(file: str, below: str) -> None:
    for files in ({file: b"", below: b""}, {below: b"", file: b""}):
        with pytest.raises(ArgumentError, match="lies below a path that is a file"):
            Bundle.from_files({**BASE, **files})


@settings(max_examples=150)
@given(st.text(max_size=12) | st.text("./\\a\0\n ", max_size=8))
@example("a/..")
def test_what_passes_stays_below_its_folder(path: str) -> None:
    if path_problem(path) is None:
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))
        assert path.isprintable()


# what must be there ---------------------------------------------------------------------------------------------------


def test_a_bundle_without_manifest_or_main_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"holds no manifest\.yaml"):
        Bundle.from_files({"main.lua": b""})
    with pytest.raises(ArgumentError, match=r"holds no main\.lua"):
        Bundle.from_files({"manifest.yaml": MANIFEST})
    with pytest.raises(ArgumentError, match=r"manifest\.yaml: is not UTF-8"):
        Bundle.from_files({**BASE, "manifest.yaml": b"name: \xff"})
    with pytest.raises(ArgumentError, match=r"^manifest\.yaml:1: name: 'disk' is not a path"):
        Bundle.from_files({**BASE, "manifest.yaml": MANIFEST.replace(b"checks/disk", b"disk")})


def test_main_cannot_point_out_of_the_bundle() -> None:
    for main in (b"../main.lua", b"/main.lua", b"MAIN.lua"):
        with pytest.raises(ArgumentError, match="holds no"):
            Bundle.from_files({**BASE, "manifest.yaml": MANIFEST.replace(b"main.lua", main)})


# the wire -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.dictionaries(st.text("abcde", min_size=1, max_size=6), st.binary(max_size=50), max_size=6))
def test_packed_and_unpacked_it_is_the_same(files: dict[str, bytes]) -> None:
    made = Bundle.from_files({**files, **BASE})
    again = Bundle.unpack(made.pack())
    assert (dict(again.files), again.digest, again.manifest) == (dict(made.files), made.digest, made.manifest)
    assert again.pack() == made.pack()


def test_the_largest_bundle_crosses_the_wire() -> None:
    """What can be published must be able to arrive."""
    files = {f"f{number:03}": b"" for number in range(limits.MAX_BUNDLE_FILES - 2)} | BASE
    room = limits.MAX_BUNDLE_BYTES - sum(map(len, files.values()))
    files["f000"] = bytes(room)
    made = Bundle.from_files(files)
    assert Bundle.unpack(made.pack()).digest == made.digest
    with pytest.raises(TooLargeError):
        Bundle.from_files(files | {"f001": b"x"})
    with pytest.raises(TooLargeError):
        Bundle.from_files(files | {"one more": b""})


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc0",
        msgpack.packb([]),
        msgpack.packb({"a": "text"}),
        msgpack.packb({"a": 1}),
        msgpack.packb({1: b""}),
        msgpack.packb({b"a": b""}),
        msgpack.packb({"a": {"b": b""}}),
        b"\x82\xa1a\xc4\x00\xa1a\xc4\x00",  # one path twice
        msgpack.packb(BASE) + b"\x00",
        msgpack.packb(BASE)[:-1],
    ],
    ids=lambda packed: repr(packed[:20]),
)
def test_what_is_no_packed_bundle_is_refused(packed: bytes) -> None:
    with pytest.raises(ProtocolError):
        Bundle.unpack(packed)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdf\xff\xff\xff\xff",  # announces four thousand million files
        b"\xde\x01\x01" + b"".join(b"\xa3%03d\xc4\x00" % number for number in range(257)),
        b"\x81\xa1a\xc6\xff\xff\xff\xff",  # announces four gibibytes
        b"\x81\xa1a" * 100_000,
        bytes(2 * limits.MAX_BUNDLE_BYTES + 1),
        msgpack.packb({"a": bytes(limits.MAX_BUNDLE_BYTES + 1)}),
    ],
    ids=["files", "one too many", "bytes", "depth", "size", "sum"],
)
def test_a_bomb_is_refused_for_its_size(bomb: bytes) -> None:
    with pytest.raises(ProtocolError):
        Bundle.unpack(bomb)


def test_nothing_in_a_bundle_is_decompressed() -> None:
    """A kilobyte that grows to a gigabyte is harmless while nobody unpacks it."""
    squeezed = io.BytesIO(zlib.compress(bytes(1 << 20))).getvalue()
    assert Bundle.unpack(bundle(a=squeezed).pack()).files["a"] == squeezed


@settings(max_examples=150)
@given(st.binary(max_size=80), st.integers(0, 200), st.integers(0, 255))
def test_hostile_bytes_raise_only_documented_errors(tail: bytes, at: int, byte: int) -> None:
    packed = bytearray(bundle().pack())
    packed[at % len(packed)] = byte
    for data in (bytes(packed), tail, bytes(packed[: at % len(packed)]) + tail):
        try:
            Bundle.unpack(data)
        except OutriderError:
            continue
