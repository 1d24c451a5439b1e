"""The whole of what a Lua script can see besides the calls. A test compares it with what is really there.

Left out on purpose: ``dofile loadfile require module warn`` and the libraries io, package and debug; ``string.dump``;
``os.date`` (opens the time zone file) and everything of os that reaches the host.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Global functions and values.
GLOBALS = _words(
    """_G _VERSION assert collectgarbage error getmetatable ipairs load next pairs pcall print rawequal rawget rawlen
    rawset select setmetatable tonumber tostring type xpcall"""
)

#: Global libraries, each with all that is in it.
LIBRARIES: dict[str, frozenset[str]] = {
    "coroutine": _words("close create isyieldable resume running status wrap yield"),
    "math": _words(
        """abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min mininteger modf pi rad random
        randomseed sin sqrt tan tointeger type ult"""
    ),
    "os": _words("clock difftime time"),
    "string": _words(
        "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper",
    ),
    "table": _words("concat insert move pack remove sort unpack"),
    "utf8": _words("char charpattern codepoint codes len offset"),
}
