"""Lua 5.4 and LuaJIT 2.1 for scripts, through lupa, with nothing of Python within reach.

The boundary is the process; these guards keep honest scripts predictable and make an attacker need two bugs. What the
runtime itself guarantees:

- Every option of lupa that narrows the bridge is set, the boot chunk (``lua_boot.lua``) does the rest.
- The one function that Lua can reach never raises and returns only scalars, bytes and fresh tables.
- The boot chunk is read and compiled once, at preload: a locked worker cannot open files.
- Bytecode that a script brings is refused by its first byte; only our own boot chunk is loaded as bytecode.

LuaJIT runs without its compiler, and so without executable memory; it is the quicker interpreter all the same.
Its guards are those of Lua 5.4. Deep recursion through callbacks can crash it (not escape it): then the run is killed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from protocol.columns import unpacked
from protocol.errors import ArgumentError, UnavailableError
from sandbox import pure
from sandbox.lua_syntax import MODULES, module
from sandbox.lua_values import from_lua, to_lua
from sandbox.modules import NONE, Finder, Libraries
from sandbox.runtimes import (
    HANDLE_KEY,
    MAX_SOURCE_BYTES,
    NO_CODES,
    NOTHING,
    NOWHERE,
    PLACES,
    Binding,
    CallError,
    ChannelLike,
    Codes,
    Remote,
    Result,
    RuntimeLimits,
    failed,
)
from sandbox.values import ARGUMENT, CALL_CAPS, LOCAL_CAPS, RESULT_CAPS, Budget, Caps, ValueRefused, in_the_name_of

BOOT_FILE = Path(__file__).with_name("lua_boot.lua")

_PLACE = re.compile(r"^(?P<where>[^\s:]+:[0-9]+): (?P<message>.*)$", re.DOTALL)
_COUNTS_NOTHING = frozenset({bool, int})  # an integer of Lua has 64 bits
MAX_NAME_BYTES = 64  # of a key that is named in a refusal
FLAVOURS = tuple(MODULES)  # Lua 5.4, LuaJIT 2.1
FIND = "=find"  # what the boot chunk calls for ``require``; no call of a script can have this name
_seeds_of = struct.Struct("<qq").unpack_from  # two numbers of the first 16 bytes
_boots: dict[str, bytes] = {}  # flavour -> the boot chunk, compiled, from preload on


def preload() -> None:
    """Read what a locked worker could not: the boot chunk. The time zone, for ``os.time``, is read by the worker.

    The boot chunk is kept as bytecode of this very Lua: loading it is several times faster than compiling it.
    """
    for flavour in FLAVOURS:
        if flavour in _boots:
            continue
        try:
            state = _new_state(flavour)
        except UnavailableError:
            if flavour == "lua":  # without it there is no Lua at all
                raise
            continue
        compile_boot = state.execute(b"return function(s) return string.dump(load(s, '=outrider', 't'), true) end")
        _boots[flavour] = compile_boot(BOOT_FILE.read_bytes())


def create(
    bindings: Sequence[Binding],
    channel: ChannelLike,
    limits: RuntimeLimits,
    *,
    randomness: bytes,
    flavour: str = "lua",
) -> LuaRuntime:
    """Return a Lua runtime that shows ``bindings`` to its script.

    Args:
        bindings: The calls that scripts see.
        channel: Where calls and output go.
        limits: Bound of what Lua may allocate.
        randomness: At least 16 random bytes; forks of one zygote would otherwise share their random numbers.
        flavour: One of ``FLAVOURS``.
    """
    runtime = prepare(bindings, flavour)
    runtime.attach(channel, limits, randomness)
    return runtime


def prepare(bindings: Sequence[Binding], flavour: str = "lua") -> LuaRuntime:
    """Return a runtime that lacks a channel, a limit and randomness; :meth:`LuaRuntime.attach` gives them.

    Raises:
        UnavailableError: This build of lupa has no such flavour.
    """
    preload()
    if flavour not in _boots:
        raise UnavailableError(f"{flavour} is not in this build of lupa: use lua (5.4)")
    return LuaRuntime(bindings, flavour)


class LuaRuntime:
    """One Lua state, for one program. See ``runtimes.Runtime``."""

    def __init__(self, bindings: Sequence[Binding], flavour: str) -> None:
        self.takes_bytes = True
        self._error: type[Exception] = module(flavour).LuaError
        self._channel = NOWHERE
        self._seeds: tuple[Any, ...] | None = None  # for Lua's generator of random numbers
        self._failed_call = b""  # name of the newest call that failed
        self._parameters = NOTHING  # of the run; set when the program arrives
        self._locals = {binding.name for binding in bindings if binding.is_local}
        self._maps = {binding.name: binding.maps for binding in bindings if binding.maps}
        self._names = {binding.name: binding.parameters for binding in bindings}
        self._files: Mapping[str, bytes] = NOTHING  # of the run, as are its libraries; set when the program arrives
        self._libraries = NONE
        self._finder: Finder | None = None  # of these, once something is looked for
        self._memory_bytes = 0  # of Lua's own allocator, while a script runs
        self._state = _new_state(flavour)
        self._table_type = type(self._state.table())
        self._run = self._boot(bindings, _boots[flavour])

    def attach(self, channel: ChannelLike, limits: RuntimeLimits, randomness: bytes) -> None:
        """Give the runtime of one run what is its own."""
        if limits.memory_bytes <= 0:  # which lupa would read as "no limit"
            raise ArgumentError("a Lua runtime needs a memory limit", parameter="memory_bytes")
        self._channel = channel
        self._failed_call = b""
        self._memory_bytes = limits.memory_bytes
        self._seeds = _seeds_of(randomness)

    def _boot(self, bindings: Sequence[Binding], boot: bytes) -> Callable[..., Any]:
        rows = [[binding.family.encode(), binding.member.encode(), binding.is_method] for binding in bindings]
        table = self._state.table_from([self._state.table_from(row) for row in rows])
        run: Callable[..., Any] = self._state.execute(
            boot, self._host_call, self._host_pull, self._host_release, self._host_print, self._state.set_max_memory,
            table, name=b"=outrider",
        )  # fmt: skip
        return run

    def compiled(self, main: str, files: Mapping[str, bytes]) -> Result:
        """Refuse: Lua compiles quickly, and loads no bytecode."""
        del files
        return failed("Lua is not compiled apart", main)

    def execute(
        self,
        main: str,
        files: Mapping[str, bytes],
        parameters: Mapping[str, Any],
        libraries: Libraries = NONE,
        codes: Codes = NO_CODES,
    ) -> Result:
        """Run ``main``; its value is the first one that the chunk returns."""
        del codes  # there are none
        if self._seeds is None:
            raise RuntimeError("a runtime runs only after it was attached")
        self._parameters = parameters
        self._files, self._libraries, self._finder = files, libraries, None
        source = files.get(main)
        if source is None:
            return failed(f"the bundle has no file {main}")
        if len(source) > MAX_SOURCE_BYTES:
            return failed(f"the file is larger than {MAX_SOURCE_BYTES} bytes", main)
        try:
            outcome = self._run(source, main.encode("utf-8"), *self._seeds, self._memory_bytes)
        except (self._error, MemoryError):  # outside every protected call: only memory can do this
            return failed("not enough memory", main)
        return self._result(outcome, main, source)

    def _result(self, outcome: tuple[Any, ...] | bytes, main: str, source: bytes) -> Result:
        parts = outcome if isinstance(outcome, tuple) else (outcome,)
        kind, value, where, code = (*parts, None, None, None)[:4]
        if kind == b"ok":
            if value is None or type(value) in _COUNTS_NOTHING:  # as most programs give; the other way has many steps
                return Result(True, value)
            try:
                return Result(ok=True, value=from_lua(value, self._table_type, RESULT_CAPS.budget("the result")))
            except (ValueRefused, MemoryError) as error:
                return failed(str(error) or "not enough memory for the result")
        message, place = _readable(value), _readable(where) if where is not None else None
        if kind == b"syntax":
            place = main  # unless the message names the line; a parser that ran out of stack does not
        if code is not None:
            return failed(message, place or _only_tail_call(source, self._failed_call, main), _readable(code))
        told = _PLACE.match(message)
        return failed(told["message"], told["where"]) if told else failed(message, place)

    def _host_print(self, line: bytes) -> None:
        self._channel.output(line)

    def _host_call(self, name: bytes, *args: Any) -> tuple[Any, ...]:
        """Make one call for the script: ``True, value``, or ``True, nil, number, kind, fields`` of what it gave."""

        def call() -> tuple[Any, ...]:
            value = self._call(name.decode("ascii"), args)
            if type(value) is Remote:
                return True, None, value.number, value.kind.encode(), to_lua(self._state, value.fields)
            return True, to_lua(self._state, value)

        return self._settled(name, call)

    def _host_pull(self, stream: int) -> tuple[Any, ...]:
        """Take what comes next of a stream: ``True, items, how many, is that all, summary, are they blocks``."""

        def pull() -> tuple[Any, ...]:
            taken = self._channel.pull(stream)
            items = map(unpacked, taken.items) if taken.is_blocks else taken.items
            return (
                True, to_lua(self._state, list(items)), len(taken.items), taken.is_end,
                to_lua(self._state, taken.summary), taken.is_blocks,
            )  # fmt: skip

        return self._settled(b"", pull)

    def _host_release(self, handle: int) -> None:
        self._channel.release(handle)

    def _settled(self, name: bytes, perform: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return what ``perform`` returns, or ``False, code, message`` and what of ``PLACES`` it is about.

        Never raises: an exception would arrive in Lua as a live object.
        """
        try:
            return perform()
        except CallError as error:
            self._failed_call = name
            found = [error.fields.get(name) for name in PLACES]
            places = [None if each is None else str(each).encode("utf-8", "replace") for each in found]
            return False, error.code.encode(), error.message.encode("utf-8", "replace"), *places
        except ValueRefused as error:
            parameter = None if error.parameter is None else error.parameter.encode("utf-8", "replace")
            return False, b"invalid_argument", str(error).encode("utf-8", "replace"), parameter
        except MemoryError:
            return False, b"budget", b"not enough memory"
        except Exception:  # noqa: BLE001 - whatever it is, its text and its object stay on this side
            return False, b"internal", b"the call failed inside the worker"

    def _call(self, name: str, args: tuple[Any, ...]) -> Any:
        if name == FIND:
            unit, wanted = self._plain(args, LOCAL_CAPS)
            if self._finder is None:
                self._finder = Finder("lua", self._files, self._libraries)
            found = self._finder.find(unit, wanted)
            return [found.unit, found.path, found.shown, found.source]
        if name in self._locals:
            return pure.PURE[name](self._parameters, self._arguments(name, args, LOCAL_CAPS), {})
        positional = self._arguments(name, args, CALL_CAPS)
        named: dict[str, Any] = {}
        if self._is_options(name, positional):
            named = positional.pop()
        return self._channel.call(name, positional, named)

    def _is_options(self, name: str, positional: list[Any]) -> bool:
        """Tell whether the last argument is a table of options: a map where the call takes none."""
        last = positional[-1] if positional else None
        if type(last) is not dict or not last or HANDLE_KEY in last:
            return False
        return len(positional) - 1 not in self._maps.get(name, ())

    def _arguments(self, name: str, args: tuple[Any, ...], caps: Caps) -> list[Any]:
        try:
            return self._plain(args, caps)
        except ValueRefused as refused:
            raise in_the_name_of(refused, self._each(name, args), caps) from None

    def _each(self, name: str, args: tuple[Any, ...]) -> Iterator[tuple[str | None, Callable[[Budget], Any]]]:
        """Yield the parameter that each argument is for, and what copies it; for one that was refused."""
        parameters, maps = self._names.get(name, ()), self._maps.get(name, ())
        for place, arg in enumerate(args):
            if type(arg) is self._table_type and place == len(args) - 1 and place not in maps:  # options, perhaps
                for key, item in arg.items():
                    if type(key) is bytes:
                        yield _readable_name(key), partial(from_lua, item, self._table_type)
            yield parameters[place] if place < len(parameters) else None, partial(from_lua, arg, self._table_type)

    def _plain(self, args: tuple[Any, ...], caps: Caps) -> list[Any]:
        budget = caps.budget(ARGUMENT)
        return [from_lua(arg, self._table_type, budget) for arg in args]


def _readable_name(key: bytes) -> str:
    return key[:MAX_NAME_BYTES].decode("utf-8", "replace")


def _only_tail_call(source: bytes, call: bytes, main: str) -> str | None:
    """Return the place of ``return CALL(...)`` if the file has exactly one.

    A tail call leaves no frame behind (Lua 5.4 manual, section 3.4.10), so nothing on the stack knows the line.
    """
    spelled = rb"\s*\.\s*".join(re.escape(part) for part in call.split(b"."))
    found = list(re.finditer(rb"\breturn\s+" + spelled + rb"\s*[({\"'\[]", source)) if call else []
    if len(found) != 1:
        return None
    line = source.count(b"\n", 0, found[0].start()) + 1
    return f"{main}:{line}"


def _new_state(flavour: str) -> Any:
    """Return a Lua state with every option that narrows the bridge. No memory limit yet (0), but one can be set."""
    return module(flavour).LuaRuntime(
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        encoding=None,
        attribute_filter=_refuse_attribute,
        max_memory=0,
    )


def _refuse_attribute(_target: Any, _name: Any, _is_setting: bool) -> Any:
    raise AttributeError("no attribute of a host object is available")


def _readable(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
