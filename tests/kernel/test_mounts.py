"""Which objects answer at once is told by the mount they were opened on, and only while no mount has come or gone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from mounting import told

from kernel.mounts import LOOK_S, MAX_BYTES, MAX_KEPT, Mounts, _Numbers, local_mounts

LOCAL = b"1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
TMPFS = b"2 1 0:23 / /run rw - tmpfs tmpfs rw,size=24684084k\n"


@pytest.mark.parametrize(
    ("more", "local"),
    [
        (TMPFS, {1, 2}),
        (b"2 1 0:23 / /home/u/x rw - fuse.sshfs u@h rw\n", {1}),
        (b"2 1 0:23 / /home/u/x rw - fuse.tmpfs tmpfs rw\n", {1}),
        (b"2 1 0:23 / /home/u/\\040-\\040tmpfs rw - fuse tmpfs rw\n", {1}),
        (b"2 1 0:23 / /home/u/x\r3 rw - fuse tmpfs rw\n", {1}),
        (b"2 1 0:23 / /home/u/\rx rw - fuse tmpfs rw\n", {1}),
        (b"2 1 0:23 / /merged rw master:1 propagate_from:2 - overlay overlay rw,lowerdir=/l\n", {1}),
        (b"2 1 0:23 / /media rw - fuseblk /dev/sdb1 rw\n", {1}),
        (b"2 1 0:23 / /data rw - a-type-of-tomorrow /dev/sdb1 rw\n", {1}),
        (b"2 1 0:23 / /srv rw - nfs4 server:/srv rw\n", set()),
        (b"2 1 0:23 / /srv rw - nfs server:/srv rw\n", set()),
        (b"2 1 0:23 / /host rw - 9p share rw\n", set()),
        (b"no line of a list of mounts\n", set()),
        (b"\n", set()),
    ],
)
def test_what_is_local(more: bytes, local: set[int]) -> None:
    """Types that are known to answer from memory; nothing at all where a path may ask somebody."""
    assert local_mounts(LOCAL + more) == local


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_answers_before_the_first_look(tmp_path: Path) -> None:
    """Whatever it is."""
    mounts = Mounts()
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert (mounts.are_known, mounts.answers_at_once(fd)) == (False, False)
    finally:
        os.close(fd)


def test_the_kernel_s_own_files_do_not_answer_at_once() -> None:
    """They are made while they are read."""
    mounts = Mounts()
    mounts.look()
    fd = os.open("/proc/self/stat", os.O_PATH)
    try:
        assert not mounts.answers_at_once(fd)
    finally:
        os.close(fd)


def test_a_descriptor_that_is_closed_is_an_error(tmp_path: Path) -> None:
    """Not the mount of something else."""
    mounts = Mounts()
    mounts.look()
    fd = os.open(tmp_path, os.O_PATH)
    os.close(fd)
    with pytest.raises(FileNotFoundError):
        mounts.answers_at_once(fd)


def test_what_is_told_is_of_what_is_open_now(tmp_path: Path) -> None:
    """Not of what was open under the same number before; and of nothing, once that is closed."""
    numbers, fd = _Numbers(), os.open(tmp_path, os.O_PATH)
    try:
        assert numbers.of(fd) == numbers.of(fd) == _told_of(fd)
        other = os.open("/proc", os.O_PATH)
        os.dup2(other, fd)
        os.close(other)
        assert numbers.of(fd) == _told_of(fd)
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        numbers.of(fd)


def _told_of(fd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def test_a_child_is_told_of_its_own(tmp_path: Path) -> None:
    """What its parent keeps tells of the parent's."""
    numbers, fd = _Numbers(), os.open(tmp_path, os.O_PATH)
    numbers.of(fd)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:  # pragma: no cover - in the child
        try:
            other = os.open("/proc", os.O_PATH)
            os.dup2(other, fd)
            os.write(write, b"%d %d" % (numbers.of(fd), _told_of(fd)))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    told_there, really = os.read(read, 64).split()
    for descriptor in (read, write, fd):
        os.close(descriptor)
    assert told_there == really


def _tell_of(descriptors: list[int]) -> set[tuple[str, str]]:
    """Return what is open in this process that tells of them: its number and where that leads to."""
    lead_to = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the list's own, or somebody's who let go of it just then
            lead_to.append((name, os.readlink(f"/proc/self/fd/{name}")))
    ends = tuple(f"/fdinfo/{number}" for number in descriptors)
    return {(name, path) for name, path in lead_to if path.endswith(ends)}


