"""What the tests of the language runtimes share: a channel that records, and ways to run one script."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import lua_runtime, python_runtime
from sandbox.runtimes import Binding, CallError, Result, RuntimeLimits

BINDINGS = Binding.from_plain(
    [
        {"name": "fs.space", "parameters": ["path"], "local": False},
        {"name": "fs.list", "parameters": ["path", "limit"], "local": False},
        {"name": "fs.read", "parameters": ["path"], "local": False},
        {"name": "proc.command", "parameters": ["name", "args", "timeout"], "local": False},
        {"name": "json.encode", "parameters": ["value"], "local": True},
        {"name": "json.decode", "parameters": ["text"], "local": True},
        {"name": "param", "parameters": ["name"], "local": True},
    ]
)
MEMORY_BYTES = 32 * 1024 * 1024
SEED = bytes(range(16))


@dataclass
class RecordingChannel:
    """Answers calls from a table and keeps what was asked and printed. A name without an answer is denied."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, list[Any], dict[str, Any]]] = field(default_factory=list)
    printed: bytes = b""

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        self.calls.append((name, args, named))
        if name not in self.answers:
            raise CallError("denied", f"{name} is not allowed")
        answer = self.answers[name]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def output(self, data: bytes) -> None:
        self.printed += data


@dataclass
class Ran:
    """One finished run."""

    result: Result
    channel: RecordingChannel

    @property
    def value(self) -> Any:
        assert self.result.ok, f"{self.result.error_where}: {self.result.error_message}"
        return self.result.value

    @property
    def error(self) -> str:
        assert not self.result.ok, f"expected an error, got {self.result.value!r}"
        assert self.result.error_message is not None
        return self.result.error_message


def lua(
    source: str | bytes,
    answers: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    randomness: bytes = SEED,
    flavour: str = "lua",
) -> Ran:
    """Run a Lua script, unjailed, in this process."""
    channel = RecordingChannel(answers or {})
    limits = RuntimeLimits(memory_bytes)
    runtime = lua_runtime.create(BINDINGS, channel, limits, randomness=randomness, flavour=flavour)
    code = source.encode() if isinstance(source, str) else source
    return Ran(runtime.execute("main.lua", {"main.lua": code}, parameters or {}), channel)


def python(
    source: str | bytes, answers: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None
) -> Ran:
    """Run a Python script, unjailed, in this process."""
    channel = RecordingChannel(answers or {})
    runtime = python_runtime.create(BINDINGS, channel, RuntimeLimits(MEMORY_BYTES))
    code = source.encode() if isinstance(source, str) else source
    return Ran(runtime.execute("main.py", {"main.py": code}, parameters or {}), channel)


_ALONE = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, 600 * 2**20))
resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.path.insert(0, sys.argv[2])
from languages import lua, python
run = {"lua": lua, "python": python}[sys.argv[1]]
result = run(sys.stdin.read(), {"fs.list": {"numbers": list(range(20000)), "text": "x" * 300000}}).result
print(json.dumps([result.ok, repr(result.value)[:2000], result.error_message]))
"""


def alone(language: str, source: str) -> str:
    """Run a script in a process of its own with the worker's kind of limits, because it may end that process.

    Returns:
        ``ok: value``, ``error: message``, or ``ended: signal or status`` if the process did not live to answer.
    """
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, language, __file__.rpartition("/")[0]],
        input=source,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0 or not done.stdout:
        return f"ended: {done.returncode} {done.stderr[-300:]}"
    ok, value, message = json.loads(done.stdout)
    return f"ok: {value}" if ok else f"error: {message}"


def plainly(source: str) -> Any:
    """Return the ``result`` of a script that the interpreter runs as it is: what restricted code is held to."""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace["result"]
