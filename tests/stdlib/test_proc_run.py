"""``proc.command`` and ``proc.exec``: what programs get, how they end, and who decided on them."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest
from documented import Fields, check_fields
from mounting import told
from running import Kept, gate, perform

from policies.load import load_policy
from policies.model import Facts
from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from sandbox.held import Held
from sandbox.runtimes import HANDLE_KEY
from stdlib.host import Host
from stdlib.proc_run import MAX_OUTPUT_BYTES, Chosen, choose, program_facts

NUMBER_OR_NOTHING = (int, type(None))
DONE: Fields = {
    "code": NUMBER_OR_NOTHING, "signal": NUMBER_OR_NOTHING, "stdout": str, "stderr": str, "truncated": bool,
    "ms": float,
}  # fmt: skip
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can run programs as another user")


def declared(*argv: str) -> Host:
    return Host(commands={"it": argv})


async def test_command_takes_arguments_as_they_are() -> None:
    """There is no shell: nothing in an argument means anything."""
    strange = ["$HOME", "`id`", "; id", "a  b", "*", "é"]
    done = await perform("proc.command", "it", strange, host=declared("/usr/bin/printf", "%s\\n"))
    check_fields(done, DONE)
    assert done["stdout"].splitlines() == strange
    assert (done["code"], done["signal"], done["stderr"], done["truncated"]) == (0, None, "", False)


async def test_command_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    done = await perform("proc.command", "it", host=declared("/usr/bin/env"))
    names = {line.partition("=")[0] for line in done["stdout"].splitlines()}
    assert names == {"PATH", "LANG", "LC_ALL", "HOME"}
    assert (await perform("proc.command", "it", host=declared("/bin/cat")))["stdout"] == "", "its input is empty"


@pytest.mark.parametrize("data", ["hello", b"\x00\x01", "é" * 1000, b"x" * (256 << 10)])
async def test_command_reads_what_it_is_given(data: Any) -> None:
    done = await perform("proc.command", "it", ["-c", "wc -c"], stdin=data, host=declared("/bin/sh"))
    assert int(done["stdout"]) == len(data.encode() if isinstance(data, str) else data)


async def test_input_that_is_not_wanted_is_no_error() -> None:
    done = await perform("proc.command", "it", stdin="x" * (200 << 10), host=declared("/bin/true"))
    assert (done["code"], done["truncated"]) == (0, False)


@pytest.mark.parametrize(
    ("script", "code", "signal", "stderr"), [("echo no >&2; exit 3", 3, None, "no\n"), ("kill -TERM $$", None, 15, "")]
)
async def test_how_a_command_ended(script: str, code: Any, signal: Any, stderr: str) -> None:
    done = await perform("proc.command", "it", [script], host=declared("/bin/sh", "-c"))
    assert (done["code"], done["signal"], done["stderr"]) == (code, signal, stderr)


async def test_command_that_takes_too_long_is_killed_with_its_children() -> None:
    """Also with one that has left its session."""
    script = "echo $$; setsid sleep 300 & sleep 300"
    for timeout_s in (0.5, 5):  # a slow machine may not have come to print anything by the first
        done = await perform("proc.command", "it", [script], timeout_s, host=declared("/bin/sh", "-c"))
        if done["stdout"]:
            break
    assert (done["code"], done["signal"]) == (None, 9)
    assert done["ms"] < 10_000
    assert done["stdout"].strip().isdigit(), "what it printed is told all the same"


async def test_what_a_command_leaves_running_ends_with_it() -> None:
    """It holds the output as well; nobody waits for it."""
    began = time.monotonic()
    script = "setsid sleep 300 & echo $!"
    done = await perform("proc.command", "it", [script], 30, host=declared("/bin/sh", "-c"))
    assert (done["code"], done["truncated"]) == (0, False)
    assert not Path(f"/proc/{int(done['stdout'])}").exists()
    assert time.monotonic() - began < 20


async def test_output_over_the_cap_is_cut_and_said() -> None:
    size = MAX_OUTPUT_BYTES + 1
    done = await perform("proc.command", "it", [str(size)], host=declared("/usr/bin/head", "/dev/zero", "-c"))
    assert (len(done["stdout"]), done["truncated"], done["code"]) == (MAX_OUTPUT_BYTES, True, 0)


async def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeniedError, match="declares no command"):
        await perform("proc.command", "other", host=declared("/bin/cat"))
    (tmp_path / "text").write_text("x")
    for path in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(UnavailableError, match="is not a program"):
            await perform("proc.command", "it", host=declared(str(path)))


async def test_a_command_is_intended_before_it_runs() -> None:
    kept = Kept()
    door = gate(Tier.INSPECT, kept)
    reply = await door.call("proc.command", ["df"], {})
    await door.close()
    assert reply.ok or (reply.error is not None and reply.error.code == "unavailable")
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    denied = await gate(Tier.OBSERVE).call("proc.command", ["df"], {})
    assert denied.error is not None
    assert denied.error.code == "denied"


async def test_exec_runs_any_program() -> None:
    done = await perform("proc.exec", ["cat", "-", "/dev/null"], "hello", {"A": "b c"}, "/tmp")
    check_fields(done, DONE)
    assert (done["code"], done["stdout"]) == (0, "hello")
    done = await perform("proc.exec", ["/bin/sh", "-c", "echo $A $PATH; pwd"], env={"A": "b"}, cwd="/usr")
    assert done["stdout"] == "b /usr/sbin:/usr/bin:/sbin:/bin\n/usr\n"
    for timeout_s in (0.3, 5):  # as above
        done = await perform("proc.exec", ["yes"], timeout=timeout_s, max_output=100)
        if done["stdout"]:
            break
    assert (done["signal"], len(done["stdout"]), done["truncated"]) == (9, 100, True)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"argv": []}, ArgumentError, "argv"),
        ({"argv": [""]}, ArgumentError, "argv"),
        ({"argv": ["bin/true"]}, ArgumentError, "absolute path"),
        ({"argv": ["../bin/true"]}, ArgumentError, "absolute path"),
        ({"argv": ["no-such-program"]}, UnavailableError, "is not a program"),
        ({"argv": ["/nowhere/it"]}, NotFoundError, "/nowhere/it"),
        ({"argv": ["true\0"]}, ArgumentError, "argv"),
        ({"argv": "true"}, ArgumentError, "argv"),
        ({"argv": ["true"], "cwd": "tmp"}, ArgumentError, "cwd"),
        ({"argv": ["true"], "cwd": "/nowhere"}, NotFoundError, "/nowhere"),
        ({"argv": ["true"], "env": {"": "x"}}, ArgumentError, "env"),
        ({"argv": ["true"], "env": {"a=b": "x"}}, ArgumentError, "env"),
        ({"argv": ["true"], "env": {"a": "b\0"}}, ArgumentError, "env"),
        ({"argv": ["true"], "user": "no-such-user"}, NotFoundError, "no-such-user"),
        ({"argv": ["true"], "user": "99999999999999999999"}, NotFoundError, "user"),
        ({"argv": ["true"], "group": "no-such-group"}, NotFoundError, "no-such-group"),
        ({"argv": ["true"], "timeout": float("nan")}, ArgumentError, "timeout"),
        ({"argv": ["true"], "max_output": 1 << 30}, ArgumentError, "max_output"),
        ({"argv": ["true", *["x" * 30_000] * 5]}, ArgumentError, "longer than"),
    ],
)
async def test_what_exec_refuses(arguments: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        await perform("proc.exec", **arguments)


@needs_root
async def test_exec_as_another_user() -> None:
    """With that user's groups and home; nothing of root's is left."""
    nobody = pwd.getpwnam("nobody")
    done = await perform("proc.exec", ["/bin/sh", "-c", "id -u; id -g; echo $HOME $USER"], user="nobody")
    assert done["stdout"] == f"{nobody.pw_uid}\n{nobody.pw_gid}\n{nobody.pw_dir} nobody\n"
    done = await perform("proc.exec", ["cat", "/etc/shadow"], user=str(nobody.pw_uid))
    assert done["code"] != 0
    assert "Permission denied" in done["stderr"]


def test_the_program_is_resolved_before_it_is_decided_on(tmp_path: Path) -> None:
    """A link cannot be decided on as one program and be another."""
    (tmp_path / "harmless").symlink_to("/bin/sh")
    decided = program_facts(Host(), {"argv": [str(tmp_path / "harmless"), "-c", "id"]})
    real = os.path.realpath("/bin/sh")
    assert decided.facts == (Facts(command="harmless", program=real, arguments=("-c", "id")),)
    assert decided.arguments["argv"] == Chosen(real, (str(tmp_path / "harmless"), "-c", "id"))
    assert choose(["sh"]).program == real


async def test_exec_is_for_admins_and_is_recorded() -> None:
    kept = Kept()
    door = gate(Tier.ADMIN, kept)
    reply = await door.call("proc.exec", [["/bin/echo", "x"]], {})
    await door.close()
    assert reply.ok
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    for tier in (Tier.COMPUTE, Tier.OBSERVE, Tier.INSPECT, Tier.OPERATE):
        reply = await gate(tier).call("proc.exec", [["/bin/echo", "x"]], {})
        assert reply.error is not None
        assert reply.error.code == "denied"


async def test_a_host_that_starts_nothing_says_so() -> None:
    from running import AllPermitted

    from stdlib.catalogue import load
    from stdlib.host import RunContext

    spec = load().find("proc.exec")
    assert spec is not None
    bound = spec.bind([["true"]], {})
    with (
        spec.prepare(Host(), RunContext(), bound, AllPermitted()) as prepared,
        pytest.raises(UnavailableError, match="no programs"),
    ):
        await prepared.perform()


NOBODY_ANSWERS = """
import asyncio, threading
from types import SimpleNamespace
from policies.model import Effect, Limits, Verdict
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.parties import Session
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

