"""The program ``outrider-edit`` as a shell runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.at_hand
from agent.wishes import name_of

AT_HAND = Path(agent.at_hand.__file__).parent


def run(*words: str, session: str | None, program: str = "outrider-edit", cwd: Path | None = None) -> tuple[int, str]:
    environment = {"PATH": "/usr/bin:/bin", "OUTRIDER_PYTHON": sys.executable}
    if session is not None:
        environment["OUTRIDER_SESSION"] = session
    done = subprocess.run(
        [str(AT_HAND / program), *words], env=environment, capture_output=True, text=True, timeout=60, cwd=cwd
    )
    return done.returncode, done.stderr


class Agent:
    """Answers one question as it is told to."""

    def __init__(self, *answers: dict[str, str]) -> None:
        self.session = f"s_{os.urandom(6).hex()}"
        self.asked: dict[str, str] = {}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(name_of(self.session))
        self._listening.listen(1)
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: tuple[dict[str, str], ...]) -> None:
        connected, _ = self._listening.accept()
        with connected, connected.makefile("rb") as lines:
            self.asked = json.loads(lines.readline())
            for each in answers:
                connected.sendall(json.dumps(each).encode() + b"\n")

    def close(self) -> None:
        self._thread.join(60)
        self._listening.close()


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    made: list[Agent] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize("program", ["outrider-edit", "edit"])
def test_a_relative_path_is_that_of_the_working_directory(agents: list[Agent], tmp_path: Path, program: str) -> None:
    agents.append(Agent({"asked": "x"}, {"outcome": "done"}))
    status, said = run("--", "-f", session=agents[0].session, program=program, cwd=tmp_path)
    assert agents[0].asked == {"do": "edit", "path": f"{tmp_path}/-f"}
    assert (status, said) == (0, "waiting for who types here: ~e opens it in their editor, ~n does not\n")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([{"asked": "x"}, {"outcome": "declined"}], "outrider-edit: declined\n"),
        ([{"error": "nobody"}], "outrider-edit: nobody\n"),
        ([{"error": "a\x1b]0;b\x07\nc\u202ed"}], "outrider-edit: a\\x1b]0;b\\x07\\x0ac\\x202ed\n"),
        ([{"outcome": "\x9b2J"}], "outrider-edit: \\x9b2J\n"),
        ([], "outrider-edit: the terminal has ended\n"),
    ],
)
def test_what_did_not_come_to_be_is_a_failure(agents: list[Agent], answers: list[dict[str, str]], says: str) -> None:
    agents.append(Agent(*answers))
    status, said = run("/etc/motd", session=agents[0].session)
    assert status == 1
    assert said.endswith(says)


@pytest.mark.parametrize(("words", "status"), [((), 2), (("a", "b"), 2), (("-x",), 2), (("--help",), 0)])
def test_usage(words: tuple[str, ...], status: int) -> None:
    assert run(*words, session=None) == (status, run(session=None)[1])


def test_outside_of_a_session() -> None:
    assert run("/etc/motd", session=None) == (3, "outrider-edit: this is no terminal of an Outrider session\n")
    assert run("/etc/motd", session="s_none") == (
        3, "outrider-edit: the agent does not listen here: Connection refused\n",
    )  # fmt: skip


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b"[" * 10_000, b"\xff"])
def test_what_is_no_answer_is_not_taken_for_one(line: bytes) -> None:
    """It is told in a word, and nothing of it is shown."""
    session = f"s_{os.urandom(6).hex()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name_of(session))
        listening.listen(1)
        answering = threading.Thread(target=_answer, args=(listening, line + b"\n"))
        answering.start()
        status, said = run("file", session=session)
        answering.join(60)
    assert (status, said) == (1, "outrider-edit: what answers here is not the agent\n")


def _answer(listening: socket.socket, line: bytes) -> None:
    connected, _ = listening.accept()
    with connected:
        connected.recv(65536)
        connected.sendall(line)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_stranger_who_took_the_name_is_asked_nothing() -> None:
    """Once a session has ended, anybody may listen to its name: what is to be edited is then none of theirs."""
    session = f"s_{os.urandom(6).hex()}"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(name_of(session))
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65_534)
        os.setuid(65_534)
        listening.listen(1)
        connected, _ = listening.accept()
        heard = connected.recv(65536)
        os._exit(1 if heard else 0)
    try:
        while b"00010000" not in _unix_sockets(session):  # it accepts connections; net/unix/af_unix.c
            os.sched_yield()
        status, said = run("file", session=session)
    finally:
        listening.close()
        _, ended = os.waitpid(pid, 0)
    assert (status, said) == (3, "outrider-edit: user 65534 listens here, who is neither root nor you: asked nothing\n")
    assert os.waitstatus_to_exitcode(ended) == 0


def _unix_sockets(session: str) -> bytes:
    lines = Path("/proc/net/unix").read_bytes().splitlines()
    return next((line for line in lines if line.endswith(name_of(session).removeprefix("\0").encode())), b"")
