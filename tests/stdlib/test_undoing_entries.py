"""Changes of a directory's entries, and of files in place, taken back; and not, once somebody else changed the same."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, perform, run

from protocol.errors import ConflictError, DeniedError, NotFoundError, OutriderError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.blobs import FolderBlobs
from stdlib.host import Host, RunContext
from stdlib.journal import MAX_ENTRY_BYTES, Entry, Journal

Snapshot = Mapping[str, Any]


def snapshot(root: Path) -> Snapshot:
    """All that is below a directory: kinds, modes, owners, times of files, what they hold or say."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        own = path.lstat()
        holds = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (own.st_mode, own.st_uid, own.st_gid, holds)
    return found


@dataclass
class Bench:
    """A place, and a journal that lists what was changed in it."""

    place: Path
    changes: list[Entry]
    host: Host

    async def do(self, name: str, *args: Any, **named: Any) -> Any:
        return await perform(name, *args, host=self.host, **named)

    async def undo(self, number: int = -1, **named: Any) -> Any:
        return await self.do("fs.undo", self.changes[number].id, **named)

    async def told(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await self.do("fs.changes", run=RunContext(changes=self.changes))
        return told


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    place = tmp_path / "place"
    (place / "tree/sub/empty").mkdir(parents=True)
    (place / "tree/one").write_bytes(b"1" * 100)
    (place / "tree/one").chmod(0o600)
    (place / "tree/sub/caf\udce9").write_bytes(b"\0\xff")
    (place / "tree/sub/link").symlink_to("/etc/passwd")
    (place / "tree/sub").chmod(0o550)
    (place / "file").write_bytes(b"0123456789")
    changes: list[Entry] = []
    return Bench(place, changes, Host(journal=Journal(tmp_path / "journal").noting(changes)))


def deeds(place: Path) -> dict[str, tuple[str, list[Any], dict[str, Any]]]:
    """A change of each kind: the call and its arguments."""
    at = str(place)
    return {
        "one directory": ("fs.mkdir", [f"{at}/new"], {}),
        "several directories": ("fs.mkdir", [f"{at}/a/b/c"], {"parents": True}),
        "a symlink": ("fs.symlink", ["file", f"{at}/link"], {}),
        "another name": ("fs.link", [f"{at}/file", f"{at}/name"], {}),
        "an empty directory": ("fs.rmdir", [f"{at}/tree/sub/empty"], {}),
        "an empty directory by fs.remove": ("fs.remove", [f"{at}/tree/sub/empty"], {}),
        "a symlink removed": ("fs.unlink", [f"{at}/tree/sub/link"], {}),
        "a symlink by fs.remove": ("fs.remove", [f"{at}/tree/sub/link"], {}),
        "a tree": ("fs.remove", [f"{at}/tree"], {"recursive": True}),
    }


@pytest.mark.parametrize("deed", sorted(deeds(Path("/"))))
async def test_what_was_done_is_taken_back(bench: Bench, deed: str) -> None:
    before = snapshot(bench.place)
    name, args, named = deeds(bench.place)[deed]
    await bench.do(name, *args, **named)
    assert snapshot(bench.place) != before
    await bench.undo()
    assert snapshot(bench.place) == before
    with pytest.raises((ConflictError, NotFoundError)):
        await bench.undo()


@pytest.mark.parametrize("deed", sorted(deeds(Path("/"))))
async def test_nothing_is_taken_back_where_the_policy_forbids(bench: Bench, deed: str) -> None:
    """The path of the change is decided on anew."""
    name, args, named = deeds(bench.place)[deed]
    await bench.do(name, *args, **named)
    after = snapshot(bench.place)
    with pytest.raises(DeniedError):
        await bench.undo(passage=AllPermitted(denied=[bench.changes[-1].path]))
    assert snapshot(bench.place) == after


async def test_times_of_a_tree_come_back(bench: Bench) -> None:
    for path in (bench.place / "tree/one", bench.place / "tree/sub", bench.place / "tree"):
        os.utime(path, (1_000_000_000, 1_100_000_000))
    await bench.do("fs.remove", str(bench.place / "tree"), recursive=True)
    await bench.undo()
    for path in (bench.place / "tree/one", bench.place / "tree/sub", bench.place / "tree"):
        assert path.stat().st_mtime == 1_100_000_000, path


async def test_one_denied_name_in_a_tree_keeps_all_of_it_away(bench: Bench) -> None:
    await bench.do("fs.remove", str(bench.place / "tree"), recursive=True)
    with pytest.raises(DeniedError):
        await bench.undo(passage=AllPermitted(denied=[str(bench.place / "tree/sub/link")]))
    assert sorted(os.listdir(bench.place)) == ["file"], "and nothing is left beside it"


async def test_setuid_does_not_come_back(bench: Bench) -> None:
    (bench.place / "tree/one").chmod(0o4755)
    await bench.do("fs.remove", str(bench.place / "tree"), recursive=True)
    await bench.undo()
    assert stat.S_IMODE((bench.place / "tree/one").stat().st_mode) == 0o755


def grown(path: Path) -> None:
    with (path / "tree/one").open("wb") as file:
        file.truncate(MAX_ENTRY_BYTES)


def crowded(path: Path) -> None:
    for number in range(10_001):
        (path / f"tree/{number}").touch()


NOT_KEPT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "too large": (grown, "it holds more than 16 MiB"),
    "too many": (crowded, "it holds more than 10000 entries"),
    "a pipe": (lambda place: os.mkfifo(place / "tree/pipe"), "it holds something that is neither file"),
}


