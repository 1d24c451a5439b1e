"""A worker whose language runtime lacks a named guard, so that an attack can be seen to work where that guard is away.

It takes the place of ``sandbox.worker`` in zygotes of this battery only. A guard is taken away by what this process
does to its own modules after the fork; nothing in the product can be switched. Unless a technique names ``walls``, all
walls of the jail stand, and the weakened runtime is made behind them like the real one.
"""

from __future__ import annotations

import ast
import builtins
import collections
import functools
import gc
import json
import operator
import os
import random
import re
import resource
import signal
import string
import sys
import warnings
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final

import lupa.lua51
import lupa.lua54
import lupa.luajit21
from RestrictedPython.compile import compile_restricted_exec
from RestrictedPython.transformer import RestrictingNodeTransformer

from sandbox import lua_runtime, pure, python_guards, python_policy, python_runtime, python_surface, python_text, worker
from sandbox.lua_values import from_lua
from sandbox.runtimes import Binding, Result, RuntimeLimits, failed
from sandbox.values import Caps

HOOK_STEPS: Final = 1_000_000  # of a script under a count hook; 10 ms
ALARM_S: Final = 0.05  # of a script under a signal handler
BOUND_BYTES: Final = 1536 * 2**20
BOUND_CPU_S: Final = 20
_ANY: Final = Caps(depth=1000, items=10**9, size_bytes=10**9)
_BINDINGS: tuple[Binding, ...] = ()

Weakness = Callable[["World"], None]
LUA: dict[str, Weakness] = {}
PYTHON: dict[str, Weakness] = {}


class World:
    """What is being weakened: one runtime that is about to be made."""

    def __init__(
        self, language: str, meter: worker.OutputMeter, memory_bytes: int, token: str, parameters: dict[str, Any]
    ) -> None:
        self.language = language
        self.meter = meter
        self.memory_bytes = memory_bytes
        self.token = token  # a secret that the host has in its memory
        self.parameters = parameters
        self.boot = _boot_text
        self.randomness = os.urandom(16)
        self.has_boot = True
        self.flavour: Any = lupa.luajit21 if language == "luajit" else lupa.lua54  # of a world without a boot chunk
        self.options: dict[str, Any] = {
            "register_eval": False, "register_builtins": False, "unpack_returned_tuples": True, "encoding": None,
            "attribute_filter": lua_runtime._refuse_attribute,
        }  # fmt: skip
        self.is_hooked = False  # a count hook stands for the deadline
        self.is_closed = False  # the state is closed at the end, as if this process went on
        self.gives_host = False  # a function of the host is a global of the script
        self.gives_large = False  # the host hands over a large number when the script has ended
        self.is_reused = False  # the same runtime runs the program twice
        self.reads_result: Callable[[Any], Any] | None = None

    def patch(self, old: str, new: str) -> None:
        """Change the boot chunk in one place."""
        if self.boot.count(old) != 1:
            raise ValueError(f"the boot chunk has {self.boot.count(old)} times {old!r}")
        self.boot = self.boot.replace(old, new)


def replace(owner: Any, name: str, value: Any) -> None:
    """Put ``value`` in the place of what ``owner`` has under ``name``; an error if it has nothing of that name."""
    if not hasattr(owner, name):
        raise AttributeError(f"nothing is called {name} any more: this weakness weakens nothing")
    setattr(owner, name, value)


def hook(table: dict[str, Any], **values: Any) -> None:
    """Replace entries of a table of names, which must all be there."""
    missing = set(values) - set(table)
    if missing:
        raise KeyError(f"no entries {missing}: this weakness weakens nothing")
    table.update(values)


def lua(name: str) -> Callable[[Weakness], Weakness]:
    """Register what takes a guard of the Lua runtime away."""

    def register(weakness: Weakness) -> Weakness:
        LUA[name] = weakness
        return weakness

    return register


def python(name: str) -> Callable[[Weakness], Weakness]:
    """Register what takes a guard of the Python runtime away."""

    def register(weakness: Weakness) -> Weakness:
        PYTHON[name] = weakness
        return weakness

    return register


# Lua ------------------------------------------------------------------------------------------------------------------


