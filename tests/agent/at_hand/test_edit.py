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
        self._thread.join(30)
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
