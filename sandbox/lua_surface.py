"""The whole of what a Lua script can see besides the calls, for each flavour. A test compares it with what is there.

Left out on purpose: ``dofile loadfile require module warn`` and the libraries io, package and debug; ``string.dump``;
``os.date`` (opens the time zone file) and everything of os that reaches the host.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surface:
    """What one flavour shows."""

    globals: frozenset[str]  # functions and values
    libraries: dict[str, frozenset[str]]  # global tables, each with all that is in it

    @property
    def names(self) -> frozenset[str]:
        """All global names."""
        return self.globals | set(self.libraries)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GLOBALS = _words(
    """_G _VERSION assert atexit collectgarbage error getmetatable ipairs load next pairs pcall print rawequal rawget
    rawset select setmetatable tonumber tostring type xpcall"""
)
_MATH = _words(
    "abs acos asin atan ceil cos deg exp floor fmod huge log max min modf pi rad random randomseed sin sqrt tan"
)
_STRING = _words("byte char find format gmatch gsub len lower match rep reverse sub upper")
_TABLE = _words("concat insert move pack remove sort unpack")
_COROUTINE = _words("create isyieldable resume running status wrap yield")
_OS = _words("clock difftime time")

LUA = Surface(
    _GLOBALS | {"rawlen"},
    {
        "coroutine": _COROUTINE | {"close"},
        "math": _MATH | _words("maxinteger mininteger tointeger type ult"),
        "os": _OS,
        "string": _STRING | _words("pack packsize unpack"),
        "table": _TABLE,
        "utf8": _words("char charpattern codepoint codes len offset"),
    },
)
LUAJIT = Surface(
    _GLOBALS | {"unpack"},
    {
        "bit": _words("arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex"),
        "coroutine": _COROUTINE,
        "math": _MATH | _words("atan2 cosh frexp ldexp log10 pow sinh tanh"),
        "os": _OS,
        "string": _STRING,
        "table": _TABLE | {"maxn"},
    },
)
SURFACES: dict[str, Surface] = {"lua": LUA, "luajit": LUAJIT}
