"""``fs.*`` on real files: what is documented comes back, whatever the name of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, names_in_text
from running import AllPermitted, perform, run

from protocol.errors import ArgumentError, DeadlineError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import fs
from stdlib.host import Host

STATUS: Fields = {
    "type": str, "size": int, "mode": str, "uid": int, "gid": int, "owner": TEXT_OR_NOTHING, "group": TEXT_OR_NOTHING,
    "atime": float, "mtime": float, "ctime": float, "inode": int, "nlink": int,
}  # fmt: skip
SPACE: Fields = dict.fromkeys(("total", "free", "avail", "used", "files", "free_files"), int)
MOUNT: Fields = {"device": str, "dir": str, "type": str, "options": str, "read_only": bool}
LISTING: Fields = {"entries": list, "more": bool}
STRANGE = ["new\nline", "white \u3000 space", "quote'\"", "-rf", "\u202e", "ü"]


def test_the_text_of_each_call_names_its_fields() -> None:
    told = {
        "fs.stat": set(STATUS),
        "fs.list": {*LISTING, "name", "type"},
        "fs.space": set(SPACE),
        "fs.mounts": set(MOUNT),
    }
    for name, fields in told.items():
        assert names_in_text(name) == fields, name


@pytest.mark.parametrize("name", ["fs.stat", "fs.lstat"])
@pytest.mark.parametrize("path", ["/", "/etc/passwd", "/dev/null", "/proc/self/status", "/proc/1"])
async def test_stat(name: str, path: str) -> None:
    held = os.open(path, os.O_PATH)  # or the kernel may forget what it calls a thing of /proc, and call it anew
    try:
        found, status = await perform(name, path), os.lstat(path)
    finally:
        os.close(held)
    check_fields(found, STATUS)
    assert (found["inode"], found["uid"], found["mode"]) == (
        status.st_ino,
        status.st_uid,
        f"{status.st_mode & 4095:04o}",
    )


async def test_stat_follows_links_and_lstat_does_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("12345")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("missing")
    link = str(tmp_path / "link")
    assert ((await perform("fs.stat", link))["type"], (await perform("fs.stat", link))["size"]) == ("file", 5)
    assert (await perform("fs.lstat", link))["type"] == "symlink"
    assert await perform("fs.stat", str(tmp_path / "dangling")) is None
    assert (await perform("fs.lstat", str(tmp_path / "dangling")))["type"] == "symlink"
    assert await perform("fs.lstat", str(tmp_path / "missing")) is None


async def test_exists_realpath_and_readlink(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("12345")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("missing")
    os.symlink(b"caf\xe9", tmp_path / "odd")
    expected = {
        "file": (True, "file", None), "link": (True, "file", "file"), "dangling": (False, None, "missing"),
        "missing": (False, None, None), "odd": (False, None, "caf\udce9"), ".": (True, "", None),
    }  # fmt: skip
    for name, (exists, real, says) in expected.items():
        path = f"{tmp_path}/{name}"
        assert await perform("fs.exists", path) is exists, name
        leads_to = None if real is None else str(tmp_path / real)
        assert await perform("fs.realpath", path) == leads_to, name
        assert await perform("fs.readlink", path) == says, name


async def test_access_is_that_of_the_effective_user(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o400)
    assert await perform("fs.access", str(file))
    assert not await perform("fs.access", str(file), "x")
    assert not await perform("fs.access", str(file), "rx")
    assert await perform("fs.access", str(file), "w") is (os.geteuid() == 0)
    assert await perform("fs.access", str(tmp_path), "rwx")
    assert not await perform("fs.access", str(tmp_path / "missing"))
    with pytest.raises(ArgumentError):
        await perform("fs.access", str(file), "xr")


async def test_a_huge_directory_is_listed_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held at once is not all of it, and in order it is all the same."""
    monkeypatch.setattr(fs, "LISTED_AT_ONCE", 10)
    names = [f"{number * 7919 % 500:03}" for number in range(500)]
    for name in names:
        (tmp_path / name).touch()
    for offset, limit in ((0, 1), (0, 30), (95, 10), (490, 10), (499, 5), (0, 1000)):
        found = await perform("fs.list", str(tmp_path), offset, limit)
        assert [row["name"] for row in found["entries"]] == sorted(names)[offset : offset + limit]
        assert found["more"] is (offset + limit < 500)


async def test_a_list_that_nobody_waits_for_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs, "LISTED_AT_ONCE", 10)
    for number in range(30):
        (tmp_path / str(number)).touch()
    passage = AllPermitted()
    passage.is_over = True
    with pytest.raises(DeadlineError):
        await perform("fs.list", str(tmp_path), passage=passage)