@lua("boot chunk")
def _no_boot(world: World) -> None:
    """The script runs among the real globals: io, os, debug, package and lupa's own table."""
    world.has_boot = False


@lua("narrow options")
def _no_options(world: World) -> None:
    world.options = {}


@lua("attribute filter")
def _no_filter(world: World) -> None:
    world.options["attribute_filter"] = None


@lua("no host object")
def _host_object(world: World) -> None:
    """The script is given a live object of the host, called ``host``."""
    world.gives_host = True
    world.options["encoding"] = "UTF-8"  # as one does who wants texts


@lua("no large numbers")
def _large_numbers(world: World) -> None:
    """The host hands over an integer that Lua cannot hold."""
    world.gives_large = True


@lua("fresh tables")
def _live_values(world: World) -> None:
    """What a call returns is the host's own object."""
    replace(lua_runtime, "to_lua", lambda _state, value: value)


@lua("errors are texts")
def _live_errors(world: World) -> None:
    """An exception of the host arrives in pcall as a live object."""
    world.patch(
        'error(failure("internal", "the call could not be carried out (out of memory?)"), 0)', "error(done, 0)"
    )  # fmt: skip

    def raise_it(self: Any, name: bytes, *args: Any) -> Any:
        raise ValueError(world.token)

    replace(lua_runtime.LuaRuntime, "_host_call", raise_it)


@lua("own load")
def _raw_load(world: World) -> None:
    world.patch("environment.load = function(chunk, _, mode, ...)", "environment.load = raw_load\nlocal _ = function(chunk, _, mode, ...)")  # fmt: skip  # noqa: E501


@lua("emptied globals")
def _kept_globals(world: World) -> None:
    world.patch("empty(loaded)\nempty(preload)\nempty(library)\nempty(globals)\n", "")


@lua("own tostring")
def _raw_tostring(world: World) -> None:
    world.patch('if method == nil then return kind end -- and not its address', "if method == nil then return raw_tostring(value) end")  # fmt: skip  # noqa: E501


@lua("own format")
def _raw_format(world: World) -> None:
    world.patch("environment.string.format = own_format", "environment.string.format = raw_format")


@lua("own randomseed")
def _raw_seed(world: World) -> None:
    world.patch("environment.math.randomseed = own_randomseed", "environment.math.randomseed = raw_randomseed")


@lua("own setmetatable")
def _raw_setmetatable(world: World) -> None:
    world.patch("setmetatable = own_setmetatable,", "setmetatable = raw_setmetatable,")


@lua("locked strings")
def _open_strings(world: World) -> None:
    """The metatable of all strings is in reach, as with the original getmetatable."""
    world.patch("getmetatable = own_getmetatable,", "getmetatable = raw_getmetatable,")
    world.patch('string_meta.__metatable = "locked"', "")
    world.patch(
        "local done, value = xpcall(chunk, handler)",
        'local done, value = xpcall(chunk, handler) value = {value, ("name"):upper()}',
    )


@lua("own collectgarbage")
def _raw_collect(world: World) -> None:
    world.patch("collectgarbage = own_collectgarbage,", "collectgarbage = raw_collectgarbage,")


@lua("locked calls")
def _open_calls(world: World) -> None:
    """A family is a plain table that one script shares with the next."""
    world.patch("environment[prefix] = family(prefix, members)", "environment[prefix] = members")


@lua("library list")
def _whole_libraries(world: World) -> None:
    """Libraries are handed over whole, as they are."""
    world.patch(
        'local string_meta = any_metatable("")',
        "environment.string = string environment.os = os environment.debug = debug environment.io = io\n"
        'local string_meta = any_metatable("")',
    )


@lua("errors by identity")
def _errors_by_field(world: World) -> None:
    """An error counts as one of a call if it looks like one."""
    world.patch("local call = origin[value]", 'local call = type(value) == "table" and {value.code, value.message}')


@lua("no script after the end")
def _tostring_after_end(world: World) -> None:
    """An error object is turned into text by its own method."""
    world.patch('return "error", "error object of type " .. kind, where', 'return "error", text(value), where')


