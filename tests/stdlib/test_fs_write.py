"""Files are changed as a whole or not at all, under the name that was decided on, and can be changed back."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from mounting import told
from running import AllPermitted, perform

from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.load import builtin
from policies.model import Facts
from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    OutriderError,
)
from protocol.tiers import Tier
from stdlib import fs_entries, replacing
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.identities import own_user
from stdlib.journal import MAX_AGE_S, TOO_LARGE, TRIM_EVERY, Journal
from stdlib.places import place
from stdlib.replacing import Replacement


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(journal=Journal(tmp_path / "journal"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "f"
    found.write_text("old\n")
    found.chmod(0o640)
    return found


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def left(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith(".outrider"))


async def facts_of(name: str, *args: Any, host: Host | None = None, **named: Any) -> list[str | None]:
    """What a call is decided on."""
    spec = load().find(name)
    assert spec is not None
    bound = spec.bind(list(args), named)
    with spec.prepare(host or Host(), RunContext(), bound, AllPermitted()) as prepared:
        return [facts.path for facts in prepared.facts]


async def test_a_new_file(tmp_path: Path, host: Host) -> None:
    """With the mode that was asked for, whatever the umask."""
    path = tmp_path / "new"
    done = await perform("fs.write", str(path), "text", mode="0666", host=host)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("text", 0o666)
    told = {"created": True, "old_hash": None, "new_hash": sha(b"text"), "journal": done["journal"], "no_undo": None}
    assert done == told
    assert await perform("fs.undo", done["journal"], host=host) is None
    assert not path.exists()


async def test_an_old_file_keeps_what_it_is(file: Path, host: Host) -> None:
    """Owner, mode, attributes; not setuid. Another hard link keeps the old content."""
    os.link(file, file.with_name("other"))
    file.chmod(0o4751)
    if os.geteuid() == 0:
        os.chown(file, 1234, 2345)
        file.chmod(0o4751)
    has_attributes = True
    try:
        os.setxattr(file, "user.note", b"kept")
    except OSError:
        has_attributes = False
    before = file.stat()
    done = await perform("fs.write", str(file), b"new\xff", host=host)
    after = file.stat()
    assert file.read_bytes() == b"new\xff"
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o751)
    assert after.st_ino != before.st_ino
    assert file.with_name("other").read_text() == "old\n"
    if has_attributes:
        assert os.getxattr(file, "user.note") == b"kept"
    assert (done["created"], done["old_hash"]) == (False, sha(b"old\n"))
    assert await perform("fs.undo", done["journal"], host=host) == sha(b"old\n")
    assert file.read_text() == "old\n"
    assert left(file.parent) == []


NOBODY = 0xFFFFFFFF
#: Owner, a user, group, mask, others: rw-, rw-, r--, rw-, r--.
SHARED = ((0x01, 6, NOBODY), (0x02, 6, 4711), (0x04, 4, NOBODY), (0x10, 6, NOBODY), (0x20, 4, NOBODY))
ACL = "system.posix_acl_access"


def listed(entries: Iterable[tuple[int, int, int]]) -> bytes:
    """An access control list as the kernel takes it."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


@pytest.fixture
def shared(file: Path) -> Path:
    """A file that more people may use than its mode says."""
    try:
        os.setxattr(file, ACL, listed(SHARED))
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    return file


async def test_a_list_of_who_may_does_not_undo_the_mode_that_was_asked_for(shared: Path, host: Host) -> None:
    """A list holds the bits of a mode; that of the old file, set again, is that file's mode."""
    await perform("fs.write", str(shared), "new", host=host)
    assert (shared.stat().st_mode & 0o777, os.getxattr(shared, ACL)) == (0o664, listed(SHARED))
    await perform("fs.write", str(shared), "a secret", mode="0600", host=host)
    bits = {0x01: 6, 0x10: 0, 0x20: 0}
    assert shared.stat().st_mode & 0o777 == 0o600
    assert os.getxattr(shared, ACL) == listed((tag, bits.get(tag, held), who) for tag, held, who in SHARED)
    other = shared.with_name("private")
    other.write_text("private")
    other.chmod(0o600)
    os.setxattr(shared, ACL, listed(SHARED))
    await perform("fs.copy", str(other), str(shared), overwrite=True, host=host)
    assert (shared.read_text(), shared.stat().st_mode & 0o777) == ("private", 0o600)


