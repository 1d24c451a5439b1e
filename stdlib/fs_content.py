"""``fs.read`` and its kin: what regular files hold. Anything else is never opened: a pipe would block, a device act.

A file may grow, shrink or be sparse while it is read: what is there at each read is what is given, and whoever reads
for long looks whether somebody still waits.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Generator
from typing import Annotated, Any, Literal

from protocol.errors import ArgumentError, DeadlineError
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_magic import HEAD_BYTES, mime_of
from stdlib.parameters import Bounds
from stdlib.paths import Opened, Target, failure

MAX_READ_BYTES = 512 << 10  # of one call: a frame of the worker's channel holds twice that
CHUNK_BYTES = 512 << 10  # of a stream: one batch of it, if nothing else is said
MAX_CHUNK_BYTES = 896 << 10  # a frame holds that and its head
HASH_BYTES = 1 << 20  # at once
MAX_GROWN_BYTES = 4096  # read beyond what a file was a moment ago; a longer one is read on by whoever wants it all
MAX_ATTRIBUTES = 256  # of one file
MAX_ATTRIBUTE_BYTES = 64 << 10  # of one; XATTR_SIZE_MAX, linux/limits.h
MAX_ATTRIBUTES_BYTES = 512 << 10  # of all of them
_SHOWN_NAMESPACES = ("user.", "security.", "system.")  # trusted.* is the kernel's own business (xattr(7))

MAX_OFFSET = 1 << 53  # what scripts can say exactly
Offset = Annotated[int, Bounds(0, MAX_OFFSET, "bytes")]
Encoding = Literal["auto", "utf-8", "latin-1", "utf-16", "bytes"]


def opened_file(path: Target) -> Opened:
    """Return a context of a descriptor of a regular file, for reading.

    Raises:
        NotFoundError: There is nothing.
        ArgumentError: It is no regular file.
    """
    return Opened(_reopened_file(path, path.status()))


def _reopened_file(path: Target, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise ArgumentError(f"path: {path.asked} is not a regular file", parameter="path")
    return path.reopened(os.O_RDONLY, status)


def read_at(fd: int, length: int, offset: int, shown: str, size: int | None = None) -> bytes:
    """Return what is there, at most ``length`` bytes; what the system says against it is an error of ours.

    Args:
        fd: Open for reading.
        length: In bytes.
        offset: In bytes.
        shown: What an error calls it.
        size: How long the file was a moment ago, in bytes; asked here if None.
    """
    try:
        size = os.fstat(fd).st_size if size is None else size
        if size:  # room for half a MiB, of which a small file fills a little, costs more than to read that file
            length = min(length, max(size - offset, MAX_GROWN_BYTES))
        return os.pread(fd, length, offset)
    except OSError as error:
        raise failure(error, shown) from None


def decoded(data: bytes, encoding: str) -> str | bytes:
    """Return bytes of a file as a script wants them."""
    if encoding == "bytes":
        return data
    if encoding != "auto":
        return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


@call(
    "fs.read", tier=Tier.INSPECT, lua='local text = fs.read("/etc/hostname")', python='text = fs.read("/etc/hostname")'
)
def read(
    path: Target,
    offset: Offset = 0,
    length: Annotated[int, Bounds(0, MAX_READ_BYTES, "bytes")] = MAX_READ_BYTES,
    encoding: Encoding = "auto",
) -> str | bytes | None:
    """Return up to ``length`` bytes of a regular file, as text if it is UTF-8; nothing if it is missing.

    With ``encoding`` the bytes are taken as text of that encoding, what does not fit replaced by U+FFFD, or given as
    they are (bytes).
    """
    status = path.status_if_any()
    if status is None:
        return None
    fd = _reopened_file(path, status)
    try:
        data = read_at(fd, int(length), int(offset), path.asked, status.st_size)
    finally:
        os.close(fd)
    return decoded(data, encoding)


@call(
    "fs.read_stream",
    tier=Tier.INSPECT,
    lua='local size = 0\nfor chunk in fs.read_stream("/etc/passwd") do size = size + #chunk end',
    python='size = 0\nfor chunk in fs.read_stream("/etc/passwd"):\n    size += len(chunk)',
)
def read_stream(
    path: Target,
    chunk: Annotated[int, Bounds(1, MAX_CHUNK_BYTES, "bytes")] = CHUNK_BYTES,
    offset: Offset = 0,
    length: Offset | None = None,
    hash: bool = False,
) -> Generator[bytes, None, dict[str, Any]]:
    """Give a regular file from ``offset`` on as bytes, ``chunk`` of them at a time, to where it ends by then.

    At most ``length`` bytes. The summary has ``bytes``, how many were given; ``changed``, whether the file was written
    to meanwhile; with ``hash`` also ``sha256`` of what was given, in hexadecimal digits.
    """
    given, made = 0, hashlib.sha256() if hash else None
    most = MAX_OFFSET if length is None else int(length)
    with opened_file(path) as fd:
        before = os.fstat(fd)
        while given < most and (data := read_at(fd, min(int(chunk), most - given), int(offset) + given, path.asked)):
            given += len(data)
            if made is not None:
                made.update(data)
            yield data
        after = os.fstat(fd)
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    summary: dict[str, Any] = {"bytes": given, "changed": changed}
    return summary if made is None else summary | {"sha256": made.hexdigest()}


@call(
    "fs.hash",
    tier=Tier.INSPECT,
    lua='local digits = fs.hash("/etc/hostname", "sha256")',
    python='digits = fs.hash("/etc/hostname", "sha256")',
)
def digest(
    permit: Permit,
    path: Target,
    algo: Literal["sha256", "sha512", "blake2b", "sha1", "md5"] = "sha256",
    length: Offset | None = None,
) -> str:
    """Return the hash of a regular file's content, in hexadecimal digits; ``blake2b`` is that of 64 bytes.

    With ``length`` only that of its first bytes. MD5 and SHA-1 are broken: only for what others hashed with them.
    """
    made = hashlib.new(algo, usedforsecurity=False)
    most = MAX_OFFSET if length is None else int(length)
    with opened_file(path) as fd:
        offset = 0
        while offset < most and (data := read_at(fd, min(HASH_BYTES, most - offset), offset, path.asked)):
            made.update(data)
            offset += len(data)
            if permit.is_over:
                raise DeadlineError(f"the hash of {path.asked} was not finished")
    return made.hexdigest()


@call(
    "fs.magic",
    tier=Tier.INSPECT,
    lua='local kind = fs.magic("/etc/hostname")',
    python='kind = fs.magic("/etc/hostname")',
)
def magic(path: Target) -> str:
    """Return the media type of a regular file, told by what it begins with, such as ``text/plain``.

    What is not known is ``application/octet-stream``, or ``text/plain`` if it looks like text; a file without content
    is ``application/x-empty``.
    """
    with opened_file(path) as fd:
        return mime_of(read_at(fd, HEAD_BYTES, 0, path.asked))


@call(
    "fs.xattr",
    tier=Tier.INSPECT,
    lua='local found = fs.xattr("/etc/hostname")',
    python='found = fs.xattr("/etc/hostname")',
)
def xattr(path: Target) -> dict[str, Any]:
    """Return the extended attributes of a file or directory, by name, such as ``user.comment``.

    A value is text if it is UTF-8, else bytes; what cannot be read is left out. At most 256, those of the namespaces
    user, security and system.
    """
    where = f"/proc/self/fd/{path.present().fd}"  # an O_PATH descriptor has no attributes itself, open(2)
    try:
        names = sorted(os.listxattr(where))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM):  # no file system or object that has any
            return {}
        raise failure(error, path.asked) from None
    found: dict[str, Any] = {}
    size = 0
    for name in names[:MAX_ATTRIBUTES]:
        if not name.startswith(_SHOWN_NAMESPACES):
            continue
        value = _attribute(where, name)
        size += len(name) + len(value or b"")
        if size > MAX_ATTRIBUTES_BYTES:
            break
        if value is not None:
            found[name] = decoded(value, "auto")
    return found


def _attribute(where: str, name: str) -> bytes | None:
    try:
        return os.getxattr(where, name)[:MAX_ATTRIBUTE_BYTES]
    except OSError:  # gone, or not for this user
        return None
