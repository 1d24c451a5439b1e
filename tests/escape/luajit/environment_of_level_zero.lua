-- title: replace the globals of the whole thread
-- reference: https://www.lua.org/manual/5.1/manual.html#pdf-setfenv, CVE-2026-40959 (Luanti with LuaJIT)
-- real: error: attempt to call global 'setfenv' (a nil value)
-- weakened: boot chunk
-- proof: value: "mine"

setfenv(0, setmetatable({ secret = "mine" }, { __index = _G }))
return loadstring("return secret")()