async def test_who_may_use_new_files_of_a_directory_may_not_use_an_old_one_for_that(shared: Path, host: Host) -> None:
    os.removexattr(shared, ACL)
    shared.chmod(0o640)
    os.setxattr(shared.parent, "system.posix_acl_default", listed(SHARED))
    await perform("fs.write", str(shared), "new", host=host)
    assert (ACL in os.listxattr(shared), shared.stat().st_mode & 0o777) == (False, 0o640)
    await perform("fs.write", str(shared.with_name("own")), "new", host=host)
    assert ACL in os.listxattr(shared.with_name("own")), "a file that was not there is one of these"


async def test_compare_and_swap(file: Path, host: Host) -> None:
    """Only what was expected is replaced, and a new file only where nothing is."""
    for wrong in (sha(b"x"), "absent"):
        with pytest.raises(ConflictError):
            await perform("fs.write", str(file), "new", if_hash=wrong, host=host)
    with pytest.raises(ConflictError):
        await perform("fs.write", str(file) + "2", "new", if_hash=sha(b"x"), host=host)
    with pytest.raises(ArgumentError, match="if_hash"):
        await perform("fs.write", str(file), "new", if_hash="abc", host=host)
    assert (file.read_text(), left(file.parent)) == ("old\n", [])
    await perform("fs.write", str(file), "new", if_hash="sha256:" + sha(b"old\n"), host=host)
    await perform("fs.write", str(file) + "2", "new", if_hash="absent", host=host)
    assert file.read_text() == "new"


