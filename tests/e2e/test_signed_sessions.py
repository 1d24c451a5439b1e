"""A host that takes nobody's word: every command that opens a session signs its order with the operator's own key."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from at_keyboard import Keyboard
from forwarded import echo, forwarding, let_reach_loopback, serving
from shell import Shell

from fleet import Fleet, fleet

CEILING = "highest_tier: admin\naccept_server_word: []\n"


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("careful")) as made:
        made.roster_version += 1
        body = made.roster_body()
        chief = {
            "name": "chief",
            "key": made.key("chief").public.to_text(),
            "roles": [{"role": "operator", "tier": "admin"}],
        }
        answer = made.put_roster({**body, "keys": [*body["keys"], chief]})
        assert answer.status_code in (200, 201), answer.text
        made.add_agent("host-1", ceiling=CEILING)
        let_reach_loopback(made)
        yield made


@pytest.fixture
def chief(careful: Fleet, tmp_path: Path) -> Shell:
    made = Shell(tmp_path, careful)
    made.environment["OUTRIDER_KEY"] = made.key("chief")
    return made


def test_commands_and_files(careful: Fleet, chief: Shell, tmp_path: Path) -> None:
    ran = chief.program("exec", "host-1", "--reason", "T-1", "--", "echo", "hi")
    assert (ran.out, ran.status) == ("hi\n", 0), ran.err
    (tmp_path / "there").write_text("text\n")
    assert chief.program("file", "cat", f"host-1:{tmp_path}/there", "--reason", "T-1").out == "text\n"

    def orders() -> list[bool]:
        return [each["data"]["ordered"] for each in careful.records("host-1", kind="session.open")]

    careful.wait_for("both on record", lambda: len(orders()) >= 2)
    assert all(orders())


def test_forwards(careful: Fleet, chief: Shell) -> None:
    with serving(echo) as port, forwarding(chief, "host-1", f"0:127.0.0.1:{port}") as forward:
        with forward.connect() as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            sock.shutdown(socket.SHUT_WR)
        assert forward.stop() == 0


@pytest.mark.parametrize("words", [("tty", "host-1"), ("exec", "-t", "host-1")])
def test_terminals(chief: Shell, words: tuple[str, ...]) -> None:
    me = Keyboard(chief, *words, "--reason", "T-1", "--", "/bin/sh", "-c", "stty size; read x; exit 6")
    me.sees("24 80|0 0")
    me.type("\r")
    assert me.ends() == 6


@pytest.mark.parametrize("words", [("tty", "host-1"), ("exec", "host-1"), ("forward", "host-1", "-D", "0")])
def test_without_a_key_that_counts_nothing_opens(careful: Fleet, tmp_path: Path, words: tuple[str, ...]) -> None:
    stranger = Shell(tmp_path, careful)
    more = () if words[0] == "forward" else ("--", "true")
    called = stranger(*words, "--reason", "T-1", *more)
    assert called.status == 3, called.err
    assert "operator" in called.err
