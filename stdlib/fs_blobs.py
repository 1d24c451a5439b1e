"""``fs.*`` between this host and the server's blobs: files and archives there and back.

What is sent is copied first, so that its hash is that of what is sent, whatever happens to the file meanwhile. What
comes is checked against the hash that was asked for before anything of it is used, and is put in its place as a whole.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from policies.model import Facts
from policies.paths import PathPattern
from protocol.errors import (
    ArgumentError,
    DeadlineError,
    DeniedError,
    InternalError,
    TooLargeError,
    UnavailableError,
)
from protocol.limits import MAX_BLOB_NAME_CHARACTERS
from protocol.tiers import Tier
from protocol.transfer import HASH_FORM, HASH_TOLD, PREFIX, blob_hash
from stdlib.blobs import DEFAULT_BYTES, MAX_BYTES, Blobs, Brought, Draft, drafted
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.dry import CHANGED
from stdlib.fs_content import opened_file
from stdlib.fs_tree import Directory, Tree, Waiting, listed
from stdlib.host import Host, RunContext
from stdlib.kept_objects import is_permitted
from stdlib.lending import on_thread
from stdlib.parameters import Bounds, FileMode, Form, Length
from stdlib.paths import Target, failure, open_beneath
from stdlib.places import Place
from stdlib.replacing import EXPECTED, Replacement, expected_hash, pieces_of
from stdlib.undoing_entries import keep_unpacked

if TYPE_CHECKING:
    from stdlib.archives.writing import Archive
    from stdlib.journal import Journal

MAX_ENTRIES: Final = 100_000
MAX_DEPTH: Final = 64  # directories below one that is archived; as many as are unpacked
NAMED: Final = 10  # of what cannot be archived, in the error
Hash = Annotated[str, Length(80), Form(HASH_FORM, HASH_TOLD)]
Most = Annotated[int, Bounds(0, MAX_BYTES, "bytes")]
Name = Annotated[str, Length(MAX_BLOB_NAME_CHARACTERS)]
Entries = Annotated[int, Bounds(1, MAX_ENTRIES, "entries")]


def blobs_of(run: RunContext) -> Blobs:
    """Return what the run does blobs with.

    Raises:
        UnavailableError: Nothing does here.
    """
    if run.blobs is None:
        raise UnavailableError("there is no place for blobs here")
    return run.blobs


@call(
    "fs.upload", tier=Tier.INSPECT,
    lua='local blob = fs.upload("/etc/hostname", {name = "hostname"})',
    python='blob = fs.upload("/etc/hostname", name="hostname")',
)  # fmt: skip
async def upload(run: RunContext, permit: Permit, path: Target, name: Name = "", max: Most = DEFAULT_BYTES) -> str:
    """Give the content of a regular file to the server; return its hash, by which people and scripts get it back.

    ``name`` is what people call it, the file's own if there is none; ``max`` bounds it (256 MiB). While the server is
    away the agent keeps the blob in its outbox, and it is sent when the server is back.

    Raises:
        NotFoundError: There is nothing.
        TooLargeError: It is larger than ``max``, or than the server takes.
        UnavailableError: The outbox is full, or the disk refuses.
    """
    blobs = blobs_of(run)

    def copied(own: Target) -> Draft:
        with opened_file(own) as fd:
            draft = blobs.draft(int(max))
            try:
                for piece in pieces_of(fd):
                    check_goes_on(permit, "fs.upload")
                    draft.write(piece)
            except BaseException:
                draft.discard()
                raise
            return draft

    return await blobs.keep(await drafted(copied, path), name or shown_name(path.real))


def shown_name(path: str) -> str:
    """Return the last part of a path as text that can be written anywhere."""
    name = path.rpartition("/")[2].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return name[:MAX_BLOB_NAME_CHARACTERS]


def check_goes_on(permit: Permit, name: str) -> None:
    """Return while somebody waits for the call; ``DeadlineError`` once nobody does."""
    if permit.is_over:
        raise DeadlineError(f"{name} was cut short")


@call(
    "fs.archive", tier=Tier.INSPECT, below=True,
    lua='local blob = fs.archive({"/etc/apt"}, "tar.gz", {skip = {"/etc/apt/auth.conf*"}})',
    python='blob = fs.archive(["/etc/apt"], "tar.gz", skip=["/etc/apt/auth.conf*"])',
)  # fmt: skip
async def archive(
    host: Host,
    run: RunContext,
    permit: Permit,
    paths: list[Target],
    format: Literal["tar.gz", "zip"] = "tar.gz",
    skip: Annotated[list[str], Length(1024)] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    name: Name = "",
    max: Most = DEFAULT_BYTES,
    max_entries: Entries = 10_000,
) -> str:
    """Give an archive of files and directories to the server; return its hash, as ``fs.upload``.

    Links are kept as links and not followed. What is no file, directory or link, and what is denied, is named in an
    error, and nothing is sent; ``skip`` leaves out what fits one of its path patterns (as policies have them). ``max``
    bounds the archive, ``max_entries`` what is in it; directories are entered up to 64 deep.

    Raises:
        ArgumentError: Something cannot be in an archive; names the first ten.
        DeniedError: Something is denied; names the first ten.
        TooLargeError: It is over a bound.
    """
    blobs, patterns = blobs_of(run), [PathPattern.parse(text, where="skip") for text in skip or ()]
    targets: Any = paths

    def written(*own: Target) -> Draft:
        from stdlib.archives.writing import archive as begin  # loads tarfile and zipfile, which few runs need

        draft = blobs.draft(int(max))
        made = begin(format, draft.write, lambda: check_goes_on(permit, "fs.archive"))
        try:
            packing = _Packing(host, made, permit, patterns, int(max_entries))
            for target in own:
                packing.add(target)
            packing.check()
            made.finish()
        except BaseException:
            made.abandon()
            draft.discard()
            raise
        return draft

    return await blobs.keep(
        await drafted(written, *targets), name or f"{shown_name(targets[0].real) or 'root'}.{format}"
    )


@dataclass
class _Packing:
    """What is put into one archive, and what could not be."""

    host: Host
    archive: Archive
    permit: Permit
    skip: list[PathPattern]
    most: int
    count: int = 0
    odd: list[str] = field(default_factory=list)  # neither file, directory nor link, or could not be read
    denied: list[str] = field(default_factory=list)

    def add(self, target: Target) -> None:
        """Add what was opened, with all below it."""
        status = target.status()
        real = target.real
        if self._is_skipped(real):
            return
        if stat.S_ISDIR(status.st_mode):
            self._add_tree(target, status)
        elif stat.S_ISREG(status.st_mode):
            with target.opened(os.O_RDONLY) as fd:
                self._add_file(real, fd, target.before or status)
        else:
            self.odd.append(f"{real} ({_kind(status.st_mode)})")

    def check(self) -> None:
        """Return if everything is in the archive; else raise the error that names what is not."""
        for names, kind, told in (
            (self.odd, ArgumentError, "cannot be in an archive"), (self.denied, None, "may not be read by this call"),
        ):  # fmt: skip
            if names:
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                text = f"paths: {', '.join(names[:NAMED])}{more} {told}; leave them out with skip"
                if kind is not None:
                    raise kind(text, parameter="paths")
                raise DeniedError(text, rule="all that is archived")

    def _is_skipped(self, real: str) -> bool:
        return any(pattern.matches(real) for pattern in self.skip)

    def _count(self) -> None:
        self.count += 1
        if self.count > self.most:
            raise self._too_many()
        check_goes_on(self.permit, "fs.archive")

    def _add_tree(self, target: Target, status: os.stat_result) -> None:
        tree = Tree(target, self.permit)
        waiting = Waiting(tree.account, MAX_DEPTH)
        if target.real != "/":
            self._count()
            self.archive.add_directory(target.real.lstrip("/"), status)
        for place in waiting:
            with tree.entered(place) as directory:
                if directory is None:
                    self._note_refused(tree, target, place.relative)
                    continue
                for entry in self._listed(tree, directory):
                    self._add_entry(tree, directory, entry, waiting)
        account = tree.account
        self.odd += [f"{error['path']} ({error['message']})" for error in account.errors]
        if account.deeper:
            self.odd.append(f"{account.deeper} directories more than {MAX_DEPTH} deep")

    def _listed(self, tree: Tree, directory: Directory) -> list[os.DirEntry[str]]:
        """Return what a directory holds that is not left out, by name, as far as there is room for it: anybody may fill
        one with millions.
        """
        kept: list[os.DirEntry[str]] = []
        for entry in listed(tree, directory):
            check_goes_on(self.permit, "fs.archive")
            if not self._is_skipped(directory.real + entry.name):
                if self.count + len(kept) >= self.most:
                    raise self._too_many()
                kept.append(entry)
        return sorted(kept, key=lambda entry: entry.name)

    def _too_many(self) -> TooLargeError:
        return TooLargeError(f"that is more than {self.most} entries (max_entries)")

    def _note_refused(self, tree: Tree, target: Target, relative: str) -> None:
        if tree.account.denied > 0:
            tree.account.denied = 0
            self.denied.append(f"{target.real.rstrip('/')}/{relative}")

    def _add_entry(self, tree: Tree, directory: Directory, entry: os.DirEntry[str], waiting: Waiting) -> None:
        real = directory.real + entry.name
        if not directory.is_free and not entry.is_dir(follow_symlinks=False) and not tree.permits(real):
            self._refuse(self.denied, real)
            return
        try:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._count()
                self.archive.add_directory(real.lstrip("/"), status)
                waiting.add(directory, entry.name)
            elif stat.S_ISLNK(status.st_mode):
                self._count()
                self.archive.add_link(real.lstrip("/"), status, os.readlink(entry.name, dir_fd=directory.fd))
            elif stat.S_ISREG(status.st_mode):
                fd = open_beneath(directory.fd, entry.name, os.O_RDONLY)
                try:
                    self._add_file(real, fd, status)
                finally:
                    os.close(fd)
            else:
                self._refuse(self.odd, f"{real} ({_kind(status.st_mode)})")
        except OSError as error:
            self._refuse(self.odd, f"{real} ({failure(error, real).message.rpartition(': ')[2]})")

    def _refuse(self, told: list[str], what: str) -> None:
        """Note what cannot be in the archive. It counts like what can, so that there is an end to it."""
        self._count()
        told.append(what)

    def _add_file(self, real: str, fd: int, before: os.stat_result) -> None:
        """Add an open file; ``before`` is what was found by its name, in which that is counted."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):  # it was swapped between the look and the opening
            self.odd.append(f"{real} ({_kind(status.st_mode)})")
            return
        if not os.path.samestat(before, status):
            self.odd.append(f"{real} (replaced meanwhile)")
            return
        if not is_permitted(self.host.kept, self.permit, before):
            self._refuse(self.denied, real)
            return
        self._count()
        self.archive.add_file(real.lstrip("/"), status, fd)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device", stat.S_IFLNK: "a link",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "special")


