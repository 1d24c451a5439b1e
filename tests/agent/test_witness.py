"""What happens below the programs of sessions, heard from the kernel, or looked for where it tells nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from premises import until

from agent import witness as module
from agent.changed_files import ChangedFiles
from agent.witness import BURST_S, MAX_EVENTS, MAX_TOLD_PER_S, REST_S, SHARE, TURN_S, Witness
from kernel import proc_events


def why_not() -> str | None:
    try:
        proc_events.listen().close()
        ChangedFiles().close()
    except OSError as error:
        return f"the kernel tells too little here: {error}"
    return None


WHY_NOT = why_not()
needs_fanotify = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


class Following:
    """A shell whose doings are followed."""

    def __init__(self, shell: asyncio.subprocess.Process, witness: Witness) -> None:
        self.shell = shell
        self.told: list[dict[str, Any]] = []
        self.has_room = True
        with witness.expected():
            self.followed = witness.follow(shell.pid, self._tell)

    def _tell(self, about: dict[str, Any]) -> bool:
        if self.has_room:
            self.told.append(about)
        return self.has_room

    def of(self, what: str) -> list[dict[str, Any]]:
        return [about for about in self.told if about["what"] == what]

    def changed(self) -> set[str]:
        """Files that changed: once each, as one that is made and written may be told of in two parts."""
        return {about["path"] for about in self.of("file")}

    def say(self, text: str) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.write(text.encode() + b"\n")

    async def end(self) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.close()
        await self.shell.wait()
        self.followed.end()


SHELLS: list[asyncio.subprocess.Process] = []


async def shell() -> asyncio.subprocess.Process:
    """Start a shell and wait until it speaks: whoever starts it goes on before the kernel tells that it was run."""
    pipe = asyncio.subprocess.PIPE
    made = await asyncio.create_subprocess_exec("/bin/sh", stdin=pipe, stdout=pipe)
    SHELLS.append(made)
    assert made.stdin is not None
    assert made.stdout is not None
    made.stdin.write(b"echo here\n")
    assert await made.stdout.readline() == b"here\n"
    return made


@pytest.fixture(autouse=True)
async def no_shell_is_left() -> AsyncIterator[None]:
    """One that a failed test left would fail another one too."""
    yield
    while SHELLS:
        left = SHELLS.pop()
        if left.returncode is None:
            left.kill()
        await left.wait()


@needs_fanotify
@pytest.mark.usefixtures("descriptors_kept")
async def test_programs_and_files_of_each_session_and_of_nobody_else(tmp_path: Path) -> None:
    witness = Witness()
    one, two = Following(await shell(), witness), Following(await shell(), witness)
    one.say(f"/bin/echo a >{tmp_path}/one; (exec /bin/sh -c 'exit 5'); /bin/true")
    two.say(f"echo b >{tmp_path}/two")
    (tmp_path / "mine").touch()
    await one.end()
    await two.end()
    programs = [os.path.basename(about["argv"][0]) for about in one.of("started")]
    assert programs == ["echo", "sh", "true"] or programs == ["echo", "dash", "true"]
    assert [about["code"] for about in one.of("ended")] == [0, 5, 0]
    assert one.changed() == {f"{tmp_path}/one"}
    assert two.changed() == {f"{tmp_path}/two"}
    assert one.told[0] == witness.sources() | {
        "processes": "told", "files": one.told[0]["files"], "unseen": one.told[0]["unseen"]
    }  # fmt: skip
    assert "/" in one.told[0]["files"]


@needs_fanotify
async def test_what_it_does_before_anybody_follows_it_counts(tmp_path: Path) -> None:
    witness = Witness()
    told: list[dict[str, Any]] = []

    def tell(about: dict[str, Any]) -> bool:
        told.append(about)
        return True

    with witness.expected():
        made = await shell()
        assert made.stdin is not None
        made.stdin.write(f"echo a >{tmp_path}/early; /bin/true; mkfifo {tmp_path}/go; read x <{tmp_path}/go\n".encode())
        await until((tmp_path / "go").exists)
        followed = witness.follow(made.pid, tell)
    followed.end()
    made.kill()
    await made.wait()
    assert f"{tmp_path}/early" in [about.get("path") for about in told]
    assert "true" in [os.path.basename(about["argv"][0]) for about in told if about["what"] == "started"]


@needs_fanotify
async def test_a_daemon_that_left_its_parents_behind_is_still_of_its_session(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    witness = Witness()
    one = Following(await shell(), witness)
    one.say(f"(setsid /bin/sh -c 'read x <{tmp_path}/go; echo late >{tmp_path}/late' &)")
    await until(
        lambda: any("setsid" not in about["argv"] and "read" in about["argv"][-1] for about in one.of("started"))
    )
    descriptor = os.open(tmp_path / "go", os.O_RDWR)
    os.write(descriptor, b"\n")
    await until(lambda: one.of("file"))
    os.close(descriptor)
    assert one.of("file")[-1]["path"] == f"{tmp_path}/late"
    await one.end()


@needs_fanotify
async def test_too_much_is_counted(tmp_path: Path) -> None:
    witness = Witness()
    began_s = time.monotonic()
    one = Following(await shell(), witness)
    one.say(f"cd {tmp_path}; i=0; while [ $i -lt 1000 ]; do : >$i; i=$((i + 1)); done")
    await one.end()
    seconds = time.monotonic() - began_s
    assert len(one.of("file")) <= MAX_TOLD_PER_S * (int(seconds) + 2), "that many were begun"
    assert len(one.of("file")) + sum(about["count"] for about in one.of("untold")) >= 1000


@needs_fanotify
async def test_where_there_is_no_room_it_is_counted_too(tmp_path: Path) -> None:
    witness = Witness()
    one = Following(await shell(), witness)
    one.has_room = False
    one.say(f": >{tmp_path}/a; : >{tmp_path}/b")
    assert one.shell.stdin is not None
    one.shell.stdin.close()
    await one.shell.wait()
    await until(lambda: one.followed._untold >= 2)  # more if one is told of in two parts
    one.has_room = True
    await one.end()
    assert one.told[-1]["what"] == "untold"
    assert one.told[-1]["count"] >= 2


@needs_fanotify
async def test_processes_that_were_lost_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()
    one = Following(await shell(), witness)

    def lose(*_: Any) -> list[Any]:
        monkeypatch.undo()
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(module.proc_events, "read", lose)
    one.say("sleep 1000 &")
    await until(lambda: one.followed.must_look)
    await until(lambda: one.followed.look() or any(about["argv"][0] == "sleep" for about in one.of("started")))
    one.say("kill $!; wait")
    await one.end()
    assert "sleep" in [os.path.basename(about["argv"][0]) for about in one.of("ended")]


class Storm:
    """A kernel that tells of strangers without end, and a clock that only they move."""

    EACH_S = 0.00001  # to hear of one

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = self.heard_s = 0.0
        self.is_over = False
        self.ours, self._theirs = socket.socketpair()
        self._theirs.send(b"there is always more")
        monkeypatch.setattr(module.proc_events, "listen", lambda: self.ours)
        monkeypatch.setattr(module.proc_events, "read", self.read)
        monkeypatch.setattr("agent.witness.time.perf_counter", lambda: self.now_s)

    def read(self, _: socket.socket, most: int) -> list[proc_events.Event]:
        if self.is_over:
            return []
        self.now_s += most * self.EACH_S
        self.heard_s += most * self.EACH_S
        return [proc_events.Event(proc_events.FORK, 10**6 + number, 1, 0) for number in range(most)]

    def end(self) -> None:
        self._theirs.close()


async def test_a_stranger_who_forks_without_end_costs_a_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has an account on the host could have the agent do little else while a terminal is followed."""
    storm = Storm(monkeypatch)
    monkeypatch.setattr("kernel.fanotify.start", refuse)
    rests: list[float] = []
    loop = asyncio.get_running_loop()

    def rested(delay_s: float, callback: Any) -> asyncio.Handle:
        rests.append(delay_s)
        storm.now_s += delay_s
        return loop.call_soon(callback)

    witness = Witness()
    one = Following(await shell(), witness)
    monkeypatch.setattr(loop, "call_later", rested)
    turns = []
    while storm.now_s < 20.0:
        before_s = storm.heard_s
        await asyncio.sleep(0)
        turns.append(storm.heard_s - before_s)
    assert storm.heard_s <= SHARE * storm.now_s + BURST_S + TURN_S
    assert storm.heard_s >= SHARE * storm.now_s / 2, "and it is heard all the same"
    assert max(turns) <= TURN_S + MAX_EVENTS * Storm.EACH_S, "and others get their turn between"
    assert min(rests) >= REST_S
    storm.is_over = True
    await one.end()
    storm.end()


