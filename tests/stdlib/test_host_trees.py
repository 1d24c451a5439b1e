"""Files of the host are read with a bound, and what is no regular file is not opened for longer than a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protocol.errors import UnavailableError
from stdlib import trees


def test_a_file_is_cut_at_the_bound_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one\ntwo\nthree\n")
    assert trees.read(str(path), 14) == (b"one\ntwo\nthree\n", False, 0)
    cut = trees.read(str(path), 10)
    assert (cut.data, cut.truncated) == (b"one\ntwo\nth", True)
    assert cut.text == "one\ntwo\n", "half a line could be taken for a whole one"
    assert trees.read(str(path), 6, from_end=True) == (b"three\n", True, 8)


def test_what_has_no_size_is_read_to_its_end() -> None:
    assert trees.read("/proc/meminfo", 1 << 20).data.startswith(b"MemTotal")
    assert trees.read("/proc/meminfo", 5).truncated


def test_neither_fifo_nor_device_nor_directory_is_read(tmp_path: Path) -> None:
    """A FIFO that nobody writes would hold the agent up for ever."""
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), "/dev/zero", str(tmp_path)):
        with pytest.raises(OSError):
            trees.read(path, 10)
        assert trees.value(path) is None


def test_a_link_is_followed_only_where_asked(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to("secret")
    assert trees.read(str(tmp_path / "link"), 10).data == b"x"
    with pytest.raises(OSError):
        trees.read(str(tmp_path / "link"), 10, follow=False)


def test_values(tmp_path: Path) -> None:
    for name, content in {"text": b" a b \n", "number": b"12\n", "none": b"\n", "odd": b"x\xff\n"}.items():
        (tmp_path / name).write_bytes(content)
    assert trees.value(str(tmp_path / "text")) == "a b"
    assert trees.value(str(tmp_path / "odd")) == "x\udcff"
    assert trees.number(str(tmp_path / "number")) == 12
    for name in ("none", "missing"):
        assert trees.value(str(tmp_path / name)) is None
    assert trees.number(str(tmp_path / "text")) is None
    assert trees.names(str(tmp_path)) == ["none", "number", "odd", "text"]
    assert trees.names(str(tmp_path / "missing")) == []


def test_missing_is_told_from_unreadable(tmp_path: Path) -> None:
    assert trees.text_or_nothing(str(tmp_path / "missing"), 10) == ""
    with pytest.raises(UnavailableError, match="No such file"):
        trees.text_of(str(tmp_path / "missing"), 10)
    with pytest.raises(UnavailableError, match="cannot be read"):
        trees.text_or_nothing(str(tmp_path), 10)


def test_settings() -> None:
    text = 'ID=debian\nNAME="Debian GNU/Linux"\n# A=b\n\nnothing\nX=\'a=b\'\nQ="\n'
    assert trees.settings(text) == {"ID": "debian", "NAME": "Debian GNU/Linux", "X": "a=b", "Q": '"'}
