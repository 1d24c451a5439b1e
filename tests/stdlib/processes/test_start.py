"""Programs that are started: what they get, how they end, what is told when they cannot be."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import resource
import signal
import struct
import time
from pathlib import Path

import pytest
import uvloop
from living import GONE_S, Watched, children, lines, python, rest, shell

import kernel
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError, UnavailableError
from stdlib.processes import spawning
from stdlib.processes.limits import OOM_SCORE, Limits
from stdlib.processes.start import ENVIRONMENT, Identity, Processes, Program, Stream

PIPE = Stream.PIPE
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can run programs as another user")


async def test_a_program_runs_and_its_end_is_told(processes: Processes) -> None:
    process = await processes.start(shell("echo out; echo err >&2; exit 3"), stdout=PIPE, stderr=PIPE)
    assert process.stderr is not None
    assert await rest(process) == b"out\n"
    assert await process.stderr.read() == b"err\n"
    ended = await process.wait()
    assert (ended.code, ended.signal, ended.stragglers, ended.left) == (3, None, 0, 0)
    assert ended.peak_bytes > 100_000
    assert not process.signal(signal.SIGTERM), "it has ended: nobody is meant any more"
    await process.close()


async def test_a_signal_that_ended_it_is_told(processes: Processes) -> None:
    process = await processes.start(shell("kill -USR1 $$"))
    ended = await process.wait()
    assert (ended.code, ended.signal) == (None, signal.SIGUSR1)
    await process.close()


async def test_it_inherits_nothing_of_ours(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor, no variable, no ignored or blocked signal, no directory, no terminal."""
    monkeypatch.setenv("SECRET", "x")
    ignored = ctypes.create_string_buffer(struct.pack("P24x", signal.SIG_IGN))
    kernel.syscall("rt_sigaction", 32, ctypes.addressof(ignored), 0, 8)  # some who start us do so; it lasts over exec
    script = (
        "cd /; ls -l /proc/self/fd | wc -l; env; pwd; umask; "
        "grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status; cat /proc/self/oom_score_adj"
    )
    try:
        process = await processes.start(shell(script), stdout=PIPE)
    finally:
        kernel.hear_libc_signals()
    told = (await rest(process)).decode().splitlines()
    await process.close()
    assert int(told[0]) == 5, "a heading, the three, and the one by which ls reads"
    names = {line.partition("=")[0] for line in told[1:-6]}
    assert names - {"PWD", "OLDPWD", "_"} == set(ENVIRONMENT)
    assert told[-6:-4] == ["/", "0022"]
    fields = dict(line.split(":\t") for line in told[-4:-1])
    assert int(fields["SigBlk"], 16) == 0
    assert int(fields["SigIgn"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert int(told[-1]) >= OOM_SCORE


async def test_it_leads_a_session_of_its_own(processes: Processes) -> None:
    process = await processes.start(python("import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"), stdout=PIPE)
    assert {int(each) for each in (await rest(process)).split()} == {process.pid}
    await process.close()


async def test_its_limits_hold(processes: Processes) -> None:
    """What is asked, and core files never."""
    source = "import resource as r; print([r.getrlimit(k)[0] for k in (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_AS)])"
    wanted = Limits(memory_bytes=1 << 30, descriptors=77)
    process = await processes.start(python(source, limits=wanted), stdout=PIPE)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = 1 << 30 if hard == resource.RLIM_INFINITY else min(hard, 1 << 30)
    assert await rest(process) == f"[0, 77, {memory}]\n".encode()
    await process.close()


async def test_a_spinning_program_meets_its_cpu_limit(processes: Processes) -> None:
    process = await processes.start(python("while True: pass", limits=Limits(cpu_s=1)))
    ended = await process.wait()
    assert ended.signal in (signal.SIGXCPU, signal.SIGKILL)
    assert 0.3 < ended.cpu_s < 3, "the kernel counts whole ticks"
    await process.close()


async def test_what_it_reads_is_written_as_fast_as_it_reads(processes: Processes) -> None:
    """More than any pipe holds goes through, and comes back whole."""
    data = os.urandom(1 << 20)
    process = await processes.start(Program("/bin/cat", ("cat",)), stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    reading = asyncio.ensure_future(rest(process))
    await process.stdin.write(data)
    process.stdin.close()
    assert await reading == data
    assert (await process.wait()).code == 0
    with pytest.raises(ConflictError, match="closed"):
        await process.stdin.write(b"x")
    await process.close()


async def test_a_program_that_never_reads_is_told_of(processes: Processes) -> None:
    """The writer waits while it lives, and hears of its end."""
    process = await processes.start(shell("exec 0<&-; echo closed; sleep 300"), stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    await lines(process, 1)
    with pytest.raises(ConflictError, match="closed its input"):
        await process.stdin.write(bytes(1 << 20))
    await process.close()
    process = await processes.start(shell("sleep 300"), stdin=PIPE)
    assert process.stdin is not None
    writing = asyncio.ensure_future(process.stdin.write(bytes(1 << 20)))
    done, _ = await asyncio.wait([writing], timeout=0.05)
    assert not done, "nobody reads, so it must wait"
    await process.close()
    with pytest.raises(ConflictError):
        await writing


async def test_output_without_end_costs_no_memory(processes: Processes) -> None:
    """Nothing is read before somebody wants it; the program waits."""
    process = await processes.start(Program("/usr/bin/yes", ("yes",)), stdout=PIPE)
    assert process.stdout is not None
    assert len(await process.stdout.read(1000)) == 1000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(500):
        assert await process.stdout.read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10, "KiB; 30 MiB went through"
    await process.close()
    assert (await process.wait()).signal in (signal.SIGKILL, signal.SIGPIPE)


async def test_only_one_may_wait_for_a_stream(processes: Processes) -> None:
    process = await processes.start(shell("sleep 300"), stdout=PIPE)
    assert process.stdout is not None
    first = asyncio.ensure_future(process.stdout.read())
    await asyncio.sleep(0)
    with pytest.raises(ConflictError):
        await process.stdout.read()
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(process.stdout.read())
    await asyncio.sleep(0)
    await process.close()
    assert await second == b""


@pytest.mark.parametrize(
    ("program", "error", "told"),
    [
        (Program("/nowhere/it", ("it",)), NotFoundError, "/nowhere/it: No such file"),
        (Program("/etc/passwd", ("it",)), DeniedError, "/etc/passwd: Permission denied"),
        (Program("/usr", ("it",)), DeniedError, "/usr: Permission denied"),
        (Program("/bin/true", ("it",), directory="/nowhere"), NotFoundError, "/nowhere: No such file"),
        (Program("/bin/true", ("it",), directory="/etc/passwd"), NotFoundError, "/etc/passwd: Not a directory"),
        (Program("/bin/true", ("x" * 200_000,)), ArgumentError, "longer than 128 KiB"),
        (Program("/bin/true", ("a\0b",)), ArgumentError, "NUL"),
        (Program("/bin/true", ()), ArgumentError, "there is none"),
        (Program("/bin/true", ("it",), environment={"a=b": "c"}), ArgumentError, "equals sign"),
    ],
)
async def test_what_cannot_be_started_is_told_exactly(
    processes: Processes, program: Program, error: type[Exception], told: str
) -> None:
    """And the next one starts all the same."""
    with pytest.raises(error, match=told):
        await processes.start(program)
    process = await processes.start(Program("/bin/true", ("true",)))
    assert (await process.wait()).code == 0
    await process.close()


async def test_a_file_that_is_no_program_is_told(processes: Processes, tmp_path: Path) -> None:
    for name, text, error in (("text", "hello", ArgumentError), ("lost", "#!/nowhere/sh\n", NotFoundError)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        with pytest.raises(error, match=name):
            await processes.start(Program(str(path), (name,)))


@needs_root
async def test_root_can_run_it_as_another_user(processes: Processes) -> None:
    nobody = pwd.getpwnam("nobody")
    who = Identity(nobody.pw_uid, nobody.pw_gid, (nobody.pw_gid, 12345))
    source = "import os; print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))"
    process = await processes.start(python(source, identity=who), stdout=PIPE)
    uid, gid = who.uid, who.gid
    assert (await rest(process)).decode() == f"{(uid,) * 3} {(gid,) * 3} {sorted({gid, 12345})}\n"
    await process.close()
    denied = Program("/bin/true", ("true",), identity=who, directory="/root")
    with pytest.raises(DeniedError, match="/root"):
        await processes.start(denied)


async def test_a_user_that_may_not_be_taken_is_refused(processes: Processes) -> None:
    """By the kernel: an ordinary user changes to nobody else."""
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        source = "import os; os.setuid(0)"
        process = await processes.start(python(source, identity=Identity(nobody.pw_uid, nobody.pw_gid)))
        assert (await process.wait()).code == 1, "there is no way back"
        await process.close()
        return
    with pytest.raises(UnavailableError, match="user"):
        await processes.start(Program("/bin/true", ("true",), identity=Identity(0, 0)))


async def test_a_thousand_commands_leave_nothing(processes: Processes, descriptors_kept: None) -> None:
    """No descriptor here, no zombie and no minder there."""
    first = await processes.start(Program("/bin/true", ("true",)))
    await first.close()
    spawner = processes.spawner_pid
    assert spawner is not None
    held = len(os.listdir("/proc/self/fd"))

    async def one(number: int) -> int | None:
        process = await processes.start(Program("/bin/true", ("true",)), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        try:
            return (await process.wait()).code
        finally:
            await process.close()

    for begin in range(0, 1000, 20):
        assert await asyncio.gather(*map(one, range(begin, begin + 20))) == [0] * 20
    assert processes.running == 0
    assert processes.spawner_pid == spawner
    async with asyncio.timeout(GONE_S):  # those that are worn out or too many are on their way
        while len(os.listdir("/proc/self/fd")) > held + 2:  # of two free minders
            await asyncio.sleep(0)
    ends = time.monotonic() + 10
    while len(children(spawner)) > 2 and time.monotonic() < ends:
        os.sched_yield()
    minders = children(spawner)
    assert len(minders) <= 2
    assert [children(minder) for minder in minders] == [[]] * len(minders)
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in minders]
    assert "Z" not in states
    if os.getuid() == 0:  # they let nobody else look
        assert all(len(os.listdir(f"/proc/{pid}/fd")) < 16 for pid in (spawner, *minders))
    await processes.close()


async def test_without_descriptors_nothing_starts_and_nothing_leaks(processes: Processes) -> None:
    """An agent at its limit says so, and goes on when there is room again."""
    first = await processes.start(Program("/bin/true", ("true",)))
    await first.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in range(6):
        held = len(os.listdir("/proc/self/fd")) - 1
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        free = [number for number in range(highest) if not os.path.exists(f"/proc/self/fd/{number}")]
        filled = [os.open("/dev/null", os.O_RDONLY) for _ in free]
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))
        try:
            with pytest.raises(UnavailableError, match="Too many open files"):
                await processes.start(Program("/bin/true", ("true",)), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in filled:
                os.close(descriptor)
        assert len(os.listdir("/proc/self/fd")) - 1 == held
    again = await processes.start(Program("/bin/true", ("true",)))
    assert (await again.wait()).code == 0
    await again.close()


async def test_a_cancelled_start_leaves_nothing(processes: Processes) -> None:
    for _ in range(20):
        starting = asyncio.ensure_future(processes.start(shell("sleep 300")))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
    spawner = processes.spawner_pid
    assert spawner is not None
    ends = time.monotonic() + 20
    while any(children(minder) for minder in children(spawner)) and time.monotonic() < ends:
        os.sched_yield()
    assert not any(children(minder) for minder in children(spawner))


def test_uvloop_serves_as_well() -> None:
    async def scenario() -> None:
        held = len(os.listdir("/proc/self/fd"))
        await programs()
        assert len(os.listdir("/proc/self/fd")) <= held

    async def programs() -> None:
        async with Processes() as processes:
            process = await processes.start(Program("/bin/cat", ("cat",)), stdin=PIPE, stdout=PIPE)
            assert process.stdin is not None
            reading = asyncio.ensure_future(rest(process))
            await process.stdin.write(bytes(1 << 20))
            process.stdin.close()
            assert await reading == bytes(1 << 20)
            assert (await process.wait()).code == 0
            await process.close()
            sleeping = await processes.start(shell("sleep 300 & sleep 300"), stdout=PIPE)
            watched = Watched([sleeping.pid])
            await sleeping.close()
            assert not watched.wait()

    uvloop.run(scenario())


async def test_a_spawner_that_does_not_come_up_is_waited_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptors_kept: None
) -> None:
    """As on a disk that does not answer: the call fails, and says after how long."""
    monkeypatch.setattr(spawning, "STOP_TIMEOUT_S", 0.1)
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 300\n")
    stuck.chmod(0o700)
    async with Processes(str(stuck), start_timeout_s=0.25) as processes:
        with pytest.raises(UnavailableError, match=r"did not start within 0\.25 s$"):
            await processes.start(shell("true"))


async def test_after_its_end_nothing_starts(descriptors_kept: None) -> None:
    processes = Processes()
    process = await processes.start(shell("sleep 300"))
    watched = Watched([process.pid])
    await processes.close()
    assert not watched.wait()
    with pytest.raises(UnavailableError, match="stopping"):
        await processes.start(shell("true"))
    await processes.close()
