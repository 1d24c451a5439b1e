"""The sandbox for other programs: untrusted Lua and Python that can call the functions you hand in, and nothing else.

    from sandbox.embedding import Scripts

    def greet(name: str) -> str:
        return f"hello {name}"

    async with Scripts({"app.greet": greet}) as scripts:
        outcome = await scripts.run("lua", "return app.greet('mia')")
        outcome.status, outcome.result  # ("ok", "hello mia")

A script runs in a worker of its own behind every wall that the host has. Every call passes the same gate as an agent's:
counted, bound to the function's parameters, decided, performed, recorded.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from policies.model import Effect, Facts, Limits, Verdict
from protocol.errors import ArgumentError, UnavailableError
from protocol.tiers import Tier
from sandbox import pure
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Options, Outcome, Program, Sandbox
from sandbox.parties import CallEntry, Session
from sandbox.passage import Passage

Function = Callable[..., Any]
Decide = Callable[[str, Facts], Verdict]
Record = Callable[[Mapping[str, Any]], None]

FILES: Final = {"lua": "main.lua", "luajit": "main.lua", "python": "main.py"}
HANDED_IN: Final = Verdict(Effect.ALLOW, "handed in")


class Scripts:
    """Runs scripts that can call ``functions``. An async context manager; used from one event loop.

    Args:
        functions: By the name that scripts use, ``family.member`` or a bare word; besides them scripts have what
            ``sandbox.pure`` gives, which touches nothing (``param``, ``json.encode``). A function takes plain values
            (None, bool, int of 64 bits, finite float, str, bytes, list, dict with str keys) and returns one. A
            coroutine function runs on the event loop, any other one on a thread. What it raises as an
            ``OutriderError`` reaches the script with its code and message; any other exception is logged and reaches
            it as ``internal``.
        decide: Call name and facts to verdict. Without it, what was handed in is allowed.
        record: Gets the fields of each record: one for each call, whatever became of it. Raise an ``OutriderError``
            where it cannot be kept, and the run ends. Without it, nothing is recorded.
        required: Names of walls without which nothing may run; see ``sandbox.jail.walls``.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        *,
        decide: Decide = lambda _name, _facts: HANDED_IN,
        record: Record = lambda _fields: None,
        required: Collection[str] = (),
    ) -> None:
        self._table = {name: _Entry(name, function) for name, function in functions.items()}
        self._decide = decide
        self._recorder = _Recorder(record)
        self._required = frozenset(required)
        self._sandbox: Sandbox | None = None
        self._runs = 0

    async def __aenter__(self) -> Scripts:
        """Start the sandbox.

        Raises:
            UnavailableError: A required wall is missing, or the sandbox cannot work here; says why.
        """
        names = dict.fromkeys(self._table, False)
        names |= {name: True for name in pure.PURE if name not in names}
        bindings = [{"name": name, "parameters": [], "local": is_local} for name, is_local in names.items()]
        self._sandbox = await Sandbox.start(bindings=bindings, options=Options(required=self._required))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the sandbox and every run in it."""
        if self._sandbox is not None:
            await self._sandbox.close()
            self._sandbox = None

    async def run(
        self,
        language: str,
        source: str,
        parameters: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        *,
        principal: str = "",
    ) -> Outcome:
        """Run one script and return how it went; what the script does wrong is in the outcome and never raised.

        Args:
            language: ``lua``, ``luajit`` or ``python``.
            source: Its text.
            parameters: Plain values that the script gets with ``param``.
            limits: What it may use; the defaults of ``policies.model.Limits`` without it.
            principal: For whom, in the records.

        Raises:
            ArgumentError: No such language.
            UnavailableError: The sandbox was not entered, or takes no run now.
            TooLargeError: The source is larger than a bundle may be.

        Cancellation:
            Kills the worker.
        """
        if language not in FILES:
            raise ArgumentError(f"{language!r} is not a language (known: {', '.join(FILES)})", parameter="language")
        if self._sandbox is None:
            raise UnavailableError("scripts run inside 'async with' only")
        allowed = limits or Limits()
        self._runs += 1
        session = Session("embedded", str(self._runs), principal)
        main = FILES[language]
        gate = Gate(self, self._decide, self._recorder, session, Budget(allowed))
        program = Program(language, main, {main: source.encode()}, dict(parameters or {}))
        return await self._sandbox.run(program, gate, allowed)

    def find(self, name: str) -> CallEntry | None:
        """Return the call of that name, for the gate."""
        return self._table.get(name)


class _Recorder:
    """Hands each record on."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def check_room(self) -> None:
        """Nothing is known of the other side; what it cannot keep, it says when it gets it."""

    def record(self, **fields: Any) -> None:
        """Hand it on."""
        self._record(fields)

    async def intend(self, **fields: Any) -> None:
        """Hand it on."""
        self._record(fields)


class _Entry:
    """A function as the gate sees a call."""

    tier = Tier.COMPUTE
    changes = True  # so what it did is recorded before the script goes on: nothing is known of what it does
    is_blocking = False  # threads are taken care of here, as an intent needs the loop
    prepare_at_once = None
    looks_up = ()
    lists = ()
    gives = "value"

    def __init__(self, name: str, function: Function) -> None:
        self.name = name
        self._function = function
        self._signature = inspect.signature(function)

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter."""
        try:
            bound = self._signature.bind(*args, **named)
        except TypeError as error:
            raise ArgumentError(f"{self.name}: {error}") from None
        return dict(bound.arguments)

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Passage) -> Iterator[_Prepared]:
        """Open nothing."""
        del host, run, passage
        yield _Prepared(self._function, self._signature, bound)


@dataclass(frozen=True, slots=True)
class _Prepared:
    function: Function
    signature: inspect.Signature
    bound: dict[str, Any]

    @property
    def facts(self) -> tuple[Facts, ...]:
        """Of what it touches nothing is known here."""
        return (Facts(),)

    def perform(self) -> Any:
        """Call the function."""
        given = inspect.BoundArguments(self.signature, self.bound)
        if inspect.iscoroutinefunction(self.function):
            return self.function(*given.args, **given.kwargs)
        return asyncio.to_thread(self.function, *given.args, **given.kwargs)
