"""``fs.grep``: lines of files in which a pattern is found, in time linear in their length, whatever both hold.

Below a directory each file is opened by its one name in the directory that is held, without following a link, and
decided on where it really is; only then is it read, through the same descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from protocol.errors import OutriderError
from protocol.regex import Regex, of_parameter
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_content import opened_file, read_at
from stdlib.fs_lines import Told, forward
from stdlib.fs_magic import HEAD_BYTES, is_binary
from stdlib.fs_matches import Rows, short
from stdlib.fs_tree import LOOKED_AT, MAX_DEPTH, MAX_ERRORS, Directory, Tree, Waiting, kind_of, listed
from stdlib.fs_walk import MAX_ENTRIES, Depth, directories, matcher
from stdlib.host import Host
from stdlib.kept_objects import is_permitted
from stdlib.parameters import Bounds, Length
from stdlib.paths import Gone, Target, open_beneath, real_of

MAX_MATCHES = 1_000_000  # of one call
MAX_CONTEXT = 20  # lines before and after a match
MAX_FILE_BYTES = 1 << 30  # of one file that are searched

Lines = Annotated[int, Bounds(0, MAX_CONTEXT, "lines")]


@dataclass(slots=True)
class _Account:
    """What the summary says."""

    matches: int = 0
    files: int = 0
    binary: int = 0
    missing: int = 0
    cut: int = 0
    partly: int = 0
    truncated: bool = False
    seen: int = 0
    denied: int = 0
    deeper: int = 0
    failed: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)

    def fail(self, path: str, error: OutriderError) -> None:
        """Note a file that could not be searched."""
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"path": path, "code": error.code, "message": error.message})

    def include(self, tree: Tree) -> None:
        """Add what became of a walk."""
        walked = tree.account
        self.denied += walked.denied
        self.deeper += walked.deeper
        self.failed += walked.failed
        self.errors += walked.errors[: MAX_ERRORS - len(self.errors)]

    def summary(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "matches": self.matches, "files": self.files, "binary": self.binary, "missing": self.missing,
            "cut": self.cut, "partly": self.partly, "truncated": self.truncated, "seen": self.seen,
            "denied": self.denied, "deeper": self.deeper, "failed": self.failed, "errors": self.errors,
        }  # fmt: skip


@call(
    "fs.grep",
    tier=Tier.INSPECT,
    below="recursive",
    lua='for found in fs.grep({"/etc/passwd"}, "^root:") do print(found.path, found.line, found.text) end\n'
    'for found in fs.grep({"/etc/default"}, "=", {recursive = true, depth = 2}) do print(found.path, found.line) end',
    python='for found in fs.grep(["/etc/passwd"], "^root:"):\n    print(found["path"], found["line"], found["text"])\n'
    'for found in fs.grep(["/etc/default"], "=", recursive=True, depth=2):\n    print(found["path"], found["line"])',
)
def grep(
    host: Host,
    permit: Permit,
    paths: list[Target],
    regex: Annotated[str, Length(2000)],
    max: Annotated[int, Bounds(1, MAX_MATCHES, "matches")] = 1000,
    before: Lines = 0,
    after: Lines = 0,
    recursive: bool = False,
    match: Annotated[str, Length(1024)] | None = None,
    depth: Depth = MAX_DEPTH,
    one_fs: bool = True,
    limit: Annotated[int, Bounds(1, MAX_ENTRIES)] = 1_000_000,
) -> Generator[list[dict[str, Any]], None, dict[str, Any]]:
    """Give each line of regular files in which ``regex`` is found, as ``path``, ``line`` (from 1) and ``text``.

    With ``before`` or ``after`` so many lines around it are given too, in lists of these names. A line is text, or
    bytes if it is not UTF-8; one of more than 64 KiB is searched, and one of more than 2 KiB given, up to there. Files
    that look binary are not searched. The syntax of patterns is that of RE2, as of ``regex.test``.

    With ``recursive`` a directory stands for the regular files below it, as ``fs.walk`` finds them: in no order, down
    to ``depth``, no link followed, what the policy denies left out, no other file system entered unless ``one_fs`` is
    false. Of them only those are searched whose name, or with a slash in it whose path below the directory, fits the
    pattern ``match``. At most ``limit`` entries are looked at, in all directories together.

    The summary is ``matches``, ``files`` (searched), ``binary`` and ``missing`` (not searched), ``cut`` (lines that
    were longer), ``partly`` (files searched only in their first GiB), ``truncated`` (``max`` or ``limit`` ended it),
    ``seen`` (entries looked at), ``denied`` (of them, left out by the policy), ``deeper`` (directories not entered for
    their depth), ``failed``, and ``errors``, the first of those, each with ``code`` and ``message``.
    """
    search = _Search(host, permit, of_parameter(regex, "regex"), int(max), int(before), int(after))
    fits = matcher(match)
    if not recursive:
        return _grep(search, paths, None)
    return _grep(search, paths, _Below(fits, int(depth), one_fs, int(limit)))


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and how much of it is given."""

    host: Host
    permit: Permit
    regex: Regex
    most: int  # matches
    before: int  # lines given before each
    after: int  # and after each
    account: _Account = field(default_factory=_Account)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted."""
        return self.permit.is_over or self.account.truncated


@dataclass(frozen=True, slots=True)
class _Below:
    """Which files of directories are searched."""

    fits: Callable[[str, str], bool] | None  # of name and relative path of the directory; None: all
    depth: int
    one_fs: bool
    limit: int  # entries looked at


def _grep(
    search: _Search, paths: list[Target], below: _Below | None
) -> Generator[list[dict[str, Any]], None, dict[str, Any]]:
    account = search.account
    for path in paths:
        if search.is_over:
            break
        if not path.exists:
            account.missing += 1
            continue
        try:
            if below is not None and stat.S_ISDIR(path.status().st_mode):
                yield from _grep_tree(search, Tree(path, search.permit, one_fs=below.one_fs), below)
            else:
                yield from _grep_file(search, path)
        except OutriderError as error:
            account.fail(path.asked, error)
    return account.summary()


def _grep_tree(search: _Search, tree: Tree, below: _Below) -> Generator[list[dict[str, Any]], None, None]:
    account = search.account
    waiting = Waiting(tree.account, below.depth)
    try:
        for directory in directories(tree, waiting):
            for entry in listed(tree, directory):
                if account.seen >= below.limit:
                    account.truncated = True
                if search.is_over:
                    return
                account.seen += 1
                if account.seen % LOOKED_AT == 0:
                    yield []  # a chance to stop
                kind = kind_of(entry)
                if kind == "directory":  # decided on once it is open
                    waiting.add(directory, entry.name)
                elif kind == "file" and (below.fits is None or below.fits(entry.name, directory.place.relative)):
                    yield from _grep_entry(search, tree, directory, entry.name)
    finally:
        account.include(tree)


def _grep_entry(
    search: _Search, tree: Tree, directory: Directory, name: str
) -> Generator[list[dict[str, Any]], None, None]:
    shown = directory.shown + name
    try:
        with _held(search, tree, directory, name) as file:
            if file is not None:
                yield from _grep_file(search, file)
    except (FileNotFoundError, Gone):  # since it was listed, as if it had been gone before
        return
    except OSError as error:
        tree.account.fail(shown, error)
    except OutriderError as error:
        search.account.fail(shown, error)


@contextmanager
def _held(search: _Search, tree: Tree, directory: Directory, name: str) -> Iterator[Target | None]:
    """Yield a regular file of a directory, held and decided on where it is; None if it is not to be searched.

    Raises:
        OSError: The kernel's own.
    """
    fd = open_beneath(directory.fd, name, os.O_PATH | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):  # it was swapped between the listing and the opening
            yield None
            return
        real = real_of(fd)
        is_decided = directory.is_free and real == directory.real + name
        if (is_decided or tree.permits(real)) and is_permitted(search.host.kept, search.permit, status):
            yield Target(directory.shown + name, real, fd)
        else:
            tree.account.denied += 1
            yield None
    finally:
        os.close(fd)


def _grep_file(search: _Search, path: Target) -> Generator[list[dict[str, Any]], None, None]:
    account, regex = search.account, search.regex
    told, rows, number = Told(), Rows(search.before, search.after), 0
    is_remembered = search.before > 0
    with opened_file(path) as fd:
        if is_binary(read_at(fd, HEAD_BYTES, 0, path.asked)):
            account.binary += 1
            return
        account.files += 1
        for block in forward(fd, path.asked, told, most_bytes=MAX_FILE_BYTES):
            for line in block:
                number += 1
                if rows.is_waiting:
                    rows.follow(short(line))
                if not account.truncated and regex.search(line) is not None:
                    if account.matches < search.most:
                        account.matches += 1
                        row = {"path": path.asked, "line": number, "text": short(line)}
                        rows.add(row, with_before=is_remembered)
                    else:
                        account.truncated = True
                if is_remembered:
                    rows.remember(short(line))
                if rows.is_full:
                    yield from rows.ready()
                if account.truncated and not rows.is_waiting:
                    break
            yield from rows.ready()
            if search.permit.is_over or (account.truncated and not rows.is_waiting):
                break
        yield from rows.ready(is_end=True)
    account.cut += told.cut
    account.partly += told.is_partly
