"""The calls that the worker carries out itself, behind its lock: the same in both languages, also for hostile input."""

from __future__ import annotations

import base64
import gzip
import re
from typing import Any

import pytest
from running import run

from protocol.tiers import Tier
from sandbox.launch import Sandbox

#: An expression of Lua, the same one of Python (empty: it reads the same), and its value.
ALIKE: list[tuple[str, str, Any]] = [
    ('json.encode({b = 1, a = {true, "é"}})', 'json.encode({"b": 1, "a": [True, "é"]})', '{"a":[true,"é"],"b":1}'),
    ("json.encode({1}, {indent = 1})", "json.encode([1], indent=1)", "[\n 1\n]"),
    ("json.encode({indent = 2})", 'json.encode({"indent": 2})', '{"indent":2}'),
    ('yaml.decode("a: [1, no, 1.5]")', "", {"a": [1, "no", 1.5]}),
    ('yaml.encode({a = {1, "no"}})', 'yaml.encode({"a": [1, "no"]})', 'a:\n  - 1\n  - "no"\n'),
    ('toml.decode("[a]\\nb = 1979-05-27")', "", {"a": {"b": "1979-05-27"}}),
    (
        'ini.decode("[a]\\nb = 1\\nb = 2", {repeated = "list"})',
        'ini.decode("[a]\\nb = 1\\nb = 2", repeated="list")',
        {"a": {"b": ["1", "2"]}},
    ),
    ("ini.encode({a = {b = 1}})", 'ini.encode({"a": {"b": 1}})', "[a]\nb = 1\n"),
    (
        'csv.decode("a;b\\n1;2", {delimiter = ";", header = true})',
        'csv.decode("a;b\\n1;2", delimiter=";", header=True)',
        [{"a": "1", "b": "2"}],
    ),
    ('csv.encode({{"a", 1}, {"b,", true}})', 'csv.encode([["a", 1], ["b,", True]])', 'a,1\n"b,",true\n'),
    ("xml.decode(\"<a b='1'>x<c/></a>\").attributes", 'xml.decode("<a b=\'1\'>x<c/></a>")["attributes"]', {"b": "1"}),
    (
        'regex.find("(?P<k>[a-z]+)=([0-9]+)", "x free=12")',
        "",
        {"text": "free=12", "groups": ["free", "12"], "names": {"k": "free"}},
    ),
    ('regex.replace("([0-9]+)", "a1", "<$1>")', "", "a<1>"),
    ('regex.split("[ ,]+", "a, b c")', "", ["a", "b", "c"]),
    ('#regex.find_all("[0-9]", "123", {limit = 2})', 'len(regex.find_all("[0-9]", "123", limit=2))', 2),
    (
        'base64.encode("\\xfb\\xff", {url = true, padding = false})',
        'base64.encode(b"\\xfb\\xff", url=True, padding=False)',
        "-_8",
    ),
    ('base64.decode("+/8=")', "", b"\xfb\xff"),
    ('hex.decode("ff00")', "", b"\xff\x00"),
    ('hex.encode("é")', "", "c3a9"),
    ('digest.md5("abc")', "", "900150983cd24fb0d6963f7d28e17f72"),
    ('digest.blake2b("abc", {size = 4})', 'digest.blake2b("abc", size=4)', "63906248"),
    ('hmac.equal(hmac.sha1("k", "d"), hmac.sha1("k", "d"))', "", True),
    ('gzip.decompress(gzip.compress("\\xff\\x00"))', 'gzip.decompress(gzip.compress(b"\\xff\\x00"))', b"\xff\x00"),
    ('semver.compare("1.2.3", "1.10.0")', "", -1),
    ('semver.parse("1.2.3-rc.1").prerelease', 'semver.parse("1.2.3-rc.1")["prerelease"]', "rc.1"),
    ('cidr.contains("10.0.0.0/8", "10.1.2.3")', "", True),
    (
        'cidr.parse("10.0.0.1/8", {strict = false}).network',
        'cidr.parse("10.0.0.1/8", strict=False)["network"]',
        "10.0.0.0/8",
    ),
    ('url.parse("http://h:8/a").port', 'url.parse("http://h:8/a")["port"]', 8),
    ('url.build({scheme = "http", host = "h"})', 'url.build({"scheme": "http", "host": "h"})', "http://h"),
    ('url.decode("%ff")', "", b"\xff"),
    ('path.join({"/a", "b"})', 'path.join(["/a", "b"])', "/a/b"),
    ('path.name("/a/\\xff")', 'path.name(b"/a/\\xff")', b"\xff"),
    ('param("device")', "", "sda"),
]