@lua("arguments are read raw")
def _arguments_by_index(world: World) -> None:
    """A wrapper in Lua checks one field of its argument and then uses it, each time through its metamethods."""
    world.patch(
        "local value = settle(pcall(host_call, name, ...))",
        "local asked = ...\n"
        "    if type(asked) == 'table' then\n"
        "      if asked.path ~= '/allowed' then error('denied', 0) end\n"
        "      host_limit(true)\n"
        "      return 'opened ' .. asked.path\n"
        "    end\n"
        "    local value = settle(pcall(host_call, name, ...))",
    )


@lua("results are read raw")
def _results_by_pairs(world: World) -> None:
    """What a script returns is copied with ``pairs``, which asks the script."""
    world.patch(
        'if done then return "ok", value end',
        'if done then local copy = {} for k, v in environment.pairs(value) do copy[k] = v end return "ok", copy end',
    )


@lua("bounded values")
def _unbounded_values(world: World) -> None:
    """What a script returns is copied by plain recursion."""

    def copy(value: Any, table: Any, *_: Any) -> Any:
        if type(value) is not table:
            return value.decode() if isinstance(value, bytes) else value
        return {str(key): copy(item, table) for key, item in value.items()}

    replace(lua_runtime, "from_lua", copy)


@lua("memory limit")
def _no_memory_limit(world: World) -> None:
    world.memory_bytes = 1 << 30


@lua("deadline outside")
def _hook(world: World) -> None:
    """A count hook inside stands for the deadline outside."""
    world.has_boot = False
    world.is_hooked = True


@lua("leaving by _exit")
def _close(world: World) -> None:
    """The state is closed when the script has ended, as one does who goes on to the next script."""
    world.is_closed = True


@lua("one worker for one run")
def _reuse(world: World) -> None:
    world.is_reused = True


@lua("Lua 5.4 and not 5.1")
def _lua51(world: World) -> None:
    world.has_boot = False
    world.flavour = lupa.lua51


@lua("Lua 5.4 and not LuaJIT")
def _luajit(world: World) -> None:
    world.has_boot = False
    world.flavour = lupa.luajit21


@lua("a fresh seed")
def _no_seed(world: World) -> None:
    world.randomness = bytes(16)


@lua("a fixed chunk name")
def _any_chunk_name(world: World) -> None:
    world.patch("environment.load = function(chunk, _, mode, ...)", "environment.load = function(chunk, name, mode, ...)")  # fmt: skip  # noqa: E501
    world.patch('return raw_load(source, "=load", "t", environment)', 'return raw_load(source, name, "t", environment)')


class _Host:
    """A careless object of the host: a method that a script may call, and a secret beside it."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.settings = {"root": "/allowed", "token": token}

    def read(self, name: Any, root: str = "/allowed") -> str:
        """Do as a host function does: take an argument, have a default that is nobody's business."""
        return f"{root}/{name}"

    def fail(self, *_: Any) -> Any:
        """Fail as host functions do, with what it was about in the text."""
        raise ValueError(self.token)


