"""Files and archives to the place of blobs and back, as calls do it; what is denied or special is named, not sent."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, perform

from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    OutriderError,
    TooLargeError,
    UnavailableError,
)
from stdlib import fs_blobs, fs_tree
from stdlib.blobs import Draft, FolderBlobs, Room, drafted
from stdlib.fs_tree import Directory, Tree
from stdlib.host import Host, RunContext
from stdlib.journal import Journal


class Store(FolderBlobs):
    """Blobs in a directory, and what they were called."""

    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(directory, **more)
        self.directory = directory
        self.names: list[str] = []

    async def keep(self, draft: Draft, name: str) -> str:
        self.names.append(name)
        return await super().keep(draft, name)

    def held(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*")) if self.directory.exists() else []

    def content(self, blob: str) -> bytes:
        return (self.directory / blob.removeprefix("sha256:")).read_bytes()

    def put(self, data: bytes) -> str:
        draft = self.draft(1 << 30)
        draft.write(data)
        blob = draft.hash
        draft.move_to(self._place(blob))
        return blob


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "blobs")


async def do(store: Store, call: str, /, *args: Any, **named: Any) -> Any:
    return await perform(call, *args, run=RunContext(blobs=store), **named)


def hash_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# there ---------------------------------------------------------------------------------------------------------------


async def test_a_file_goes_as_it_is(store: Store, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "f\udcff").write_bytes(data)
    blob = await do(store, "fs.upload", str(tmp_path / "f\udcff"))
    assert (blob, store.content(blob), store.names) == (hash_of(data), data, ["f\ufffd"])
    await do(store, "fs.upload", str(tmp_path / "f\udcff"), name="mine", max=3 << 20)
    assert store.names[-1] == "mine"


async def test_what_cannot_go_leaves_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(1001))
    os.mkfifo(tmp_path / "fifo")
    for args, kind, told in [
        (("big", "", 1000), TooLargeError, "more than 1000 bytes"), (("fifo",), ArgumentError, "not a regular file"),
        (("none",), NotFoundError, "does not exist"), ((".",), ArgumentError, "not a regular file"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=told):
            await do(store, "fs.upload", f"{tmp_path}/{args[0]}", *args[1:])
    with pytest.raises(UnavailableError, match="no place for blobs"):
        await perform("fs.upload", f"{tmp_path}/big")
    over = AllPermitted()
    over.is_over = True
    with pytest.raises(DeadlineError, match="cut short"):
        await do(store, "fs.upload", f"{tmp_path}/big", passage=over)
    assert store.held() == []


async def test_a_full_room_says_so_and_what_is_discarded_gives_it_back(tmp_path: Path) -> None:
    small = Store(tmp_path / "blobs", most_bytes=1500)
    (tmp_path / "f").write_bytes(bytes(1000))
    (tmp_path / "g").write_bytes(b"x" * 1000)
    await do(small, "fs.upload", f"{tmp_path}/f")
    with pytest.raises(UnavailableError, match="at most 1500 bytes"):
        await do(small, "fs.upload", f"{tmp_path}/g")
    assert len(small.held()) == 1


async def test_a_draft_that_nobody_waits_for_is_discarded(tmp_path: Path) -> None:
    room, begun, go = Room(1 << 20), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def make() -> Draft:
        draft = Draft(tmp_path, 100, room)
        draft.write(b"x")
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        return draft

    task = asyncio.create_task(drafted(make))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert room.used_bytes == 1
    go.set()
    async with asyncio.timeout(60):
        while list(tmp_path.iterdir()) or room.used_bytes:
            await asyncio.sleep(0)


# archives ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "a.conf").write_bytes(b"a" * 100_000)
    (top / "sub" / "b").write_bytes(b"b")
    (top / "sub" / "b").chmod(0o640)
    (top / "sub" / "link").symlink_to("/etc/passwd")
    (top / "sub" / "deep" / "odd\udcff").write_bytes(b"o")
    return top


async def test_tar_gz_holds_all_and_links_as_links(store: Store, tree: Path) -> None:
    blob = await do(store, "fs.archive", [str(tree)])
    with tarfile.open(fileobj=io.BytesIO(store.content(blob)), errors="surrogateescape") as found:
        members = {info.name.removeprefix(str(tree).lstrip("/")): info for info in found}
        assert set(members) == {"", "/a.conf", "/sub", "/sub/b", "/sub/link", "/sub/deep", "/sub/deep/odd\udcff"}
        assert (members["/sub/link"].issym(), members["/sub/link"].linkname) == (True, "/etc/passwd")
        assert members["/sub/b"].mode == 0o640
        taken = found.extractfile(members["/a.conf"])
        assert taken is not None
        assert taken.read() == b"a" * 100_000
    assert store.names == ["top.tar.gz"]


async def test_zip_holds_all_and_skip_leaves_out(store: Store, tree: Path) -> None:
    with pytest.raises(ArgumentError, match="it is not UTF-8"):
        await do(store, "fs.archive", [str(tree)], "zip")
    blob = await do(store, "fs.archive", [f"{tree}/sub", f"{tree}/a.conf"], "zip", [f"{tree}/sub/deep/**"], "mine")
    with zipfile.ZipFile(io.BytesIO(store.content(blob))) as found:
        base = str(tree).lstrip("/")
        assert found.namelist() == [f"{base}/sub/", f"{base}/sub/b", f"{base}/sub/link", f"{base}/a.conf"]
        assert found.read(f"{base}/a.conf") == b"a" * 100_000
        assert found.read(f"{base}/sub/link") == b"/etc/passwd"
    assert store.names == ["mine"]


async def test_what_is_special_or_denied_is_named_and_nothing_is_sent(store: Store, tree: Path) -> None:
    os.mkfifo(tree / "sub" / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tree / "sock"))
        with pytest.raises(ArgumentError) as caught:
            await do(store, "fs.archive", [str(tree)])
    assert f"{tree}/sock (a socket)" in caught.value.message
    assert f"{tree}/sub/fifo (a FIFO)" in caught.value.message
    passage = AllPermitted(denied=[f"{tree}/a.conf", f"{tree}/sub/deep"])
    with pytest.raises(DeniedError) as denied:
        await do(store, "fs.archive", [str(tree)], skip=[f"{tree}/sock", f"{tree}/sub/fifo"], passage=passage)
    assert f"{tree}/a.conf" in denied.value.message
    assert f"{tree}/sub/deep" in denied.value.message
    with pytest.raises(ArgumentError, match="a character device"):
        await do(store, "fs.archive", ["/dev/null"])
    assert store.held() == []


async def test_bounds_of_an_archive(store: Store, tree: Path) -> None:
    with pytest.raises(TooLargeError, match="more than 6 entries"):
        await do(store, "fs.archive", [str(tree)], max_entries=6)
    with pytest.raises(TooLargeError, match="more than 100 bytes"):
        await do(store, "fs.archive", [str(tree)], max=100)
    with pytest.raises(TooLargeError, match="more than 6 entries"):
        await do(store, "fs.archive", [str(tree)], max_entries=6, passage=AllPermitted(denied=[str(tree / "a.conf")]))
    deep = tree.joinpath(*["d"] * 66)
    deep.mkdir(parents=True)
    with pytest.raises(ArgumentError, match="1 directories more than 64 deep"):
        await do(store, "fs.archive", [str(tree)])
    with pytest.raises(ArgumentError, match="not an absolute path pattern"):
        await do(store, "fs.archive", [str(tree)], skip=["a*"])
    assert store.held() == []


async def test_of_a_directory_that_is_too_large_no_more_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may fill one with millions, which the agent would all have held before the first was counted."""
    for number in range(100):
        (tmp_path / f"a{number}").touch()
    (tmp_path / "b").touch()
    read: list[str] = []

    def listed(tree: Tree, directory: Directory) -> Iterator[os.DirEntry[str]]:
        for entry in fs_tree.listed(tree, directory):
            read.append(entry.name)
            yield entry

    monkeypatch.setattr(fs_blobs, "listed", listed)
    with pytest.raises(TooLargeError, match="more than 10 entries"):
        await do(store, "fs.archive", [str(tmp_path)], max_entries=10)
    assert len(read) < 20
    assert await do(store, "fs.archive", [str(tmp_path)], max_entries=10, skip=[f"{tmp_path}/a*", f"{tmp_path}/blobs"])


