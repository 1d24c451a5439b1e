"""``fs.*`` that change the content of files: written beside, made durable, put in place; undone from the journal."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from kernel.visits import begun_apart
from policies.model import Facts
from protocol.errors import ArgumentError, ConflictError, DeadlineError, TooLargeError, UnavailableError
from protocol.tiers import Tier
from stdlib import patching
from stdlib.call_specs import Decided, Permit
from stdlib.declaring import call
from stdlib.dry import CHANGED
from stdlib.handles import Handle
from stdlib.host import Host, RunContext
from stdlib.journal import Journal
from stdlib.parameters import Bounds, Data, FileMode, Length
from stdlib.paths import Target, failure
from stdlib.places import Place, place
from stdlib.replacing import EXPECTED, NEW_MODE, Replacement, expected_hash, hash_of, pieces_of
from stdlib.undoing import keep_appended, keep_truncated, places_of, take_back

MAX_PATCHED_BYTES = 1 << 20  # of a file that is patched
IfHash = Annotated[str, Length(80), EXPECTED] | None


@call(
    "fs.write", tier=Tier.OPERATE, dry=CHANGED, changes=True,
    lua='local done = fs.write("/tmp/motd", "welcome\\n", {mode = "0644"})',
    python='done = fs.write("/tmp/motd", "welcome\\n", mode="0644")',
)  # fmt: skip
def write(
    host: Host, permit: Permit, path: Place, data: Data, mode: FileMode | None = None, if_hash: IfHash = None
) -> dict[str, Any]:
    """Give a file this content, as a whole or not at all. It keeps its owner, mode and extended attributes.

    ``mode`` is octal text, 0644 for a new file. ``if_hash``: only if the sha256 of what is there is this, or
    ``"absent"``; else a ``conflict`` error. Returns ``created``, ``old_hash`` (nothing for a large file), ``new_hash``
    and ``journal`` for ``fs.undo`` (nothing if it cannot be undone; ``no_undo`` says why).
    """
    expected = expected_hash(if_hash)
    replacement = Replacement(path, mode=mode, is_over=lambda: permit.is_over)
    try:
        replacement.write(data)
    except BaseException:
        replacement.abort()
        raise
    return replacement.commit("fs.write", host.journal, expected).to_plain()


@call(
    "fs.append", tier=Tier.OPERATE, changes=True,
    lua='local size = fs.append("/tmp/notes", "one more line\\n")',
    python='size = fs.append("/tmp/notes", "one more line\\n")',
)  # fmt: skip
def append(host: Host, path: Place, data: Data) -> int:
    """Append to a file, which is made if it is missing; return its new size in bytes.

    ``fs.undo`` cuts it off again, as long as nothing came behind it; ``fs.changes`` tells the journal.
    """
    status = path.regular()
    if host.journal is not None and data:
        keep_appended(host.journal, path, status, data)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with path.opened(flags, NEW_MODE) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ArgumentError(f"path: {path.asked} is not a regular file", parameter="path")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        except OSError as error:
            raise failure(error, path.asked) from None
        return os.fstat(fd).st_size


class Writer(Handle):
    """New content of a file, on its way."""

    kind: ClassVar[str] = "writer"

    def __init__(self, replacement: Replacement, path: str, journal: Journal | None, expected: str | None) -> None:
        self.facts = Facts(path=path)
        self.replacement = replacement
        self.journal = journal
        self.expected = expected
        self.is_over = False

    def open(self) -> Replacement:
        """Return what is written to; ``ConflictError`` once it is over."""
        if self.is_over:
            raise ConflictError("this writer has finished")
        return self.replacement

    def take(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append what comes another way than by calls (:meth:`sandbox.gate.Gate.push`). May block."""
        self.open().write_all(pieces)

    def close(self) -> Awaitable[None]:
        """Forget what was not finished. On a thread: where it lies, that may take its time."""
        self.is_over = True
        return begun_apart(self.replacement.abort)


@call(
    "fs.write_stream", tier=Tier.OPERATE, changes=True,
    lua='local w = fs.write_stream("/tmp/big")\nw:write("piece")\nlocal done = w:finish()',
    python='w = fs.write_stream("/tmp/big")\nw.write("piece")\ndone = w.finish()',
)  # fmt: skip
def write_stream(
    host: Host, permit: Permit, path: Place, mode: FileMode | None = None, if_hash: IfHash = None
) -> Writer:
    """Return a writer for new content that comes piece by piece; nothing changes before ``finish``.

    ``mode`` and ``if_hash`` as for ``fs.write``. What is closed or left without ``finish`` is forgotten.
    """
    expected = expected_hash(if_hash)
    replacement = Replacement(path, mode=mode, is_over=lambda: permit.is_over)
    return Writer(replacement, path.real, host.journal, expected)