async def test_a_change_between_the_look_and_the_swap_is_seen(
    file: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange brings out what was really there; if that is not what was expected, it goes back."""
    real = replacing.rename_at
    calls = 0

    def meanwhile(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            file.write_text("somebody else's")
        real(*args)

    monkeypatch.setattr(replacing, "rename_at", meanwhile)
    with pytest.raises(ConflictError, match="somebody else"):
        await perform("fs.write", str(file), "mine", if_hash=sha(b"old\n"), host=host)
    assert (file.read_text(), calls, left(file.parent)) == ("somebody else's", 2, [])


async def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = replacing.rename_at

    def meanwhile(*args: Any) -> None:
        (tmp_path / "n").write_text("first")
        real(*args)

    monkeypatch.setattr(replacing, "rename_at", meanwhile)
    with pytest.raises(ConflictError):
        await perform("fs.write", str(tmp_path / "n"), "second", host=host)
    assert ((tmp_path / "n").read_text(), left(tmp_path)) == ("first", [])


async def test_undo_only_what_nobody_changed_since(file: Path, host: Host) -> None:
    done = await perform("fs.write", str(file), "new", host=host)
    file.write_text("newer")
    with pytest.raises(ConflictError, match="changed since"):
        await perform("fs.undo", done["journal"], host=host)
    assert file.read_text() == "newer"


async def test_undo_is_decided_on_the_path_that_was_changed(file: Path, host: Host) -> None:
    """Not on the argument, which names no path."""
    done = await perform("fs.write", str(file), "new", host=host)
    assert await facts_of("fs.undo", done["journal"], host=host) == [str(file)]
    with pytest.raises(DeniedError):
        await perform("fs.undo", done["journal"], host=host, passage=AllPermitted(denied=[str(file)]))
    for wrong in ("../../etc/passwd", "", "0" * 33):
        with pytest.raises(ArgumentError, match="journal"):
            await perform("fs.undo", wrong, host=host)
    with pytest.raises(NotFoundError):
        await perform("fs.undo", "0" * 12 + "-" + "0" * 20, host=host)


async def test_a_directory_that_became_a_link_is_not_undone_through(tmp_path: Path, host: Host) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("old")
    done = await perform("fs.write", str(tmp_path / "d/f"), "new", host=host)
    (tmp_path / "d").rename(tmp_path / "e")
    (tmp_path / "d").symlink_to("e")
    with pytest.raises(ConflictError, match="another way"):
        await perform("fs.undo", done["journal"], host=host)


async def test_a_damaged_journal_restores_nothing(file: Path, host: Host) -> None:
    done = await perform("fs.write", str(file), "new", host=host)
    assert host.journal is not None
    (host.journal.directory / f"{done['journal']}.old").write_text("forged")
    with pytest.raises(OutriderError, match="damaged"):
        await perform("fs.undo", done["journal"], host=host)
    assert file.read_text() == "new"


async def test_what_cannot_be_journalled_is_not_changed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the store should be")
    with pytest.raises(OutriderError, match="journal"):
        await perform("fs.write", str(file), "new", host=Host(journal=Journal(tmp_path / "journal")))
    assert (file.read_text(), left(tmp_path)) == ("old\n", [])


def test_the_journal_lets_go_of_what_is_old(tmp_path: Path) -> None:
    now = [1e9]
    journal = Journal(tmp_path / "j", clock=lambda: now[0])
    first = journal.begin(journal.make("/x", "fs.write", None, None, "0" * 64), iter([b"x"]))
    assert journal.find(first).path == "/x"
    now[0] += MAX_AGE_S + 1
    entry = tmp_path / "j" / f"{first}.old"
    assert entry.exists()
    for _ in range(64 * TRIM_EVERY):  # each of them looks for what is old by a chance of one in TRIM_EVERY
        journal.begin(journal.make("/x", "fs.write", None, None, "0" * 64), None)
        if not entry.exists():
            break
    with pytest.raises(NotFoundError):
        journal.find(first)
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["fs.write", "fs.append", "fs.patch"])
@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling"])
async def test_only_regular_files_are_written(tmp_path: Path, name: str, kind: str, host: Host) -> None:
    """A fifo would block the agent, a directory cannot, a link to nothing says too little."""
    path = tmp_path / "x"
    {"directory": path.mkdir, "fifo": lambda: os.mkfifo(path), "dangling": lambda: path.symlink_to("no")}[kind]()
    with pytest.raises((ArgumentError, OutriderError), match=r"x"):
        await perform(name, str(path), "@@ -1 +1 @@\n-a\n+b\n", host=host)
    assert not (tmp_path / "no").exists()


async def test_a_link_is_decided_and_written_where_it_leads(tmp_path: Path, host: Host) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("old")
    (tmp_path / "l").symlink_to("d/f")
    assert await facts_of("fs.write", str(tmp_path / "l"), "x") == [str(tmp_path / "d/f")]
    await perform("fs.write", str(tmp_path / "l"), "new", host=host)
    assert ((tmp_path / "l").is_symlink(), (tmp_path / "d/f").read_text()) == (True, "new")


@pytest.mark.parametrize("path", ["/", "/tmp/", "/tmp/.", "/tmp/..", "relative", "/tmp/a\0b", "/" + "x" * 5000])
async def test_bad_paths_are_argument_errors(path: str, host: Host) -> None:
    with pytest.raises(ArgumentError, match="path"):
        await perform("fs.write", path, "x", host=host)


@pytest.mark.parametrize(("named", "parameter"), [
    ({"mode": "4755"}, "mode"), ({"mode": "abc"}, "mode"), ({"mode": 420}, "mode"), ({"mode": "0999"}, "mode"),
    ({"data": 5}, "data"), ({"data": "x" * (800 << 10)}, "data"), ({"if_hash": "x" * 90}, "if_hash"),
])  # fmt: skip
async def test_bad_arguments_are_named(tmp_path: Path, named: dict[str, Any], parameter: str, host: Host) -> None:
    with pytest.raises(ArgumentError, match=parameter):
        await perform("fs.write", path=str(tmp_path / "x"), **{"data": "x", **named}, host=host)
    assert not (tmp_path / "x").exists()


async def test_a_name_that_is_no_text(tmp_path: Path, host: Host) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe"
    await perform("fs.write", name, "x", host=host)
    assert os.path.exists(name)


async def test_append(tmp_path: Path, host: Host) -> None:
    assert await perform("fs.append", str(tmp_path / "log"), "one\n", host=host) == 4
    assert await perform("fs.append", str(tmp_path / "log"), b"\xff", host=host) == 5
    assert (tmp_path / "log").read_bytes() == b"one\n\xff"


async def test_truncate(file: Path) -> None:
    await perform("fs.truncate", str(file), 2)
    assert file.read_text() == "ol"
    with pytest.raises(ArgumentError):
        await perform("fs.truncate", str(file.parent), 0)


async def test_patch(file: Path, host: Host) -> None:
    """Dry, then real, then back."""
    diff = "@@ -1 +1,2 @@\n-old\n+new\n+er\n"
    dry = await perform("fs.patch", str(file), diff, dry_run=True, host=host)
    assert (file.read_text(), dry["journal"]) == ("old\n", None)
    done = await perform("fs.patch", str(file), diff, host=host)
    assert file.read_text() == "new\ner\n"
    assert done["diff"] == dry["diff"] == f"--- a{file}\n+++ b{file}\n" + diff
    with pytest.raises(ConflictError, match="line 1"):
        await perform("fs.patch", str(file), diff, host=host)
    await perform("fs.undo", done["journal"], host=host)
    assert file.read_text() == "old\n"


async def test_copy(file: Path, host: Host) -> None:
    """Content and mode; both places are decided on."""
    to = file.with_name("copy")
    assert await facts_of("fs.copy", str(file), str(to)) == [str(file), str(to)]
    await perform("fs.copy", str(file), str(to), host=host)
    assert (to.read_text(), stat.S_IMODE(to.stat().st_mode)) == ("old\n", 0o640)
    with pytest.raises(ConflictError):
        await perform("fs.copy", str(file), str(to), host=host)
    file.write_text("new")
    await perform("fs.copy", str(file), str(to), overwrite=True, host=host)
    assert to.read_text() == "new"
    with pytest.raises(ArgumentError, match="source"):
        await perform("fs.copy", str(file.parent), str(to), overwrite=True, host=host)


async def test_rename(file: Path) -> None:
    """A link is moved itself; something that is there stays."""
    (file.parent / "l").symlink_to("f")
    assert await facts_of("fs.rename", str(file.parent / "l"), str(file.parent / "m")) == [
        str(file.parent / "l"), str(file.parent / "m"),
    ]  # fmt: skip
    await perform("fs.rename", str(file.parent / "l"), str(file.parent / "m"))
    assert (file.parent / "m").is_symlink()
    with pytest.raises(ConflictError):
        await perform("fs.rename", str(file), str(file.parent / "m"))
    await perform("fs.rename", str(file), str(file.parent / "m"), overwrite=True)
    assert ((file.parent / "m").read_text(), file.exists()) == ("old\n", False)
    with pytest.raises(NotFoundError):
        await perform("fs.rename", str(file), str(file.parent / "m"))


async def test_a_directory_moves_only_if_all_below_it_may(tmp_path: Path) -> None:
    """Else what is denied would be reached at its new place."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/secret").write_text("x")
    with pytest.raises(DeniedError):
        await perform("fs.rename", str(tmp_path / "d"), str(tmp_path / "e"),
                      passage=AllPermitted(denied=[str(tmp_path / "d/secret")]))  # fmt: skip
    await perform("fs.rename", str(tmp_path / "d"), str(tmp_path / "e"))
    assert (tmp_path / "e/secret").exists()


