"""What an error of a call is about, as scripts of both languages read it: a parameter, a path or a target."""

from __future__ import annotations

from typing import Any

import pytest
from running import run

from protocol.tiers import Tier
from sandbox.launch import Sandbox

LUA = """\
local _, failure = pcall(function() {call} end)
return {{failure.code, failure.parameter or "", failure.path or "", failure.target or ""}}
"""
PYTHON = """\
try:
    {call}
    result = None
except HostError as failure:
    result = [failure.code, failure.parameter or "", failure.path or "", failure.target or ""]
"""
CALLS: dict[str, list[Any]] = {
    'fs.list("/nope")': ["not_found", "", "/nope", ""],
    'fs.read("/etc/shadow")': ["denied", "", "/etc/shadow", ""],
    'fs.read("/etc/../etc/shadow")': ["denied", "", "/etc/../etc/shadow", ""],  # as it was given, whatever it leads to
    'fs.read("/etc")': ["invalid_argument", "path", "/etc", ""],
    'fs.read("/etc/hostname", -1)': ["invalid_argument", "offset", "", ""],
    'fs.copy("/nope", "/tmp/outrider-nope")': ["not_found", "", "/nope", ""],  # one of two: the one that is missing
    'fs.grep({"/etc/passwd"}, "(")': ["invalid_argument", "regex", "/etc/passwd", ""],
    'fs.walk("/nope")': ["not_found", "", "/nope", ""],
    'net.tcp_check("127.0.0.1", 9)': ["denied", "", "", "127.0.0.1:9"],
    'net.http("http://169.254.169.254/x")': ["denied", "", "", "http://169.254.169.254/x"],
    'net.connect("192.0.2.7", 70000)': ["invalid_argument", "port", "", ""],
    "proc.get(-1)": ["invalid_argument", "pid", "", ""],
    "fs.stat(print)": ["invalid_argument", "path", "", ""],  # as these, which the worker itself refuses
    "json.encode(print)": ["invalid_argument", "value", "", ""],
    'regex.find("a", print)': ["invalid_argument", "text", "", ""],
    'tty.open({"/bin/cat"}, 0)': ["invalid_argument", "cols", "", ""],
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("language", ["lua", "python"])
async def test_an_error_says_what_it_is_about(sandbox: Sandbox, language: str, call: str) -> None:
    """So that a script need not take texts apart."""
    if language == "python":
        source = PYTHON.format(call=call.replace("{", "[").replace("}", "]"))
    else:
        source = LUA.format(call=call)
    outcome = await run(sandbox, language, source, Tier.ADMIN)
    assert (outcome.status, outcome.result) == ("ok", CALLS[call]), outcome.reason


@pytest.mark.parametrize("language", ["lua", "python"])
@pytest.mark.parametrize("value", ["print", "1e308 * 10"], ids=["a function", "no finite number"])
async def test_a_method_names_what_the_worker_refuses(sandbox: Sandbox, language: str, value: str) -> None:
    """By the same names as any other call."""
    if language == "lua":
        source = 'local t = tty.open({"/bin/cat"})\n' + LUA.format(call=f"t:resize(80, {value})")
    else:
        source = 't = tty.open(["/bin/cat"])\n' + PYTHON.format(call=f"t.resize(80, {value})")
    outcome = await run(sandbox, language, source, Tier.ADMIN)
    assert (outcome.status, outcome.result) == ("ok", ["invalid_argument", "rows", "", ""]), outcome.reason


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_what_it_is_about_is_read_only_where_the_language_can(sandbox: Sandbox, language: str) -> None:
    """In Python nothing can be set on it; in Lua the code that the run tells is kept apart."""
    forged = {
        "lua": 'local _, f = pcall(fs.list, "/nope")\nf.code, f.path = "denied", "/etc"\nerror(f)',
        "python": 'try:\n    fs.list("/nope")\nexcept HostError as f:\n    f.path = "/etc"',
    }[language]
    outcome = await run(sandbox, language, forged, Tier.ADMIN)
    assert outcome.status == "error"
    assert "/etc" not in (outcome.reason or "")