@call(
    "writer.write", tier=Tier.OPERATE, under="fs.write_stream",
    lua='local w = fs.write_stream("/tmp/big")\nw:write("piece")',
    python='w = fs.write_stream("/tmp/big")\nw.write("piece")',
)  # fmt: skip
def writer_write(writer: Writer, data: Data) -> int:
    """Append to the new content; return its size so far in bytes."""
    replacement = writer.open()
    replacement.write(data)
    return replacement.size_bytes


@call(
    "writer.finish", tier=Tier.OPERATE, dry=CHANGED, changes=True,
    lua='local w = fs.write_stream("/tmp/big")\nlocal done = w:finish()',
    python='w = fs.write_stream("/tmp/big")\ndone = w.finish()',
)  # fmt: skip
def writer_finish(writer: Writer, hash: Annotated[str, Length(80)] | None = None) -> dict[str, Any]:
    """Put the new content in its place; returns what ``fs.write`` returns.

    With ``hash`` only if the sha256 of what was written is this; else a ``conflict`` error, and nothing has changed.
    """
    meant = expected_hash(hash)
    replacement = writer.open()
    if meant is not None and meant != replacement.hash:
        raise ConflictError(f"what was written is not what was meant: its sha256 is {replacement.hash}")
    writer.is_over = True
    return replacement.commit("fs.write_stream", writer.journal, writer.expected).to_plain()


@call(
    "fs.patch", tier=Tier.OPERATE, dry=CHANGED, changes=True,
    lua='fs.write("/tmp/motd", "old\\n")\n'
    'local done = fs.patch("/tmp/motd", "@@ -1 +1 @@\\n-old\\n+new\\n", {dry_run = true})',
    python='fs.write("/tmp/motd", "old\\n")\n'
    'done = fs.patch("/tmp/motd", "@@ -1 +1 @@\\n-old\\n+new\\n", dry_run=True)',
)  # fmt: skip
def patch(
    host: Host, path: Place, diff: Annotated[str, patching.DIFF], if_hash: IfHash = None, dry_run: bool = False
) -> dict[str, Any]:
    """Apply a unified diff to a file of at most 1 MiB of UTF-8. Its context must be there word for word.

    With ``dry_run`` nothing changes. Returns ``diff`` (the same, where it came to lie), ``new_hash``, ``journal`` and
    ``no_undo`` as ``fs.write``; a hunk that does not fit is a ``conflict`` error that names its line.
    """
    expected = expected_hash(if_hash)
    status = path.present()
    path.regular()
    if status.st_size > MAX_PATCHED_BYTES:
        raise TooLargeError(f"{path.asked} is larger than {MAX_PATCHED_BYTES} bytes")
    with path.opened(os.O_RDONLY) as fd:
        octets = b"".join(pieces_of(fd, MAX_PATCHED_BYTES))
    old_hash = hashlib.sha256(octets).hexdigest()
    if expected not in (None, old_hash):
        raise ConflictError(f"{path.asked} is not what it was: its sha256 is {old_hash}")
    old = _text(octets, path.asked)
    came_to = patching.applied(old, diff)
    replacement = Replacement(path)
    try:
        replacement.write(came_to.text.encode())
    except BaseException:
        replacement.abort()
        raise
    told = patching.headed(came_to.hunks, path.real)
    if dry_run:
        replacement.abort()
        return {"diff": told, "new_hash": None, "journal": None, "no_undo": "a dry run"}
    changed = replacement.commit("fs.patch", host.journal, old_hash)
    return {
        "diff": told, "new_hash": changed.new_hash, "journal": changed.journal, "no_undo": changed.no_undo,
    }  # fmt: skip


def _text(octets: bytes, path: str) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ArgumentError(f"path: {path} is not UTF-8 text", parameter="path") from None


def _journalled(host: Host, bound: Mapping[str, Any]) -> Decided:
    """Decide an undo on the path that the journal names."""
    if host.journal is None:
        raise UnavailableError("there is no undo journal here")
    entry = host.journal.find(bound["journal"])
    return Decided(tuple(Facts(path=path) for path in places_of(entry)))