async def test_a_directory_that_takes_the_place_of_a_file_is_not_moved_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there swaps it in between the look and the deed."""
    source, hidden = tmp_path / "one", tmp_path / "hidden"
    source.write_text("1")
    (hidden / "below").mkdir(parents=True)
    real = fs_entries.rename_at

    def swapped(*args: Any) -> None:
        if source.is_file():
            source.unlink()
            hidden.rename(source)
        real(*args)

    monkeypatch.setattr(fs_entries, "rename_at", swapped)
    with pytest.raises(ConflictError, match="was replaced meanwhile"):
        await perform("fs.rename", str(source), str(tmp_path / "two"), passage=AllPermitted(denied=["/secret"]))
    assert ((source / "below").is_dir(), (tmp_path / "two").exists()) == (True, False)


async def test_mkdir(tmp_path: Path) -> None:
    """Each directory on the way is decided on."""
    deep = tmp_path / "a/b/c"
    with pytest.raises(NotFoundError):
        await perform("fs.mkdir", str(deep))
    passage = AllPermitted(denied=[str(tmp_path / "a/b")])
    with pytest.raises(DeniedError):
        await perform("fs.mkdir", str(deep), parents=True, passage=passage)
    assert not (tmp_path / "a/b").exists()
    assert await perform("fs.mkdir", str(deep), parents=True, mode="0700") is True
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700
    assert await perform("fs.mkdir", str(deep)) is False
    with pytest.raises(ArgumentError):
        await perform("fs.mkdir", str(tmp_path / "x/../y"), parents=True)


async def test_links(file: Path) -> None:
    await perform("fs.symlink", "f", str(file.parent / "s"))
    await perform("fs.link", str(file), str(file.parent / "h"))
    assert os.readlink(file.parent / "s") == "f"
    assert (file.parent / "h").samefile(file)
    for name in ("fs.symlink", "fs.link"):
        with pytest.raises(ConflictError):
            await perform(name, str(file), str(file.parent / "h"))
    with pytest.raises(ArgumentError):
        await perform("fs.link", str(file.parent / "s"), str(file.parent / "h2"))  # a link is no file


async def test_unlink_and_back(file: Path, host: Host) -> None:
    """The file, with its mode; a link itself."""
    done = await perform("fs.unlink", str(file), host=host)
    assert (done["existed"], file.exists()) == (True, False)
    await perform("fs.undo", done["journal"], host=host)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("old\n", 0o640)
    (file.parent / "l").symlink_to("f")
    gone = await perform("fs.unlink", str(file.parent / "l"), host=host)
    assert (gone["existed"], file.exists()) == (True, True)
    await perform("fs.undo", gone["journal"], host=host)
    assert os.readlink(file.parent / "l") == "f"
    (file.parent / "l").unlink()
    assert (await perform("fs.unlink", str(file.parent / "l"), host=host))["existed"] is False
    with pytest.raises(ArgumentError):
        await perform("fs.unlink", str(file.parent), host=host)


async def test_rmdir(file: Path) -> None:
    (file.parent / "e").mkdir()
    assert await perform("fs.rmdir", str(file.parent / "e")) is True
    assert await perform("fs.rmdir", str(file.parent / "e")) is False
    with pytest.raises(ConflictError):
        await perform("fs.rmdir", str(file.parent))
    with pytest.raises(ArgumentError):
        await perform("fs.rmdir", str(file))


async def test_chmod_utime_chown(file: Path) -> None:
    assert await perform("fs.chmod", str(file), "0600") == "0640"
    await perform("fs.utime", str(file), 1.5, -2.0)
    about = file.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_atime, about.st_mtime) == (0o600, 1.5, -2.0)
    with pytest.raises(ArgumentError):
        await perform("fs.chmod", str(file), "06755")
    if os.geteuid() == 0:
        before = await perform("fs.chown", str(file), 11, 22)
        assert (before["uid"], file.stat().st_uid, file.stat().st_gid) == (about.st_uid, 11, 22)


def tree(top: Path) -> Path:
    (top / "t/a/b").mkdir(parents=True)
    (top / "t/f").write_text("x")
    (top / "t/a/b/g").write_text("x")
    (top / "t/a/out").symlink_to(top / "keep")
    (top / "keep").mkdir(exist_ok=True)
    (top / "keep/me").write_text("x")
    return top / "t"


@pytest.mark.parametrize(
    ("before", "mode", "is_denied"),
    [
        (0o755, "0777", True), (0o755, "0775", True), (0o755, "1777", True), (0o1777, "0777", True),
        (0o777, "0777", False), (0o755, "0711", False), (0o700, "0755", False), (0o1777, "0755", False),
    ],
)  # fmt: skip
async def test_a_directory_is_opened_for_others_only_with_all_below_it(
    tmp_path: Path, before: int, mode: str, is_denied: bool
) -> None:
    """Else whoever has an account on the host puts something else in place of what a script may not change."""
    place = tmp_path / "lib"
    (place / "kept").mkdir(parents=True)
    place.chmod(before)
    narrow = AllPermitted(denied=[str(place / "kept")])
    if is_denied:
        with pytest.raises(DeniedError, match="not everything below"):
            await perform("fs.chmod", str(place), mode, passage=narrow)
        assert stat.S_IMODE(place.stat().st_mode) == before
        await perform("fs.chmod", str(place), mode)
    else:
        await perform("fs.chmod", str(place), mode, passage=narrow)
    assert stat.S_IMODE(place.stat().st_mode) == int(mode, 8)


def test_what_operate_leaves_out_is_not_opened_by_its_directory() -> None:
    """/var/lib is one of the places where it writes, and holds the state of dpkg, which is none."""
    allowed = Effective((Layer("operate", builtin(Tier.OPERATE).rules),), own_user())
    assert decide_effective(allowed, "fs.chmod", Facts(path="/var/lib")).allowed
    assert decide_below(allowed, "fs.chmod", "/var/lib") is None
    assert decide_below(allowed, "fs.chmod", "/var/spool") is None
    assert decide_below(allowed, "fs.chmod", "/var/www") is True


async def test_remove(tmp_path: Path) -> None:
    """All below, links themselves; or nothing."""
    top = tree(tmp_path)
    with pytest.raises(ConflictError):
        await perform("fs.remove", str(top))
    with pytest.raises(OutriderError, match="max_entries"):
        await perform("fs.remove", str(top), recursive=True, max_entries=3)
    with pytest.raises(DeniedError):
        await perform("fs.remove", str(top), recursive=True, passage=AllPermitted(denied=[str(top / "a/b/g")]))
    assert (top / "a/b/g").exists()
    assert (top / "f").exists()
    assert await perform("fs.remove", str(top), recursive=True) == 6
    assert ((tmp_path / "keep/me").exists(), top.exists()) == (True, False)
    assert await perform("fs.remove", str(top)) == 0


BOUND_INSIDE = r"""
import asyncio, ctypes
sys.path.insert(0, "tests/stdlib")
from running import perform
from protocol.errors import ConflictError

