"""Wall ``privileges`` alone: what root could do, its workers cannot, and they can gain nothing back."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from arena import attack, errno_behind, only

from sandbox.jail.builder import DEFAULT_ID, NOBODY
from sandbox.jail.identity import unshared
from sandbox.jail.trial import in_child
from sandbox.jail.walls import PRIVILEGES

READ_MEMORY = "import os, sys; os.setresuid(65534, 65534, 65534); open(f'/proc/{sys.argv[1]}/mem', 'rb')"


@pytest.mark.needs_root
async def test_a_file_of_root_cannot_be_read(secret_file: str) -> None:
    """The worker is nobody, also if the agent is root."""
    assert await errno_behind((PRIVILEGES,), "open_file", secret_file) == errno.EACCES
    assert await errno_behind((), "open_file", secret_file) == 0


@pytest.mark.needs_root
async def test_root_cannot_be_regained() -> None:
    """All three user ids are gone, and so is the right to change them."""
    assert await errno_behind((PRIVILEGES,), "become_root") == errno.EPERM
    assert await errno_behind((), "become_root") == 0


@pytest.mark.needs_root
async def test_a_capability_is_gone() -> None:
    """Renaming the host needs one."""
    name = os.uname().nodename
    assert await errno_behind((PRIVILEGES,), "set_host_name", name) == errno.EPERM
    assert await errno_behind((), "set_host_name", name) == 0


@pytest.mark.needs_root
async def test_a_setuid_program_gives_nothing(open_directory: Path) -> None:
    """no_new_privs: with it, ``true`` owned by root runs as nobody; here the program tells by its exit status."""
    program = open_directory / "whoami"
    source = open_directory / "whoami.c"
    source.write_text("#include <unistd.h>\nint main(void) { return geteuid() == 0 ? 42 : 7; }\n")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to make a setuid program with")
    subprocess.run([compiler, "-static", "-o", str(program), str(source)], check=True)
    program.chmod(0o4755)
    behind = await attack(only(PRIVILEGES), "run_program", str(program))
    without = await attack(only(), "run_program", str(program))
    assert behind.result == {"errno": 0, "value": 7}
    assert without.result == {"errno": 0, "value": 42}


async def test_the_kernel_says_the_same() -> None:
    """No capability in any set, and none to be gained."""
    told = (await attack(only(PRIVILEGES), "status")).result
    if told["errno"]:  # its own /proc is closed to a worker that is not dumpable, as it is to neighbours
        assert told["errno"] in (errno.EACCES, errno.EPERM)
    else:
        sets = {told["value"][name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
        assert sets == {"0000000000000000"}
        assert told["value"]["NoNewPrivs"] == "1"


@pytest.mark.needs_root
async def test_the_identity_is_one_that_nobody_has_in_every_place() -> None:
    """Real, effective and saved ids, and no supplementary group."""
    for wanted, number in ((None, unshared().uid), (NOBODY, DEFAULT_ID)):
        options = replace(only(PRIVILEGES), identity=wanted)
        told = (await attack(options, "identity")).result["value"]
        assert told["uid"] == [number] * 3
        assert told["gid"] == [number] * 3
        assert told["groups"] == []
    assert (await attack(only(), "identity")).result["value"]["uid"] == [0, 0, 0]


@pytest.mark.needs_root
@pytest.mark.parametrize(("walls", "can_read"), [((PRIVILEGES,), False), ((), True)])
def test_a_neighbour_of_the_same_user_cannot_read_the_memory(walls: tuple[str, ...], can_read: bool) -> None:
    """Two daemons that both run as nobody must not see into each other."""
    import kernel
    from sandbox.jail import privileges  # here, in the test that forks

    reading, writing = os.pipe()
    ready, wait = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(DEFAULT_ID, DEFAULT_ID, DEFAULT_ID)
        privileges.open_own_proc()
        if walls:
            kernel.make(privileges.close_memory())
        os.write(wait, b"x")
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.read(ready, 1)
    looked = in_child(lambda say: say(_look(child)))
    for descriptor in (reading, writing, ready, wait):
        os.close(descriptor)
    os.waitpid(child, 0)
    assert looked.told == ["read" if can_read else "refused"], looked


def _look(pid: int) -> str:
    os.setresuid(DEFAULT_ID, DEFAULT_ID, DEFAULT_ID)
    import kernel

    kernel.capset_none()
    try:
        with open(f"/proc/{pid}/mem", "rb"):
            return "read"
    except PermissionError:
        return "refused"


def test_a_worker_dies_with_its_parent() -> None:
    """The parent-death signal is set last, since a change of user takes it away."""
    source = (
        "import os, signal\n"
        "import kernel\nfrom sandbox.jail import privileges\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    kernel.make(privileges.die_with_parent()); print(os.getpid(), flush=True); signal.pause()\n"
        "os.read(0, 1); os._exit(0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        parent.communicate(b"x")
    import select

    assert select.select([pidfd], [], [], 10)[0], "it outlived its parent"
    os.close(pidfd)
