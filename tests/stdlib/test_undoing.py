"""Changes taken back, kind by kind; and not, once somebody else has changed the same or it would not be allowed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, gate, perform, run

from protocol.errors import ConflictError, DeniedError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.host import Host, RunContext
from stdlib.journal import Entry, Journal


class Bench:
    """A host whose journal lists what one run has changed."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "place"
        self.place.mkdir()
        self.changes: list[Entry] = []
        self.host = Host(journal=Journal(directory / "journal").noting(self.changes))
        self.file = self.place / "file"
        self.file.write_bytes(b"0123456789")
        self.file.chmod(0o640)

    async def do(self, name: str, *args: Any, **named: Any) -> Any:
        return await perform(name, *args, host=self.host, **named)

    async def undo(self, number: int = -1, **named: Any) -> Any:
        return await self.do("fs.undo", self.changes[number].id, **named)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_an_append_is_cut_off_again(bench: Bench) -> None:
    await bench.do("fs.append", str(bench.file), "abc")
    await bench.do("fs.append", str(bench.place / "new"), "abc")
    await bench.undo(0)
    await bench.undo(1)
    assert bench.file.read_bytes() == b"0123456789"
    assert not (bench.place / "new").exists()
    assert not list((bench.host.journal.directory).glob("*.old")), "no content is kept for it"  # type: ignore[union-attr]  # it has one


async def test_what_somebody_wrote_into_the_added_zeros_stays(bench: Bench) -> None:
    """The file is as long as the change made it, and yet not what the change made of it."""
    await bench.do("fs.truncate", str(bench.file), 1 << 40)
    with bench.file.open("r+b") as other:
        other.seek(1 << 30)
        other.write(b"theirs")
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.undo()
    assert os.stat(bench.file).st_size == 1 << 40
    with bench.file.open("r+b") as other:
        other.seek(1 << 30)
        other.write(b"\0" * 6)
    await bench.undo()
    assert bench.file.read_bytes() == b"0123456789"


async def test_an_append_with_something_behind_it_stays(bench: Bench) -> None:
    await bench.do("fs.append", str(bench.file), "abc")
    with bench.file.open("ab") as other:
        other.write(b"theirs")
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.undo()
    assert bench.file.read_bytes() == b"0123456789abctheirs"
    bench.file.write_bytes(b"0123456789xyz")
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.undo()


@pytest.mark.parametrize(("size", "then"), [(3, b"012"), (0, b""), (12, b"0123456789\0\0"), (10, b"0123456789")])
async def test_a_truncation_is_written_back(bench: Bench, size: int, then: bytes) -> None:
    await bench.do("fs.truncate", str(bench.file), size)
    assert bench.file.read_bytes() == then
    await bench.undo()
    assert bench.file.read_bytes() == b"0123456789"


async def test_a_truncation_of_another_size_or_file_stays(bench: Bench) -> None:
    await bench.do("fs.truncate", str(bench.file), 3)
    bench.file.write_bytes(b"0123")
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.undo()
    (bench.place / "other").write_bytes(b"012")  # while the first is there, whose inode it would else get now and then
    os.replace(bench.place / "other", bench.file)
    with pytest.raises(ConflictError, match="is not what the change made of it"):
        await bench.undo()


async def test_a_rename_goes_back(bench: Bench) -> None:
    (bench.place / "d" / "deep").mkdir(parents=True)
    await bench.do("fs.rename", str(bench.file), str(bench.place / "moved"))
    await bench.do("fs.rename", str(bench.place / "d"), str(bench.place / "e"))
    await bench.undo(1)
    await bench.undo(0)
    assert sorted(path.name for path in bench.place.iterdir()) == ["d", "file"]


async def test_a_rename_stays_where_its_way_back_is_closed(bench: Bench) -> None:
    moved = bench.place / "moved"
    await bench.do("fs.rename", str(bench.file), str(moved))
    bench.file.write_bytes(b"theirs")
    with pytest.raises(ConflictError, match="is there again"):
        await bench.undo()
    bench.file.unlink()
    for denied in (str(bench.file), str(moved)):
        with pytest.raises(DeniedError):
            await bench.undo(passage=AllPermitted(denied=[denied]))
    moved.rename(bench.place / "kept")
    moved.write_bytes(b"another")
    with pytest.raises(ConflictError, match="is not what the change made of it"):
        await bench.undo()
    await bench.do("fs.rename", str(bench.place / "kept"), str(moved), overwrite=True)
    assert bench.changes[1].id == "", "what takes the place of something is not kept"
    told = await bench.do("fs.changes", run=RunContext(changes=bench.changes))
    assert (told[0]["journal"], told[0]["no_undo"]) == (None, "it took the place of something")


