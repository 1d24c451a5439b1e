"""Dry runs: all is decided and recorded, what reads is carried out, and nothing else is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from running import COMMANDS, Kept, gate, run
from test_conformance import GATED

from policies.model import Facts
from protocol.frames import encode
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.call_specs import CallSpec, Prepared
from stdlib.dry import Unreal
from stdlib.host import Host, RunContext
from stdlib.journal import Journal
from stdlib.store import Store

PLACE = Path(f"/tmp/outriderdry{os.getpid()}")  # another run of the tests may go on beside this one


@pytest.fixture
def place() -> Any:
    PLACE.mkdir()
    (PLACE / "kept").write_bytes(b"before")
    yield PLACE
    shutil.rmtree(PLACE)


def _never() -> Any:
    raise AssertionError("a dry run carries nothing out")


@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
def test_every_call_has_something_to_give(spec: CallSpec) -> None:
    """Of the form of its result, so that scripts go on; maps say that it was dry."""
    found = spec.dry_result(Prepared((Facts(path="/x", command="c"),), _never))
    if spec.gives == "stream":
        assert list(found) == []
    elif spec.gives == "handle":
        assert isinstance(found, Unreal)
        assert (found.kind, found.facts.command, found.fields()) == (spec.gives_kind, None, {"dry_run": True})
    else:
        encode(found)
        assert not isinstance(found, dict) or found["dry_run"] is True


LUA = """
local before = ctx.dry_run()
local done = fs.write("/tmp/outriderdry/new", "x")
local kept = fs.read("/tmp/outriderdry/kept")
fs.unlink("/tmp/outriderdry/kept")
local w = fs.write_stream("/tmp/outriderdry/kept")
w:write("y")
local finished = w:finish()
local child = proc.spawn({"/usr/bin/touch", "/tmp/outriderdry/spawned"})
child:write("in")
local lines = 0
for _ in child:lines() do lines = lines + 1 end
local ended = child:wait()
local ran = proc.exec({"/usr/bin/touch", "/tmp/outriderdry/ran"})
local disks = proc.command("df", {"-P"})
local touched = proc.command("touch", {"/tmp/outriderdry/touched"})
state.set("seen", 1)
return {before, done.dry_run, kept, finished.new_hash == nil, lines, ended.code, ran.code, #disks.stdout > 10,
        touched.dry_run, state.get("seen"), fs.exists("/tmp/outriderdry/kept")}
""".replace("/tmp/outriderdry", str(PLACE))
PYTHON = """
before = ctx.dry_run()
done = fs.write("/tmp/outriderdry/new", "x")
kept = fs.read("/tmp/outriderdry/kept")
fs.unlink("/tmp/outriderdry/kept")
w = fs.write_stream("/tmp/outriderdry/kept")
w.write("y")
finished = w.finish()
child = proc.spawn(["/usr/bin/touch", "/tmp/outriderdry/spawned"])
child.write("in")
lines = len([line for line in child.lines()])
ended = child.wait()
ran = proc.exec(["/usr/bin/touch", "/tmp/outriderdry/ran"])
disks = proc.command("df", ["-P"])
touched = proc.command("touch", ["/tmp/outriderdry/touched"])
state.set("seen", 1)
result = [before, done["dry_run"], kept, finished["new_hash"] is None, lines, ended["code"], ran["code"],
          len(disks["stdout"]) > 10, touched["dry_run"], state.get("seen"), fs.exists("/tmp/outriderdry/kept")]
