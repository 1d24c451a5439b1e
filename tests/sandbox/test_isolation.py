"""Nothing of one run reaches another one, and nothing of the agent reaches any: state, memory, descriptors, words."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from arena import BINDINGS, HERE, IS_ROOT, LIMITS, Entry, Records, Table, gate
from scanner import PLANTED, disguised

from protocol.signing import PrivateKey
from sandbox.jail.walls import PRIVILEGES, USER_NS, WALLS
from sandbox.launch import SPARES, Options, Outcome, Program, Sandbox

SUFFIX = {"lua": "lua", "luajit": "lua", "python": "py"}


async def run(sandbox: Sandbox, language: str, text: str, calls: Table | None = None, **parameters: Any) -> Outcome:
    name = f"main.{SUFFIX[language]}"
    program = Program(language, name, {name: text.encode()}, parameters)
    return await sandbox.run(program, gate(calls), LIMITS)


# What scripts leave behind --------------------------------------------------------------------------------------------

#: Returns all that a script can see, as a sorted list: each name with its kind, and how a few things behave.
LUA_LOOK = """
local seen, out = {}, {}
local function say(what) out[#out + 1] = what end
local function walk(path, value)
  local kind = type(value)
  say(path .. ' ' .. kind .. ' ' .. ((kind == 'number' or kind == 'boolean') and tostring(value) or ''))
  if kind == 'table' and not seen[value] then
    seen[value] = true
    for key, inside in next, value do walk(path .. '.' .. tostring(key), inside) end
    say(path .. ' has ' .. type(getmetatable(value)))
  end
end
walk('_G', _G)
local function try(name, what)
  local ok, value = pcall(what)
  say(name .. ' ' .. (ok and type(value) .. ' ' .. tostring(value) or 'fails'))
end
try('method', function() return ('a'):upper() end)
try('missing method', function() return ('a').ghost end)
try('missing global', function() return ghost end)
try('call', function() return t.add(1, 2) end)
try('missing call', function() return t.ghost end)
try('load', function() return load('return left or 7')() end)
try('sort', function() local x = {2, 1} table.sort(x) return x[1] end)
try('print', function() return type(print) end)
table.sort(out)
return out
"""
LUA_SPOIL = """
local function try(what) pcall(what) end
left, _G[1] = 'behind', 'x'
for _, name in next, {'string', 'table', 'math', 'utf8', 'coroutine', 'os', 'bit', 't'} do
  try(function() local lib = _G[name] lib.ghost = 'here' lib.upper = error lib.sort = error lib.add = error end)
  try(function() rawset(_G[name], 'ghost', 'here') end)
  try(function() setmetatable(_G[name], {__index = function() return 'ghost' end}) end)
end
try(function() getmetatable('').__index = function() return 'ghost' end end)
try(function() getmetatable('').__add = function() return 'ghost' end end)
try(function() getmetatable(t).__index = nil end)
try(function() math.randomseed(1) end)
try(function() setmetatable(_G, {__index = function(_, name) return 'ghost' end}) end)
try(function() collectgarbage('stop') end)
print, load = nil, nil
local sort = table.sort
"""
PYTHON_LOOK = """
out = []
def attempt(name, what):
    try:
        out.append([name, what()])
    except Exception as error:
        out.append([name, 'fails', str(error)[:200]])
attempt('global', lambda: left)
attempt('len', lambda: len([1, 2]))
attempt('sorted', lambda: sorted([2, 1]))
attempt('method', lambda: 'a'.upper())
attempt('call', lambda: t.add(1, 2))
attempt('ghost of the calls', lambda: hasattr(t, 'ghost') and t.ghost == 'here')
attempt('class', lambda: [getattr(HostError('c', 'm'), name, None) for name in ('code', 'ghost')])
attempt('error', lambda: [hasattr(ValueError, 'ghost'), str(ValueError('x'))])
attempt('builtins', lambda: [hasattr(each, 'ghost') for each in (str, int, dict, list, len, print)])
attempt('numbers', lambda: [1 + 1, 7, 256, True + 1])
attempt('texts', lambda: ['ab' == 'a' + 'b', {'left': 1}.get('left'), 'left'.upper()])
attempt('empty', lambda: ['', [], {}, len(frozenset()), len(())])
"""
PYTHON_SPOIL = """
left = 'behind'
def attempt(what):
    try:
        what()
    except Exception:
        pass
def change(target):
    target.ghost = 'here'
for each in (t, HostError, ValueError, str, int, dict, list, len, print, attempt):
    attempt(lambda: change(each))
def touch(target):
    target['ghost'] = 'here'
attempt(lambda: touch(t))
class Text(str):
    def upper(self):
        return 'changed'
len = lambda _: 99
sorted = lambda _: 'changed'
str = Text
"""
SPOIL_AND_LOOK = {
    "lua": (LUA_SPOIL, LUA_LOOK),
    "luajit": (LUA_SPOIL, LUA_LOOK),
    "python": (PYTHON_SPOIL, PYTHON_LOOK),
}
ENDING = {"lua": "", "luajit": "", "python": "result = out\n"}


@pytest.mark.parametrize("spares", [0, SPARES], ids=["fresh workers", "spare workers"])
@pytest.mark.parametrize("language", SPOIL_AND_LOOK)
async def test_what_one_script_changes_no_other_one_sees(language: str, spares: int) -> None:
    """Globals, library tables, the metatable of strings, builtins, the calls themselves: all are as they were."""
    spoil, look = SPOIL_AND_LOOK[language]
    sandbox = await Sandbox.start(bindings=BINDINGS, options=Options(spares=spares))
    try:
        fresh = await run(sandbox, language, look + ENDING[language])
        assert fresh.status == "ok", fresh.reason
        for _ in range(4):
            changed = await run(sandbox, language, spoil + look + ENDING[language])
            assert changed.status == "error" or changed.result != fresh.result, "the first script changes nothing"
            after = await run(sandbox, language, look + ENDING[language])
            assert (after.status, after.result) == ("ok", fresh.result)
    finally:
        await sandbox.close()


@pytest.mark.parametrize("module", ["re", "random", "collections", "itertools", "json", "math", "string"])
async def test_modules_keep_nothing(module: str) -> None:
    """Whether a script may import it or not: what one does to a module, no other one sees."""
    sandbox = await Sandbox.start(bindings=BINDINGS)
    look = f"import {module}\nresult = hasattr({module}, 'ghost')\n"
    try:
        fresh = await run(sandbox, "python", look)
        spoil = f"import {module}\ntry:\n    {module}.ghost = 'here'\nexcept Exception:\n    pass\n"
        await run(sandbox, "python", spoil)
        after = await run(sandbox, "python", look)
        assert (after.status, after.reason, after.result) == (fresh.status, fresh.reason, fresh.result)
        assert after.result is not True
    finally:
        await sandbox.close()


@pytest.mark.parametrize("language", SUFFIX)
async def test_code_is_compiled_anew(language: str) -> None:
    """The same file name with another text is another program, and no file of another bundle is there."""
    name = f"main.{SUFFIX[language]}"
    value = {"python": "result = {}"}.get(language, "return {}")
    sandbox = await Sandbox.start(bindings=BINDINGS)
    try:
        for number in (1, 2, 3):
            files = {name: value.format(number).encode(), f"only{number}": b"x"}
            assert (await sandbox.run(Program(language, name, files), gate(), LIMITS)).result == number
        lost = await sandbox.run(Program(language, "only1", {name: b""}), gate(), LIMITS)
        assert lost.reason == "the bundle has no file only1"
    finally:
        await sandbox.close()


@pytest.mark.parametrize("language", SUFFIX)
async def test_a_failed_run_leaves_nothing_in_the_next_one(language: str) -> None:
    """Its error, its place and its words are its own."""
    sandbox = await Sandbox.start(bindings=BINDINGS)
    fail = "x = 1\nraise ValueError('mine')" if language == "python" else "x = 1\nerror('mine')"
    good = "result = 5" if language == "python" else "return 5"
    try:
        assert "mine" in ((await run(sandbox, language, fail)).reason or "")
        after = await run(sandbox, language, good)
        assert (after.status, after.reason, after.where, after.output, after.result) == ("ok", None, None, b"", 5)
    finally:
        await sandbox.close()


# What is in a worker's memory -----------------------------------------------------------------------------------------


def searching() -> Options:
    """Options of a sandbox whose workers can look through their own memory: no wall that hides it from them."""
    up = set() if IS_ROOT else {USER_NS, PRIVILEGES}  # without which an ordinary user has no worker at all
    return Options(entry="scanner", import_path=(HERE,), walls_off=frozenset(WALLS) - up)


@pytest.fixture
async def sandbox(secret_in_the_environment: str) -> AsyncIterator[Sandbox]:
    made = await Sandbox.start(bindings=BINDINGS, options=searching())
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def secret_in_the_environment() -> Iterator[str]:
    os.environ["OUTRIDER_TEST_TOKEN"] = token = secrets.token_hex(16)
    yield token
    del os.environ["OUTRIDER_TEST_TOKEN"]


async def task(sandbox: Sandbox, name: str, **wanted: Any) -> Any:
    limits = replace(LIMITS, memory_bytes=256 << 20)
    outcome = await sandbox.run(Program("scan", "main", {}, {"task": name, **wanted}), gate(limits=limits), limits)
    assert outcome.status == "ok", outcome.reason
    return outcome.result


async def found_in_memory(sandbox: Sandbox, words: dict[str, bytes]) -> set[str]:
    """Return the names of those of ``words`` that are in the memory of a worker, which must see what was planted."""
    looked_for = {"planted": bytes(PLANTED), **words}
    told = await task(sandbox, "scan", words={name: disguised(word) for name, word in looked_for.items()})
    assert told["seen_bytes"] > 8 << 20, told
    assert "planted" in told["found"], "the search is blind"
    return set(told["found"]) - {"planted"}


async def test_no_key_and_no_word_of_the_agent_is_in_a_worker(sandbox: Sandbox, secret_in_the_environment: str) -> None:
    """The zygote is a fresh program, not a copy of the agent: what the agent holds was never there."""
    key = PrivateKey.generate()
    seed = base64.b64decode(key.to_text().split()[2])
    key.sign(b"something")
    words = {
        "seed of the key": seed,
        "text of the key": base64.b64encode(seed),
        "hex of the key": seed.hex().encode(),
        "environment": secret_in_the_environment.encode(),
        "memory of the agent": (held := secrets.token_bytes(24)),
    }
    assert await found_in_memory(sandbox, words) == set()
    assert held, "it was in the agent all the time"


WITNESS = {
    "lua": "-- {source}\nprint('{output}')\nlocal got = t.add('{argument}')\nif param then param('x') end\n{end_}",
    "luajit": "-- {source}\nprint('{output}')\nlocal got = t.add('{argument}')\n{end_}",
    "python": "# {source}\nprint('{output}')\ngot = t.add('{argument}')\n{end_}",
}
ENDS = {
    "ok": {"lua": "return '{result}'", "python": "result = '{result}'"},
    "error": {"lua": "error('{result}')", "python": "raise ValueError('{result}')"},
}


@pytest.mark.parametrize("language", SUFFIX)
async def test_no_word_of_another_run_is_in_a_worker(sandbox: Sandbox, language: str) -> None:
    """Source, parameters, arguments, answers, output, results and errors: of runs before it, and of runs beside it."""
    words: dict[str, bytes] = {}
    begun, go = asyncio.Semaphore(0), asyncio.Event()

    def word(name: str) -> str:
        words[name] = secrets.token_hex(16).encode()
        return words[name].decode()

    def witness(when: str, end: str) -> tuple[str, Table, dict[str, str]]:
        answer = word(f"{when}, answer")
        held = {part: word(f"{when}, {part}") for part in ("source", "output", "argument", "result")}

        async def add(*_: Any) -> str:
            if when == "beside":
                begun.release()
                await go.wait()
            return answer

        ending = ENDS[end]["python" if language == "python" else "lua"].format(**held)
        text = WITNESS[language].format(**held, end_=ending)
        return text, Table({"t.add": Entry(add)}), {"p": word(f"{when}, parameter")}

    assert (
        await found_in_memory(sandbox, {}) == set()
    )  # from here on a spare scanner waits that was made before all runs
    for end in ENDS:
        for round_ in range(2):
            text, calls, parameters = witness(f"{end} {round_}", end)
            outcome = await run(sandbox, language, text, calls, **parameters)
            assert outcome.status == end, outcome.reason
    text, calls, parameters = witness("beside", "ok")
    running = asyncio.create_task(run(sandbox, language, text, calls, **parameters))
    async with asyncio.timeout(LIMITS.wall_s):
        await begun.acquire()
    for _ in range(3):  # a spare from before, a spare made meanwhile, and the next one
        assert await found_in_memory(sandbox, words) == set()
    go.set()
    assert (await running).status == "ok"
    assert await found_in_memory(sandbox, words) == set()
    assert len(words) == 5 * 6


async def test_a_worker_finds_what_is_its_own(sandbox: Sandbox) -> None:
    """The search sees the heap too: what its own program says in clear is found."""
    word = secrets.token_hex(16).encode()
    told = await task(sandbox, "scan", words={"own": disguised(word)}, in_clear=word)
    assert told["found"] == ["own"]


async def test_memory_that_one_worker_spoils_is_whole_in_the_next(sandbox: Sandbox) -> None:
    """An attacker who runs machine code may change the interpreter itself; he changes his own copy."""
    before = await task(sandbox, "intact")
    assert await task(sandbox, "spoil") != before
    for _ in range(3):
        assert await task(sandbox, "intact") == before
    assert (await run(sandbox, "lua", "return 3 + 4")).result == 7
    assert (await run(sandbox, "python", "result = 3 + 4")).result == 7


async def test_no_memory_is_shared_for_writing(sandbox: Sandbox) -> None:
    """Or the test before this one would prove little."""
    assert await task(sandbox, "shared") == []


async def test_the_environment_of_a_worker_is_nearly_empty(sandbox: Sandbox) -> None:
    """Nothing of the agent's: keys and tokens travel in environments all too often."""
    assert set(await task(sandbox, "environment")) <= {"LANG", "PATH", "TZ", "LC_CTYPE"}


async def test_no_descriptor_of_another_run_is_open(sandbox: Sandbox) -> None:
    """Not while other runs are under way either; 4 is the directory that is being listed."""
    records = Records()
    begun, go = asyncio.Semaphore(0), asyncio.Event()

    async def add(*_: Any) -> None:
        begun.release()
        await go.wait()

    calls = Table({"t.add": Entry(add)})
    program = Program("lua", "main.lua", {"main.lua": b"t.add()"})
    beside = [asyncio.create_task(sandbox.run(program, gate(calls, records), LIMITS)) for _ in range(6)]
    async with asyncio.timeout(LIMITS.wall_s):
        for _ in beside:
            await begun.acquire()
    for _ in range(3):
        assert set(await task(sandbox, "descriptors")) <= {0, 1, 2, 3, 4}
    go.set()
    assert {outcome.status for outcome in await asyncio.gather(*beside)} == {"ok"}