@pytest.mark.parametrize("why", sorted(NOT_KEPT))
async def test_what_cannot_be_kept_is_removed_and_said(bench: Bench, why: str) -> None:
    change, reason = NOT_KEPT[why]
    change(bench.place)
    await bench.do("fs.remove", str(bench.place / "tree"), recursive=True, max_entries=20_000)
    assert not (bench.place / "tree").exists()
    (told,) = await bench.told()
    assert (told["journal"], told["call"], told["path"]) == (None, "fs.remove", str(bench.place / "tree"))
    assert told["no_undo"].startswith(reason)
    assert bench.host.journal is not None
    assert not list(bench.host.journal.directory.glob("*.old")), "nothing of it is kept"


async def test_a_directory_that_somebody_uses_stays(bench: Bench) -> None:
    """The last one, with what is in it; those above it go as far as nobody else is in them."""
    await bench.do("fs.mkdir", str(bench.place / "a/b/c"), parents=True)
    (bench.place / "a/b/c/theirs").touch()
    with pytest.raises(ConflictError, match="is not empty"):
        await bench.undo()
    (bench.place / "a/b/c/theirs").rename(bench.place / "a/theirs")
    await bench.undo()
    assert os.listdir(bench.place / "a") == ["theirs"]


async def test_a_link_that_is_another_stays(bench: Bench) -> None:
    await bench.do("fs.symlink", "file", str(bench.place / "link"))
    (bench.place / "link").unlink()
    (bench.place / "link").symlink_to("tree")
    with pytest.raises(ConflictError, match="is not the link that was made"):
        await bench.undo()
    await bench.do("fs.link", str(bench.place / "file"), str(bench.place / "name"))
    (bench.place / "file").unlink()
    with pytest.raises(ConflictError):
        await bench.undo()
    assert (bench.place / "name").read_bytes() == b"0123456789", "the last name of a file is more than a name"


async def test_what_is_there_again_stays(bench: Bench) -> None:
    await bench.do("fs.remove", str(bench.place / "tree"), recursive=True)
    (bench.place / "tree").mkdir()
    (bench.place / "tree/theirs").touch()
    with pytest.raises(ConflictError, match="is there again"):
        await bench.undo()
    assert os.listdir(bench.place / "tree") == ["theirs"]


async def test_a_kept_tree_that_is_damaged_makes_nothing(bench: Bench) -> None:
    await bench.do("fs.remove", str(bench.place / "tree"), recursive=True)
    assert bench.host.journal is not None
    (kept,) = bench.host.journal.directory.glob("*.old")
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(Exception, match="damaged"):
        await bench.undo()
    assert os.listdir(bench.place) == ["file"]


async def test_a_link_in_the_way_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    """Whoever swaps the directory above for a link gets nothing put where it leads."""
    await bench.do("fs.rmdir", str(bench.place / "tree/sub/empty"))
    (bench.place / "tree").rename(tmp_path / "aside")
    (tmp_path / "victim/sub").mkdir(parents=True)
    (bench.place / "tree").symlink_to(tmp_path / "victim")
    with pytest.raises(ConflictError, match="is reached another way now"):
        await bench.undo()
    assert not (tmp_path / "victim/sub/empty").exists()


# Archives -------------------------------------------------------------------------------------------------------------


async def unpacked(bench: Bench, tmp_path: Path) -> Path:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("in/one", "1")
        made.writestr("two", "2")
    context = RunContext(blobs=FolderBlobs(tmp_path / "blobs"))
    blob = await bench.do("fs.upload", str(archive), run=context)
    await bench.do("fs.extract", blob, str(bench.place / "out"), run=context)
    return bench.place / "out"


@pytest.mark.parametrize("was_there", [False, True])
async def test_what_was_unpacked_goes_again(bench: Bench, tmp_path: Path, was_there: bool) -> None:
    if was_there:
        (bench.place / "out").mkdir(mode=0o700)
    before = snapshot(bench.place)
    out = await unpacked(bench, tmp_path)
    assert (out / "in/one").read_text() == "1"
    await bench.undo()
    assert snapshot(bench.place) == before


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a file more": lambda out: (out / "in/theirs").touch(),
    "a file less": lambda out: (out / "two").unlink(),
    "another content": lambda out: (out / "two").write_text("x"),
    "another mode": lambda out: (out / "two").chmod(0o640),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