async def test_list_in_pages(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden", "c"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    (tmp_path / "e").symlink_to("d")
    os.mkfifo(tmp_path / "f")
    found = await perform("fs.list", str(tmp_path), hidden=False)
    check_fields(found, LISTING)
    types = {entry["name"]: entry["type"] for entry in found["entries"]}
    assert types == {"a": "file", "b": "file", "c": "file", "d": "directory", "e": "symlink", "f": "other"}
    assert list(types) == sorted(types)
    first = await perform("fs.list", str(tmp_path), 0, 4)
    rest = await perform("fs.list", str(tmp_path), 4, 4)
    assert [row["name"] for row in first["entries"] + rest["entries"]] == [".hidden", *types]
    assert (first["more"], rest["more"]) == (True, False)
    assert await perform("fs.list", str(tmp_path), 100) == {"entries": [], "more": False}
    with pytest.raises(ArgumentError, match="not a directory"):
        await perform("fs.list", str(tmp_path / "a"))
    with pytest.raises(NotFoundError):
        await perform("fs.list", str(tmp_path / "missing"))


async def test_space(tmp_path: Path) -> None:
    found = await perform("fs.space", str(tmp_path))
    check_fields(found, SPACE)
    assert found["total"] == found["used"] + found["free"]
    assert found["total"] >= found["free"] >= found["avail"] >= 0
    with pytest.raises(NotFoundError):
        await perform("fs.space", str(tmp_path / "missing"))


async def test_mounts(tmp_path: Path) -> None:
    found = await perform("fs.mounts")
    assert any(row["dir"] == "/proc" and row["type"] == "proc" for row in found)
    for row in found:
        check_fields(row, MOUNT)
    with pytest.raises(UnavailableError):
        await perform("fs.mounts", host=Host(proc=str(tmp_path)))


async def mounted(proc: Path, directory: bytes) -> list[str]:
    (proc / "self").mkdir()
    (proc / "self/mounts").write_bytes(b"dev " + directory + b" ext4 ro,errors=rw 0 0\n")
    rows = await perform("fs.mounts", host=Host(proc=str(proc)))
    assert [row["read_only"] for row in rows] == [True]
    return [row["dir"] for row in rows]


@pytest.mark.parametrize(
    ("written", "meant"),
    [(rb"/a\040b\011c\012d\134e", "/a b\tc\nd\\e"), (rb"/a\134040", "/a\\040"), (b"/a\xff", "/a\udcff")],
)
async def test_names_of_mounts_are_unescaped(tmp_path: Path, written: bytes, meant: str) -> None:
    assert await mounted(tmp_path, written) == [meant]


@pytest.mark.parametrize(("written", "meant"), [(rb"/a\043b", "/a#b"), (b"/a\x0bb", "/a\x0bb"), (b"/a\rb", "/a\rb")])
async def test_names_of_mounts_as_the_kernel_writes_them(tmp_path: Path, written: bytes, meant: str) -> None:
    assert await mounted(tmp_path, written) == [meant]


SIZES = {
    "lua": """\
local at, sizes = param("at"), {}
for _, entry in ipairs(fs.list(at).entries) do
  sizes[#sizes + 1] = fs.stat(at .. "/" .. entry.name).size
end
return sizes""",
    "python": """\
at = param("at")
result = [fs.stat(at + "/" + entry["name"])["size"] for entry in fs.list(at)["entries"]]""",
}


async def listed(sandbox: Sandbox, at: Path, language: str, names: list[str]) -> None:
    """A script lists the names and looks at each: the n-th in order holds n bytes."""
    for size, name in enumerate(sorted(names)):
        (at / name).write_bytes(b"x" * size)
    outcome = await run(sandbox, language, SIZES[language], Tier.INSPECT, {"at": str(at)})
    assert (outcome.status, outcome.result) == ("ok", list(range(len(names)))), outcome.reason


@pytest.mark.parametrize("language", sorted(SIZES))
async def test_any_name_goes_to_a_script_and_comes_back(sandbox: Sandbox, tmp_path: Path, language: str) -> None:
    await listed(sandbox, tmp_path, language, STRANGE)


async def test_a_name_that_is_not_utf8_goes_to_a_script_in_lua_and_comes_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """Text in Lua is bytes, so nothing is to be seen of it."""
    await listed(sandbox, tmp_path, "lua", [*STRANGE, "caf\udce9"])


BYTES = """\
entry = fs.list(param("at"))["entries"][0]
path = (param("at") + "/").encode() + entry["name"]
result = [entry["name"] == b"caf\\xe9", fs.stat(path)["size"]]"""


async def test_a_name_that_is_not_utf8_is_bytes_in_python_and_comes_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """One such file, which anybody can make, must not hide the others or stop a check."""
    (tmp_path / "caf\udce9").write_bytes(b"xyz")
    outcome = await run(sandbox, "python", BYTES, Tier.INSPECT, {"at": str(tmp_path)})
    assert (outcome.status, outcome.result) == ("ok", [True, 3]), outcome.reason
