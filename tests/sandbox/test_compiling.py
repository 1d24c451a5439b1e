"""Code that is compiled apart: what the worker that makes it is told, what it can do, and what its code can do."""

from __future__ import annotations

import asyncio
import marshal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from arena import LIMITS, Table, gate, lua, python, table
from test_launch import until

from protocol.frames import decode, encode
from sandbox.channel import CALL, COMPILE, MAX_CODE_BYTES, OUTPUT, RESULT, compile_frame, framed
from sandbox.compiled import MAX_PARTS, Text
from sandbox.compiling import answered, compiled_apart
from sandbox.launch import Program, Sandbox, _parts_of
from sandbox.modules import Libraries, Library
from sandbox.spares import Started

TEXT = Text("main.py", b"result = 1")
ERROR = ["no", None, None]


@pytest.fixture
async def requiring() -> AsyncIterator[Sandbox]:
    """A real one, whose programs can require modules."""
    made = await Sandbox.start(bindings=[{"name": "require", "parameters": ["name"], "local": True}])
    try:
        yield made
    finally:
        await made.close()


def result(value: Any, error: Any = None) -> bytes:
    return framed(encode([RESULT, value, error, 0]))


class Killed:
    """A worker that can only be killed."""

    is_killed = False

    def kill(self) -> None:
        self.is_killed = True


async def run(sandbox: Sandbox, program: Program, calls: Table | None = None) -> Any:
    return await sandbox.run(program, gate(calls, limits=LIMITS), LIMITS)


async def kept_of(sandbox: Sandbox, program: Program) -> bytes:
    """Run a program until its code is kept, and return that."""
    text = Text(program.main, program.files[program.main])
    for _ in range(2):
        await run(sandbox, program)
    await until(lambda: sandbox._compiled.find(text) is not None, "nothing was compiled")
    code = sandbox._compiled.find(text)
    assert code is not None
    return code


def test_the_worker_is_told_the_text_and_nothing_else() -> None:
    """So nothing else can be in what it gives."""
    kind, body = decode(compile_frame(*TEXT)[4:])
    assert kind == COMPILE
    assert body == ["main.py", b"result = 1"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (result(b"code"), b"code"),
        (result("code"), None),
        (result(None), None),
        (result([b"code"]), None),
        (result(None, ERROR), None),
        (result(bytes(MAX_CODE_BYTES + 1)), None),
        (framed(encode([CALL, "fs.read", ["/etc/passwd"], {}])) + result(b"code"), None),
        (framed(encode([OUTPUT, b"x"])) + result(b"code"), None),
        (framed(b"\xc1"), None),
        (result(b"code")[:-1], None),
        (b"\xff\xff\xff\xff", None),
        (b"", None),
    ],
)
async def test_only_code_is_taken(said: bytes, expected: bytes | None) -> None:
    """The worker is hostile; whatever else it says ends it, and no call of it is looked at."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours:
        answer = asyncio.create_task(answered(ours))
        with theirs:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(theirs, said[:3])
            await loop.sock_sendall(theirs, said[3:])
        assert await answer == expected


async def test_a_worker_that_takes_its_time_is_ended() -> None:
    """And so is one that is done."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    worker = Killed()
    with theirs:
        started = Started(worker, ours)  # type: ignore[arg-type] # a double
        assert await compiled_apart(started, TEXT, patience_s=0.05) is None
    assert worker.is_killed
    assert ours.fileno() == -1


async def test_a_program_that_comes_back_runs_as_before(sandbox: Sandbox) -> None:
    """With the same result, and the same line in its errors."""
    program = python("def twice(x):\n    return 2 * x\nresult = [twice(n) for n in range(3)]\n")
    await kept_of(sandbox, program)
    assert (await run(sandbox, program)).result == [0, 2, 4]
    program = python("a = 1\ndef fail():\n    raise ValueError(a)\nfail()\n")
    before = await run(sandbox, program)
    await kept_of(sandbox, program)
    after = await run(sandbox, program)
    assert (after.status, after.reason, after.where) == (before.status, before.reason, before.where)
    assert after.where == "main.py:3"


async def test_it_calls_and_prints_as_before(sandbox: Sandbox) -> None:
    """The guards are in the code, and the calls are bound where it runs."""
    program = python("print('here')\nresult = t.add(2, 3)\n")
    for _ in range(2):
        await run(sandbox, program, table())
    text = Text(program.main, program.files[program.main])
    await until(lambda: sandbox._compiled.find(text) is not None, "nothing was compiled")
    outcome = await run(sandbox, program, table())
    assert (outcome.status, outcome.result, outcome.output) == ("ok", 5, b"here\n")


async def test_code_depends_on_the_text_alone(sandbox: Sandbox) -> None:
    """Parameters of a run, its secrets among them, are in no code."""
    source = b"result = 7 * 6\n"
    first, second = (
        Program("python", "main.py", {"main.py": source, "notes.txt": word}, {"p": word.decode()})
        for word in (b"canary-one", b"canary-two")
    )
    code = await kept_of(sandbox, first)
    assert b"canary" not in code
    other = await Sandbox.start(bindings=[])
    try:
        assert await kept_of(other, second) == code
    finally:
        await other.close()


