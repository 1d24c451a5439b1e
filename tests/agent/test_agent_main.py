"""``outrider-agent``: what it says, where, and with which status it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mounting import told
from premises import Premises

from agent.__main__ import run
from agent.config import save_config
from agent.identity import save_identity
from protocol.ledger import decode_record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def enrolled(premises: Premises) -> Premises:
    save_config(premises.state, premises.config)
    save_identity(premises.state.identity, premises.key)
    return premises


def at(premises: Premises, *arguments: str) -> list[str]:
    return [*arguments, "--dir", str(premises.state.path)]


def test_a_second_agent_in_one_directory_is_refused(enrolled: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of them would write one ledger twice."""
    with enrolled.state.locked():
        assert run(at(enrolled, "run")) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"outrider-agent: another agent is running in {enrolled.state.path}\n"


def test_a_second_process_in_one_directory_is_refused(enrolled: Premises) -> None:
    """The same with real processes: the first goes on, ends when it is asked to, and leaves the directory free."""
    enrolled.close()
    command = [sys.executable, "-m", "agent", *at(enrolled, "run")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        assert "no link" in first.stderr.readline(), "it runs: it has looked for its server"
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert (second.returncode, "another agent is running" in second.stderr) == (1, True)
        assert first.poll() is None
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
    enrolled.open()
    assert enrolled.spool.head.sequence >= 3


SILENT_RESOLVER = r"""
import fcntl, socket, subprocess, time
kernel.unshare(kernel.CLONE_NEWNET)
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(silent, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
silent.bind(("127.0.0.1", 53))
silent.settimeout(BOUND_S)
mount("/etc", "tmpfs")
with open("/etc/resolv.conf", "w") as file:
    file.write("nameserver 127.0.0.1\noptions timeout:30 attempts:2\n")
agent = subprocess.Popen([sys.executable, "-m", "agent", "run", "--dir", sys.argv[1]], stderr=subprocess.DEVNULL)
silent.recv(512)
agent.send_signal(signal.SIGTERM)
began_s = time.monotonic()
print(json.dumps([agent.wait(BOUND_S), time.monotonic() - began_s]))
"""


def test_it_ends_while_nobody_answers_for_its_servers_name(enrolled: Premises) -> None:
    """As on a host whose network went down first. A resolver takes up to a minute to give up, and a service manager
    would have killed it by then."""
    save_config(enrolled.state, replace(enrolled.config, server="https://outrider.example:1"))
    enrolled.close()
    status, seconds = told(SILENT_RESOLVER, str(enrolled.state.path))
    enrolled.open()
    assert (status, seconds < 15) == (0, True)
    ends = [decode_record(blob) for blob in enrolled.spool.read(0, 100, 1 << 20)]
    assert [record.data.get("event") for record in ends if record.kind == "event"] == ["start", "stop"]


def test_a_reader_that_went_away_is_no_failure_of_ours(enrolled: Premises) -> None:
    """As of ``outrider``: what shells call it, and nothing on standard error."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "agent", *at(enrolled, "status")], cwd=ROOT, stdout=write, stderr=subprocess.PIPE,
        text=True, timeout=60,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("as_json", [True, False])
def test_the_status_is_data_on_standard_output(
    enrolled: Premises, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    assert run(at(enrolled, "status", *(["--json"] if as_json else []))) == 0
    told = capsys.readouterr()
    assert told.err == ""
    if as_json:
        assert json.loads(told.out)["running"] is False
    else:
        assert "running                no" in told.out


def test_a_directory_that_is_not_enrolled_says_what_to_do(
    premises: Premises, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("run", "status"):
        assert run(at(premises, command)) == 1
        assert "run outrider-agent enroll first" in capsys.readouterr().err


def test_a_wrong_configuration_ends_with_its_place(enrolled: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    enrolled.state.config.write_text(enrolled.state.config.read_text().replace('"agent_id"', '"agentid"'))
    assert run(at(enrolled, "run")) == 2
    assert "agent.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--token", "orj1.t1.secret", "--server", "http://127.0.0.1:1"], "not a join token"),
        (["--token", "x", "--server", "http://outrider.example"], "not encrypted"),
        (["--token", "x", "--server", "http://127.0.0.1:1", "--label", "berlin"], "key=value"),
        (["--token-file", "/nowhere/token", "--server", "http://127.0.0.1:1"], "/nowhere/token"),
    ],
)
def test_what_is_wrong_at_enrolment_is_said_without_the_token(
    premises: Premises, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert run(at(premises, "enroll", *arguments)) in (1, 2)
    told = capsys.readouterr().err
    assert says in told
    assert "secret" not in told


def test_a_token_may_come_from_a_file_or_standard_input(
    premises: Premises, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that no other user of the host sees it in the list of processes."""
    token = tmp_path / "token"
    token.write_text("orj1.t1.secret\n")
    token.chmod(0o600)
    monkeypatch.setattr(sys, "stdin", io.StringIO("orj1.t1.secret\n"))
    for source in (str(token), "-"):
        assert run(at(premises, "enroll", "--server", "http://127.0.0.1:1", "--token-file", source)) == 2
        assert "not a join token" in capsys.readouterr().err


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(("soft", "hard"), [(256, None), (256, 300), (1024, 1024)])
def test_the_agent_takes_as_many_descriptors_as_it_may_have(soft: int, hard: int | None) -> None:
    """With the 1,024 that a shell gives, what a few runs or sessions hold open would leave none for the others."""
    text = (
        "import resource, sys\nfrom agent.descriptors import allow_many\n"
        "kind, soft, hard = resource.RLIMIT_NOFILE, *map(int, sys.argv[1:])\n"
        "hard = min(hard, resource.getrlimit(kind)[1]) if hard else resource.getrlimit(kind)[1]\n"
        "resource.setrlimit(kind, (soft, hard))\nassert allow_many() == resource.getrlimit(kind)[0]\n"
        "print(resource.getrlimit(kind)[0] == min(hard, 65536), resource.getrlimit(kind)[1] == hard)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, str(soft), str(hard or 0)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")
