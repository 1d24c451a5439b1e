"""A script that may touch nothing learns nothing: whatever is at a path, a denial has the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running import gate

from policies.load import builtin
from protocol.errors import BudgetError, DeniedError
from protocol.tiers import Tier

CALLS = [
    ("fs.stat", lambda path: [path]), ("fs.read", lambda path: [path]), ("fs.write", lambda path: [path, "x"]),
    ("fs.list", lambda path: [path]), ("proc.exec", lambda path: [[path]]), ("proc.start", lambda path: [[path]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made"), CALLS, ids=[name for name, _ in CALLS])
async def test_no_denial_tells_what_there_is(tmp_path: Path, name: str, made: Any) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "loop").symlink_to("loop")
    one = gate(Tier.COMPUTE)
    told = set()
    for asked in ("there/../x", "missing/../x", "file", "file/x", "link", "loop", "loop/x", "n" * 300):
        reply = await one.call(name, made(f"{tmp_path}/{asked}"), {})
        assert isinstance(reply.error, DeniedError), reply
        told.add(str(reply.error).replace(f"{tmp_path}/{asked}"[:120], "PATH"))
    await one.close()
    assert told == {f"compute has no rule for {name} PATH (compute: no rule)"}


@pytest.mark.parametrize("name", ["fs.grep", "fs.archive"])
async def test_a_list_of_paths_is_as_long_as_files_may_be_open(tmp_path: Path, name: str) -> None:
    """It is refused before one of them is opened."""
    most = builtin(Tier.INSPECT).limits.open_files
    one = gate(Tier.INSPECT)
    reply = await one.call(name, [[f"{tmp_path}/missing"] * (most + 1), *(["x"] if name == "fs.grep" else [])], {})
    await one.close()
    assert isinstance(reply.error, BudgetError)
    assert reply.error.budget == "open_files"
