"""What is kept from all calls is not reached by another of its names: a hard link, made by whoever may make one."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from running import Kept, gate
from trees import Permitted, streamed

from policies.model import Effect, Limits, Policy, Rule
from policies.paths import PathPattern
from protocol.errors import ConflictError, DeniedError, UnavailableError
from protocol.tiers import Tier
from stdlib import fs_blobs, kept_objects, paths, places, tables
from stdlib.host import Host
from stdlib.journal import Journal
from stdlib.kept_objects import KeptObjects
from stdlib.places import Place, place
from stdlib.removing import Removal

SECRET = b"the key of this host\n"
DIFF = "--- a\n+++ b\n@@ -1 +1 @@\n-the key of this host\n+mine\n"
HASH = "0" * 64

#: Every call that takes a path, with arguments; LINK is the other name, FREE is none.
CALLS: dict[str, tuple[Any, ...]] = {
    "fs.access": ("LINK",), "fs.append": ("LINK", "x"), "fs.archive": (["LINK"],), "fs.chmod": ("LINK", "0644"),
    "fs.chown": ("LINK", 1, 1), "fs.copy": ("LINK", "FREE"), "fs.disk_usage": ("LINK",), "fs.extract": (HASH, "LINK"),
    "fs.fetch": (HASH, "LINK"), "fs.glob": (["*"], "LINK"), "fs.grep": (["LINK"], "key"), "fs.hash": ("LINK",),
    "fs.largest": ("LINK",), "fs.lines": ("LINK",), "fs.link": ("LINK", "FREE"), "fs.list": ("LINK",),
    "fs.lstat": ("LINK",), "fs.magic": ("LINK",), "fs.mkdir": ("LINK",), "fs.open": ("LINK",),
    "fs.open_write": ("LINK", "a"), "fs.patch": ("LINK", DIFF), "fs.read": ("LINK",), "fs.read_stream": ("LINK",),
    "fs.readlink": ("LINK",), "fs.realpath": ("LINK",), "fs.remove": ("LINK",), "fs.rename": ("LINK", "FREE"),
    "fs.rmdir": ("LINK",), "fs.space": ("LINK",), "fs.stat": ("LINK",), "fs.symlink": ("x", "LINK"),
    "fs.tail": ("LINK",), "fs.truncate": ("LINK", 0), "fs.unlink": ("LINK",), "fs.upload": ("LINK",),
    "fs.utime": ("LINK", 0, 0), "fs.walk": ("LINK",), "fs.watch": ("LINK",), "fs.write": ("LINK", "x"),
    "fs.write_stream": ("LINK",), "fs.xattr": ("LINK",), "net.unix": ("LINK",),
}  # fmt: skip
TELLS_NOTHING = {"fs.exists"}  # more than that there is something, which whoever lists the directory sees


class Ground:
    """A directory that is kept, one beside it, and what the calls are made through."""

    def __init__(self, top: Path) -> None:
        self.state, self.free = top / "state", top / "free"
        for directory in (self.state / "deep", self.free):
            directory.mkdir(parents=True)
        self.key = self.state / "deep" / "identity.key"
        self.key.write_bytes(SECRET)
        self.key.chmod(0o600)
        self.host = Host(kept=KeptObjects(str(self.state)), journal=Journal(top / "journal"))
        self.records = Kept()
        denied = Rule(Effect.DENY, "*", "kept", paths=(PathPattern.parse(f"{self.state}/**"),))
        self.policy = Policy("all", Tier.ADMIN, (denied, Rule(Effect.ALLOW, "*", "all")), Limits())

    def link(self, name: str = "holiday.jpg", to: Path | None = None) -> Path:
        made = self.free / name
        os.link(to or self.key, made)
        return made

    async def call(self, name: str, *args: Any, **named: Any) -> Any:
        one = gate(Tier.ADMIN, self.records, self.host, policy=self.policy)
        try:
            return await one.call(name, list(args), named)
        finally:
            await one.close()

    async def reaches(self, name: str, *args: Any, **named: Any) -> bool:
        """Make a call; return whether it was let through. What is not is denied by the name that is kept."""
        reply = await self.call(name, *args, **named)
        if reply.error is None or reply.error.code != "denied":
            return True
        assert self.records.records[-1]["rule"] == "kept deny *", reply.error
        return False


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def arguments(name: str, link: Path, free: Path) -> list[Any]:
    words = {"LINK": str(link), "FREE": str(free)}
    return [
        [words.get(each, each) for each in given] if isinstance(given, list) else words.get(given, given)
        for given in CALLS[name]
    ]


def test_every_call_that_takes_a_path_is_tried() -> None:
    """One that is new is to be added to the table above."""
    taking = {
        each["name"]
        for each in tables.load()
        if any(item["kind"] in ("path", "list of paths") for item in each["parameters"])
    }
    assert taking - TELLS_NOTHING == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_no_call_reaches_it_by_another_name(ground: Ground, name: str) -> None:
    """Read, written, listed, linked, moved or removed: it is decided on by the name that is kept."""
    link, free = ground.link(), ground.free / "new"
    before = ground.key.stat()
    assert not await ground.reaches(name, *arguments(name, link, free))
    after = ground.key.stat()
    assert ground.key.read_bytes() == SECRET
    assert (after.st_mode, after.st_uid, after.st_nlink, after.st_mtime_ns) == (
        before.st_mode, before.st_uid, 2, before.st_mtime_ns,
    )  # fmt: skip
    assert link.exists()
    assert not free.exists()


@pytest.mark.parametrize("name", ["fs.read", "fs.stat", "fs.hash", "fs.append", "fs.chmod"])
async def test_what_is_not_kept_is_reached_by_all_of_its_names(ground: Ground, name: str) -> None:
    """Backups have many of those; and a link that is made later is seen, as it changes what the file says of itself."""
    (ground.free / "own").write_bytes(SECRET)
    other = ground.link("other", ground.free / "own")
    for _ in range(2):
        for path in (ground.free / "own", other):
            assert await ground.reaches(name, *arguments(name, path, path))
    kept = ground.link("late")
    assert not await ground.reaches(name, *arguments(name, kept, kept))
    kept.unlink()
    assert await ground.reaches(name, *arguments(name, other, other))


async def test_a_link_to_a_link_and_one_that_is_followed_are_none_better(ground: Ground) -> None:
    link = ground.link()
    (ground.free / "soft").symlink_to(link)
    again = ground.link("again", link)
    for path in (ground.free / "soft", again):
        assert not await ground.reaches("fs.read", str(path))


async def test_a_socket_has_other_names_as_well(ground: Ground) -> None:
    """The agent is told by its control socket what to do."""
    control = ground.state / "control.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(control))
        link = ground.link("socket", control)
        assert not await ground.reaches("net.unix", str(link))
        assert not await ground.reaches("fs.stat", str(link))


@pytest.mark.parametrize("is_free", [True, False])
def test_a_search_leaves_it_out(ground: Ground, is_free: bool) -> None:
    """Also below a directory of which all is permitted by name."""
    ground.link()
    (ground.free / "own").write_bytes(SECRET)
    passage = Permitted([str(ground.key)], {str(ground.free): True if is_free else None})
    items, summary = streamed(
        "fs.grep", [str(ground.free)], "key", recursive=True, passage=passage, host=ground.host
    )  # fmt: skip
    assert [item["path"] for item in items] == [str(ground.free / "own")]
    assert summary["denied"] == 1


async def test_an_archive_with_it_is_not_made(ground: Ground) -> None:
    link = ground.link()
    reply = await ground.call("fs.archive", [str(ground.free)])
    assert reply.error is not None
    assert str(link) in str(reply.error)
    (ground.free / link.name).unlink()
    assert (await ground.call("fs.archive", [str(ground.free)])).error is None


async def test_a_tree_with_it_is_neither_removed_nor_brought_back_as_a_copy(ground: Ground) -> None:
    """What is removed goes into the undo journal, and what that brings back is a file of its own."""
    link = ground.link()
    assert not await ground.reaches("fs.remove", str(ground.free), recursive=True)
    assert link.samefile(ground.key)
    link.unlink()
    (ground.free / "own").write_bytes(b"")
    os.link(ground.free / "own", ground.free / "other")
    assert await ground.reaches("fs.remove", str(ground.free), recursive=True)
    assert not ground.free.exists()


async def test_what_comes_into_a_tree_while_it_is_removed_is_not_kept_for_undo(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may link can be quick: it was not there when everything below was looked at."""
    count = Removal.count

    def counted(removal: Removal, *given: Any) -> None:
        count(removal, *given)
        ground.link()

    monkeypatch.setattr(Removal, "count", counted)
    assert not await ground.reaches("fs.remove", str(ground.free), recursive=True)
    assert ground.key.stat().st_nlink == 2