@needs_fanotify
async def test_what_was_lost_is_told_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()
    one = Following(await shell(), witness)

    def lose(*_: Any) -> list[Any]:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(module.proc_events, "read", lose)
    for _ in range(50):
        witness._look_at_files()
    monkeypatch.undo()
    await one.end()
    assert [about["count"] for about in one.of("untold")] in ([1], [1, 1])


@needs_fanotify
async def test_a_program_that_was_over_too_soon_is_told_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.offshoots._argv", lambda _: [])
    witness = Witness()
    one = Following(await shell(), witness)
    one.say("/bin/true; /usr/bin/env true")
    await one.end()
    names = [about["argv"] for about in one.of("started")]
    assert [os.path.basename(argv[0]) for argv in names] == ["true", "env", "true"]
    assert one.of("ended")[0]["argv"] == names[0]


class Told:
    """What a kernel tells of files, as the test has it."""

    seen, unseen = ("/",), ()

    def __init__(self) -> None:
        self.waits: list[tuple[int, dict[str, Any]]] = []

    def look(self, is_wanted: Any) -> list[tuple[int, dict[str, Any]]]:
        waits, self.waits = self.waits, []
        return [(pid, about) for pid, about in waits if is_wanted(pid)]


@pytest.mark.parametrize(
    ("looks", "names"),
    [
        ([([], ["true"]), (["exec", "exit"], [])], ["true"]),  # a look came between
        ([(["exec", "exit"], ["true"])], ["true"]),
        ([([], ["one"]), (["exec", "exec", "exit"], ["two"])], ["one", "two"]),
        ([([], ["one"]), ([], []), (["exec", "exit"], [])], []),  # nobody keeps names for ever
        ([([], ["failed"]), (["exec", "exit"], ["true"])], ["true"]),
    ],
)
def test_a_file_that_is_opened_to_be_run_names_the_program_that_is_told_of_later(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[list[str], list[str]]], names: list[str]
) -> None:
    """It was told without a name where the kernel was slow between the two, or we were not."""
    events: list[proc_events.Event] = []
    monkeypatch.setattr(module.proc_events, "read", lambda _, most: [events.pop(0) for _ in events[:most]])
    witness, files, told, pid = Witness(), Told(), list[dict[str, Any]](), 10**7  # which no process has
    witness._files, witness._processes = files, socket.socket(socket.AF_UNIX)  # type: ignore[assignment]  # a double
    witness.follow(os.getpid(), lambda about: told.append(about) is None)
    events.append(proc_events.Event(proc_events.FORK, pid, os.getpid(), 0))
    what = {"exec": proc_events.EXEC, "exit": proc_events.EXIT}
    for processes, ran in looks:
        events += [proc_events.Event(what[word], pid, 0, 0) for word in processes]
        files.waits += [(pid, {"ran": name}) for name in ran]
        witness._look_at_files()
    witness._processes.close()
    own = [about for about in told if about.get("pid") == pid]
    assert [name for about in own if about["what"] == "started" for name in about["argv"]] == names
    assert (own[-1]["what"], own[-1]["argv"]) == ("ended", (names or ["?"])[-1:])


