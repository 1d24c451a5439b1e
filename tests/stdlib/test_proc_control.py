"""``proc.signal`` and ``proc.renice``: the process that was meant, or none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mounting import told
from running import Kept, gate, perform

from policies.load import load_policy
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from protocol.tiers import Tier
from stdlib import proc_control
from stdlib.host import Host
from stdlib.proc_control import Victim, _check_same, _victim, renice, send
from stdlib.processes.start import Processes, Program


def orphan(command: str) -> int:
    """Start a program that is no child of the agent's: those are spared, and what they have forked."""
    line = f"{command} >/dev/null & echo $!"
    pid = int(subprocess.run(["/bin/sh", "-c", line], stdout=subprocess.PIPE, text=True, check=True).stdout)
    comm = Path(f"/proc/{pid}/comm")
    while comm.read_text() == "sh\n":  # the shell tells its number before it has become the program
        os.sched_yield()
    return pid


@pytest.fixture
def stranger() -> Iterator[int]:
    pid = orphan("sleep 300")
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def test_a_signal_reaches_the_process_that_was_seen(stranger: int) -> None:
    held = os.pidfd_open(stranger)
    row = await perform("proc.get", stranger)
    told = await perform("proc.signal", stranger, "TERM", row["started"])
    assert told == {"pid": stranger, "name": "sleep"}
    import select

    poller = select.poll()
    poller.register(held, select.POLLIN)
    assert poller.poll(10_000), "it has ended"
    os.close(held)


async def test_another_one_with_the_same_number_is_spared(stranger: int) -> None:
    """What was seen has ended, and its number was given again: its start tells."""
    row = await perform("proc.get", stranger)
    for started in (row["started"] - 100, row["started"] + 0.01, 0):
        with pytest.raises(ConflictError, match="given again"):
            await perform("proc.signal", stranger, "KILL", started)
        with pytest.raises(ConflictError, match="given again"):
            await perform("proc.renice", stranger, 19, started)
    assert await perform("proc.get", stranger) is not None


async def test_one_that_changed_between_decision_and_act_is_spared(stranger: int) -> None:
    """The decision was on another process: its number alone means nothing."""
    victim = Victim(stranger, 1, "sleep", "/usr/bin/sleep")
    with pytest.raises(NotFoundError, match="has ended"):
        _check_same(Host(), victim)
    with pytest.raises(NotFoundError, match="has ended"):
        send(Host(), victim, "KILL")  # type: ignore[arg-type]  # as if it was decided
    with pytest.raises(ArgumentError, match="not decided"):
        send(Host(), stranger, "KILL")
    assert await perform("proc.get", stranger) is not None


