"""The root command: what every command line has in common."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

import cli.main
from cli import exits
from cli.leaf import LocalCommand
from cli.main import NOUNS, root
from protocol.errors import DOORS, NotConnectedError


def leaves(command: click.Command, path: tuple[str, ...] = ("outrider",)) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


ALL = dict(leaves(root))


def test_the_nouns_are_there() -> None:
    expected = {
        "access", "agent", "blob", "completion", "consent", "demo", "doctor", "exec", "file", "forward", "grant", "key",
        "login", "policy", "record", "request", "review", "roster", "run", "runs", "schedule", "script", "secret",
        "session", "status", "tty", "webhook",
    }  # fmt: skip
    assert set(NOUNS) == expected


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_takes_json_and_has_help(name: str) -> None:
    command = ALL[name]
    assert isinstance(command, LocalCommand)
    assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert command.help


def examples(name: str) -> list[list[str]]:
    """Return the words after the command's own name of every line of its help that types it."""
    found = []
    for line in (ALL[name].help or "").splitlines()[1:]:
        match = re.search(rf"(?:^\s*|\$ +|\$\(|\w {{2,}}|[|;] ){name}(?= |$)(.*)", line)
        if match:
            words = re.split(r"\)\"| {2,}\(| [|>] | && ", match[1])[0]  # without what a shell does, and remarks
            found.append(shlex.split(words, comments=True))
    return found


@pytest.mark.parametrize("name", sorted(ALL))
def test_commands_show_how_they_are_typed(name: str) -> None:
    """Most people read the example and nothing else; it must be one that the command takes."""
    found = examples(name)
    assert found, f"{name} --help has no example"
    command = ALL[name]
    for words in found:
        context = click.Context(command, help_option_names=["-h", "--help"])
        values, _, _ = command.make_parser(context).parse_args(words)  # raises if the command has no such option
        for parameter in command.params:
            if isinstance(parameter.type, click.Choice) and parameter.name in values:
                parameter.type_cast_value(context, values[parameter.name])  # nor such a word for it


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["agent", "-h"], ["script", "run", "--help"], ["run", "-h"]])
def test_help_anywhere(outrider: Callable[..., Any], words: list[str]) -> None:
    called = outrider(*words)
    assert called.status == 0
    assert called.out.startswith("Usage: outrider")


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_short_help_in_the_table_is_given_in_full(outrider: Callable[..., Any], noun: str) -> None:
    assert NOUNS[noun][1].split()[0] in outrider("--help").out


def test_help_loads_no_heavy_library() -> None:
    """``outrider`` and its completion must be quick; the HTTP, drawing and signing libraries are not."""
    code = (
        "import sys; from cli.main import run; run(['--help']); "
        "heavy = {'http.client', 'rich', 'yaml', 'cryptography', 'lupa', 'RestrictedPython', 'cli.nouns.agent'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_asks_a_server_loads_nothing_that_takes_longer_than_the_answer() -> None:
    """An event loop is for what goes both ways, and a general HTTP client for nobody."""
    code = (
        "import sys; from cli.main import run; run(['agent', 'ls', '--server', 'http://127.0.0.1:1']); "
        "print(sorted({'httpx2', 'asyncio', 'cryptography', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no server answers" in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", ["cli.nouns.exec", "cli.nouns.file_get", "cli.nouns.file_put", "cli.attached"])
def test_what_carries_bytes_loads_nothing_that_only_others_need(module: str) -> None:
    """A command that lasts half a second is not to begin with reading policies and documents."""
    code = f"import sys, {module}; print(sorted({{'yaml', 'policies.decide', 'protocol.pipes'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["agnt"], "Did you mean agent"),
        (["script", "chek"], "Did you mean check?"),
        (["agent", "sho"], "Did you mean show?"),
        (["script", "lint"], "Did you mean check?"),
        (["script", "test"], "Did you mean check?"),
        (["script", "create"], "Did you mean new?"),
        (["schedule", "create"], "Did you mean add?"),
        (["agent", "delete"], "Did you mean rm?"),
        (["ssh"], "Did you mean tty?"),
        (["agent", "ls", "--limt", "3"], "--limit"),
        (["agent", "ls", "--limit", "many"], "--limit"),
        (["completion", "tcsh"], "bash"),
        (["schedule", "add", "checks/x", "--on", "*"], "--every or --cron"),
        (["run", "web-1"], "TARGET and SCRIPT"),
        (["run", "-l", "a=b", "web-1", "checks/x"], "no TARGET"),
    ],
)
def test_usage_errors_exit_2_and_say_what_is_meant(outrider: Callable[..., Any], words: list[str], said: str) -> None:
    called = outrider(*words)
    assert called.status == exits.USAGE
    assert said in called.err
    assert called.out == ""


def test_no_server_known_exits_4_and_says_how_to_sign_in(outrider: Callable[..., Any]) -> None:
    called = outrider("agent", "ls")
    assert called.status == exits.SIGN_IN
    assert "outrider login" in called.err


def test_error_in_json_is_one_line_on_stderr(outrider: Callable[..., Any]) -> None:
    called = outrider("agent", "ls", "--json", "--server", "http://127.0.0.1:1")
    assert called.out == ""
    assert json.loads(called.err)["error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (NotConnectedError("web-9 is not connected"), DOORS["not_connected"].exit_status),
        (KeyboardInterrupt(), exits.INTERRUPTED),
        (ZeroDivisionError("division by zero"), exits.FAILURE),
        (click.exceptions.Exit(5), exits.KILLED),
    ],
)
def test_every_way_to_end_has_its_status(
    outrider: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, raised: BaseException, status: int
) -> None:
    @click.command(cls=LocalCommand)
    def noun() -> None:
        """Fails."""
        raise raised

    monkeypatch.setattr(cli.main.root, "get_command", lambda _context, _name: noun)
    called = outrider("anything")
    assert called.status == status
    assert "Traceback" not in called.err


def test_an_unforeseen_error_says_that_it_is_ours(
    outrider: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command(cls=LocalCommand)
    def noun() -> None:
        """Fails."""
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli.main.root, "get_command", lambda _context, _name: noun)
    assert "fault of outrider itself" in outrider("anything").err
    monkeypatch.setenv("OUTRIDER_DEBUG", "1")
    assert "Traceback" in outrider("anything").err


def test_version(outrider: Callable[..., Any]) -> None:
    assert outrider("--version").out.startswith("outrider 0.")


def test_reader_that_goes_away_is_no_error() -> None:
    """``outrider ... | head -1`` must not end in a traceback."""
    code = "import sys; from cli.main import run; sys.exit(run(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert process.returncode == exits.BROKEN_PIPE
    assert err == b""
