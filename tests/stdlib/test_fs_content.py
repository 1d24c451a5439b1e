"""What files hold: regular files only, bounded, whatever happens to them meanwhile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mounting import told
from running import AllPermitted, gate, perform, run
from trees import streamed

from policies.load import load_policy
from protocol.errors import ArgumentError, DeadlineError, NotFoundError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import fs_content
from stdlib.fs_magic import mime_of
from stdlib.host import Host
from stdlib.paths import resolve


async def test_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("grüße\0")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    file = str(tmp_path / "file")
    assert await perform("fs.read", file) == "grüße\0"
    assert await perform("fs.read", file, 1, 1) == "r"
    assert await perform("fs.read", file, 1 << 53) == ""
    assert await perform("fs.read", file, 0, 0) == ""
    assert await perform("fs.read", str(tmp_path / "bytes")) == b"\xff\xfe"
    assert await perform("fs.read", str(tmp_path / "missing")) is None
    assert (await perform("fs.read", "/proc/uptime")).count(" ") == 1, "a file without a size"
    for path in (str(tmp_path), "/dev/null"):
        with pytest.raises(ArgumentError, match="not a regular file"):
            await perform("fs.read", path)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("auto", b"gr\xfc\xc3\xbc"), ("bytes", b"gr\xfc\xc3\xbc"), ("utf-8", "gr\ufffdü"), ("latin-1", "grüÃ¼")],
)
async def test_read_in_an_encoding(tmp_path: Path, encoding: str, expected: object) -> None:
    (tmp_path / "file").write_bytes(b"gr\xfc\xc3\xbc")
    assert await perform("fs.read", str(tmp_path / "file"), encoding=encoding) == expected


async def test_read_utf16(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("ü".encode("utf-16") + b"\0")
    assert await perform("fs.read", str(tmp_path / "file"), encoding="utf-16") == "ü\ufffd"


def test_read_stream(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    items, summary = streamed("fs.read_stream", str(tmp_path / "file"), 128 << 10)
    assert (b"".join(items), [len(item) for item in items]) == (bytes(range(256)) * 1000, [131072, 124928])
    assert summary == {"bytes": 256_000, "changed": False}
    items, _ = streamed("fs.read_stream", str(tmp_path / "file"), 1000, offset=255_999)
    assert items == [b"\xff"]
    assert streamed("fs.read_stream", str(tmp_path / "file"), offset=1 << 53) == (
        [],
        {"bytes": 0, "changed": False},
    )
    some, summary = streamed("fs.read_stream", str(tmp_path / "file"), 1000, offset=10, length=2500, hash=True)
    data = (bytes(range(256)) * 1000)[10:2510]
    assert (b"".join(some), [len(item) for item in some]) == (data, [1000, 1000, 500])
    assert summary == {"bytes": 2500, "changed": False, "sha256": hashlib.sha256(data).hexdigest()}
    (status,), _ = streamed("fs.read_stream", "/proc/self/status")
    assert status.startswith(b"Name:")
    with pytest.raises(NotFoundError):
        streamed("fs.read_stream", str(tmp_path / "missing"))


def test_a_file_that_grows_and_shrinks_under_a_stream(tmp_path: Path) -> None:
    """What is there at each read is given; it ends where the file ends by then, and never waits."""
    file = tmp_path / "file"
    file.write_bytes(b"a" * 10)
    with resolve(str(file)) as target:
        source = fs_content.read_stream(target, 4)
        assert next(source) == b"aaaa"
        file.write_bytes(b"b" * 6)
        assert next(source) == b"bb"
        with file.open("ab") as more:
            more.write(b"cc")
        assert next(source) == b"cc"
        os.truncate(file, 0)
        with pytest.raises(StopIteration) as ended:
            next(source)
        assert ended.value.value == {"bytes": 8, "changed": True}


SPECIAL: dict[str, Callable[[Path], object]] = {
    "fifo": lambda path: os.mkfifo(path), "directory": lambda path: path.mkdir(),
    "device": lambda path: path.symlink_to("/dev/zero"), "terminal": lambda path: path.symlink_to("/dev/tty"),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(SPECIAL))
@pytest.mark.parametrize("name", ["fs.read", "fs.read_stream", "fs.hash", "fs.magic", "fs.open", "fs.lines", "fs.tail"])
async def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, name: str, kind: str) -> None:
    """A pipe would block a thread for good, and a device may do anything."""
    SPECIAL[kind](tmp_path / "it")
    with pytest.raises(ArgumentError, match="not a regular file"):
        await perform(name, str(tmp_path / "it"))


async def test_hash(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "file").write_bytes(data)
    for algo in ("sha256", "sha512", "sha1", "md5", "blake2b"):
        found = await perform("fs.hash", str(tmp_path / "file"), algo)
        assert found == hashlib.new(algo, data).hexdigest()
    for length in (0, 1, 1 << 20, (1 << 20) + 1, 1 << 40):
        found = await perform("fs.hash", str(tmp_path / "file"), length=length)
        assert found == hashlib.sha256(data[:length]).hexdigest()
    assert await perform("fs.hash", "/proc/sys/kernel/ostype") == hashlib.sha256(b"Linux\n").hexdigest()
    with pytest.raises(NotFoundError):
        await perform("fs.hash", str(tmp_path / "missing"))
    with pytest.raises(ArgumentError):
        await perform("fs.hash", str(tmp_path / "file"), "crc32")


async def test_a_hash_of_an_endless_file_stops_with_its_run(tmp_path: Path) -> None:
    """A sparse file of a few bytes on disk may be read for years."""

    class Over(AllPermitted):
        is_over = True

    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 42)
    with pytest.raises(DeadlineError):
        await perform("fs.hash", str(tmp_path / "sparse"), passage=Over())


@pytest.mark.parametrize(
    ("head", "media"),
    [
        (b"", "application/x-empty"), (b"hello\n", "text/plain"), ("grüße".encode(), "text/plain"),
        ("grüße".encode()[:-3], "text/plain"), (b"MZungu is a text", "text/plain"),
        (b"a\0b", "application/octet-stream"),
        (b"\x7fELF\x02\x01\x01\0", "application/x-elf"), (b"\x1f\x8b\x08\0", "application/gzip"),
        (b"PK\x03\x04\x14\0", "application/zip"), (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"%PDF-1.7\n", "application/pdf"), (b"\0" * 257 + b"ustar\0" + b"00", "application/x-tar"),
        (b"SQLite format 3\0", "application/vnd.sqlite3"), (b"BZh91AY&SY\0", "application/x-bzip2"),
        (b"\x89PNG\r\n\x1a\n\0", "image/png"), (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"-----BEGIN CERTIFICATE-----", "application/x-pem-file"), (bytes(range(1, 32)), "application/octet-stream"),
        (b"LPKSHHRH\0\0", "application/x-systemd-journal"), (b"\xe9t\xe9 latin", "text/plain"),
    ],
)  # fmt: skip
def test_media_types(head: bytes, media: str) -> None:
    assert mime_of(head) == media


async def test_magic(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x7fELF" + b"\0" * 100_000)
    assert await perform("fs.magic", str(tmp_path / "file")) == "application/x-elf"
    assert await perform("fs.magic", "/etc/passwd") == "text/plain"


async def test_xattr(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert await perform("fs.xattr", str(file)) == {}
    os.setxattr(file, "user.comment", "grüße".encode())
    os.setxattr(file, "user.raw", b"\xff\0")
    assert await perform("fs.xattr", str(file)) == {"user.comment": "grüße", "user.raw": b"\xff\0"}
    assert await perform("fs.xattr", "/proc/self/status") == {}
    with pytest.raises(NotFoundError):
        await perform("fs.xattr", str(tmp_path / "missing"))


async def test_attributes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        os.setxattr(tmp_path, f"user.n{number}", b"x" * 100)
    monkeypatch.setattr(fs_content, "MAX_ATTRIBUTES_BYTES", 250)
    assert len(await perform("fs.xattr", str(tmp_path))) == 2


async def test_open_reads_bit_by_bit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789\xff")
    file: Any = await perform("fs.open", str(tmp_path / "file"))
    passage = AllPermitted({3: file})
    handle = {"$handle": 3}

    async def say(name: str, *args: Any, **named: Any) -> Any:
        return await perform(f"file.{name}", handle, *args, passage=passage, **named)

    assert file.fields() == {"path": str(tmp_path / "file")}
    assert [await say("read", 4), await say("read", 4), await say("read", 0)] == ["0123", "4567", ""]
    assert await say("read") == b"89\xff"
    assert await say("read") is None
    assert [await say("seek", 2), await say("read", 1), await say("seek", 2, "current")] == [2, "2", 5]
    assert [await say("seek", -1, whence="end"), await say("read", encoding="latin-1")] == [10, "ÿ"]
    assert [await say("seek", 100, "end"), await say("read")] == [111, None]
    with pytest.raises(ArgumentError, match="offset"):
        await say("seek", -1)
    assert (await say("stat"))["size"] == 11
    (tmp_path / "file").unlink()
    assert (await say("stat"))["nlink"] == 0, "what is opened stays the same file"
    await file.close()
    await file.close()
    with pytest.raises(NotFoundError, match="closed"):
        await say("read")


async def test_a_file_that_is_closed_while_it_is_read_is_closed_behind_the_reader(tmp_path: Path) -> None:
    """A number that is closed too early is soon that of another file, and its content would be read."""
    (tmp_path / "file").write_text("x")
    file: Any = await perform("fs.open", str(tmp_path / "file"))
    with file.used() as fd, file.used():
        await file.close()
        assert os.pread(fd, 1, 0) == b"x"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


OPEN = {
    "lua": 'local f = fs.open(param("at")) f:seek(1) local a = f:read(2) local n = f:stat().size f:close()'
    " local ok, e = pcall(f.read, f) return {a, n, f.path == param('at'), e.code}",
    "python": "f = fs.open(param('at'))\nf.seek(1)\na = f.read(2)\nn = f.stat()['size']\nf.close()\n"
    "try:\n    f.read()\nexcept HostError as e:\n    result = [a, n, f.path == param('at'), e.code]",
}


@pytest.mark.parametrize("language", sorted(OPEN))
async def test_a_file_in_both_languages(sandbox: Sandbox, tmp_path: Path, language: str) -> None:
    (tmp_path / "file").write_text("0123")
    outcome = await run(sandbox, language, OPEN[language], Tier.ADMIN, {"at": str(tmp_path / "file")})
    assert (outcome.status, outcome.result) == ("ok", ["12", 4, True, "invalid_argument"]), outcome.reason


async def test_the_methods_of_a_file_are_decided_on_where_it_is(sandbox: Sandbox, tmp_path: Path) -> None:
    source = "local f = fs.open('/etc/passwd') return #f:read(3)"
    assert (await run(sandbox, "lua", source, Tier.INSPECT)).result == 3
    source = f"local ok, e = pcall(fs.open, '{tmp_path}/file') return e.code"
    (tmp_path / "file").touch()
    assert (await run(sandbox, "lua", source, Tier.INSPECT)).result == "denied"


CLOSED_BY_NOBODY = """
import asyncio, threading
from kernel.visits import begun_apart
from stdlib.fs_open import open_file
from stdlib.paths import resolve