async def test_one_that_has_become_another_program_is_spared(tmp_path: Path) -> None:
    """Number and start are the same; what was decided about is what it was."""
    waiter, go = tmp_path / "waiter", tmp_path / "go"
    os.mkfifo(go)
    waiter.write_text(f"#!/bin/sh\nread line < {go}\nexec sleep 300\n")
    waiter.chmod(0o755)
    pid = orphan(str(waiter))
    try:
        victim = _victim(Host(), {"pid": pid}).arguments["pid"]
        go.write_text("on\n")
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
            os.sched_yield()
        for name, argument in (("KILL", send), (19, renice)):
            with pytest.raises(ConflictError, match="has become another program meanwhile: sleep"):
                argument(Host(), victim, name)  # type: ignore[operator]  # as if it was decided
        assert Path(f"/proc/{pid}").exists()
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_a_denial_of_a_program_holds_after_its_file_was_replaced(tmp_path: Path) -> None:
    """The kernel has another name for it then, which no rule fits: after an update, any service could be ended."""
    policy = load_policy(
        "tier: operate\nallow: [{call: proc.signal}, {call: proc.renice}]\n"
        f"deny: [{{calls: [proc.signal, proc.renice], programs: [{tmp_path}/daemon]}}]\n", "test.yaml",
    )  # fmt: skip
    shutil.copy("/bin/sleep", tmp_path / "daemon")
    shutil.copy("/bin/sleep", tmp_path / "daemon (deleted)")
    for name, replaced, code in (("daemon", True, "denied"), ("daemon (deleted)", False, None)):
        pid = orphan(f"'{tmp_path}/{name}' 300")
        if replaced:
            (tmp_path / name).unlink()
            shutil.copy("/bin/true", tmp_path / name)
        try:
            for call, argument in (("proc.renice", 19), ("proc.signal", "KILL")):
                reply = await gate(Tier.OPERATE, policy=policy).call(call, [pid, argument], {})
                assert (reply.error and reply.error.code) == code
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_program_that_cannot_be_told_is_denied_by_any_rule(
    stranger: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells an agent that is not root nothing of one that hides, such as a keeper of keys."""

    def hidden(_host: Host, pid: int, _name: str) -> str:
        raise DeniedError(f"exe of process {pid}: the agent's user may not", rule="the host's permissions")

    monkeypatch.setattr(proc_control, "link_of", hidden)
    for rule, code in (
        ("allow: [{call: proc.renice}]\ndeny: [{call: proc.renice, programs: [/usr/bin/ssh-agent]}]", "denied"),
        ("allow: [{call: proc.renice, programs: [/**]}]", "denied"), ("allow: [{call: proc.renice}]", None),
    ):  # fmt: skip
        policy = load_policy(f"tier: operate\n{rule}\n", "test.yaml")
        reply = await gate(Tier.OPERATE, policy=policy).call("proc.renice", [stranger, 19], {})
        assert (reply.error and reply.error.code) == code


async def test_the_first_process_and_the_agent_are_spared() -> None:
    """And what the agent has forked, and what that has: with a session of its own, or in that of its maker."""
    for lead in ("", "setsid "):
        own = subprocess.Popen(
            ["/bin/sh", "-c", f"{lead}sleep 300 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True
        )
        assert own.stdout is not None
        forked = int(own.stdout.readline())
        try:
            for pid in (1, os.getpid(), own.pid, forked):
                with pytest.raises(DeniedError, match="first, the agent"):
                    await perform("proc.signal", pid, "KILL")
                with pytest.raises(DeniedError, match="first, the agent"):
                    await perform("proc.renice", pid, os.getpriority(os.PRIO_PROCESS, pid))
            assert own.poll() is None
        finally:
            os.kill(forked, signal.SIGKILL)
            own.kill()
            own.stdout.close()
            own.wait()


async def test_what_a_spawner_lets_others_start_is_no_part_of_the_agent() -> None:
    """A person's program that runs away can be ended, by whoever may signal processes."""
    async with Processes() as processes:
        program = await processes.start(Program("/bin/sleep", ("sleep", "300")))
        with pytest.raises(DeniedError, match="first, the agent"):
            await perform("proc.signal", processes.spawner_pid, "KILL", host=Host(processes=processes))
        told = await perform("proc.signal", program.pid, "KILL", host=Host(processes=processes))
        assert told["pid"] == program.pid
        assert (await program.wait()).signal == signal.SIGKILL


async def test_renice(stranger: int) -> None:
    before = os.getpriority(os.PRIO_PROCESS, stranger)
    told = await perform("proc.renice", stranger, before + 1)
    assert told == {"pid": stranger, "name": "sleep", "before": before}
    assert os.getpriority(os.PRIO_PROCESS, stranger) == before + 1


@pytest.mark.parametrize("sig", ["SEGV", "15", 15, "term", "", None])
async def test_only_signals_of_the_list_exist(stranger: int, sig: object) -> None:
    with pytest.raises(ArgumentError, match="sig"):
        await perform("proc.signal", stranger, sig)


async def test_it_is_decided_and_recorded(stranger: int) -> None:
    kept = Kept()
    reply = await gate(Tier.OPERATE, kept).call("proc.signal", [stranger, "CONT"], {})
    assert reply.ok
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    assert kept.records[-1]["arguments"] == {"pid": stranger, "sig": "CONT", "started": None}


@pytest.mark.parametrize(("name", "argument"), [("proc.renice", 19), ("proc.signal", "CONT")])
async def test_a_thread_is_no_process(name: str, argument: int | str) -> None:
    """The kernel slows one down by its number, which is none that the agent is known by."""
    is_told, may_end, numbers = threading.Event(), threading.Event(), []

    def live() -> None:
        numbers.append(threading.get_native_id())
        is_told.set()
        may_end.wait(60)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert is_told.wait(60)
        with pytest.raises(NotFoundError, match="there is no process"):
            await perform(name, numbers[0], argument)
        assert os.getpriority(os.PRIO_PROCESS, numbers[0]) == os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        may_end.set()
        thread.join()


REUSED = """
kernel.unshare(kernel.CLONE_NEWPID)
if os.fork():
    _, status = os.wait()
    os._exit(os.waitstatus_to_exitcode(status))
mount(sys.argv[1], "proc")  # the first process of a namespace of its own: whatever has no parent is its child
asked, ask = os.pipe()
told, tell = os.pipe()

def sleeper():
    child = os.fork()
    if not child:
        signal.pause()
    return child

def begin():
    # Somebody who begins a sleeper and ends, so that it is a child of the first process and not of who signals.
    beginner = os.fork()
    if not beginner:
        os._exit(0 if os.write(tell, str(sleeper()).encode()) else 1)
    os.waitpid(beginner, 0)
    return int(os.read(told, 16))

signaller = os.fork()
if not signaller:
    sys.path.insert(0, os.getcwd())
    from protocol.errors import OutriderError
    from stdlib import proc_control
    from stdlib.host import Host
    host, victim = Host(proc=sys.argv[1]), int(os.read(told, 16))
    decided = proc_control._victim(host, {"pid": victim}).arguments["pid"]
    check = proc_control._spare_own

    def last_look(*given):
        check(*given)
        os.write(ask, b"x")  # now it ends, and another one gets its number
        assert int(os.read(told, 16)) == victim

    proc_control._spare_own = last_look
    try:
        proc_control.send(host, decided, "KILL")
        code = "sent"
    except OutriderError as error:
        code = error.code
    print(json.dumps([code, os.path.exists(f"{sys.argv[1]}/{victim}")]), flush=True)
    os._exit(0)

victim = begin()
os.write(tell, str(victim).encode())
os.read(asked, 1)
os.kill(victim, signal.SIGKILL)
os.waitpid(victim, 0)
with open(f"{sys.argv[1]}/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(victim - 1))
again = sleeper()
os.write(tell, str(again).encode())
os.waitpid(signaller, 0)
if os.waitpid(again, os.WNOHANG) != (0, 0):
    os._exit(1)
os.kill(again, signal.SIGKILL)
os._exit(0)
"""


def test_who_gets_the_number_at_the_last_moment_is_spared(tmp_path: Path) -> None:
    """After all that is compared: what is signalled is what the descriptor was opened for, and that has ended."""
    assert told(REUSED, str(tmp_path / "proc")) == ["not_found", True]