@call(
    "fs.fetch", tier=Tier.OPERATE, dry=CHANGED, changes=True,
    lua='local blob = fs.upload("/etc/hostname")\nlocal done = fs.fetch(blob, "/tmp/hostname", {mode = "0644"})',
    python='blob = fs.upload("/etc/hostname")\ndone = fs.fetch(blob, "/tmp/hostname", mode="0644")',
)  # fmt: skip
async def fetch(
    host: Host,
    run: RunContext,
    permit: Permit,
    blob_hash: Hash,
    path: Place,
    mode: FileMode | None = None,
    if_hash: Annotated[str, Length(80), EXPECTED] | None = None,
    max: Most = DEFAULT_BYTES,
) -> dict[str, Any]:
    """Give a file the content of a blob of the server, as a whole or not at all.

    ``mode``, ``if_hash`` and what is returned are as for ``fs.write``: ``created``, ``old_hash``, ``new_hash``, and
    ``journal`` for ``fs.undo``. What comes must have the hash that was asked for, and at most ``max`` bytes.

    Raises:
        NotFoundError: The server has no such blob (any more).
        NotConnectedError: There is no link to the server.
        TrustError: What came is something else.
    """
    expected = expected_hash(if_hash)
    async with blobs_of(run).bring(checked_hash(blob_hash), int(max)) as brought:
        placing = partial(_placed, mode=mode, journal=host.journal, expected=expected, permit=permit)
        return await on_thread(placing, brought, path)


