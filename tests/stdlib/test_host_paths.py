"""Paths are decided on what was opened: links, magic links, ``..`` and races do not help."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from protocol.errors import ArgumentError, NotFoundError
from stdlib.paths import resolve


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
