"""Whatever comes of a program ends with it: daemons, sessions, bombs; and whoever of us is killed."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from living import Watched, children, lines, python, shell

from protocol.errors import BudgetError, UnavailableError
from stdlib.processes import tree
from stdlib.processes.limits import Limits
from stdlib.processes.start import Identity, Processes, Program, Stream

PIPE = Stream.PIPE
DAEMON = """
import os, sys, time
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            {}
            os.write(1, b"%d\\n" % os.getpid())
            time.sleep(300)
        os._exit(0)
    os.wait()
for _ in range(3): daemon()
{}
"""
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can run programs as another user")


@pytest.mark.parametrize("signals", ["pass", IGNORES])
async def test_daemons_end_when_the_program_ends(processes: Processes, signals: str) -> None:
    """Forked twice, each in a session of its own; also those that do not hear SIGTERM."""
    program = python(DAEMON.format(signals, "sys.stdin.readline()"), grace_s=0.2)
    process = await processes.start(program, stdin=PIPE, stdout=PIPE)
    watched = Watched(map(int, await lines(process, 3)))
    assert len(watched.alive()) == 3
    assert process.stdin is not None
    process.stdin.close()
    ended = await process.wait()
    assert (ended.code, ended.stragglers, ended.left) == (0, 3, 0)
    assert not watched.wait()
    await process.close()


async def test_daemons_end_when_the_program_is_given_up(processes: Processes) -> None:
    process = await processes.start(python(DAEMON.format("pass", "time.sleep(300)")), stdout=PIPE)
    watched = Watched([process.pid, *map(int, await lines(process, 3))])
    await process.close()
    assert not watched.wait()
    assert (await process.wait()).signal == signal.SIGKILL


async def test_a_tree_is_asked_before_it_is_killed(processes: Processes) -> None:
    """SIGTERM reaches it, also what is stopped; what answers in time ends by itself."""
    script = "trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.01; done"
    process = await processes.start(shell(script), stdout=PIPE)
    await lines(process, 1)
    process.signal(signal.SIGSTOP)
    process.kill_tree(grace_s=20)
    assert await lines(process, 1) == ["asked"]
    assert (await process.wait()).code == 7
    await process.close()


async def test_what_does_not_hear_is_killed_after_the_grace(processes: Processes) -> None:
    process = await processes.start(python(f"{IGNORES}\nprint(1, flush=True)\nwhile True: pass"), stdout=PIPE)
    await lines(process, 1)
    process.kill_tree(grace_s=0.1)
    assert (await process.wait()).signal == signal.SIGKILL
    await process.close()


async def test_a_signal_reaches_the_program_or_its_group(processes: Processes) -> None:
    script = (
        "trap 'echo group' USR1; (trap 'echo child; exit' USR1; echo up; while :; do sleep 0.01; done) & wait; wait"
    )
    process = await processes.start(shell(script), stdout=PIPE)
    await lines(process, 1)
    process.signal(signal.SIGUSR1, to_group=True)
    assert sorted(await lines(process, 2)) == ["child", "group"]
    await process.close()


BOMB = """
import os
{setup}
while True:
    try:
        if os.fork() == 0:
            {child}
    except OSError:
        pass
"""


@pytest.mark.parametrize("child", ["pass", "os.setsid()"])
@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=needs_root)])
async def test_a_fork_bomb_is_bounded_and_ends(processes: Processes, child: str, user: str | None) -> None:
    """Also one of which each process leads a session, and one of root, whom no limit of the kernel's holds."""
    entry = pwd.getpwnam(user) if user else None
    who = Identity(entry.pw_uid, entry.pw_gid) if entry else None
    bomb = python(BOMB.format(setup="", child=child), limits=Limits(processes=20), identity=who)
    process = await processes.start(bomb)
    spawner = processes.spawner_pid
    assert spawner is not None
    with pytest.raises(BudgetError, match="processes"):
        await process.wait()
    await process.close()
    assert not any(children(minder) for minder in children(spawner))


@needs_root
async def test_the_kernel_bounds_the_processes_of_an_ordinary_user(processes: Processes) -> None:
    """Between two looks of the minder as well."""
    nobody = pwd.getpwnam("nobody")
    source = """
import os, time
made = 0
try:
    for made in range(100_000):
        if os.fork() == 0:
            time.sleep(300)
except OSError as error:
    print(error.errno, flush=True)
    time.sleep(300)
"""
    limits = Limits(processes=300)
    process = await processes.start(
        python(source, identity=Identity(nobody.pw_uid, nobody.pw_gid), limits=limits), stdout=PIPE
    )
    assert process.stdout is not None
    told = await process.stdout.read()
    assert told in (b"11\n", b""), "EAGAIN, or the minder's look was quicker"
    await process.close()


