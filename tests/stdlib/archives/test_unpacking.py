"""Archives unpacked: what plain tools write comes out the same; tricks are refused and leave nothing behind."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hostile import header, member, overlapping, padded, tar, tgz, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.errors import ArgumentError, ConflictError, DeadlineError, DeniedError, OutriderError, TooLargeError
from stdlib.archives import tar_reader
from stdlib.archives.unpacking import Unpacking, entries_of
from stdlib.places import place

MIB = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def unpack(data: bytes, where: Path, *, most: int = MIB, entries: int = 100, **more: Any) -> int:
    archive = where.parent / "archive"
    archive.write_bytes(data)
    with opened(archive) as fd, place(str(where), follow=True) as held:
        found = entries_of(fd, len(data), most, entries)
        check, is_over = more.get("check", lambda _: None), more.get("is_over", lambda: False)
        return Unpacking(held, entries, check, is_over).unpack(found)


def refused(data: bytes, tmp_path: Path, kind: type[OutriderError], told: str, **more: Any) -> None:
    """The archive is refused, and nothing of it is to be seen anywhere."""
    where = tmp_path / "new"
    with pytest.raises(kind, match=told):
        unpack(data, where, **more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


def looked(where: Path) -> dict[str, tuple[str, Any]]:
    return {
        str(path.relative_to(where)): (
            oct(path.lstat().st_mode), path.read_bytes() if path.is_file() else None
        )
        for path in sorted(where.rglob("*"))
    }  # fmt: skip


# what plain tools write ----------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with all that is plain."""
    top = tmp_path / "source" / "top"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o750)
    (top / "run.sh").write_bytes(b"#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "deep" / "er" / "data").write_bytes(bytes(range(256)) * 3000)
    (top / "deep" / ("n" * 120)).write_bytes(b"a long name")
    (top / "nothing").write_bytes(b"")
    (top / "secret").write_bytes(b"s")
    (top / "secret").chmod(0o600)
    return top


@pytest.mark.parametrize(
    "words",
    [
        ["tar", "-czf", "{}", "-C", "source", "top"], ["tar", "-cf", "{}", "-C", "source", "top"],
        ["tar", "--format=gnu", "-czf", "{}", "-C", "source", "top"],
        ["tar", "--format=pax", "-czf", "{}", "-C", "source", "top"],
        ["tar", "-czf", "{}", "-C", "source", "./top"],
    ],
    ids=["gnu tar.gz", "tar", "gnu", "pax", "dotted"],
)  # fmt: skip
def test_what_tar_writes_comes_out_the_same(tree: Path, tmp_path: Path, words: list[str]) -> None:
    archive = tmp_path / "made"
    subprocess.run([word.format(archive) for word in words], cwd=tmp_path, check=True)
    assert unpack(archive.read_bytes(), tmp_path / "new", most=2 * MIB) == 9
    assert looked(tmp_path / "new" / "top") == looked(tree)
    assert (tmp_path / "new" / "top" / "run.sh").stat().st_mtime == int((tree / "run.sh").stat().st_mtime)


def test_what_zip_writes_comes_out_the_same(tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(tree.rglob("*")):
            file.write(path, path.relative_to(tree))
    assert unpack(archive.read_bytes(), tmp_path / "new", most=2 * MIB) == 8
    found = looked(tmp_path / "new")
    assert found == looked(tree)


def test_a_few_members_of_gzip_are_one_archive(tmp_path: Path) -> None:
    data = tar(member("a", b"x" * 2000))
    assert unpack(gzip.compress(data[:700]) + gzip.compress(data[700:]), tmp_path / "new") == 1
    assert (tmp_path / "new" / "a").read_bytes() == b"x" * 2000


def test_an_empty_directory_is_filled_and_keeps_its_mode(tmp_path: Path) -> None:
    where = tmp_path / "new"
    where.mkdir(mode=0o700)
    assert unpack(tgz(member("a", b"1")), where) == 1
    assert stat.S_IMODE(where.stat().st_mode) == 0o700
    shutil.rmtree(where)
    unpack(tgz(member("deep/a", b"1")), where)
    assert stat.S_IMODE(where.stat().st_mode) == stat.S_IMODE((where / "deep").stat().st_mode) == 0o755


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    for make in (Path.mkdir, Path.touch):
        where = tmp_path / make.__name__
        make(where)
        if where.is_dir():
            (where / "kept").write_bytes(b"kept")
        before = looked(tmp_path)
        with pytest.raises(ConflictError, match="is there already, and is no empty directory"):
            unpack(tgz(member("a", b"1")), where)
        assert {name: found for name, found in looked(tmp_path).items() if name != "archive"} == before
        (tmp_path / "archive").unlink()


# tricks --------------------------------------------------------------------------------------------------------------

LINKS = [
    (tgz(member("a", kind=tarfile.SYMTYPE, link="/etc")), "is a symlink"),
    (tgz(member("a", kind=tarfile.SYMTYPE, link="b"), member("a/x", b"1")), "is a symlink"),
    (tgz(member("a", kind=tarfile.LNKTYPE, link="/etc/passwd")), "is a hard link"),
    (tgz(member("a", kind=tarfile.CHRTYPE)), "is a character device"),
    (tgz(member("a", kind=tarfile.BLKTYPE)), "is a block device"),
    (tgz(member("a", kind=tarfile.FIFOTYPE)), "is a FIFO"),
    (tgz(member("a", kind=tarfile.CONTTYPE)), "is a contiguous file"),
    (tgz(member("l" * 200, kind=tarfile.SYMTYPE, link="m" * 200), form=tarfile.GNU_FORMAT), "is a long link|symlink"),
    (tgz(member("l" * 200, kind=tarfile.SYMTYPE, link="m" * 200)), "is a symlink"),
]
NAMES = [
    (tgz(member("/etc/cron.d/x", b"1")), "an absolute name"),
    (tgz(member("../x", b"1")), r"\.\. part"),
    (tgz(member("a/../../x", b"1")), r"\.\. part"),
    (tgz(member("a", b"1"), member("a", b"2")), "a name twice"),
    (tgz(member("a", b"1"), member("A", b"2")), "differ in case"),
    (tgz(member("a", b"1"), member("a/b", b"2")), "as a file and as a directory"),
    (tgz(member("a", b"1", pax_headers={"path": "../../x"})), r"\.\. part"),
    (tgz(member("a", b"1", pax_headers={"path": "/x"})), "an absolute name"),
    (zipped([("/etc/x", b"1")]), "an absolute name"),
    (zipped([("../x", b"1")]), r"\.\. part"),
    (zipped([("a\\..\\x", b"1")]), "backslash"),
    (zipped([("a", b"1"), ("A", b"2")]), "differ in case"),
]


@pytest.mark.parametrize(("data", "told"), LINKS + NAMES)
def test_links_devices_and_odd_names_are_refused(tmp_path: Path, data: bytes, told: str) -> None:
    refused(data, tmp_path, ArgumentError, told)


def test_what_came_before_a_trick_goes_with_it(tmp_path: Path) -> None:
    good = [member(f"d/{number}", b"x" * 1000) for number in range(20)]
    refused(tgz(*good, member("l", kind=tarfile.SYMTYPE, link="/")), tmp_path, ArgumentError, "is a symlink")


def test_setuid_is_given_to_nobody(tmp_path: Path) -> None:
    unpack(tgz(member("a", b"1", mode=0o7777), member("d", kind=tarfile.DIRTYPE, mode=0o7777)), tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new" / "a").stat().st_mode) == 0o777
    assert stat.S_IMODE((tmp_path / "new" / "d").stat().st_mode) == 0o777


def link_in_zip() -> bytes:
    info = zipfile.ZipInfo("a")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped([(info, b"/etc/passwd")])


def test_tricks_of_zip_are_refused(tmp_path: Path) -> None:
    refused(link_in_zip(), tmp_path, ArgumentError, "is a link or special")
    refused(overlapping(2, 1000), tmp_path, ArgumentError, "overlaps another entry")
    plain = zipped([("a", b"content")], zipfile.ZIP_STORED)
    for place_of, what, told in [
        (plain.rindex(b"a" + b"PK\5\6"), b"b", "is another entry than the directory says"),
        (plain.index(b"content"), b"C", "does not have its size or checksum"),
        (6, b"\1", "is another entry than the directory says"),
        (plain.index(b"PK\1\2") + 8, b"\1", "is encrypted"),
        (plain.index(b"PK\1\2") + 10, b"\x0c", "compressed in the unknown way 12"),
        (plain.index(b"PK\1\2") + 42, b"\xff", "lies outside|is another entry"),
        (plain.index(b"PK\5\6") + 4, b"\1", "one part of several"),
        (plain.index(b"PK\5\6") + 16, b"\0", "not where it says"),
    ]:
        changed = bytearray(plain)
        changed[place_of : place_of + 1] = what
        refused(bytes(changed), tmp_path, ArgumentError, told)
    refused(plain + b"more", tmp_path, ArgumentError, "more behind its end")
    refused(b"before" + plain, tmp_path, ArgumentError, "neither tar, tar.gz nor zip")
    refused(plain[:-30], tmp_path, ArgumentError, "no zip archive, or cut off")


def test_tricks_of_tar_are_refused(tmp_path: Path) -> None:
    end = bytes(1024)
    for data, told in [
        (header(b"a", 5, spoil=True) + padded(b"12345") + end, "checksum"),
        (header(b"a", 5, b"Z") + padded(b"12345") + end, "unknown kind"),
        (header(b"a", 5, b"5") + padded(b"12345") + end, "directory with content"),
        (header(b"a", 5000) + padded(b"12345"), "cut off"),
        (header(b"a", 1 << 60) + padded(b"12345"), "out of range"),
        (header(b"a", 1, mode=b"00x0644\0") + padded(b"1") + end, "is no number"),
        (header(b"x", 1 << 40, b"x"), "more than 65536 bytes"),
        (header(b"x", 1 << 40, b"L"), "more than 65536 bytes"),
        (header(b"x", 1 << 40, b"g"), "more than 65536 bytes"),
        (header(b"x", 10, b"x") + padded(b"99 path=a\n") + end, "not in its form"),
        (header(b"x", 12, b"x") + padded(b"12 path=abc\n") + end, "ends where an entry should follow"),
        (header(b"x", 24, b"x") + padded(b"24 GNU.sparse.major=1\nxx") + header(b"a", 0) + end, "form|sparse"),
        (header(b"x", 22, b"x") + padded(b"22 GNU.sparse.major=1\n") + header(b"a", 0) + end, "sparse file"),
        (header(b"x", 15, b"x") + padded(b"15 linkpath=/x\n") + header(b"a", 0) + end, "is a link"),
        (header(b"a", 0) + end + b"hidden".ljust(512, b"\0"), "more than padding"),
    ]:
        refused(data, tmp_path, ArgumentError, told)
    whole = tgz(member("a", os.urandom(5000)))
    refused(whole[:-2000], tmp_path, ArgumentError, "cut off")
    refused(whole[:100] + b"\xff" * 100 + whole[200:], tmp_path, ArgumentError, "broken|cut off|checksum|number")
    for data in (b"", b"\x1f\x8b", b"PK", b"\x7fELF" + bytes(600), b"BZh9" + bytes(600)):
        refused(data, tmp_path, ArgumentError, "cannot be unpacked")


# bombs ---------------------------------------------------------------------------------------------------------------


def test_bombs_end_at_the_bound_in_little_memory(tmp_path: Path) -> None:
    """200 MiB of zeros in 200 KiB; headers without end; entries without end; a directory that never fits memory."""
    zeros = bytes(200 * MIB)
    bombs = {
        "tar.gz": gzip.compress(header(b"a", len(zeros)) + zeros + bytes(1024)),
        "behind the end": gzip.compress(header(b"a", 0) + zeros),
        "zip": zipped([("a", zeros)]),
    }
    headers = (header(b"x", 60 << 10, b"g") + padded(b"x" * (60 << 10))) * 20
    del zeros
    tracemalloc.start()
    for name, data in bombs.items():
        refused(data, tmp_path, TooLargeError, "more than 1048576 bytes", most=MIB)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB, name
    tracemalloc.stop()
    refused(gzip.compress(headers + header(b"a", 0)), tmp_path, TooLargeError, "more than 1048576 bytes", most=MIB)
    many = tgz(*(member(f"f{number}") for number in range(101)))
    refused(many, tmp_path, TooLargeError, "more than 100 entries")
    refused(zipped((f"f{number}", b"") for number in range(101)), tmp_path, TooLargeError, "more than 100 entries")
    refused(tgz(member("d/" * 40 + "a"), member("e/" * 63 + "a")), tmp_path, TooLargeError, "more than 100 entries")


# everything else -----------------------------------------------------------------------------------------------------


def test_what_is_not_permitted_or_not_wanted_any_more_leaves_nothing(tmp_path: Path) -> None:
    data = tgz(member("a", b"1"), member("b/c", b"2"))

    def check(real: str) -> None:
        if real.endswith("/b/c"):
            raise DeniedError(f"{real} is denied", rule="test")

    refused(data, tmp_path, DeniedError, "new/b/c is denied", check=check)
    refused(data, tmp_path, DeadlineError, "cut short", is_over=lambda: True)


def test_whoever_comes_first_wins(tmp_path: Path) -> None:
    """Somebody makes the place while the archive is unpacked: theirs stays, ours goes."""

    def check(real: str) -> None:
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / "theirs").write_bytes(b"1")

    with pytest.raises(ConflictError, match="changed by somebody else meanwhile"):
        unpack(tgz(member("a", b"1")), tmp_path / "new", check=check)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "new", "theirs"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_raises_only_what_is_documented_and_leaves_nothing(tmp_path: Path, draw: Any) -> None:
    plain = [("d/", b""), ("d/a", b"x" * 3000), ("b", b"y")]
    data = bytearray(
        draw.draw(
            st.sampled_from([
                tar(*(member(name, content, kind=b"5" if name.endswith("/") else b"0") for name, content in plain)),
                zipped(plain), zipped(plain, zipfile.ZIP_STORED), tgz(member("a", b"1"), form=tarfile.GNU_FORMAT),
            ])
        )
    )  # fmt: skip
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at] = draw.draw(st.integers(0, 255))
    if draw.draw(st.booleans()):
        del data[draw.draw(st.integers(0, len(data))) :]
    where = tmp_path / "new"
    try:
        unpack(bytes(data), where)
    except (ArgumentError, TooLargeError):
        assert not where.exists()
    shutil.rmtree(where, ignore_errors=True)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


# what costs much and gives nothing ------------------------------------------------------------------------------------


def test_members_without_content_are_a_bomb_too(tmp_path: Path) -> None:
    """Each of them would cost nothing of what the archive may hold."""
    empty = gzip.compress(b"")
    refused(empty * 4000, tmp_path, TooLargeError, "unpacks to more than")
    plain = gzip.compress(tar(member("a", b"1")))
    assert unpack(empty * 100 + plain, tmp_path / "new") == 1


def test_headers_of_many_records_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is not copied for each of them, which made a header of 64 KiB take 40 ms."""

    class Counting(bytes):
        copied = 0

        def __getitem__(self, place: Any) -> Any:
            found = super().__getitem__(place)
            Counting.copied += len(found)
            return found

    records = b"5 a=\n" * 13_000 + b"10 path=b\n"
    assert tar_reader._records(Counting(records)) == {"path": b"b"}
    assert Counting.copied < 4 * len(records)


@pytest.mark.parametrize("record", [b"0 a=\n", b"1 a=\n", b"2 a=\n", b"9999999 a=\n", b"1234567a=\n", b" 5 a=\n"])
def test_a_record_has_its_own_length(record: bytes) -> None:
    with pytest.raises(ArgumentError, match="not in its form"):
        tar_reader._records(record)


def test_an_archive_without_an_entry_is_left_when_nobody_waits_any_more(tmp_path: Path) -> None:
    """There may be none for as long as an archive is."""
    archive = tmp_path / "archive"
    archive.write_bytes(gzip.compress(header(b"h", 0, b"x") * 40_000))
    looks = iter([False] * 3)
    with opened(archive) as fd:
        found = iter(entries_of(fd, archive.stat().st_size, 1 << 40, 100, lambda: next(looks, True)))
        with pytest.raises(DeadlineError):
            next(found)
