"""A file is changed in place through its handle, which is what was decided on, and not through one for reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running import AllPermitted, perform

from protocol.errors import ArgumentError, DeniedError, NotFoundError
from stdlib.catalogue import load
from stdlib.fs_open import File
from stdlib.host import Host, RunContext


def opened(name: str, path: Path, **named: Any) -> File:
    spec = load().find(name)
    assert spec is not None
    with spec.prepare(Host(), RunContext(), spec.bind([str(path)], named), AllPermitted()) as prepared:
        file: File = prepared.perform()
        assert [facts.path for facts in prepared.facts] == [str(path)] == [file.facts.path]
        return file


async def method(file: File, name: str, *args: Any) -> Any:
    return await perform(f"file.{name}", {"$handle": 1}, *args, passage=AllPermitted({1: file}))


async def test_a_part_is_changed_in_place(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    inode = path.stat().st_ino
    file = opened("fs.open_write", path)
    assert await method(file, "write", b"ab\xff", 3) == 6
    assert await method(file, "read", 2) == "67"
    await method(file, "truncate", 8)
    await method(file, "sync")
    await file.close()
    assert (path.read_bytes(), path.stat().st_ino) == (b"012ab\xff67", inode)
    with pytest.raises(NotFoundError):
        await method(file, "write", "x")


async def test_modes(tmp_path: Path) -> None:
    """w empties or makes, a goes to the end whatever is sought, r+ needs a file."""
    path = tmp_path / "f"
    with pytest.raises(NotFoundError):
        opened("fs.open_write", path)
    file = opened("fs.open_write", path, mode="w")
    await method(file, "write", "one")
    await file.close()
    file = opened("fs.open_write", path, mode="a")
    await method(file, "seek", 0)
    await method(file, "write", "two")
    await file.close()
    assert path.read_text() == "onetwo"
    await opened("fs.open_write", path, mode="w").close()
    assert path.read_text() == ""
    with pytest.raises(ArgumentError, match="mode"):
        opened("fs.open_write", path, mode="x")
    with pytest.raises(ArgumentError, match="path"):
        opened("fs.open_write", tmp_path)


@pytest.mark.parametrize(("name", "args"), [("write", ("x",)), ("truncate", (0,)), ("sync", ())])
async def test_what_was_opened_for_reading_is_not_written(tmp_path: Path, name: str, args: tuple[Any, ...]) -> None:
    path = tmp_path / "f"
    path.write_text("kept")
    file = opened("fs.open", path)
    with pytest.raises(DeniedError, match="reading only"):
        await method(file, name, *args)
    await file.close()
    assert path.read_text() == "kept"