async def test_a_rotated_log_that_is_one_is_not_read_on(ground: Ground) -> None:
    """A cursor names a file by its number, under whatever name it is by now."""
    log = ground.free / "log"
    log.write_bytes(b"one\n")
    cursor = (await ground.call("fs.tail", str(log), start="beginning")).value["cursor"]
    log.rename(ground.free / "log.1")
    ground.link("log.2", ground.free / "log.1")
    (ground.free / "log.1").rename(ground.state / "moved")  # what was read is kept now, and has a name beside it
    with (ground.free / "log.2").open("ab") as file:
        file.write(b"secret\n")
    log.write_bytes(b"two\n")
    reply = await ground.call("fs.tail", str(log), cursor)
    assert (reply.value["lines"], reply.value["missed"]) == (["two"], True)


async def test_what_takes_the_place_of_a_file_meanwhile_is_not_opened(ground: Ground) -> None:
    """The descriptor is looked at, not the name."""
    file = ground.free / "file"
    file.write_bytes(b"")
    with place(str(file), follow=False, kept=ground.host.kept) as held:
        assert held.status() is not None
        file.unlink()
        os.link(ground.key, file)
        with pytest.raises(DeniedError, match="kept from all calls"), held.opened(os.O_WRONLY):
            raise AssertionError("it was opened")