inside, elsewhere = f"{sys.argv[1]}/root/var/home", f"{sys.argv[1]}/home"
os.makedirs(inside)
os.makedirs(elsewhere)
open(f"{elsewhere}/kept", "w").close()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(elsewhere.encode(), inside.encode(), None, kernel.MS_BIND, None) == 0, os.strerror(ctypes.get_errno())
came = []
for path in (f"{sys.argv[1]}/root", inside):
    try:
        came.append(asyncio.run(perform("fs.remove", path, recursive=True)))
    except ConflictError as error:
        came.append("another file system" in str(error))
print(json.dumps([came, os.listdir(elsewhere)]))
"""


def test_what_is_mounted_inside_is_not_removed(tmp_path: Path) -> None:
    """Also what is bound there from the very same file system, such as people's homes in the root of a container."""
    assert told(BOUND_INSIDE, str(tmp_path)) == [[True, True], ["kept"]]


async def test_a_writer(file: Path, host: Host) -> None:
    """Nothing changes before it finishes; what is not finished is forgotten."""
    spec = load().find("fs.write_stream")
    assert spec is not None
    for finishes in (False, True):
        with spec.prepare(host, RunContext(), spec.bind([str(file)], {}), AllPermitted()) as prepared:
            writer = prepared.perform()
            passage = AllPermitted({1: writer})
            sizes = [await perform("writer.write", {"$handle": 1}, text, passage=passage) for text in ("ab", b"\xff")]
            assert sizes == [2, 3]
            assert (file.read_text(), len(left(file.parent))) == ("old\n", 1)
            if finishes:
                done = await perform("writer.finish", {"$handle": 1}, passage=passage)
                assert (file.read_bytes(), done["old_hash"]) == (b"ab\xff", sha(b"old\n"))
                with pytest.raises(ConflictError):
                    await perform("writer.write", {"$handle": 1}, "x", passage=passage)
            await writer.close()
        assert left(file.parent) == []


