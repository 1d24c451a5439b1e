"""The worker's order of events, with a channel and a lock that note what happens, in a process of its own each."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pyseccomp
import pytest
from languages import RecordingChannel

from protocol.errors import TooLargeError
from sandbox import lua_runtime, lua_syntax, python_runtime, worker
from sandbox.channel import START
from sandbox.runtimes import Binding, CallError, RuntimeLimits, failed

ROWS = [
    {"name": "fs.space", "parameters": ["path"], "local": False},
    {"name": "param", "parameters": [], "local": True},
]


class PipeChannel:
    """A worker's channel that writes every event as a line of JSON to a pipe."""

    def __init__(self, out: int, start: Any, answer: Any = 5, *, ahead: bool = False) -> None:
        self._out = out
        self.ahead = ahead
        self._start = start
        self._answer = answer

    def note(self, kind: str, value: Any = None) -> None:
        os.write(self._out, (json.dumps([kind, value]) + "\n").encode())

    def receive_start(self) -> tuple[int, list[Any]]:
        self.note("start")
        if isinstance(self._start, Exception):
            raise self._start
        return START, self._start

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        self.note("call", [name, args, named])
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def output(self, data: bytes) -> None:
        self.note("output", data.decode())

    def finish(self, value: Any, error: list[str | None] | None = None, output_bytes: int = 0) -> None:
        if value == "too large":
            raise TooLargeError("frame")
        self.note("finish", {"value": value, "error": error, "output_bytes": output_bytes})


def start(source: str, name: str = "main.lua") -> list[Any]:
    return [name, [[name, source.encode()]], {"p": 7}, 2**18, None, None]


def run(
    program: Any,
    language: str = "lua",
    lock: Callable[[], None] | None = None,
    answer: Any = 5,
    *,
    ahead: bool = False,
) -> tuple[list[Any], int]:
    """Return the events and the wait status of one forked worker; that nothing follows its result is held here."""
    worker.preload()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            channel = PipeChannel(writing, program, answer, ahead=ahead)
            worker.main(
                channel,
                language=language,
                bindings=ROWS,
                memory_bytes=32 * 2**20,
                lock=lock or (lambda: channel.note("lock")),
            )
        finally:
            os.kill(os.getpid(), signal.SIGKILL)  # main must never return or raise
    os.close(writing)
    with os.fdopen(reading) as lines:
        events = [json.loads(line) for line in lines]
    status = os.waitpid(pid, 0)[1]
    if status == worker.EXIT_DONE:
        assert events[-1][0] == "finish"
    return events, status


def test_the_lock_comes_before_the_program() -> None:
    """Not one byte of a script is in the process before it is shut in."""
    events, status = run(start("print(1) return fs.space('/') + param('p')"))
    assert [kind for kind, _ in events] == ["lock", "start", "output", "call", "finish"]
    assert events[-1][1] == {"value": 12, "error": None, "output_bytes": 2}
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_DONE


def test_python_runs_the_same_way() -> None:
    """One order for both languages."""
    events, status = run(start("print(1)\nresult = fs.space('/')", "main.py"), "python")
    assert [kind for kind, _ in events] == ["lock", "start", "output", "call", "finish"]
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_DONE


def test_a_lock_that_fails_ends_the_worker_before_anything_is_received() -> None:
    """A worker that is not locked must not go on, whatever went wrong."""

    def fail() -> None:
        raise OSError("no landlock")

    events, status = run(start("return 1"), lock=fail)
    assert events == []
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_NOT_LOCKED


@pytest.mark.parametrize("lost", [EOFError(), OSError("gone"), ["x"]])
def test_a_channel_that_is_lost_or_broken_at_the_start_ends_the_worker(lost: Any) -> None:
    """There is nobody left to work for."""
    events, status = run(lost)
    assert [kind for kind, _ in events] == ["lock", "start"]
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_CHANNEL_LOST


