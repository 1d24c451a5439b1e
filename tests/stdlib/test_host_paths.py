"""Paths are decided on what was opened: links, magic links, ``..`` and races do not help."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import stdlib.paths
from protocol.errors import ArgumentError, NotFoundError, UnavailableError
from stdlib import at_once
from stdlib.paths import MAX_OPENINGS, Gone, real_of, resolve
from stdlib.places import place


def test_a_symlink_is_decided_on_its_target(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "innocent").symlink_to(tmp_path / "secret")
    with resolve(str(tmp_path / "innocent")) as target:
        assert target.real == str(tmp_path / "secret")
    with resolve(str(tmp_path / "innocent"), follow=False) as target:
        assert target.real == str(tmp_path / "innocent")


def test_dots_are_resolved(tmp_path: Path) -> None:
    with resolve(f"{tmp_path}/../../etc/hostname") as target:
        assert ".." not in target.real.split("/") or not target.exists


@pytest.mark.parametrize(
    "path", ["/proc/self/root/etc/passwd", "/proc/self/fd/0", "/proc/self/cwd/x", "/proc/self/exe"]
)
def test_magic_links_lead_nowhere(path: str) -> None:
    with pytest.raises(ArgumentError), resolve(path):
        pass


def test_a_missing_file_is_decided_below_what_exists(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with resolve(f"{tmp_path}/link/no/such") as target:
        assert not target.exists
        assert target.real == f"{tmp_path}/no/such"
        with pytest.raises(NotFoundError):
            target.status()


def test_a_dangling_link_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("/no/such/place")
    with resolve(str(tmp_path / "dangling")) as target:
        assert not target.exists


def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with resolve(str(tmp_path / "fifo")) as target, pytest.raises(ArgumentError), target.opened(os.O_RDONLY):
        pass


def test_swapping_links_never_reads_what_was_not_decided(tmp_path: Path) -> None:
    """Another process swaps a link while the call runs: what is read is always what the decision saw."""
    (tmp_path / "good").write_text("good")
    (tmp_path / "evil").write_text("evil")
    link, spare, stop = tmp_path / "link", tmp_path / "spare", threading.Event()
    link.symlink_to("good")

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            spare.symlink_to(("evil", "good")[turn % 2])
            spare.rename(link)
            turn += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(2000):
            with resolve(str(link)) as target, target.opened(os.O_RDONLY) as fd:
                name = target.real.rpartition("/")[2]
                assert os.pread(fd, 10, 0).decode() == name
                seen.add(name)
    finally:
        stop.set()
        swapper.join()
    assert seen == {"good", "evil"}, "the race did not happen: the test proves nothing"


class Replacer:
    """Somebody who replaces a file each time right after it was opened, as whoever writes it atomically may.

    Args:
        path: Of the file; what is put there tells the how manieth it is.
        most: So many times.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path, self.most, self.times = path, most, 0
        path.write_text("0")

    def __call__(self, directory: int, path: str, flags: int, **more: int) -> int:
        fd = stdlib.paths.__dict__["open_before"](directory, path, flags, **more)
        if path == str(self.path) and not more and self.times < self.most:
            self.times += 1
            spare = self.path.with_name("spare")
            spare.write_text(str(self.times))
            spare.rename(self.path)
        return int(fd)

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stdlib.paths, "open_before", stdlib.paths.open_at, raising=False)
        monkeypatch.setattr(stdlib.paths, "open_at", self)


def test_what_was_replaced_is_not_decided_on_by_a_name_that_no_rule_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel calls it ``key (deleted)``: a denial of ``key`` does not fit that, and an allowance of ``**`` does."""
    replacer = Replacer(tmp_path / "key", 3)
    replacer.put_in(monkeypatch)
    with resolve(str(tmp_path / "key")) as target, target.opened(os.O_RDONLY) as fd:
        assert target.real == str(tmp_path / "key")
        assert os.pread(fd, 10, 0) == b"3"  # of that name, it is the one that is there
    assert replacer.times == 3


def test_what_is_replaced_each_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Replacer(tmp_path / "key", MAX_OPENINGS).put_in(monkeypatch)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UnavailableError, match="again and again"), resolve(str(tmp_path / "key")):
        pass
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_is_called_deleted_is_there(tmp_path: Path) -> None:
    (tmp_path / "old (deleted)").write_text("x")
    with resolve(str(tmp_path / "old (deleted)")) as target:
        assert target.real == str(tmp_path / "old (deleted)")
        (tmp_path / "old (deleted)").unlink()
        with pytest.raises(Gone):
            real_of(target.fd)


def test_what_is_gone_is_left_to_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To see whether something is really called so needs a look that may wait."""
    (tmp_path / "old (deleted)").write_text("x")
    monkeypatch.setattr(at_once._mounts, "answers_at_once", lambda fd: True)
    monkeypatch.setattr(at_once, "_close_apart", os.close)
    at_once.learn()
    if not at_once._mounts.are_known:
        pytest.skip("no path is opened at once on this host")
    with pytest.raises(BlockingIOError), at_once.resolve_at_once(str(tmp_path / "old (deleted)")):
        pass


@pytest.fixture
def deep(tmp_path: Path) -> str:
    """The path of a file whose real path is longer than the kernel tells: through a link half-way down."""
    part = "/".join(["d" * 200] * 12)
    (tmp_path / part).mkdir(parents=True)
    (tmp_path / "half").symlink_to(part)
    half = os.open(tmp_path / part, os.O_DIRECTORY)
    try:
        for depth in range(12):
            os.mkdir("/".join(["d" * 200] * (depth + 1)), dir_fd=half)
        os.close(os.open(f"{part}/file", os.O_CREAT, dir_fd=half))
    finally:
        os.close(half)
    return f"{tmp_path}/half/{part}/file"


def test_a_real_path_that_cannot_be_told_costs_no_descriptor(deep: str) -> None:
    """Anybody may make such a directory; each look at it must not take something from the agent for ever."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(ArgumentError, match="real path cannot be told"), resolve(deep):
            pass
        with pytest.raises(ArgumentError, match="real path cannot be told"), place(deep, follow=True):
            pass
    assert len(os.listdir("/proc/self/fd")) <= before