async def test_what_was_unpacked_and_changed_stays(bench: Bench, tmp_path: Path, change: str) -> None:
    out = await unpacked(bench, tmp_path)
    CHANGES[change](out)
    after = snapshot(out)
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.undo()
    assert snapshot(out) == after


# In place -------------------------------------------------------------------------------------------------------------

IN_PLACE = {
    "lua": """\
local f = fs.open_write(param("at"), {mode = param("mode")})
f:write("XYZ") f:truncate(2)
local journal = f.journal
local ok, refused = pcall(fs.undo, journal)
f:close()
local held = fs.read(param("at"))
fs.undo(journal)
return {refused.code, held, fs.read(param("at")) or "gone"}""",
    "python": """\
f = fs.open_write(param("at"), mode=param("mode"))
f.write("XYZ")
f.truncate(2)
journal = f.journal
try:
    fs.undo(journal)
except HostError as error:
    refused = error.code
f.close()
held = fs.read(param("at"))
fs.undo(journal)
result = [refused, held, fs.read(param("at")) or "gone"]""",
}


@pytest.mark.parametrize("language", sorted(IN_PLACE))
@pytest.mark.parametrize(("mode", "held"), [("r+", "XY"), ("w", "XY"), ("a", "01")])
async def test_a_file_that_was_changed_in_place_gets_back_what_it_held(
    sandbox: Sandbox, bench: Bench, language: str, mode: str, held: str
) -> None:
    """By a script, in both languages: not while it is open, then as a whole and in place."""
    file = bench.place / "file"
    os.link(file, bench.place / "name")
    inode = file.stat().st_ino
    given = {"at": str(file), "mode": mode}
    outcome = await run(sandbox, language, IN_PLACE[language], Tier.ADMIN, given, host=bench.host)
    assert (outcome.status, outcome.result) == ("ok", ["conflict", held, "0123456789"]), outcome.reason
    assert (file.stat().st_ino, (bench.place / "name").read_bytes()) == (inode, b"0123456789")


async def test_a_file_that_was_made_and_changed_in_place_goes(sandbox: Sandbox, bench: Bench) -> None:
    given = {"at": str(bench.place / "new"), "mode": "w"}
    outcome = await run(sandbox, "lua", IN_PLACE["lua"], Tier.ADMIN, given, host=bench.host)
    assert (outcome.status, outcome.result) == ("ok", ["conflict", "XY", "gone"]), outcome.reason
    assert not (bench.place / "new").exists()


async def test_a_file_that_others_changed_since_keeps_their_change(sandbox: Sandbox, bench: Bench) -> None:
    file = bench.place / "file"
    source = 'local f = fs.open_write(param("at")) f:write("XYZ") f:close() return f.journal'
    outcome = await run(sandbox, "lua", source, Tier.ADMIN, {"at": str(file)}, host=bench.host)
    assert outcome.status == "ok", outcome.reason
    with file.open("ab") as other:
        other.write(b"theirs")
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.do("fs.undo", outcome.result)
    assert file.read_bytes() == b"XYZ3456789theirs"


async def test_a_large_file_is_opened_without_a_journal(sandbox: Sandbox, bench: Bench) -> None:
    with (bench.place / "file").open("wb") as file:
        file.truncate(MAX_ENTRY_BYTES + 1)
    source = 'local f = fs.open_write(param("at")) f:close() return {f.journal == nil, fs.changes()[1].no_undo}'
    outcome = await run(sandbox, "lua", source, Tier.ADMIN, {"at": str(bench.place / "file")}, host=bench.host)
    assert (outcome.status, outcome.result) == ("ok", [True, "what was there has more than 16 MiB"]), outcome.reason


@pytest.mark.parametrize("is_failed", [True, False])
async def test_a_directory_that_somebody_else_made_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_failed: bool
) -> None:
    """Of the same name, and as empty: made in the moment before, or in place of the one that was made."""
    made, real = bench.place / "made", os.mkdir

    def first(path: Any, *args: Any, **named: Any) -> None:
        if path == "made":
            real(made)
        real(path, *args, **named)

    if is_failed:
        monkeypatch.setattr(os, "mkdir", first)
        with pytest.raises(OutriderError):
            await bench.do("fs.mkdir", str(made))
        monkeypatch.undo()
    else:
        await bench.do("fs.mkdir", str(made))
        made.rename(bench.place / "other")  # its number is not given again
        made.mkdir()
    with pytest.raises(ConflictError, match=r"is not the directory that was made|was not made"):
        await bench.undo()
    assert made.is_dir()