@call(
    "fs.undo", tier=Tier.OPERATE, changes=True, decides=_journalled,
    lua='local done = fs.write("/tmp/motd", "new\\n")\nlocal hash = fs.undo(done.journal)',
    python='done = fs.write("/tmp/motd", "new\\n")\nhash = fs.undo(done["journal"])',
)  # fmt: skip
def undo(host: Host, permit: Permit, journal: Annotated[str, Length(64)]) -> str | None:
    """Take a change back: the file gets the content, mode and owner that it had, or is removed if it was made.

    Of other changes: what was appended is cut off, what was cut off is written back, what was renamed goes back, and
    permission bits, owner or times are set as they were. Directories and links that were made go, and those that were
    removed come back, also with all below them; what was unpacked goes; a file that was changed in place gets back what
    it held. Only if nobody has changed it since; else a ``conflict``
    error. Returns the hash of what is there now, nothing where that is not looked at.
    """
    if host.journal is None:
        raise UnavailableError("there is no undo journal here")
    entry = host.journal.find(journal)
    if entry.kind != "content":
        take_back(host.journal, permit, entry)
        return None
    with place(entry.path, follow=False) as held:
        if held.real != entry.path:
            raise ConflictError(f"{entry.path} is reached another way now: {held.real}")
        permit.require(Facts(path=held.real))
        status = held.regular()
        now = _hash(held, permit) if status is not None else None
        if now != entry.new_hash:
            raise ConflictError(f"{entry.path} was changed since: its sha256 is {now}")
        if not entry.existed:
            os.unlink(held.name, dir_fd=held.directory)
            held.sync()
            return None
        replacement = Replacement(
            held, mode=entry.mode & 0o1777, owner=(entry.uid, entry.gid), is_over=lambda: permit.is_over
        )
        try:
            replacement.write(host.journal.content(entry))
        except BaseException:
            replacement.abort()
            raise
        return replacement.commit("fs.undo", host.journal, entry.new_hash).new_hash


def _hash(held: Place, permit: Permit) -> str:
    with held.opened(os.O_RDONLY) as fd:
        return hash_of(fd, is_over=lambda: permit.is_over)


@call(
    "fs.copy", tier=Tier.OPERATE, dry=CHANGED, changes=True, follows=True,
    lua='fs.write("/tmp/one", "1")\nlocal done = fs.copy("/tmp/one", "/tmp/two", {overwrite = true})',
    python='fs.write("/tmp/one", "1")\ndone = fs.copy("/tmp/one", "/tmp/two", overwrite=True)',
)  # fmt: skip
def copy(host: Host, permit: Permit, source: Target, path: Place, overwrite: bool = False) -> dict[str, Any]:
    """Copy a regular file, with its permission bits, to a new place, or over a regular file. Both are decided on.

    Returns what ``fs.write`` returns; a ``conflict`` error if something is there and ``overwrite`` is not set.
    """
    mode = source.present().status().st_mode
    if not stat.S_ISREG(mode):
        raise ArgumentError(f"source: {source.asked} is not a regular file", parameter="source")
    if not overwrite and path.status() is not None:
        raise ConflictError(f"{path.asked} is there already")
    with source.opened(os.O_RDONLY) as fd:
        replacement = Replacement(path, mode=mode & 0o1777, is_over=lambda: permit.is_over)
        try:
            for piece in pieces_of(fd):
                if permit.is_over:
                    raise DeadlineError("fs.copy was cut short")
                replacement.write(piece)
        except BaseException:
            replacement.abort()
            raise
    return replacement.commit("fs.copy", host.journal, None if overwrite else "absent").to_plain()


@call(
    "fs.truncate", tier=Tier.OPERATE, changes=True,
    lua='fs.write("/tmp/log", "12345")\nfs.truncate("/tmp/log", 2)',
)  # fmt: skip
def truncate(host: Host, path: Target, size: Annotated[int, Bounds(0, 1 << 53, "bytes")]) -> None:
    """Cut a regular file, or lengthen it with zeros, to ``size`` bytes.

    ``fs.undo`` writes back what was cut off, up to 16 MiB; ``fs.changes`` tells the journal.
    """
    if not stat.S_ISREG(path.present().status().st_mode):
        raise ArgumentError(f"path: {path.asked} is not a regular file", parameter="path")
    with path.opened(os.O_WRONLY if host.journal is None else os.O_RDWR) as fd:
        if host.journal is not None:
            keep_truncated(host.journal, path.real, fd, int(size))
        try:
            os.ftruncate(fd, int(size))
            os.fsync(fd)
        except OSError as error:
            raise failure(error, path.asked) from None


@call("fs.changes", tier=Tier.OBSERVE, lua="local count = #fs.changes()", python="count = len(fs.changes())")
async def changes(run: RunContext) -> list[dict[str, Any]]:
    """Return what this run has changed in files, the newest first: ``journal``, ``call``, ``path``, ``no_undo``.

    ``fs.undo`` takes each ``journal``; where there is none, ``no_undo`` says why it cannot be taken back. To undo them
    in this order brings everything back, as long as nobody else has changed the same. A change that has failed may be
    among them; to undo it is a ``conflict``. At most the first 1000 are told.
    """
    return [
        {"journal": entry.id or None, "call": entry.call, "path": entry.path, "no_undo": entry.about.get("why")}
        for entry in reversed(run.changes)
    ]
