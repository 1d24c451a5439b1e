"""Wall ``cgroup``: where a process may make a group, what is limited in it, and that nothing is left behind."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from arena import LIMITS, attack, gate, native, only

from kernel import groups
from sandbox.jail import cgroup
from sandbox.jail.cgroup import Limits
from sandbox.jail.trial import in_child
from sandbox.jail.walls import CGROUP, State
from sandbox.launch import Sandbox

MIB = 1024 * 1024
SMALL = Limits(64 * MIB, processes=1)


def leaves_nothing() -> None:
    """No group of ours is empty for long: the kernel lets one be removed a moment after its last process has ended.

    Those of other sandboxes on this machine have their workers in them.
    """
    ends = time.monotonic() + 10.0
    while stale():
        assert time.monotonic() < ends, stale()
        cgroup.remove_stale()
        os.sched_yield()


def stale() -> list[Path]:
    here = groups.here()
    left = [group for place in here for group in place.own.glob(f"{cgroup.PREFIX}*")]
    makers = [(group, group.name.removeprefix(cgroup.PREFIX)) for group in left]  # those of commands have a word more
    return [group for group, pid in makers if pid.isdigit() and not Path(f"/proc/{pid}").exists() and is_empty(group)]


def is_empty(group: Path) -> bool:
    try:
        return not (group / "cgroup.procs").read_text()
    except FileNotFoundError:  # somebody else has removed it meanwhile
        return False


def had() -> str | None:
    """What can be had here; None if nothing can."""
    trial = in_child(lambda say: say(cgroup.enter(SMALL)))
    cgroup.remove_stale()
    return trial.told[0] if trial.told else None


needs_group = pytest.mark.skipif(had() is None, reason="no control group can be made here by this user")


def tree(root: Path, controllers: str = "cpuset cpu io memory pids") -> tuple[Path, Path]:
    """Make what a delegated service of version 2 looks like; return its group and the one of its main process."""
    service = root / "outrider.service"
    own = service / "agent"
    own.mkdir(parents=True)
    for directory in (service, own):
        (directory / "cgroup.controllers").write_text(controllers)
        (directory / "cgroup.subtree_control").write_text("")
    return service, own


def enter_in(root: Path, own: Path, monkeypatch: pytest.MonkeyPatch, *, delegated: bool = True) -> str:
    """Enter below a directory that stands for the tree: what the kernel makes of a new group is made by hand."""
    own_groups, mounts = root / "cgroup", root / "mountinfo"
    own_groups.write_text(f"0::/{own.relative_to(root)}\n")
    mounts.write_text(f"41 31 0:38 / {root} rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(groups, "_OWN", own_groups)
    monkeypatch.setattr(groups, "_MOUNTS", mounts)
    monkeypatch.setattr(groups, "is_delegated", lambda directory: delegated and directory == own.parent)
    make = cgroup._make

    def make_with_files(directory: Path) -> Path:
        make(directory)
        for file in ("memory.max", "pids.max", "cpu.weight", "cgroup.procs"):
            (directory / file).write_text("")
        return directory

    monkeypatch.setattr(cgroup, "_make", make_with_files)
    return cgroup.enter(Limits(MIB, 7))


def test_a_delegated_service_gets_a_group_beside_its_main_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that has processes cannot give its children controllers."""
    service, own = tree(tmp_path)
    assert enter_in(tmp_path, own, monkeypatch) == "cpu, memory, pids (version 2)"
    made = service / f"outrider-{os.getpid()}"
    assert (made / "memory.max").read_text() == str(MIB)
    assert (made / "pids.max").read_text() == "7"
    assert (made / "cpu.weight").read_text() == "50"
    assert (made / "cgroup.procs").read_text() == "0"
    assert (service / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_beside_a_group_that_was_not_delegated_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root could, and would meddle with a tree that is somebody else's; below the own group it may."""
    service, own = tree(tmp_path)
    enter_in(tmp_path, own, monkeypatch, delegated=False)
    assert (service / "cgroup.subtree_control").read_text() == ""
    assert not list(service.glob("outrider-*"))
    assert list(own.glob("outrider-*"))


def test_without_memory_and_pids_there_is_no_wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of the CPU alone would bound nothing."""
    service, own = tree(tmp_path, "cpu io")
    with pytest.raises(OSError, match="no controller for memory and pids"):
        enter_in(tmp_path, own, monkeypatch)
    assert not list(service.glob("outrider-*"))


def test_what_was_made_in_vain_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refused a limit: nothing was entered, nothing stays."""
    _, own = tree(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "no such limit")

    monkeypatch.setattr(cgroup, "_limit", refuse)
    removed: list[str] = []
    monkeypatch.setattr(Path, "rmdir", lambda self: removed.append(self.name))  # not empty here, as it would be there
    with pytest.raises(OSError, match="no such limit"):
        enter_in(tmp_path, own, monkeypatch)
    assert removed == [f"outrider-{os.getpid()}"]


def test_only_stale_groups_of_ours_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never another program's, nor one whose maker may be about to enter it."""
    service, own = tree(tmp_path)
    names = ["outrider-999999999", f"outrider-{os.getpid()}", "outrider-agent.service", "other-1"]
    for name in names:
        (service / name).mkdir()
    (tmp_path / "cgroup").write_text(f"0::/{own.relative_to(tmp_path)}\n")
    (tmp_path / "mountinfo").write_text(f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(groups, "_OWN", tmp_path / "cgroup")
    monkeypatch.setattr(groups, "_MOUNTS", tmp_path / "mountinfo")
    cgroup.remove_stale()
    assert [name for name in names if (service / name).exists()] == names[1:]


@needs_group
def test_processes_are_bounded() -> None:
    """By the kernel, for all that are in it together."""

    def start(say: object) -> None:
        cgroup.enter(SMALL)
        try:
            child = os.fork()
        except OSError as error:
            os._exit(error.errno or 0)
        os._exit(0 if child else 1)

    assert in_child(start).status == errno.EAGAIN
    leaves_nothing()


@needs_group
def test_memory_is_bounded() -> None:
    """Whoever goes over it is killed."""

    def fill(say: object) -> None:
        cgroup.enter(SMALL)
        held = bytearray(SMALL.memory_bytes * 2)
        os._exit(len(held) % 7)

    assert in_child(fill).status == -9
    leaves_nothing()


@needs_group
async def test_workers_are_in_the_group_and_the_agent_is_not() -> None:
    """It bounds scripts, not who looks after them."""
    before = Path("/proc/self/cgroup").read_text()
    sandbox = await Sandbox.start(bindings=[], options=only(CGROUP))
    try:
        assert {wall.name: wall.state for wall in sandbox.walls}[CGROUP] is State.UP
        zygote = sandbox.zygote_pid
        assert f"/{cgroup.PREFIX}" in Path(f"/proc/{zygote}/cgroup").read_text()
        assert (await sandbox.run(native("host_name"), gate(), LIMITS)).status == "ok"
    finally:
        await sandbox.close()
    assert Path("/proc/self/cgroup").read_text() == before
    leaves_nothing()


async def test_without_the_wall_there_is_no_group() -> None:
    """So the test above sees the wall and nothing else."""
    outcome = await attack(only(), "group")
    assert f"/{cgroup.PREFIX}" not in outcome.result["value"]