def test_a_channel_that_is_lost_in_a_call_ends_the_worker() -> None:
    """A script must not be able to catch it and go on."""
    events, status = run(start("pcall(fs.space, '/') return 1"), answer=EOFError())
    assert [kind for kind, _ in events] == ["lock", "start", "call"]
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_CHANNEL_LOST


def test_a_refusal_reaches_the_script() -> None:
    """And is reported with its code if nobody catches it."""
    events, _ = run(start("\nfs.space('/')"), answer=CallError("denied", "no rule"))
    assert events[-1][1]["error"] == ["no rule", "main.lua:2", "denied"]


def test_a_result_that_fits_no_frame_is_an_error() -> None:
    """The answer is never silence."""
    events, status = run(start("return 'too large'"))
    assert events[-1][1]["error"][0] == "the result does not fit into one frame"
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_DONE


def test_a_language_that_cannot_run_is_told_through_the_usual_way() -> None:
    """The launcher shows the reason like any other error of a run."""
    events, _ = run(start("return 1"), "perl")
    assert events[-1][1]["error"][2] == "invalid_argument"


def test_a_build_without_luajit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some wheels of lupa lack it; Lua 5.4 then runs as ever."""
    monkeypatch.setattr(lua_runtime, "_boots", {})
    monkeypatch.setitem(lua_syntax.MODULES, "luajit", "lupa.nowhere")
    events, _ = run(start("return 1"), "luajit")
    assert events[-1][1]["error"][2] == "unavailable"
    assert "use lua" in events[-1][1]["error"][0]
    events, _ = run(start("return 1"))
    assert events[-1][1]["value"] == 1


def test_a_rehearsal_leaves_nothing_in_lua() -> None:
    """Neither a name, nor a number of the generator, nor an error's place."""

    def told(times: int) -> list[Any]:
        runtime = worker.make("lua", Binding.from_plain(ROWS))
        for _ in range(times):
            worker.rehearse("lua", runtime)
        channel = RecordingChannel()
        runtime.attach(channel, RuntimeLimits(32 * 2**20), bytes(range(16)))
        source = b"local n = {} for k in pairs(_G) do n[#n+1] = k end table.sort(n) return {n, math.random(0)}"
        value = runtime.execute("main.lua", {"main.lua": source}, {}).value
        return [value, channel.calls]

    assert told(0) == told(3)


def test_a_rehearsal_leaves_nothing_in_python() -> None:
    """The name space of the script is as it was."""
    runtime = worker.make("python", Binding.from_plain(ROWS))
    assert isinstance(runtime, python_runtime.PythonRuntime)
    before = dict(runtime._namespace)
    worker.rehearse("python", runtime)
    assert runtime._namespace == before


@pytest.mark.parametrize("language", ["lua", "python"])
def test_a_worker_that_nobody_waits_for_rehearses_behind_its_lock(language: str) -> None:
    """Its program is then run as ever."""
    source = {"lua": "print(1) return 2", "python": "print(1)\nresult = 2"}[language]
    events, status = run(start(source), language, ahead=True)
    assert [kind for kind, _ in events] == ["lock", "start", "output", "finish"]
    assert events[-1][1]["value"] == 2
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_DONE


CALLS = [
    "read",
    "write",
    "recvfrom",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "brk",
    "madvise",
    "futex",
    "getrandom",
    "clock_gettime",
    "rt_sigreturn",
    "exit_group",
]