place, name = sys.argv[1:]
fuse = Fuse(f"{place}/m")
watchdog = threading.Timer(20, fuse.end)
watchdog.daemon = True
watchdog.start()
program = f"{place}/m/x"
arguments = ["x"] if name == "proc.command" else [[program]]
kept = SimpleNamespace(check_room=lambda: None, record=lambda **_: None)

async def main():
    deny = Verdict(Effect.DENY, "nothing is allowed")
    host = Host(commands={"x": (program,)})
    gate = Gate(load(), lambda *_: deny, kept, Session("s", "r", "p"), Budget(Limits()), host, RunContext())
    calling = asyncio.ensure_future(gate.call(name, arguments, {}))
    await asyncio.to_thread(os.read, fuse.asked, 1)  # what is at the path was asked for
    turned = not calling.done()
    fuse.end()
    return [turned, (await calling).error.code]

print(json.dumps(asyncio.run(main())))
"""


BOUND = """\
tier: admin
allow:
  - calls: [secret, time.*]
  - calls: [proc.exec, proc.spawn, tty.open, tty.login]
    programs: [/bin/bash, /usr/bin/bash]
    arguments: ['-c', 'true']
"""


@pytest.mark.parametrize("name", ["proc.exec", "proc.spawn", "tty.open", "tty.login"])
@pytest.mark.parametrize(
    ("env", "allowed"),
    [
        ({}, True),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C", "TZ": "Europe/Berlin", "TERM": "xterm-256color"}, True),
        ({"LANG": "../../tmp/x"}, False),
        ({"TERM": "/tmp/x"}, False),
        ({"TZ": "../../etc/shadow"}, False),
        ({"LANGUAGE": "de"}, False),
        ({"BASH_ENV": "PLACE"}, False),
        ({"LD_PRELOAD": "/tmp/x.so"}, False),
        ({"PGPASSWORD": "as the script likes"}, False),
    ],
)
async def test_no_variable_makes_another_program_of_what_a_rule_names(
    tmp_path: Path, name: str, env: dict[str, str], allowed: bool
) -> None:
    """Decided on /bin/bash -c true, and BASH_ENV would have it run a file of the script's choice first."""
    mark, other = tmp_path / "mark", tmp_path / "other"
    other.write_text(f"echo ran > {mark}\n")
    given = {key: str(other) if value == "PLACE" else value for key, value in env.items()}
    door = gate(Tier.ADMIN, policy=load_policy(BOUND, "site.yaml"))
    reply = await door.call(name, [], {"argv": ["bash", "-c", "true"], "env": given})
    await door.close()
    assert (reply.ok, mark.exists()) == (allowed, False), reply.error
    if reply.error is not None:
        assert (reply.error.code, next(iter(env)) in reply.error.message) == ("denied", True)


