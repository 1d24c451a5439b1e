-- title: ask for the environment of a function of the host
-- reference: CVE-2026-41196 (Luanti with LuaJIT left getfenv to mods), GHSA-g596-mf82-w8c3
-- real: error: attempt to call a nil value (global 'getfenv')
-- weakened: Lua 5.4 and not 5.1
-- proof: value: "function"

local inside = getfenv and setfenv(function() return getfenv(print).io end, { getfenv = getfenv, print = print })
return type((inside and inside() or getfenv(print).io).open)