#: What made an interpreter reach for a file or another system call, with the message that is expected (None: it runs).
LUA_UNDER_LOCK = {
    "print(1) return fs.space('/')": None,
    "return {math.random(), os.time(), os.clock(), os.time{year = 2000, month = 1, day = 1}}": None,
    "return {param('p'), ('%5.2f'):format(1.5), collectgarbage('count'), coroutine.wrap(print)()}": None,
    "x =": "unexpected symbol",
    "error({})": "error object",
    "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end": "not enough memory",
    "local function f() return 1 + f() end return f()": "not enough memory",
}
PYTHON_UNDER_LOCK = {
    "print(1)\nresult = fs.space('/')": None,
    "é = 1\nresult = [é, '\\N{BULLET}', 'é'.upper(), f'{1.5:.3f}', param('p'), float('1e5') ** 2]": None,
    "class A:\n    pass\nresult = str(A())": None,
    "x = 1 is 1": None,
    "def g():\n    try:\n        yield\n    except:\n        yield\ni = g()\nnext(i)\ni = None": None,
    "x = (": "never closed",
    "x = 'abc": "unterminated",
    "x = 1\nreturn": "outside function",
    "if 1:\nx": "indented block",
    "import os": "import is not available",
    "raise ValueError('x')": "ValueError",
    "nosuch": "NameError",
    "'x'.encode('cp1026')": "unknown encoding",  # one that no test needs: what is loaded here is there in a worker
    "b'x'.decode('cp1006')": "unknown encoding",
    "'x'.encode('punycode')": "unknown encoding",
    "def f():\n    return f()\nf()": "RecursionError",
    "'x' * 10 ** 12": "MemoryError",
}


def shut() -> None:
    """Allow what the jail allows, with the filter of another implementation: anything else kills the process."""
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    allowed = pyseccomp.SyscallFilter(pyseccomp.KILL_PROCESS)
    for name in CALLS:
        allowed.add_rule(pyseccomp.ALLOW, name)
    allowed.load()


@pytest.mark.parametrize(
    ("language", "source", "words"),
    [("lua", source, words) for source, words in LUA_UNDER_LOCK.items()]
    + [("python", source, words) for source, words in PYTHON_UNDER_LOCK.items()],
)
def test_both_languages_need_no_other_system_call(language: str, source: str, words: str | None) -> None:
    """What an interpreter opens or imports lazily must be there before the lock, or fail as an error of the script."""
    name = "main.lua" if language == "lua" else "main.py"
    events, status = run(start(source, name), language, lock=shut)
    assert os.waitstatus_to_exitcode(status) == worker.EXIT_DONE, events
    outcome = events[-1][1]
    if words is None:
        assert outcome["error"] is None, outcome
    else:
        assert words in outcome["error"][0]


def test_output_over_the_limit_is_counted_and_not_sent() -> None:
    """The reader sees from the count that something was cut."""
    channel = RecordingChannel()
    meter = worker.OutputMeter(channel, max_bytes=5)
    meter.output(b"abc")
    meter.output(b"defg")
    meter.output(b"h")
    assert (channel.printed, meter.offered_bytes) == (b"abcde", 8)


def test_huge_output_is_sent_in_bounded_frames() -> None:
    """One print must not hold up the channel."""
    frames: list[int] = []

    class Measuring(RecordingChannel):
        def output(self, data: bytes) -> None:
            frames.append(len(data))

    worker.OutputMeter(Measuring(), max_bytes=10**6).output(b"x" * 200_000)
    assert sum(frames) == 200_000
    assert max(frames) <= worker.MAX_OUTPUT_FRAME_BYTES


def test_arguments_that_fit_no_frame_are_an_error_of_the_script() -> None:
    """Nothing was sent, so the channel is as good as before."""
    meter = worker.OutputMeter(RecordingChannel({"fs.space": TooLargeError("frame")}))
    with pytest.raises(CallError) as caught:
        meter.call("fs.space", [], {})
    assert caught.value.code == "too_large"


def test_a_failed_result_keeps_its_place_and_code() -> None:
    """The body of the result frame, in full."""
    reading, writing = os.pipe()
    meter = worker.OutputMeter(RecordingChannel())
    worker.send(PipeChannel(writing, {}), meter, failed("no", "main.lua:4", "denied"))
    os.close(writing)
    with os.fdopen(reading) as lines:
        ((kind, body),) = [json.loads(line) for line in lines]
    assert kind == "finish"
    assert body == {"value": None, "error": ["no", "main.lua:4", "denied"], "output_bytes": 0}
