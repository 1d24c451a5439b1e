"""Opening and giving through the kernel: what is open is what it is done to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernel import files


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others give nothing away")
def test_what_is_given_is_the_open_object_itself(tmp_path: Path) -> None:
    """A link and not what it leads to, and no matter what has the name by then."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    fd = os.open(tmp_path / "link", os.O_PATH | os.O_NOFOLLOW)
    try:
        (tmp_path / "link").rename(tmp_path / "moved")
        (tmp_path / "link").write_text("another")
        files.give(fd, 12345, 4_000_000_000)
    finally:
        os.close(fd)
    given = (tmp_path / "moved").lstat()
    assert (given.st_uid, given.st_gid) == (12345, 4_000_000_000)
    assert {(tmp_path / name).lstat().st_uid for name in ("file", "link")} == {0}
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.give(fd, 0, 0)