async def test_rules_name_variables_and_secrets_need_no_name(tmp_path: Path) -> None:
    text = BOUND.replace("    programs:", "    environment: [PGDATABASE]\n    programs:")
    door = gate(Tier.ADMIN, policy=load_policy(text, "site.yaml"))
    secret = await door.call("secret", ["db-password"], {})
    assert isinstance(secret.value, Held)
    handle = {HANDLE_KEY: secret.value.number}
    argv = ["bash", "-c", "true"]
    for env, is_allowed in (
        ({"PGDATABASE": "x"}, True), ({"PGPASSWORD": handle}, True), ({"PGDATABASE": "x", "PGHOST": "y"}, False),
    ):  # fmt: skip
        reply = await door.call("proc.exec", [], {"argv": argv, "env": env})
        assert reply.ok is is_allowed, reply.error
    await door.close()
    free = gate(Tier.ADMIN)  # a rule that names no program gives away all of them
    assert (await free.call("proc.exec", [], {"argv": argv, "env": {"LD_PRELOAD": ""}})).ok
    await free.close()


@pytest.mark.parametrize("name", ["proc.command", "proc.exec", "proc.start", "proc.spawn", "tty.open"])
def test_a_path_where_nobody_answers_holds_up_nobody_else(tmp_path: Path, name: str) -> None:
    """What a program is decided on is what is there, so that is looked at first, also for who may start none at all."""
    turned, code = told(NOBODY_ANSWERS, str(tmp_path), name)
    assert turned
    assert code in ("denied", "not_found", "unavailable")
