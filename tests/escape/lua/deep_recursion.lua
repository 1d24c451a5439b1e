-- title: recurse through a callback of the library until the C stack is full
-- reference: CWE-674, https://www.lua.org/manual/5.4/manual.html#pdf-error
-- real: error: stack overflow
-- weakened: Lua 5.4 and not LuaJIT
-- proof: lost: the worker ended without a result

local function f() return (("x"):gsub("x", f)) end
return f()