place = sys.argv[1]
fuse = Fuse(f"{place}/m", opens=1)  # what open_file itself closes is answered
watchdog = threading.Timer(20, fuse.end)
watchdog.daemon = True
watchdog.start()

def opened():
    with resolve(f"{place}/m/x") as target:
        return open_file(target)

async def main():
    file = await begun_apart(opened)
    closing = asyncio.ensure_future(file.close())
    await asyncio.to_thread(os.read, fuse.asked, 1)  # the file system was told
    turned = not closing.done()
    fuse.end()
    await asyncio.wait([closing])
    closing.exception()  # the server is gone, as the kernel tells who closes
    return turned

turned = asyncio.run(main())
watchdog.cancel()
print(json.dumps(turned))
"""


def test_a_file_system_that_never_hears_of_a_close_holds_up_its_own_thread(tmp_path: Path) -> None:
    """Anybody may mount one whose server is a program of theirs. On the event loop all runs of the host would wait."""
    assert told(CLOSED_BY_NOBODY, str(tmp_path)) is True


@pytest.mark.parametrize(
    ("call", "named", "allowed"),
    [
        ("fs.read", {"length": 10}, True), ("fs.read", {"length": 11}, False), ("fs.read", {}, False),
        ("fs.read_stream", {"length": 10}, True), ("fs.read_stream", {}, False),
        ("fs.hash", {"length": 10}, True), ("fs.hash", {}, False),
        ("fs.write", {"data": "x" * 10}, True), ("fs.write", {"data": "x" * 11}, False),
        ("fs.append", {"data": "x" * 11}, False),
    ],
)  # fmt: skip
async def test_what_a_rule_bounds_is_no_more_where_a_call_says_nothing(
    tmp_path: Path, call: str, named: dict[str, Any], allowed: bool
) -> None:
    """Of a call that takes a length and got none all of the file goes."""
    file = tmp_path / "file"
    file.write_bytes(b"0" * 100)
    text = "tier: admin\nallow:\n  - {call: fs.*, max_bytes: 10}\n"
    door = gate(Tier.ADMIN, policy=load_policy(text, "site.yaml"), host=Host())
    reply = await door.call(call, [str(file)], named)
    await door.close()
    assert (reply.ok, reply.error and reply.error.code) == (allowed, None if allowed else "denied")