async def test_a_link_in_the_place_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    """Somebody puts a link where the changed file was: what it leads to is not touched."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"0123456789abc")
    victim.chmod(0o600)
    await bench.do("fs.append", str(bench.file), "abc")
    await bench.do("fs.chmod", str(bench.file), "0600")
    bench.file.unlink()
    bench.file.symlink_to(victim)
    for number in (0, 1):
        with pytest.raises(ConflictError):
            await bench.undo(number)
    assert victim.read_bytes() == b"0123456789abc"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


async def test_modes_times_and_owners_come_back(bench: Bench) -> None:
    before = bench.file.stat()
    await bench.do("fs.chmod", str(bench.file), "0755")
    await bench.do("fs.utime", str(bench.file), 1, 2)
    if os.getuid() == 0:
        await bench.do("fs.chown", str(bench.file), 12345, 54321)
        assert (bench.file.stat().st_uid, bench.file.stat().st_gid) == (12345, 54321)
        await bench.undo(2)
    bench.file.read_bytes()
    await bench.undo(1)
    await bench.undo(0)
    after = bench.file.stat()
    assert [getattr(after, name) for name in ("st_mode", "st_mtime_ns", "st_uid", "st_gid")] == [
        getattr(before, name) for name in ("st_mode", "st_mtime_ns", "st_uid", "st_gid")
    ]
    await bench.do("fs.chmod", str(bench.file), "0755")
    bench.file.chmod(0o700)
    with pytest.raises(ConflictError, match="was changed since"):
        await bench.undo()


async def test_setuid_comes_back_to_nothing(bench: Bench) -> None:
    bench.file.chmod(0o4755)
    await bench.do("fs.chmod", str(bench.file), "0600")
    await bench.undo()
    assert stat.S_IMODE(bench.file.stat().st_mode) == 0o755


async def test_a_file_that_was_removed_comes_back(bench: Bench) -> None:
    await bench.do("fs.remove", str(bench.file))
    await bench.undo()
    assert (bench.file.read_bytes(), stat.S_IMODE(bench.file.stat().st_mode)) == (b"0123456789", 0o640)


PLACE = Path(f"/tmp/outriderundo{os.getpid()}")  # another run of the tests may go on beside this one
LUA = """
fs.write("/tmp/outriderundo/a", "new")
fs.append("/tmp/outriderundo/a", " and more")
fs.rename("/tmp/outriderundo/a", "/tmp/outriderundo/b")
fs.unlink("/tmp/outriderundo/c")
local found = fs.changes()
for _, change in ipairs(found) do fs.undo(change.journal) end
return {found[1].call, found[4].call, found[4].path, #found}
""".replace("/tmp/outriderundo", str(PLACE))


async def test_a_whole_run_takes_itself_back(sandbox: Sandbox, tmp_path: Path) -> None:
    place = PLACE
    place.mkdir()
    try:
        (place / "a").write_bytes(b"old")
        (place / "c").write_bytes(b"c")
        outcome = await run(sandbox, "lua", LUA, Tier.OPERATE, host=Host(journal=Journal(tmp_path / "journal")))
        assert outcome.status == "ok", outcome.reason
        assert outcome.result == ["fs.unlink", "fs.write", f"{place}/a", 4]
        assert {path.name: path.read_bytes() for path in place.iterdir()} == {"a": b"old", "c": b"c"}
    finally:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


async def test_both_places_of_a_rename_are_decided_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    about = {"other": "/etc/cron.d/x", "ino": 1, "dev": 1, "type": 0}
    entry = journal.begin(journal.made("/tmp/outriderx", "fs.rename", None, "renamed", about), None)
    session = gate(Tier.OPERATE, host=Host(journal=journal), context=RunContext())
    reply = await session.call("fs.undo", [entry], {})
    assert getattr(reply.error, "code", None) == "denied"
    await session.close()