# and back ------------------------------------------------------------------------------------------------------------


async def test_a_blob_becomes_a_file_and_can_be_undone(store: Store, tmp_path: Path) -> None:
    host = Host(journal=Journal(tmp_path / "journal"))
    target = tmp_path / "f"
    target.write_bytes(b"before")
    target.chmod(0o640)
    blob = store.put(b"after")
    done = await do(store, "fs.fetch", blob, str(target), host=host)
    assert (target.read_bytes(), target.stat().st_mode & 0o777, done["created"]) == (b"after", 0o640, False)
    assert done["new_hash"] == blob.removeprefix("sha256:")
    await perform("fs.undo", done["journal"], host=host)
    assert target.read_bytes() == b"before"
    with pytest.raises(ConflictError, match="is not what it was"):
        await do(store, "fs.fetch", blob.removeprefix("sha256:"), str(target), if_hash="0" * 64)
    made = await do(store, "fs.fetch", blob, str(tmp_path / "new"), "0600")
    assert (made["created"], (tmp_path / "new").stat().st_mode & 0o777) == (True, 0o600)


async def test_what_is_not_there_or_too_large_changes_nothing(store: Store, tmp_path: Path) -> None:
    blob = store.put(b"x" * 100)
    target = str(tmp_path / "f")
    wrong: list[tuple[Any, type[OutriderError], str]] = [
        (("0" * 64, target), NotFoundError, "there is no blob"), ((blob, target, None, None, 99), TooLargeError, "100"),
        (("nothing", target), ArgumentError, "blob_hash: 'nothing' must be"),
        ((blob, f"{tmp_path}/no/f"), NotFoundError, "exist"),
        ((blob, str(tmp_path / "blobs")), ArgumentError, "not a regular file"),
    ]  # fmt: skip
    for args, kind, told in wrong:
        with pytest.raises(kind, match=told):
            await do(store, "fs.fetch", *args)
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


async def test_what_was_archived_is_extracted_below_what_is_permitted(store: Store, tree: Path, tmp_path: Path) -> None:
    (tree / "sub" / "link").unlink()
    blob = await do(store, "fs.archive", [str(tree)])
    assert await do(store, "fs.extract", blob, str(tmp_path / "out")) == 5 + len(tree.parts) - 1
    again = tmp_path / "out" / str(tree).lstrip("/")
    assert (again / "sub" / "deep" / "odd\udcff").read_bytes() == b"o"
    for passage in (
        AllPermitted(denied=[f"{tmp_path}/two/{str(again / 'sub' / 'b').removeprefix(f'{tmp_path}/out/')}"]),
    ):
        with pytest.raises(DeniedError):
            await do(store, "fs.extract", blob, str(tmp_path / "two"), passage=passage)
    with pytest.raises(TooLargeError, match="more than 1000 bytes"):
        await do(store, "fs.extract", blob, str(tmp_path / "two"), 1000)
    with pytest.raises(ArgumentError, match=r"neither tar, tar\.gz nor zip"):
        await do(store, "fs.extract", store.put(b"text"), str(tmp_path / "two"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs", "out", "top"]
