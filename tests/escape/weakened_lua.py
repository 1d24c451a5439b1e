"""The guards of the Lua runtimes, each with what takes it away."""

from __future__ import annotations

import gc
from typing import Any, Final

import lupa.lua51
import lupa.lua54
import lupa.luajit21
from weakening import World, lua, replace

from sandbox import lua_runtime
from sandbox.lua_values import from_lua
from sandbox.runtimes import Result, RuntimeLimits, failed
from sandbox.values import Caps

HOOK_STEPS: Final = 1_000_000  # of a script under a count hook; 10 ms
_ANY: Final = Caps(depth=1000, items=10**9, size_bytes=10**9)


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
    world.patch("environment.load = loader(environment)", "environment.load = raw_load")


@lua("emptied globals")
def _kept_globals(world: World) -> None:
    world.patch("empty(loaded)\nempty(preload)\nempty(library)\nempty(globals)\n", "")


@lua("own tostring")
def _raw_tostring(world: World) -> None:
    world.patch('if method == nil then return kind end -- and not its address', "if method == nil then return raw_tostring(value) end")  # fmt: skip  # noqa: E501 - a line of the boot


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
        "local value, number, kind, fields = settle(pcall(host_call, name, ...))",
        "local asked = ...\n"
        "    if type(asked) == 'table' then\n"
        "      if asked.path ~= '/allowed' then error('denied', 0) end\n"
        "      host_limit(limit)\n"
        "      return 'opened ' .. asked.path\n"
        "    end\n"
        "    local value, number, kind, fields = settle(pcall(host_call, name, ...))",
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

    def copy(value: Any, table: Any) -> Any:  # and nothing else: CPython 3.13.0 to 3.13.7 counts no other calls
        if type(value) is not table:
            return value.decode() if isinstance(value, bytes) else value
        return {str(key): copy(item, table) for key, item in value.items()}

    replace(lua_runtime, "from_lua", lambda value, table, *_: copy(value, table))


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
    world.patch("return function(chunk, _, mode, ...)", "return function(chunk, name, mode, ...)")
    world.patch('return raw_load(source, "=load", "t", env)', 'return raw_load(source, name, "t", env)')


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


def run_lua(world: World, source: bytes) -> Result:
    if not world.has_boot:
        return _run_plain_lua(world, source)
    replace(lua_runtime, "BOOT_FILE", _Text(world.boot))
    lua_runtime._boots.clear()  # compiled from the real one
    limits = RuntimeLimits(world.memory_bytes)
    runtime = lua_runtime.create(
        world.bindings, world.meter, limits, randomness=world.randomness, flavour=world.language
    )
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