class _Text:
    """Stands in for the file of the boot chunk."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_bytes(self) -> bytes:
        """Return what would be in the file."""
        return self._text.encode()


def _run_lua(world: World, source: bytes) -> Result:
    if not world.has_boot:
        return _run_plain_lua(world, source)
    replace(lua_runtime, "BOOT_FILE", _Text(world.boot))
    lua_runtime._boots.clear()  # compiled from the real one
    limits = RuntimeLimits(world.memory_bytes)
    runtime = lua_runtime.create(_BINDINGS, world.meter, limits, randomness=world.randomness, flavour=world.language)
    for _ in range(1 + world.is_reused):
        result = runtime.execute("main.lua", {"main.lua": source}, world.parameters)
    if world.is_closed:
        for name in ("_run", "_table_type", "_state"):  # what they hold of each other keeps the state open
            setattr(runtime, name, None)
        gc.collect()
    return result


_SETUP = b"""local param, host, hooked = ...
param = (function(given) return function(name) return given[name] end end)(param)
_G.param, _G.host = param, host
if hooked then debug.sethook(function() error("timeout", 0) end, "", hooked) end"""


def _run_plain_lua(world: World, source: bytes) -> Result:
    state = world.flavour.LuaRuntime(**world.options)
    host = _Host(world.token)
    is_text = world.options.get("encoding", "UTF-8") is not None
    given = {
        (key if is_text else key.encode()): (value if is_text or not isinstance(value, str) else value.encode())
        for key, value in world.parameters.items()
    }
    setup = state.eval("function(s) return (loadstring or load)(s) end")(_SETUP if not is_text else _SETUP.decode())
    setup(state.table_from(given), host if world.gives_host else None, HOOK_STEPS if world.is_hooked else None)
    try:
        value = state.execute(source)
        # What a host does next, of its own accord: it calls into Lua again, and hands a large number over.
        answer = state.eval("function(x) return x end")(2**70 if world.gives_large else 1)
        value = answer if world.gives_large else value
        if world.gives_host and host.settings["root"] != "/allowed":
            value = f"the host's settings are now {host.settings['root']}"
    except Exception as error:  # noqa: BLE001 - whatever comes through the bridge is told
        return failed(f"{type(error).__name__}: {error}")
    value = value[0] if isinstance(value, tuple) and value else value
    try:
        plain = from_lua(
            value if not isinstance(value, str) else value.encode(), type(state.table()), _ANY.budget("it")
        )
    except Exception:  # noqa: BLE001 - a live object of the host may refuse in any way
        plain = f"live {type(value).__name__}"
    return Result(ok=True, value=plain)


# Python ---------------------------------------------------------------------------------------------------------------


@python("transformer")
def _no_transformer(world: World) -> None:
    """Source is compiled as it is; the namespace stays the restricted one."""
    replace(python_runtime, "compile_script", lambda source, name: compile(source, name, "exec", dont_inherit=True))


@python("errors of the transformer")
def _stumbling(world: World) -> None:
    """What the transformer raises is taken for a refusal only where it says so."""
    replace(
        python_runtime,
        "compile_script",
        lambda source, name: compile_restricted_exec(ast.parse(source), name, policy=python_policy.ScriptPolicy).code,
    )


class _Lax(python_policy.ScriptPolicy):
    """The policy, with single rules taken away by the weaknesses below."""


def _lax(world: World, name: str, visit: Any) -> None:
    setattr(_Lax, name, visit)
    replace(python_policy, "ScriptPolicy", _Lax)


@python("names of guards")
def _any_name(world: World) -> None:
    """A script may bind any name, those of the guards included."""
    _lax(world, "check_name", lambda *_, **__: None)


@python("no match statement")
def _match(world: World) -> None:
    for node in ("Match", "match_case", "MatchClass", "MatchAs", "MatchValue", "MatchSequence", "MatchMapping"):
        _lax(world, f"visit_{node}", RestrictingNodeTransformer.node_contents_visit)


@python("no metaclass keyword")
def _metaclass(world: World) -> None:
    def visit(self: Any, node: Any) -> Any:
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    _lax(world, "visit_ClassDef", visit)


@python("no import")
def _imports(world: World) -> None:
    _lax(world, "visit_Import", RestrictingNodeTransformer.visit_Import)
    _lax(world, "visit_ImportFrom", RestrictingNodeTransformer.visit_ImportFrom)
    python_runtime._OWN_BUILTINS["__import__"] = __import__


@python("attributes of a list")
def _any_attribute(world: World) -> None:
    """``_getattr_`` is the builtin; the transformer still refuses names that start with an underscore."""
    hook(python_runtime._HOOKS, _getattr_=getattr)


@python("a getattr of our own")
def _raw_getattr(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, getattr=getattr)


@python("an exact type of names")
def _naive_getattr(world: World) -> None:
    """``getattr`` asks the name whether it is private."""

    def naive(target: Any, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(target, name)

    hook(python_runtime._OWN_BUILTINS, getattr=naive)


@python("text and not bytes")
def _bytes_source(world: World) -> None:
    """Source is checked as UTF-8 text and compiled as bytes, whose coding cookie is obeyed."""

    def compile_bytes(source: str, name: str) -> Any:
        original(source, name)
        return compile(source.encode(), name, "exec", dont_inherit=True)

    original = python_policy.compile_script
    replace(python_runtime, "compile_script", compile_bytes)


@python("a tree and not a text")
def _text_filter(world: World) -> None:
    """A filter looks for bad words in the source, and then everything is allowed."""

    def compile_filtered(source: str, name: str) -> Any:
        if re.search(r"__|eval|exec|import|open|getattr", source.split("\n\n", 1)[-1]):
            raise python_policy.SourceRefused("a bad word", None)
        return compile(source, name, "exec", dont_inherit=True)

    replace(python_runtime, "compile_script", compile_filtered)
    _all_builtins(world)


@python("builtins of a list")
def _all_builtins(world: World) -> None:
    python_runtime._OWN_BUILTINS.update(
        {name: value for name, value in vars(builtins).items() if name not in python_runtime._OWN_BUILTINS}
    )


@python("no modules")
def _modules(world: World) -> None:
    """Some harmless modules of the standard library are there, with all that they hold."""
    python_runtime._OWN_BUILTINS.update(
        {"re": re, "operator": operator, "functools": functools, "string": string, "random": random,
         "collections": collections, "json_module": json}
    )  # fmt: skip
    hook(python_runtime._HOOKS, _getattr_=_no_private)


def _no_private(target: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(target, name)


@python("nothing is written but lists and dicts")
def _write_anything(world: World) -> None:
    hook(python_runtime._HOOKS, _write_=lambda target: target)


@python("bases of a list")
def _any_base(world: World) -> None:
    hook(python_runtime._HOOKS, __metaclass__=type)


@python("magic methods of a list")
def _any_method(world: World) -> None:
    """A class may define any magic method."""
    original = RestrictingNodeTransformer.check_name

    def check(self: Any, node: Any, name: str | None, allow_magic_methods: bool = False) -> None:
        if not (name and name.startswith("__") and name.endswith("__")):
            original(self, node, name, allow_magic_methods)

    _lax(world, "check_name", check)


@python("eager builtins")
def _lazy(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, map=map, filter=filter, zip=zip, enumerate=enumerate, reversed=reversed)


@python("texts without addresses")
def _raw_texts(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, repr=repr, str=str, format=format, hash=hash)
    hook(python_runtime._HOOKS, _modulo_=operator.mod, _show_=_raw_show)
    replace(python_text, "text", str)
    replace(python_text, "without_addresses", lambda message: message)


def _raw_show(value: Any, conversion: int) -> Any:
    conversions: dict[int, Callable[[Any], Any]] = {ord("r"): repr, ord("a"): ascii, ord("s"): str}
    return conversions.get(conversion, lambda same: same)(value)


@python("print without a file")
def _raw_print(world: World) -> None:
    replace(python_runtime, "_printer", lambda _channel: print)


@python("errors are fresh")
def _chained_errors(world: World) -> None:
    """An error of a call is raised where the reason was caught, so it carries that along."""
    token = world.token

    def function(self: Any, binding: Binding) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            try:
                raise RuntimeError(token)
            except RuntimeError:
                raise python_guards.host_error("denied", "no")  # noqa: B904 - the chain is the weakness

        return call

    replace(python_runtime.PythonRuntime, "_function", function)


@python("sealed errors")
def _unsealed(world: World) -> None:
    class HostError(Exception):
        def __init__(self, code: str = "", message: str = "") -> None:
            self.code, self.message = code, message
            super().__init__(message)

    replace(python_runtime, "HostError", HostError)


@python("a hash of our own")
def _raw_hash(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, hash=hash)


@python("no live containers")
def _live_container(world: World) -> None:
    """A container of the host is in reach, held by a guard on ``for`` loops only."""
    secret = _Guarded([world.token])

    def guarded_iter(target: Any) -> Any:
        if isinstance(target, _Guarded):
            raise TypeError("not for scripts")
        return target

    hook(python_runtime._HOOKS, _getiter_=guarded_iter)
    python_runtime._OWN_BUILTINS["shelf"] = secret


class _Guarded(list[Any]):
    """What only ``_getiter_`` protects."""


@python("recursion limit")
def _no_recursion_limit(world: World) -> None:
    sys.setrecursionlimit(10**9)


@python("limit of digits")
def _no_digit_limit(world: World) -> None:
    sys.set_int_max_str_digits(0)


@python("deadline outside")
def _alarm(world: World) -> None:
    """A signal handler inside stands for the deadline outside."""

    def raise_timeout(*_: Any) -> None:
        raise TimeoutError("timeout")

    signal.signal(signal.SIGALRM, raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, ALARM_S)


@python("memory limit")
def _no_python_memory_limit(world: World) -> None:
    """Only together with ``walls``: the limit is one of them."""


@python("bounded values")
def _no_value_bounds(world: World) -> None:
    def copy(value: Any, *_: Any, **__: Any) -> Any:
        return [copy(item) for item in value] if isinstance(value, (list, tuple)) else value

    replace(python_runtime, "to_plain", copy)


@python("leaving by _exit")
def _finalise(world: World) -> None:
    """The worker returns to its caller when the script has ended, and what the script made is destroyed then."""
    world.is_closed = True


@python("no lazy imports")
def _lazy_imports(world: World) -> None:
    sys.meta_path[:] = list(_META_PATH)
    _AUDITED.clear()


@python("one worker for one run")
def _reuse_python(world: World) -> None:
    world.is_reused = True


def _run_python(world: World, source: bytes) -> Result:
    for holder in (python_guards, python_runtime):
        vars(holder)["CANARY"] = world.token  # a secret that the host has in its memory
    runtime = python_runtime.create(_BINDINGS, world.meter, RuntimeLimits(world.memory_bytes))
    for _ in range(1 + world.is_reused):
        result = runtime.execute("main.py", {"main.py": source}, world.parameters)
    if world.is_closed:
        runtime._namespace.clear()
    return result


# The worker -----------------------------------------------------------------------------------------------------------

_boot_text = lua_runtime.BOOT_FILE.read_text(encoding="utf-8")
_META_PATH = list(sys.meta_path)
_AUDITED: set[str] = {"open"}


def preload() -> None:
    """What the real worker preloads, and the other flavours."""
    worker.preload()
    for flavour in (lupa.lua51, lupa.luajit21):
        flavour.LuaRuntime().execute("return 1")


def _bound() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, BOUND_BYTES),
        (resource.RLIMIT_CPU, BOUND_CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def _quieten() -> None:
    """As the real worker, but so that a weakness can undo it."""

    def refuse(event: str, _args: Any) -> None:
        if event in _AUDITED:
            raise PermissionError("files are not available in a worker")

    sys.addaudithook(refuse)
    sys.meta_path[:] = [worker._NoImports()]
    warnings.simplefilter("ignore")


def _told() -> str:
    kind, error, trace = sys.exc_info()
    lines = []
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"Traceback {' '.join(lines[-6:])} {kind.__name__ if kind else ''}: {error}"[:2000]


def main(channel: Any, *, language: str, bindings: list[Any], memory_bytes: int, lock: Callable[[], None]) -> None:
    """Be a worker."""
    global _BINDINGS
    _BINDINGS = Binding.from_plain(bindings)
    try:
        _bound()
        _quieten()
        lock()
        start = channel.receive_start()
        parameters: dict[str, Any] = dict(start["parameters"])
        names, token = parameters.pop("weakened"), parameters.pop("token")
        meter = worker.OutputMeter(channel)
        world = World(language, meter, memory_bytes, token, parameters)
        if "walls" in names:
            _AUDITED.clear()
        table: Mapping[str, Weakness] = PYTHON if language == "python" else LUA
        for name in names:
            if name != "walls":
                table[name](world)
        run = _run_python if language == "python" else _run_lua
        worker.send(channel, meter, run(world, start["files"][start["main"]]))
    except BaseException:  # noqa: BLE001 - a worker ends here, whatever happened
        channel.output(_told().encode())  # a traceback with its lines would open files
        os._exit(70)
    os._exit(0)


_ = (FunctionType, pure, python_surface)  # what attacks look for is there
