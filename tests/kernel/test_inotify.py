"""The binding of inotify: what the kernel writes is read as it is, and what it refuses is an error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kernel import inotify
from kernel.inotify import Event


def test_events_of_a_directory(tmp_path: Path) -> None:
    descriptor, target = inotify.start(), os.open(tmp_path, os.O_PATH)
    try:
        assert inotify.read(descriptor) == []
        number = inotify.watch(descriptor, target, inotify.IN_CREATE | inotify.IN_DELETE_SELF)
        (tmp_path / "caf\udce9").touch()
        (tmp_path / "folder").mkdir()
        assert inotify.read(descriptor) == [
            Event(number, inotify.IN_CREATE, "caf\udce9"),
            Event(number, inotify.IN_CREATE | inotify.IN_ISDIR, "folder"),
        ]
        inotify.unwatch(descriptor, number)
        assert inotify.read(descriptor) == [Event(number, inotify.IN_IGNORED, "")]
        with pytest.raises(OSError, match="inotify_rm_watch") as caught:
            inotify.unwatch(descriptor, number)
        assert caught.value.errno == errno.EINVAL
    finally:
        os.close(target)
        os.close(descriptor)


def test_what_cannot_be_watched_is_an_error() -> None:
    descriptor = inotify.start()
    try:
        with pytest.raises(OSError, match="inotify_add_watch"):
            inotify.watch(descriptor, 10_000, inotify.IN_CREATE)
    finally:
        os.close(descriptor)