@pytest.mark.parametrize("name", ["fs.chown", "fs.append", "fs.open_write"])
async def test_what_takes_a_place_after_the_decision_stays_as_it_was(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whoever may link can be quick: between the look at a name and the deed it is another file's."""
    file, before = ground.free / "file", ground.key.stat()
    file.write_bytes(b"")
    looked = Place.status

    def look(place: Place) -> os.stat_result | None:
        status = looked(place)
        if not os.path.samefile(file, ground.key):
            file.unlink()
            os.link(ground.key, file)
        return status

    monkeypatch.setattr(Place, "status", look)
    reply = await ground.call(name, *arguments(name, file, file))
    assert reply.error is not None
    assert reply.error.code == "denied"
    after = ground.key.stat()
    assert (after.st_uid, after.st_gid, ground.key.read_bytes()) == (before.st_uid, before.st_gid, SECRET)


@pytest.mark.parametrize("name", ["fs.read", "fs.hash", "fs.lines", "fs.copy", "fs.upload"])
async def test_a_name_that_goes_while_it_is_decided_about_hides_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is open has one name then, as if it had no other, and is still called by the one that went."""
    link, named = ground.link(), paths.named

    def gone(fd: int) -> str:
        told = named(fd)
        if told == str(link):
            link.unlink()
        return told

    monkeypatch.setattr(paths, "named", gone)
    assert not await ground.reaches(name, *arguments(name, link, ground.free / "new"))
    assert not link.exists()


async def test_a_name_that_goes_while_it_is_archived_hides_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, opened = ground.link(), fs_blobs.open_beneath

    def gone(root: int, relative: str, flags: int, **more: Any) -> int:
        fd = opened(root, relative, flags, **more)
        if relative == link.name:
            link.unlink()
        return fd

    monkeypatch.setattr(fs_blobs, "open_beneath", gone)
    reply = await ground.call("fs.archive", [str(ground.free)])
    assert reply.error is not None
    assert not link.exists()


def test_a_name_that_goes_while_it_is_opened_opens_nothing(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    file, looked = ground.link(), os.fstat
    with place(str(file), follow=False, kept=ground.host.kept) as held:

        def gone(fd: int) -> os.stat_result:
            file.unlink(missing_ok=True)
            return looked(fd)

        with monkeypatch.context() as patched:
            patched.setattr(places.os, "fstat", gone)
            with pytest.raises(ConflictError, match="meanwhile"), held.opened(os.O_RDONLY):
                raise AssertionError("it was opened")


def test_what_another_thread_saw_before_there_was_that_name_does_not_count(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through the directory while the name is made, and is done when this one may look."""
    kept = ground.host.kept
    assert kept is not None
    early = kept._look(os.stat(ground.free))
    link = ground.link()

    class Busy:
        def __enter__(self) -> None:
            kept._seen = early

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(kept, "_lock", Busy())
    assert kept.name_of(link.stat()) == str(ground.key)


def test_more_names_than_can_be_looked_through_are_a_refusal(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be told is not let through."""
    monkeypatch.setattr(kept_objects, "MAX_NAMES", 1)
    kept = KeptObjects(str(ground.state))
    with pytest.raises(UnavailableError, match="more than 1 names"):
        kept.name_of(ground.link().stat())
    assert kept.name_of(os.stat(ground.free)) is None  # a directory has one name


def test_the_directory_is_gone_through_once_for_what_is_old(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """And anew for what got a name after that, or if the host's clock was set or much time has passed."""
    (ground.free / "own").write_bytes(b"")
    status = ground.link("other", ground.free / "own").stat()
    now = [status.st_ctime_ns + 3_000_000_000, 10**12]
    monkeypatch.setattr(kept_objects.time, "time_ns", lambda: now[0])
    monkeypatch.setattr(kept_objects.time, "monotonic_ns", lambda: now[1])
    kept, looks = KeptObjects(str(ground.state)), []
    look = kept._look
    monkeypatch.setattr(kept, "_look", lambda wanted: looks.append(1) or look(wanted))

    def looks_again(seconds: float, clock_seconds: float | None = None) -> bool:
        now[1] += int(seconds * 1e9)
        now[0] += int((seconds if clock_seconds is None else clock_seconds) * 1e9)
        before = len(looks)
        assert kept.name_of(status) is None
        return len(looks) > before

    assert looks_again(0)
    assert not looks_again(1)
    assert looks_again(1, -100)
    assert looks_again(1)  # the file got its name after that, says the clock
    assert looks_again(1, 200)
    assert not looks_again(59)
    assert looks_again(3)