@pytest.mark.parametrize("language", ["lua", "luajit", "python"])
async def test_both_languages_get_the_same(sandbox: Sandbox, language: str) -> None:
    """One run for all of them: no call leaves the worker, so none is on the record."""
    if language == "python":
        source = "result = [" + ", ".join(python or lua for lua, python, _ in ALIKE) + "]"
    else:
        source = "return {" + ", ".join(lua for lua, _, _ in ALIKE) + "}"
    outcome = await run(sandbox, language, source, Tier.COMPUTE, {"device": "sda"})
    assert outcome.status == "ok", outcome.reason
    for (lua, _, expected), found in zip(ALIKE, outcome.result, strict=True):
        assert (type(found), found) == (type(expected), expected), lua
    assert outcome.calls == []


BOMB = base64.b64encode(gzip.compress(bytes(64 << 20))).decode()
LAUGHS = "a0: &a0 [x]\\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\\n" for level in range(1, 11)
)
HOSTILE: list[tuple[str, str]] = [
    (f'yaml.decode("{LAUGHS}")', "too_large"),
    (f'gzip.decompress(base64.decode("{BOMB}"))', "too_large"),
    ("xml.decode(\"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>\")", "invalid_argument"),
    ('json.decode(REPEAT("[", 100000))', "invalid_argument"),
    ('yaml.decode(REPEAT("[", 100000))', "invalid_argument"),
    ('toml.decode("a = " .. REPEAT("[", 100000))', "invalid_argument"),
    ('xml.decode(REPEAT("<a>", 100000))', "invalid_argument"),
    ('json.decode("[" .. REPEAT("0,", 300000) .. "0]")', "too_large"),
    ('yaml.decode("!!python/object/apply:os.system [id]")', "invalid_argument"),
    ('regex.find("(a", "x")', "invalid_argument"),
]


@pytest.mark.parametrize("language", ["lua", "python"])
@pytest.mark.parametrize(("call", "code"), HOSTILE, ids=lambda item: item[:24])
async def test_hostile_input_is_refused(sandbox: Sandbox, language: str, call: str, code: str) -> None:
    """With an error that the script can catch, within the memory of the smallest tier."""
    if language == "lua":
        lua = call.replace("REPEAT", "string.rep")
        source = f"local ok, failure = pcall(function() return {lua} end)\nreturn failure.code"
    else:
        python = re.sub(r'REPEAT\(("[^"]+"), (\d+)\)', r"(\1 * \2)", call).replace(" .. ", " + ")
        source = f"try:\n    {python}\n    result = None\nexcept HostError as failure:\n    result = failure.code"
    outcome = await run(sandbox, language, source, Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", code), outcome.reason


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_a_pattern_cannot_run_away(sandbox: Sandbox, language: str) -> None:
    """The run would be ended by its limit of two seconds of the processor."""
    repeated = {"lua": 'string.rep("a", 1000000)', "python": '"a" * 1000000'}[language]
    call = f'regex.test("(a+)+$", {repeated} {".." if language == "lua" else "+"} "!")'
    outcome = await run(sandbox, language, f"return {call}" if language == "lua" else f"result = {call}", Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", False), outcome.reason


async def test_as_much_as_may_come_out_fits_into_both_languages(sandbox: Sandbox) -> None:
    """At the bound of items, within the memory of the smallest tier: the bridge lifts Lua's own limit meanwhile."""
    text = '"[" .. string.rep("{\\"a\\":0},", 49998) .. "0]"'
    outcome = await run(sandbox, "lua", f"return #json.decode({text})", Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", 49_999), outcome.reason
    text = '"[" + "{\\"a\\":0}," * 49998 + "0]"'
    outcome = await run(sandbox, "python", f"result = len(json.decode({text}))", Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", 49_999), outcome.reason


async def test_names_of_families_stay_usable_in_python(sandbox: Sandbox) -> None:
    """``hex`` is a function of the interpreter too, and ``import csv`` takes nothing away."""
    source = (
        "import base64\nimport csv\nimport json\n"
        "path = '/x'\n"
        "result = [hex(255), hex.encode('a'), csv.decode('a,b'), len(csv.reader('a,b')), base64.encode('a'), "
        "base64.b64encode(b'a'), json.loads('1'), path]"
    )
    outcome = await run(sandbox, "python", source, Tier.COMPUTE)
    assert outcome.status == "ok", outcome.reason
    assert outcome.result == ["0xff", "61", [["a", "b"]], 1, "YQ==", b"YQ==", 1, "/x"]


async def test_lua_keeps_its_own_string_table_and_math(sandbox: Sandbox) -> None:
    """There are no families of these names: they would take the place of what Lua has."""
    source = 'return {string.rep("a", 2), ("x"):upper(), table.concat({1, 2}, "-"), math.floor(1.5)}'
    outcome = await run(sandbox, "lua", source, Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", ["aa", "X", "1-2", 1]), outcome.reason
