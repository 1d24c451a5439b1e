-- title: hand bytecode to load in pieces, the first of them empty of any mark
-- reference: http://lua-users.org/wiki/SandBoxes (load takes a function; a check of the first piece is no check)
-- real: error: bytecode is refused
-- weakened: own load, library list
-- proof: value: 42

local code = string.dump and string.dump(function() return 42 end) or "\27Lua"
local at = 0
return assert(load(function() at = at + 1 return at <= #code and code:sub(at, at) or nil end))()