def refuse() -> Any:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that tells nothing, as it tells a user who is not root."""
    monkeypatch.setattr(module.proc_events, "listen", refuse)
    monkeypatch.setattr("kernel.fanotify.start", refuse)


@pytest.mark.usefixtures("mute", "descriptors_kept")
async def test_where_the_kernel_tells_nothing_it_is_looked_and_said() -> None:
    witness = Witness()
    one = Following(await shell(), witness)
    assert one.told[0] == {
        "what": "sources", "processes": "looked for", "files": [], "unseen": [],
        "why": {"processes": "Operation not permitted", "files": "Operation not permitted"},
    }  # fmt: skip
    one.say("sleep 1000 &")
    await until(lambda: one.followed.look() or any(about["argv"][0] == "sleep" for about in one.of("started")))
    one.say("kill $!")
    await until(lambda: one.followed.look() or one.of("ended"))
    await one.end()


@needs_fanotify
async def test_without_word_of_processes_files_go_to_who_is_above_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module.proc_events, "listen", refuse)
    witness = Witness()
    one = Following(await shell(), witness)
    one.say(f": >{tmp_path}/a")
    (tmp_path / "mine").touch()
    await until(lambda: one.of("file"))
    assert one.changed() == {f"{tmp_path}/a"}
    await one.end()