AGENT = """
import asyncio, os
from stdlib.processes.start import Processes, Program, Stream
SOURCE = {source!r}
async def main():
    processes = Processes()
    process = await processes.start(
        Program({python!r}, ("python", "-I", "-S", "-c", SOURCE)), stdout=Stream.PIPE)
    kept = b""
    while kept.count(b"\\n") < 3:
        kept += await process.stdout.read()
    print(processes.spawner_pid, process.pid, kept.decode().replace("\\n", " "), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_all_ends_with_an_agent_that_is_killed() -> None:
    """SIGKILL of the agent: nobody can tell anybody anything, and still nothing is left."""
    source = AGENT.format(source=DAEMON.format(IGNORES, "time.sleep(300)"), python=sys.executable)
    agent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    pids = [int(each) for each in agent.stdout.readline().split()]
    watched = Watched([*pids, *children(pids[0])])
    assert len(watched.alive()) == 6, "spawner, minder, program and three daemons"
    agent.kill()
    agent.wait()
    agent.stdout.close()
    assert not watched.wait()


async def test_all_ends_with_a_spawner_that_is_killed(processes: Processes) -> None:
    """The caller hears it, and the next program starts by a new one."""
    process = await processes.start(python(DAEMON.format(IGNORES, "time.sleep(300)")), stdout=PIPE)
    spawner = processes.spawner_pid
    assert spawner is not None
    watched = Watched([process.pid, spawner, *children(spawner), *map(int, await lines(process, 3))])
    os.kill(spawner, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="looks after programs has ended"):
        await process.wait()
    await process.close()
    assert not watched.wait()
    again = await processes.start(Program("/bin/true", ("true",)))
    assert (await again.wait()).code == 0
    assert processes.spawner_pid not in (None, spawner)
    await again.close()


async def test_all_ends_with_a_minder_that_is_killed(processes: Processes) -> None:
    """A program of the same user can do that. What it leaves comes to the spawner."""
    process = await processes.start(python(DAEMON.format(IGNORES, "time.sleep(300)")), stdout=PIPE)
    spawner = processes.spawner_pid
    assert spawner is not None
    minders = children(spawner)
    watched = Watched([process.pid, *minders, *map(int, await lines(process, 3))])
    for minder in minders:
        os.kill(minder, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="looks after programs has ended"):
        await process.wait()
    await process.close()
    assert not watched.wait()
    again = await processes.start(Program("/bin/true", ("true",)))
    assert (await again.wait()).code == 0
    assert processes.spawner_pid == spawner
    await again.close()


async def test_a_program_cannot_outlive_its_minder_by_killing_it(processes: Processes) -> None:
    """The attack itself: the child of a killed minder is killed by the kernel, its children by the spawner."""
    source = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(300)
os.write(1, b"%d\\n" % os.getpid())
sys.stdin.readline()
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(300)
"""
    process = await processes.start(python(source), stdin=PIPE, stdout=PIPE)
    watched = Watched(map(int, await lines(process, 2)))
    assert len(watched) == 2
    assert process.stdin is not None
    await process.stdin.write(b"go\n")
    with pytest.raises(UnavailableError):
        await process.wait()
    await process.close()
    assert not watched.wait()


async def test_other_commands_are_spared_when_one_minder_is_killed(processes: Processes) -> None:
    """What the spawner ends is what was left behind, and nothing else."""
    kept = await processes.start(shell("sleep 300 & echo $!; wait"), stdout=PIPE)
    other = await processes.start(shell("sleep 300 & echo $!; wait"), stdout=PIPE)
    survivors = Watched([kept.pid, int((await lines(kept, 1))[0])])
    victims = Watched([other.pid, int((await lines(other, 1))[0])])
    parent = int(Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(UnavailableError):
        await other.wait()
    assert not victims.wait()
    await other.close()
    assert len(survivors.alive()) == 2
    kept.kill_tree()
    assert (await kept.wait()).signal == signal.SIGKILL
    await kept.close()
    assert not survivors.wait()


async def test_many_at_once_are_kept_apart(processes: Processes) -> None:
    """Each minder answers for its own tree."""

    async def one(number: int) -> tuple[int | None, int]:
        process = await processes.start(shell(f"sleep 300 & exit {number}", grace_s=5))
        ended = await process.wait()
        await process.close()
        return ended.code, ended.stragglers

    assert await asyncio.gather(*map(one, range(12))) == [(number, 1) for number in range(12)]


def test_a_tree_is_seen_without_the_kernel_s_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel can be built without them."""
    process = subprocess.Popen(["/bin/sh", "-c", "sleep 300 & wait"])
    try:
        own = os.getpid()
        while process.pid not in {parent for _, parent in tree.descendants()}:
            os.sched_yield()
        quick = set(tree.descendants())
        monkeypatch.setattr(tree, "_OWN", "/nowhere")
        assert process.pid in tree.own_children()
        assert set(tree.descendants()) == quick
        assert (process.pid, own) in quick
    finally:
        monkeypatch.undo()
        for pid, parent in reversed(list(tree.descendants())):
            tree.send(signal.SIGKILL, pid, parent)
        process.wait()


def test_a_number_that_belongs_to_somebody_else_gets_no_signal() -> None:
    """What was found below one parent and is now below another is a stranger."""
    process = subprocess.Popen(["sleep", "300"])
    try:
        assert not tree.send(signal.SIGKILL, os.getppid(), 999_999_999), "our parent is no child of that one"
        assert not tree.send(signal.SIGKILL, 999_999_999, os.getpid())
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


LEAVING = """
import os, signal, subprocess, types
import kernel
from stdlib.processes import minder, tree

kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
hear, tell = os.pipe()
program = subprocess.Popen(["/bin/sh", "-c", "sleep 300 >/dev/null 2>&1 & read go"], stdin=hear)
listed = tree.own_children


def just_before_the_end():
    tree.own_children = listed
    found = listed()
    os.write(tell, b"go\\n")
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    return found


while program.pid not in {parent for _, parent in tree.descendants()}:
    os.sched_yield()
tree.own_children = just_before_the_end
nobody = types.SimpleNamespace(hear=lambda timeout_s: ([], ""), kill_group=lambda: None)
run = types.SimpleNamespace(grace_ms=0, processes=16)
ended = minder.Command(nobody, run, program.pid, os.pidfd_open(program.pid)).attend()
left = listed()
for pid in left:
    os.kill(pid, signal.SIGKILL)
print(ended.stragglers, ended.left, len(left))
"""


def test_what_a_program_leaves_in_the_moment_of_its_end_is_ended() -> None:
    """The list of children is older than the end: whoever came to the minder in between is in no list yet."""
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", "0", "0"], done.stderr
