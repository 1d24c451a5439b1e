-- title: give load a table of one's own as the environment, past the guarded one
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-load
-- real: error: the environment is fixed
-- weakened: own load
-- proof: value: "mine"

return load("return secret", "x", "t", setmetatable({}, { __index = function() return "mine" end }))()
