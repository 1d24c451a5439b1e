"""What a Lua script can see, compared as a whole: sampling a few names would prove little."""

from __future__ import annotations

import pytest
from languages import lua

from sandbox.lua_surface import SURFACES

FAMILIES = {"fs", "proc", "json"}
BARE = {"param"}

LIST_ALL = """
local seen = {}
for name, value in pairs(_G) do
  local members = {}
  if type(value) == "table" and name ~= "_G" then
    for member in pairs(value) do members[#members + 1] = member end
  end
  seen[name] = members
end
return seen
"""


@pytest.mark.parametrize("flavour", SURFACES)
def test_the_environment_is_exactly_the_listed_surface(flavour: str) -> None:
    """A library function that nobody listed is a hole that nobody judged."""
    surface = SURFACES[flavour]
    seen = {name: set(members) for name, members in lua(LIST_ALL, flavour=flavour).value.items()}
    expected: dict[str, set[str]] = {name: set() for name in surface.globals | FAMILIES | BARE}
    expected |= {name: set(members) for name, members in surface.libraries.items()}
    assert seen == expected


def test_families_show_nothing_to_next_and_have_a_locked_metatable() -> None:
    """A script must not reach the table behind the proxy."""
    ran = lua("return {next(fs) == nil, getmetatable(fs), tostring(fs), tostring(proc.command)}")
    assert ran.value == [True, "locked", "fs", "function"]


def test_the_string_metatable_leads_to_the_scripts_own_copy_only() -> None:
    """Methods of strings come from one table shared by the whole state."""
    assert lua("return {getmetatable('') == nil, ('x').dump == nil, ('x').format == string.format}").value == [
        True,
        True,
        True,
    ]


def test_nothing_is_left_in_the_real_globals() -> None:
    """lupa reads the real globals around every call; whatever stays there can be turned against the host."""
    from languages import BINDINGS, MEMORY_BYTES, SEED, RecordingChannel

    from sandbox import lua_runtime
    from sandbox.runtimes import RuntimeLimits

    runtime = lua_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES), randomness=SEED)
    assert list(runtime._state.globals().items()) == []