@pytest.mark.usefixtures("descriptors_kept")
def test_few_are_kept_and_all_are_closed(tmp_path: Path) -> None:
    """However many numbers come up."""
    numbers, opened = _Numbers(), [os.open(tmp_path, os.O_PATH) for _ in range(2 * MAX_KEPT)]
    others = _tell_of(opened)  # of whoever had these numbers before
    assert len({numbers.of(fd) for fd in opened}) == 1
    assert len(_tell_of(opened) - others) == MAX_KEPT
    del numbers
    assert _tell_of(opened) <= others
    for fd in opened:
        os.close(fd)


def test_it_is_read_once_while_nothing_changes(tmp_path: Path) -> None:
    """A list that cannot be read is an error, and the next look is not at once."""
    file, clock = tmp_path / "mounts", Clock()
    mounts = Mounts(str(file), clock)
    with pytest.raises(FileNotFoundError):
        mounts.look()
    file.write_bytes(LOCAL)
    mounts.look()
    assert not mounts.are_known
    clock.now += LOOK_S
    mounts.look()
    assert mounts.are_known
    file.write_bytes(b"")
    clock.now += LOOK_S
    mounts.look()
    assert mounts.are_known


def test_a_list_without_end_makes_nothing_local(tmp_path: Path) -> None:
    """Bounded: who may mount could make it as long as they like."""
    file = tmp_path / "mounts"
    file.write_bytes(TMPFS * (MAX_BYTES // len(TMPFS) + 2000))
    mounts = Mounts(str(file))
    mounts.look()
    assert not mounts.are_known


@pytest.mark.usefixtures("descriptors_kept")
def test_it_closes_what_it_read() -> None:
    """When nobody needs it any more."""
    mounts = Mounts()
    mounts.look()
    del mounts


REPLACED = """
from kernel.mounts import Mounts
now = [0.0]
mounts = Mounts(clock=lambda: now[0])
counts = []
for turn in range(20):
    mounts.look()
    assert mounts.are_known
    mount(f"{sys.argv[1]}/{turn}", "tmpfs")
    assert not mounts.are_known
    now[0] += 1.0
    counts.append(len(os.listdir("/proc/self/fd")))
print(json.dumps(counts))
"""


def test_a_list_that_was_replaced_is_closed(tmp_path: Path) -> None:
    """However often mounts come and go."""
    counts = told(REPLACED, str(tmp_path))
    assert counts == [counts[0]] * len(counts)


CHANGED = """
from kernel.mounts import Mounts
place, now = sys.argv[1] + "/m", [0.0]
mount(place, "tmpfs")
mounts = Mounts(clock=lambda: now[0])
mounts.look()
fd = os.open(place, os.O_PATH)
found = [mounts.answers_at_once(fd)]
mount(sys.argv[1] + "/other", "tmpfs")
found.append(mounts.answers_at_once(fd))
mounts.look()  # too soon
found.append(mounts.answers_at_once(fd))
now[0] += 1.0
mounts.look()
found.append(mounts.answers_at_once(fd))
print(json.dumps(found))
"""


def test_what_was_seen_counts_until_a_mount_comes_or_goes(tmp_path: Path) -> None:
    """And is read again after a while, not at each change."""
    assert told(CHANGED, str(tmp_path)) == [True, False, False, True]


AGAIN = """
from kernel.mounts import Mounts, _Numbers
_mount_of = _Numbers().of
place = sys.argv[1] + "/m"
mount(place, "tmpfs")
mounts = Mounts()
mounts.look()
fd = os.open(place, os.O_PATH)
first, before = _mount_of(fd), mounts.answers_at_once(fd)
os.close(fd)
for _ in range(1000):  # until the number is given again
    unmount(place)
    fuse = Fuse(place)
    fd = os.open(place, os.O_PATH)
    if _mount_of(fd) == first:
        break
    os.close(fd)
    fuse.end()
print(json.dumps([before, _mount_of(fd) == first, mounts.answers_at_once(fd)]))
fuse.end()
"""


def test_a_number_that_is_given_again_is_another_mount(tmp_path: Path) -> None:
    """A server of one's own in place of a file system in memory, under the very same number."""
    assert told(AGAIN, str(tmp_path)) == [True, True, False]


MOVED = """
from kernel.mounts import Mounts
place = sys.argv[1]
os.mkdir(f"{place}/a")
fuse = Fuse(f"{place}/a/m")
mounts = Mounts()
mounts.look()
os.rename(f"{place}/a", f"{place}/b")  # which changes no mount
known = mounts.are_known
fd = os.open(f"{place}/b/m", os.O_PATH)
print(json.dumps([known, mounts.answers_at_once(fd)]))
fuse.end()
"""


def test_a_mount_below_a_directory_with_a_new_name_stays_what_it_is(tmp_path: Path) -> None:
    """Its path is now one that the list does not have; by its path it would be taken for what is around it."""
    assert told(MOVED, str(tmp_path)) == [True, False]