def checked_hash(text: str) -> str:
    """Return the hash that a script gave, in its one spelling."""
    return blob_hash(text, parameter="blob_hash")


def _placed(
    brought: Brought, path: Place, mode: int | None, journal: Journal | None, expected: str | None, permit: Permit
) -> dict[str, Any]:
    replacement = Replacement(path, mode=mode, is_over=lambda: permit.is_over)
    try:
        for piece in pieces_of(brought.fd):
            check_goes_on(permit, "fs.fetch")
            replacement.write(piece)
    except BaseException:
        replacement.abort()
        raise
    if PREFIX + replacement.hash != brought.hash:
        replacement.abort()
        raise InternalError("a blob is not what it was when it came")
    return replacement.commit("fs.fetch", journal, expected).to_plain()


@call(
    "fs.extract", tier=Tier.OPERATE, changes=True, below=True,
    lua='local blob = fs.archive({"/etc/hostname"})\nlocal count = fs.extract(blob, "/tmp/names", {max = 1048576})',
    python='blob = fs.archive(["/etc/hostname"])\ncount = fs.extract(blob, "/tmp/names", max=1048576)',
)  # fmt: skip
async def extract(
    host: Host,
    run: RunContext,
    permit: Permit,
    blob_hash: Hash,
    dir: Place,
    max: Most = DEFAULT_BYTES,
    max_entries: Entries = 10_000,
) -> int:
    """Unpack an archive (tar, tar.gz, zip) of the server into a new directory, as a whole or not at all.

    ``dir`` is not there yet, or is an empty directory. Returns how many entries there are. Files belong to the agent's
    own user and keep their permission bits. An archive is refused if it holds a link, a device or anything else that is
    no file or directory; an absolute name, one with ``..``, two names that are the same or differ in case only; or more
    than ``max`` bytes or ``max_entries``. ``fs.undo`` removes it again, as long as nobody has changed anything in it
    and there are at most 10,000 entries; ``fs.changes`` tells the journal.

    Raises:
        ArgumentError: The archive is damaged, or holds what is refused; says what.
        TooLargeError: It holds too much.
        ConflictError: Something is at ``dir``.
        NotFoundError: The server has no such blob (any more).
        NotConnectedError: There is no link to the server.
        TrustError: What came is something else.
    """
    async with blobs_of(run).bring(checked_hash(blob_hash), MAX_BYTES) as brought:
        unpacking = partial(
            _unpacked, most=int(max), most_entries=int(max_entries), permit=permit, journal=host.journal
        )
        return await on_thread(unpacking, brought, dir)


def _unpacked(
    brought: Brought, place: Place, most: int, most_entries: int, permit: Permit, journal: Journal | None
) -> int:
    from stdlib.archives.unpacking import Unpacking, entries_of

    entries = entries_of(brought.fd, brought.size, most, most_entries, lambda: permit.is_over)
    is_free = permit.below(place.real) is True

    def check(real: str) -> None:
        if not is_free:
            permit.require(Facts(path=real))

    def keep(before: os.stat_result | None, filled: int) -> None:
        if journal is not None:
            keep_unpacked(journal, place, before, filled)

    return Unpacking(place, most_entries, check, lambda: permit.is_over, keep).unpack(entries)