""".replace("/tmp/outriderdry", str(PLACE))


@pytest.mark.parametrize(("language", "source"), [("lua", LUA), ("python", PYTHON)])
async def test_a_script_goes_on_and_nothing_is_done(
    sandbox: Sandbox, language: str, source: str, place: Path, tmp_path: Path
) -> None:
    kept = Kept()
    host = Host(commands={**COMMANDS, "touch": ("/usr/bin/touch",)}, journal=Journal(tmp_path / "journal"))
    context = RunContext(store=Store().of("tests/dry"), is_dry=True)
    outcome = await run(sandbox, language, source, Tier.ADMIN, kept=kept, host=host, context=context, is_dry=True)
    assert outcome.status == "ok", outcome.reason
    assert outcome.result == [True, True, "before", True, 0, 0, 0, True, True, 1, True]
    assert [path.name for path in place.iterdir()] == ["kept"]
    assert (place / "kept").read_bytes() == b"before"
    assert not (tmp_path / "journal").exists()
    made = [(record["call"], record["kind"], record["outcome"]) for record in kept.records]
    assert [call for call, kind, _ in made if kind == "intent"] == ["proc.command"], "only df was carried out"
    dry = [call for call, kind, outcome in made if kind == "call" and outcome == "dry"]
    assert dry == [
        "fs.write", "fs.unlink", "fs.write_stream", "writer.write", "writer.finish", "proc.spawn", "process.write",
        "process.lines", "process.wait", "proc.exec", "proc.command",
    ]  # fmt: skip
    assert all(record["verdict"] == "allow" for record in kept.records if record["outcome"] == "dry")
    assert [made.call for made in outcome.calls if made.verdict == "dry"] == dry


async def test_what_is_denied_is_denied_in_a_dry_run_too(place: Path) -> None:
    kept = Kept()
    session = gate(Tier.OPERATE, kept, is_dry=True)
    for name, args, code in [
        ("fs.write", ["/etc/passwd", "x"], "denied"), ("proc.exec", [["/bin/true"]], "denied"),
        ("fs.write", ["relative", "x"], "invalid_argument"), ("fs.write", [f"{PLACE}/kept", "x"], None),
    ]:  # fmt: skip
        reply = await session.call(name, args, {})
        assert getattr(reply.error, "code", None) == code, name
    await session.close()
    assert (place / "kept").read_bytes() == b"before"
    assert [record["outcome"] for record in kept.records] == ["denied", "denied", "invalid_argument", "dry"]


@pytest.mark.parametrize(
    ("name", "args", "named", "parameter"),
    [
        ("sys.cron_set", ["x y", "@daily", "df"], {}, "name"),
        ("sys.cron_set", ["x", "61 * * * *", "df"], {}, "schedule"),
        ("sys.cron_set", ["x", "*/0 * * * *", "df"], {}, "schedule"),  # which no pattern says
        ("sys.cron_set", ["x", "@daily", "df", ["a\nb"]], {}, "args"),
        ("sys.cron_set", ["x", "@daily", "df", ["\u2028"]], {}, "args"),
        ("sys.cron_set", ["x", "@daily", "df"], {"user": "no such"}, "user"),
        ("sys.cron_remove", ["../passwd"], {}, "name"),
        ("sys.service_control", ["-x", "start"], {}, "name"),
        ("sys.package_install", [["-y"]], {}, "names"),
        ("sys.user_change", ["a:b", "create"], {}, "name"),
        ("sys.user_change", ["mia", "change"], {}, "action"),
        ("sys.user_change", ["mia", "change"], {"home": "/home/../etc"}, "home"),
        ("sys.user_change", ["mia", "change"], {"groups": ["adm,root"]}, "groups"),
        ("sys.user_change", ["mia", "create"], {"full_name": "a:0:0"}, "full_name"),
        ("sys.reboot", ["-h"], {}, "reason"),
        ("sys.sysctl_set", ["vm swappiness", "1"], {}, "key"),
        ("fs.write", [f"{PLACE}/kept", "x"], {"if_hash": "none"}, "if_hash"),
        ("fs.symlink", ["", f"{PLACE}/link"], {}, "target"),
        ("fs.fetch", ["none", f"{PLACE}/kept"], {}, "blob_hash"),
        ("net.download", ["https://192.0.2.7/x", "md5"], {}, "sha256"),
        ("proc.exec", [["/bin/true"]], {"cwd": "tmp"}, "cwd"),
        ("tty.notice", ["s1", " \n"], {}, "text"),
        ("tty.client", ["s1", "edit", "x"], {}, "path"),
        ("tty.login", [], {"term": "../x"}, "term"),
    ],
)  # fmt: skip
async def test_arguments_that_a_call_would_refuse_are_refused_in_a_dry_run_too(
    place: Path, name: str, args: list[Any], named: dict[str, Any], parameter: str
) -> None:
    """Else it is ok until it is carried out."""
    session = gate(Tier.ADMIN, Kept(), is_dry=True)
    reply = await session.call(name, args, named)
    await session.close()
    assert reply.error is not None
    assert (reply.error.code, reply.error.parameter) == ("invalid_argument", parameter), reply.error


async def test_requests_that_only_read_are_made_and_others_are_not() -> None:
    """``net.http`` is one call with many methods; what inspect allows of it is carried out."""
    from policies.decide import Effective, Layer
    from policies.dry import only_reads
    from policies.load import builtin, load_policy
    from policies.targets import NetTarget

    needs = Layer("needs", load_policy(
        "tier: operate\nallow: [{call: net.http, targets: [web.test]}]\n", "needs"
    ).rules, declares=True)  # fmt: skip
    operate = builtin(Tier.OPERATE)
    reads = only_reads(Effective((Layer(operate.name, operate.rules), needs)))
    target = NetTarget.of("web.test", 443)
    assert reads("net.http", Facts(target=target, arguments=("GET",)))
    assert not reads("net.http", Facts(target=target, arguments=("POST",)))
    assert not reads("net.http", Facts(target=NetTarget.of("other.test", 443), arguments=("GET",)))
    assert not reads("fs.write", Facts(path="/var/x/y"))
