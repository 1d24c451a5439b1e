"""Whether Lua accepts a source, and where it stops. The source is compiled by Lua itself and never run."""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from protocol.errors import UnavailableError

#: Flavour -> lupa's module. Some builds of lupa lack LuaJIT.
MODULES: Final = {"lua": "lupa.lua54", "luajit": "lupa.luajit21"}

MAX_COMPILE_BYTES = 64 * 1024 * 1024  # of memory for one compilation; chosen without measurement

_PLACE = re.compile(r":(?P<line>[0-9]+): (?P<message>.*)$", re.DOTALL)
_COMPILE = b"""debug = nil -- lupa would add a traceback of its own to what does not come from the parser
return function(source, name) local chunk, problem = load(source, name, 't') return problem or false end"""


def module(flavour: str) -> Any:
    """Return lupa's module of a flavour, a key of ``MODULES``.

    Raises:
        UnavailableError: This build of lupa has none.
    """
    try:
        return importlib.import_module(MODULES[flavour])
    except ImportError:
        raise UnavailableError(f"{flavour} is not in this build of lupa: use lua (5.4)") from None


def problem(source: bytes, name: str, flavour: str = "lua") -> tuple[str, str] | None:
    """Return ``(place, message)`` of the first syntax error of ``source``, or None if that flavour of Lua accepts it.

    Raises:
        UnavailableError: This build of lupa has no such flavour.
    """
    if source.startswith(b"\x1b"):
        return f"{name}:1", "bytecode is refused"
    try:
        told = _compiler(flavour)(source, b"=chunk")
    except (module(flavour).LuaError, MemoryError):
        return name, "the source needs too much memory to compile"
    if told is False:
        return None
    text = told.decode("utf-8", "replace")
    match = _PLACE.search(text)
    return (f"{name}:{match['line']}", match["message"]) if match else (name, text)


def _compiler(flavour: str) -> Any:
    state = module(flavour).LuaRuntime(
        register_eval=False, register_builtins=False, encoding=None, max_memory=MAX_COMPILE_BYTES
    )
    return state.execute(_COMPILE)