async def test_a_text_that_is_refused_is_not_kept(sandbox: Sandbox) -> None:
    """It is refused each time, with its line."""
    program = python("a = 1\nb = a.__class__\n")
    outcomes = [await run(sandbox, program) for _ in range(4)]
    assert {(outcome.status, outcome.where) for outcome in outcomes} == {("error", "main.py:2")}
    await until(lambda: not sandbox._compiling, "something is still compiled")
    assert sandbox._compiled.find(Text("main.py", program.files["main.py"])) is None


async def test_modules_of_bundle_and_libraries_are_compiled_apart_as_well(requiring: Sandbox) -> None:
    """Each by its own text: two versions of one library live side by side, and each runs as it did."""
    held = {
        "d-old": Library("lib/base", "base.py", {"base.py": b"value = 'old'\n"}),
        "d-new": Library("lib/base", "base.py", {"base.py": b"value = 'new'\n"}),
        "d-user": Library(
            "lib/user", "user.py", {"user.py": b"value = require('lib/base').value\n"}, {"lib/base": "d-old"}
        ),
    }
    files = {
        "main.py": b"result = [require('own').twice(4), require('lib/base').value, require('lib/user').value]\n",
        "own.py": b"def twice(x):\n    return 2 * x\n",
    }
    program = Program("python", "main.py", files, {}, Libraries({"lib/base": "d-new", "lib/user": "d-user"}, held))
    parts = _parts_of(program)
    assert len(parts) == 5
    for _ in range(2):
        assert (await run(requiring, program)).result == [8, "new", "old"]
    await until(lambda: all(requiring._compiled.has(part.text) for part in parts), "not all was compiled")
    assert (await run(requiring, program)).result == [8, "new", "old"]


async def test_the_code_of_a_module_is_what_runs(requiring: Sandbox) -> None:
    """Not its text once more."""
    program = Program("python", "main.py", {"main.py": b"result = require('own').value\n", "own.py": b"value = 1\n"})
    text = Text("own.py", b"value = 1\n")
    requiring._compiled.keep(text, marshal.dumps(compile("value = 2", "own.py", "exec")))
    assert (await run(requiring, program)).result == 2


async def test_broken_code_of_a_module_is_made_anew(requiring: Sandbox) -> None:
    """From the text, which the worker has as well."""
    program = Program("python", "main.py", {"main.py": b"result = require('own').value\n", "own.py": b"value = 1\n"})
    requiring._compiled.keep(Text("own.py", b"value = 1\n"), b"garbage")
    assert (await run(requiring, program)).result == 1


async def test_an_error_in_a_module_has_its_place_as_before(requiring: Sandbox) -> None:
    """The name of the file is in the code."""
    files = {"main.py": b"require('own').fail()\n", "own.py": b"def fail():\n    raise ValueError(1)\n"}
    program = Program("python", "main.py", files)
    before = await run(requiring, program)
    await kept_of(requiring, program)
    await until(lambda: not requiring._compiling, "something is still compiled")
    assert requiring._compiled.has(Text("own.py", files["own.py"]))
    after = await run(requiring, program)
    assert (after.status, after.reason, after.where) == (before.status, before.reason, before.where)
    assert after.where == "own.py:2"


def test_a_bundle_of_many_files_is_compiled_as_far_as_the_bound() -> None:
    """Each file costs a worker."""
    files = {f"m{n}.py": b"value = %d\n" % n for n in range(MAX_PARTS + 5)}
    assert len(_parts_of(Program("python", "main.py", {"main.py": b"result = 1\n", **files}))) == MAX_PARTS


async def test_lua_is_not_compiled_apart(sandbox: Sandbox) -> None:
    """It loads no bytecode."""
    for _ in range(4):
        assert (await run(sandbox, lua("return 1"))).result == 1
    assert not sandbox._compiled._seen


@pytest.mark.parametrize("code", [b"", b"garbage", marshal.dumps(5), marshal.dumps("text")])
async def test_broken_code_is_made_anew(sandbox: Sandbox, code: bytes) -> None:
    """A text that broke the compiler broke its own code."""
    program = python("result = 11\n")
    sandbox._compiled.keep(Text("main.py", program.files["main.py"]), code)
    assert (await run(sandbox, program)).result == 11


async def test_code_without_guards_meets_the_walls(sandbox: Sandbox) -> None:
    """What a text that breaks the compiler could leave for itself: native powers, in the same jail as ever."""
    program = python("result = 12\n")
    text = Text("main.py", program.files["main.py"])
    hostile = (
        "kinds = ().__class__.__base__.__subclasses__()\n"
        "inside = [kind for kind in kinds if kind.__name__ == '_wrap_close'][0].__init__.__globals__\n"
        "result = inside['getppid']()\n"
    )
    sandbox._compiled.keep(text, marshal.dumps(compile(hostile, "main.py", "exec")))
    outcome = await run(sandbox, program)
    assert outcome.status == "killed"
    assert "SIGSYS" in (outcome.reason or "")
    assert (await run(sandbox, program)).result == 12  # from the text: what crashed with kept code has it no more
    assert sandbox._compiled.find(text) is None


async def test_a_sandbox_is_closed_while_something_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is left, which the fixtures of all tests hold."""

    async def never(_: socket.socket) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("sandbox.compiling.answered", never)
    made = await Sandbox.start(bindings=[])
    program = python("result = 13\n")
    for _ in range(2):
        await run(made, program)
    await until(lambda: made._compiling, "nothing is compiled")
    await made.close()
    assert not made._compiling