async def test_what_a_file_holds_by_now_is_what_the_journal_may_keep(file: Path, host: Host, tmp_path: Path) -> None:
    """Whoever may write to it could fill the disk of the agent while a writer was open, by one ftruncate."""
    spec = load().find("fs.write_stream")
    assert spec is not None
    with spec.prepare(host, RunContext(), spec.bind([str(file)], {}), AllPermitted()) as prepared:
        writer = prepared.perform()
        os.truncate(file, 1 << 40)
        done = await perform("writer.finish", {"$handle": 1}, passage=AllPermitted({1: writer}))
        await writer.close()
    assert (done["journal"], done["no_undo"]) == (None, TOO_LARGE)
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("name", ["fs.write", "fs.unlink", "fs.open_write"])
async def test_what_grows_while_it_is_kept_is_not_kept(
    file: Path, host: Host, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.pread

    def read(fd: int, size: int, position: int) -> bytes:
        os.truncate(file, 1 << 40)
        return really(fd, size, position)

    monkeypatch.setattr(replacing.os, "pread", read)
    with pytest.raises(ConflictError, match="grows"):
        await perform(name, str(file), *(["new"] if name == "fs.write" else []), host=host)
    assert (file.exists(), list((tmp_path / "journal").glob("*"))) == (True, [])


class Over(AllPermitted):
    is_over = True


@pytest.mark.parametrize("name", ["fs.write", "fs.undo", "fs.write_stream"])
async def test_what_is_compared_with_an_endless_file_ends_with_its_run(file: Path, host: Host, name: str) -> None:
    """A file that takes no room may be hashed for a day, and a thread of the agent's with it, for each run."""
    arguments, named = [str(file), "new\n"], {"if_hash": "0" * 64}
    if name == "fs.undo":
        arguments, named = [(await perform("fs.write", *arguments, host=host))["journal"]], {}
    passage = Over()
    if name == "fs.write_stream":
        spec = load().find(name)
        assert spec is not None
        with spec.prepare(host, RunContext(), spec.bind(arguments[:1], named), passage) as prepared:
            os.truncate(file, 1 << 42)
            passage.things[1] = prepared.perform()
            with pytest.raises(DeadlineError):
                await perform("writer.finish", {"$handle": 1}, passage=passage)
    else:
        os.truncate(file, 1 << 42)
        with pytest.raises(DeadlineError):
            await perform(name, *arguments, host=host, passage=passage, **named)
    assert file.stat().st_size == 1 << 42
    assert left(file.parent) == []


async def test_a_writer_that_got_something_else_than_was_meant_changes_nothing(file: Path, host: Host) -> None:
    """What was damaged on its way must not take the place of what is whole."""
    spec = load().find("fs.write_stream")
    assert spec is not None
    with spec.prepare(host, RunContext(), spec.bind([str(file)], {}), AllPermitted()) as prepared:
        writer = prepared.perform()
        passage = AllPermitted({1: writer})
        writer.take([b"se", memoryview(b"nt")])
        with pytest.raises(ConflictError, match="not what was meant"):
            await perform("writer.finish", {"$handle": 1}, sha(b"meant"), passage=passage)
        with pytest.raises(ArgumentError):
            await perform("writer.finish", {"$handle": 1}, "absent?", passage=passage)
        assert file.read_text() == "old\n"
        await perform("writer.finish", {"$handle": 1}, sha(b"sent"), passage=passage)
        await writer.close()
    assert file.read_text() == "sent"


async def test_who_gives_new_content_up_waits_for_who_is_writing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is cut short while a thread of it writes: the number of its descriptor must not be another file's yet."""
    write, seen = os.writev, []

    def slow(fd: int, data: Any) -> int:
        giving_up = threading.Thread(target=replacement.abort)
        giving_up.start()
        giving_up.join(0.2)
        seen.append((giving_up, giving_up.is_alive(), os.fstat(fd).st_nlink))
        return write(fd, data)

    with place(str(file), follow=True) as held:
        replacement = Replacement(held)
        monkeypatch.setattr(os, "writev", slow)
        replacement.write(b"new")
        monkeypatch.undo()
        [(giving_up, waited, names)] = seen
        giving_up.join()
        assert (waited, names) == (True, 1)
        for more in (lambda: replacement.write(b"x"), lambda: replacement.commit("fs.write", None)):
            with pytest.raises(ConflictError, match="given up"):
                more()
    assert (file.read_text(), left(file.parent)) == ("old\n", [])


RACES: dict[str, Callable[[Path], tuple[Any, ...]]] = {
    "fs.write": lambda link: (str(link / "f"), "written"),
    "fs.append": lambda link: (str(link / "f"), "written"),
    "fs.chmod": lambda link: (str(link / "f"), "0600"),
    "fs.unlink": lambda link: (str(link / "f"),),
    "fs.truncate": lambda link: (str(link / "f"), 0),
}


@pytest.mark.parametrize("name", RACES)
async def test_swapped_links_never_lead_to_what_was_not_decided(tmp_path: Path, name: str) -> None:
    """A directory turns into a link and back all the time; only calls decided on the open place may change anything."""
    allowed, secret, door = tmp_path / "allowed", tmp_path / "secret", tmp_path / "door"
    for directory in (allowed, secret):
        directory.mkdir()
        (directory / "f").write_text("same")
        (directory / "f").chmod(0o644)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for directory in (allowed, secret):
                fresh = tmp_path / "fresh"
                fresh.symlink_to(directory)
                fresh.rename(door)

    swapper = threading.Thread(target=swap)
    swapper.start()
    decided = {"allowed": 0, "secret": 0}
    try:
        while min(decided.values()) < 20 and sum(decided.values()) < 5000:
            (allowed / "f").touch()
            decided[await asyncio.to_thread(_attempt, name, RACES[name](door), allowed)] += 1
    finally:
        stop.set()
        swapper.join()
    assert min(decided.values()) > 0
    assert ((secret / "f").read_text(), stat.S_IMODE((secret / "f").stat().st_mode)) == ("same", 0o644)


def _attempt(name: str, args: tuple[Any, ...], allowed: Path) -> str:
    """Carry the call out if it was decided on what is allowed, as the gate would; return what it was decided on."""
    spec = load().find(name)
    assert spec is not None
    try:
        with spec.prepare(Host(), RunContext(), spec.bind(list(args), {}), AllPermitted()) as prepared:
            facts: Facts = prepared.facts[0]
            if facts.path == str(allowed / "f"):
                prepared.perform()
                return "allowed"
    except OutriderError:
        pass  # the door was gone for a moment
    return "secret"


@pytest.mark.parametrize("most", [None, 1, 100, 3000], ids=lambda most: f"{most} bytes at once")
async def test_pieces_are_written_whole_and_in_order_however_many_the_kernel_takes(
    file: Path, host: Host, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    """A file system may take less than it is given, and no kernel takes more than 1024 pieces."""
    pieces: list[bytes | memoryview] = [bytes([number % 256]) * (number % 7) for number in range(2100)]
    pieces[5] = memoryview(b"0123456789")[3:7]
    whole, really = b"".join(pieces), os.writev
    if most is not None:
        monkeypatch.setattr(replacing.os, "writev", lambda fd, given: really(fd, [b"".join(given)[:most]]))
    spec = load().find("fs.write_stream")
    assert spec is not None
    with spec.prepare(host, RunContext(), spec.bind([str(file)], {}), AllPermitted()) as prepared:
        writer = prepared.perform()
        writer.take(pieces)
        assert (writer.replacement.size_bytes, writer.replacement.hash) == (len(whole), sha(whole))
        await perform("writer.finish", {"$handle": 1}, sha(whole), passage=AllPermitted({1: writer}))
        await writer.close()
    assert file.read_bytes() == whole
