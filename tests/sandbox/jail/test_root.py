"""Wall ``mount_ns`` alone: no name leads to a file."""

from __future__ import annotations

import errno
from pathlib import Path

from arena import attack, errno_behind, only

from sandbox.jail import root
from sandbox.jail.walls import MOUNT_NS


async def test_a_file_of_the_host_cannot_be_opened(public_file: str) -> None:
    """Though everybody may read it."""
    assert await errno_behind((MOUNT_NS,), "open_file", public_file) == errno.ENOENT
    assert await errno_behind((), "open_file", public_file) == 0


async def test_a_file_of_the_host_cannot_be_removed(public_file: str) -> None:
    """Though everybody may write its directory."""
    assert await errno_behind((MOUNT_NS,), "unlink", public_file) == errno.ENOENT
    assert Path(public_file).exists()
    assert await errno_behind((), "unlink", public_file) == 0
    assert not Path(public_file).exists()


async def test_the_root_is_empty_and_takes_nothing() -> None:
    """Nothing to read, nowhere to leave something for the next run."""
    assert (await attack(only(MOUNT_NS), "list_root")).result == {"errno": 0, "value": []}
    assert await errno_behind((MOUNT_NS,), "make_file", "/left") == errno.EROFS
    assert "etc" in (await attack(only(), "list_root")).result["value"]


def mounted() -> list[str]:
    """What is mounted where the zygote mounts something; elsewhere the host does as it likes meanwhile."""
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if line.split()[1] in ("/", *root._PLACES)]


async def test_nothing_is_mounted_on_the_host() -> None:
    """What the zygote mounts must not spread."""
    before = mounted()
    await attack(only(MOUNT_NS), "list_root")
    assert mounted() == before
