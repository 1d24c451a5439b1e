"""Whether Lua accepts a source, and where it stops. The source is compiled by Lua itself and never run."""

from __future__ import annotations

import re
from typing import Any

import lupa.lua54

MAX_COMPILE_BYTES = 64 * 1024 * 1024  # of memory for one compilation; chosen without measurement

_PLACE = re.compile(r":(?P<line>[0-9]+): (?P<message>.*)$", re.DOTALL)
_COMPILE = b"""debug = nil -- lupa would add a traceback of its own to what does not come from the parser
return function(source, name) local chunk, problem = load(source, name, 't') return problem or false end"""


def problem(source: bytes, name: str) -> tuple[str, str] | None:
    """Return ``(place, message)`` of the first syntax error of ``source``, or None if Lua 5.4 accepts it."""
    if source.startswith(b"\x1b"):
        return f"{name}:1", "bytecode is refused"
    try:
        told = _compiler()(source, b"=chunk")
    except (lupa.lua54.LuaError, MemoryError):
        return name, "the source needs too much memory to compile"
    if told is False:
        return None
    text = told.decode("utf-8", "replace")
    match = _PLACE.search(text)
    return (f"{name}:{match['line']}", match["message"]) if match else (name, text)


def _compiler() -> Any:
    state = lupa.lua54.LuaRuntime(
        register_eval=False, register_builtins=False, encoding=None, max_memory=MAX_COMPILE_BYTES
    )
    return state.execute(_COMPILE)
